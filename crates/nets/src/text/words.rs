//! Prompts to word pieces, by the tokenizer.json that stands beside an encoder's weights.

use crate::NetsError;
use tokenizers::Tokenizer;

/// The id of padding in every BERT vocabulary.
const PADDING: i64 = 0;

/// A vocabulary with its rules.
#[derive(Clone, Debug)]
pub struct WordPieces(Tokenizer);

impl WordPieces {
    /// Reads the text of a tokenizer.json.
    ///
    /// # Errors
    /// [`NetsError::Config`] with what the reader says.
    pub fn parse(json: &[u8]) -> Result<Self, NetsError> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| NetsError::config(format!("tokenizer.json cannot be read: {error}")))?;
        // Both are ours to decide: the length is the network's.
        tokenizer.with_padding(None);
        let unlimited = tokenizer.with_truncation(None);
        unlimited.map_err(|error| NetsError::config(format!("tokenizer.json cannot be read: {error}")))?;
        Ok(Self(tokenizer))
    }

    /// Ids and whether they are real, `[b length]` row-major. A prompt that is too long keeps its last mark.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a prompt that cannot be split.
    pub fn batch<S: AsRef<str>>(&self, prompts: &[S], length: usize) -> Result<(Vec<i64>, Vec<bool>), NetsError> {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for prompt in prompts {
            let split = self.0.encode(prompt.as_ref(), true);
            let split = split.map_err(|error| NetsError::config(format!("prompt `{}`: {error}", prompt.as_ref())))?;
            let mut row: Vec<i64> = split.get_ids().iter().map(|id| i64::from(*id)).collect();
            if row.len() > length {
                let last = row.pop();
                row.truncate(length - 1);
                row.extend(last);
            }
            mask.extend((0..length).map(|i| i < row.len()));
            row.resize(length, PADDING);
            ids.extend(row);
        }
        Ok((ids, mask))
    }
}
