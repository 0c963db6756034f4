//! Captions read by a released model's own encoders, as its pipeline reads prompts: tokens and pooled vector, kept in bfloat16.

use super::{encoded::Encoded, read};
use crate::{
    Context, Error,
    host::host,
    release::{Asked, Release, encode, fingerprint, marked, weighty},
};
use base::{Condition, Device, Tensor, TensorData, Tokens};
use nets::ConditionConfig;
use std::path::{Path, PathBuf};

/// Bytes of texts encoded by one opening of the encoders, which wait there for each other: two hundred of FLUX, thousands of others.
const AT_ONCE: usize = 2 << 30;

/// A released model's readers of prompts.
pub(super) struct Released {
    model: PathBuf,
    /// Features of a token, and of the pooled vector; 0 where the network reads none.
    tokens: usize,
    vector: usize,
    /// Tokens that T5 reads.
    length: usize,
}

impl Released {
    /// Of the model in `model`, for a network that reads `condition`.
    ///
    /// # Errors
    /// A model that is gone, a network that reads no tokens.
    pub fn of(model: &Path, condition: &ConditionConfig, length: usize) -> Result<Self, Error> {
        if condition.tokens == 0 {
            return Err(Error::Usage(
                "task.text.encoder = \"released\" gives tokens, and this network reads none; set network.condition.tokens to their width"
                    .into(),
            ));
        }
        Release::open(model, None)?;
        Ok(Self { model: model.to_path_buf(), tokens: condition.tokens, vector: condition.vector, length })
    }

    /// The same for the same encoders, settings and widths.
    ///
    /// # Errors
    /// Encoders that cannot be opened.
    pub fn mark(&self) -> Result<String, Error> {
        let model = Release::open(&self.model, None)?;
        let mut mark = format!("released-{}-{}-{}", self.length, self.tokens, self.vector);
        for (name, classes, called) in weighty(model.family()) {
            if name.starts_with("text_encoder") && model.has(name) {
                let weights = model.weights(name, classes, called)?;
                mark += &format!("-{}", &fingerprint(&*weights.source()?)[..8]);
            }
        }
        // Settings and vocabularies say as much as weights do.
        let mut settings = vec![format!("{:?}", model.family())];
        for part in ["text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"] {
            let Ok(entries) = std::fs::read_dir(self.model.join(part)) else { continue };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|ending| ending == "json" || ending == "txt"));
            files.sort();
            for file in files {
                settings.push(format!("{part}/{}", file.file_name().unwrap_or_default().display()));
                settings.push(String::from_utf8_lossy(&read(&file)?).into_owned());
            }
        }
        Ok(format!("{mark}-{}", &marked(&settings)[..8]))
    }

    /// Numbers of a text at most: both CLIP's tokens and T5's, and the vector.
    pub fn most(&self) -> usize {
        (77 + 512) * self.tokens + self.vector
    }

    /// Encodes texts: tokens, then the vector; each is given to `take` as soon as it is known. The encoders are opened once for as
    /// many texts as [`AT_ONCE`] bytes hold.
    ///
    /// # Errors
    /// Encoders that cannot be opened or are of another model than the network; what `take` says.
    pub fn read(
        &self,
        texts: &[&str],
        context: &mut Context,
        take: &mut dyn FnMut(&str, Encoded, &mut Context) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let model = Release::open(&self.model, None)?;
        let asked = Asked { length: self.length, clip_skip: 0 };
        for texts in texts.chunks((AT_ONCE / (4 * self.most())).max(1)) {
            context.go_on()?;
            let owned: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            for (text, said) in texts.iter().zip(encode(&model, &owned, None, self.tokens, asked, context)?) {
                let mut values = said.tokens.map(|tokens| host(tokens.embedding)).transpose()?.unwrap_or_default();
                let vector = said.vector.map(host).transpose()?.unwrap_or_default();
                if self.vector != 0 && vector.len() != self.vector {
                    return Err(Error::Failure(format!(
                        "{}: its encoders give a vector of {} features and the network reads {}; the parts are of two models",
                        self.model.display(),
                        vector.len(),
                        self.vector
                    )));
                }
                values.extend(vector.into_iter().take(self.vector));
                take(text, Encoded::of(&values), context)?;
            }
        }
        Ok(())
    }

    /// What texts say, the last of them what guidance contrasts with and what dropout puts in a caption's place.
    pub fn condition(&self, mut rows: Vec<&Encoded>, device: &Device) -> Result<Condition, Error> {
        let null = rows.pop().map(|null| self.part(&[null], device)).unwrap_or_else(Condition::none);
        self.part(&rows, device).contrasted(null).map_err(|error| Error::Failure(error.to_string()))
    }

    fn part(&self, rows: &[&Encoded], device: &Device) -> Condition {
        let (b, all) = (rows.len(), rows.first().map_or(0, |row| row.values.len()));
        let (of_tokens, n) = (all - self.vector, (all - self.vector) / self.tokens);
        let (mut tokens, mut vector) = (Vec::with_capacity(b * of_tokens), Vec::with_capacity(b * self.vector));
        for row in rows {
            let values: Vec<f32> = row.floats().collect();
            tokens.extend_from_slice(&values[..of_tokens]);
            vector.extend_from_slice(&values[of_tokens..]);
        }
        let embedding = Tensor::from_data(TensorData::new(tokens, [b, n, self.tokens]), device);
        let mask = Tensor::<2>::ones([b, n], device).greater_elem(0.0);
        let vector = (self.vector > 0).then(|| Tensor::from_data(TensorData::new(vector, [b, self.vector]), device));
        Condition { tokens: Some(Tokens { embedding, mask }), vector, ..Condition::none() }
    }
}
