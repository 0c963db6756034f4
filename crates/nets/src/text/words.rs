//! Texts to word pieces, by the vocabulary that stands beside an encoder's weights: `tokenizer.json`, or CLIP's older
//! `vocab.json` with `merges.txt`.

use crate::NetsError;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// The id of padding in every BERT and T5 vocabulary.
const PADDING: i64 = 0;

/// A vocabulary with its rules.
#[derive(Clone, Debug)]
pub struct WordPieces {
    tokenizer: Tokenizer,
    padding: i64,
}

/// A text as ids of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Ids, padded.
    pub ids: Vec<i64>,
    /// How many of them are real.
    pub real: usize,
    /// The end of the text that did not fit, if any.
    pub cut: Option<String>,
}

impl WordPieces {
    /// Reads the text of a tokenizer.json; padding is id 0.
    ///
    /// # Errors
    /// [`NetsError::Config`] with what the reader says.
    pub fn parse(json: &[u8]) -> Result<Self, NetsError> {
        let unreadable =
            |error: tokenizers::Error| NetsError::config(format!("tokenizer.json cannot be read: {error}"));
        // The reader below panics on text that is no JSON where it expects a decoder.
        serde_json::from_slice::<Value>(json).map_err(|error| unreadable(error.into()))?;
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(unreadable)?;
        // Both are ours to decide: the length is the network's.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(unreadable)?;
        Ok(Self { tokenizer, padding: PADDING })
    }

    /// CLIP's byte pairs from the text of its vocab.json and merges.txt: NFC, spaces as one, lower case; words, single digits
    /// and runs of other signs apart; each word's last piece marked `</w>`.
    ///
    /// # Errors
    /// [`NetsError::Config`] for files that are no such vocabulary.
    pub fn clip(vocab: &[u8], merges: &str) -> Result<Self, NetsError> {
        let vocab: Value = serde_json::from_slice(vocab)
            .map_err(|error| NetsError::config(format!("vocab.json cannot be read: {error}")))?;
        let marks = ["<|startoftext|>", "<|endoftext|>"].map(|mark| (mark, vocab.get(mark).and_then(Value::as_u64)));
        let [(first, Some(first_id)), (last, Some(last_id))] = marks else {
            return Err(NetsError::config("vocab.json has no <|startoftext|> or no <|endoftext|>; it is not CLIP's"));
        };
        let pairs: Vec<&str> =
            merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).collect();
        let mark = |content: &str, id: u64| {
            json!({ "id": id, "content": content, "special": true,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false })
        };
        let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
        let rules = json!({
            "version": "1.0",
            "added_tokens": [mark(first, first_id), mark(last, last_id)],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "NFC" },
                { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
                { "type": "Lowercase" },
            ] },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": words }, "behavior": "Removed", "invert": true },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            ] },
            "post_processor": { "type": "RobertaProcessing", "sep": [last, last_id], "cls": [first, first_id],
                                "trim_offsets": false, "add_prefix_space": false },
            "decoder": null,
            "model": { "type": "BPE", "dropout": null, "unk_token": last, "continuing_subword_prefix": "",
                       "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocab, "merges": pairs },
        });
        Self::parse(rules.to_string().as_bytes())
    }

    /// The same vocabulary, padding with the word `padding`.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a word it does not know.
    pub fn padded_with(self, padding: &str) -> Result<Self, NetsError> {
        match self.tokenizer.token_to_id(padding) {
            Some(id) => Ok(Self { padding: i64::from(id), ..self }),
            None => Err(NetsError::config(format!("the vocabulary lacks its own padding `{padding}`"))),
        }
    }

    /// A text as `length` ids. One that is too long keeps its last mark.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a text that cannot be split.
    pub fn split(&self, text: &str, length: usize) -> Result<Pieces, NetsError> {
        let mut pieces = self.first(text, length, true)?;
        pieces.ids.resize(length, self.padding);
        Ok(pieces)
    }

    /// The id of padding.
    pub fn padding(&self) -> i64 {
        self.padding
    }

    /// The id of a word, where it is known.
    pub fn id(&self, word: &str) -> Option<i64> {
        self.tokenizer.token_to_id(word).map(i64::from)
    }

    /// A text as at most `length` ids, without padding; one that is too long keeps its last mark, where it is `marked`.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a text that cannot be split.
    pub fn first(&self, text: &str, length: usize, marked: bool) -> Result<Pieces, NetsError> {
        let split = self.tokenizer.encode(text, true);
        let split = split.map_err(|error| NetsError::config(format!("prompt `{text}`: {error}")))?;
        let mut ids: Vec<i64> = split.get_ids().iter().map(|id| i64::from(*id)).collect();
        let mut cut = None;
        if ids.len() > length {
            let last = ids.pop().filter(|_| marked);
            ids.truncate(length - usize::from(last.is_some()).min(length));
            let from = split.get_offsets().get(ids.len()).map_or(0, |(start, _)| *start);
            cut = Some(text.get(from..).unwrap_or(text).trim().to_owned());
            ids.extend(last);
        }
        let real = ids.len();
        Ok(Pieces { ids, real, cut })
    }

    /// Ids and whether they are real, `[b length]` row-major. A prompt that is too long keeps its last mark.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a prompt that cannot be split.
    pub fn batch<S: AsRef<str>>(&self, prompts: &[S], length: usize) -> Result<(Vec<i64>, Vec<bool>), NetsError> {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for prompt in prompts {
            let pieces = self.split(prompt.as_ref(), length)?;
            mask.extend((0..length).map(|i| i < pieces.real));
            ids.extend(pieces.ids);
        }
        Ok((ids, mask))
    }
}
