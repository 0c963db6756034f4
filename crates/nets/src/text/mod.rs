//! Text to token embeddings: what prompts are to the networks that take them.
//!
//! A frozen encoder turns each prompt into a row of [`Tokens`](base::Tokens), which a [`Dit`](crate::Dit) with
//! `condition.tokens` reads by cross-attention. The encoder here is BERT (Devlin et al. 2018, arXiv 1810.04805), in the size of
//! MiniLM-L6 (Wang et al. 2020, arXiv 2002.10957; sentence version of Reimers and Gurevych 2019, arXiv 1908.10084).
//! Released models read prompts by [`Clip`], [`T5`] and [`Qwen`].

mod bert;
mod clip;
mod qwen;
mod t5;
mod words;

pub use bert::{Bert, BertConfig};
pub use clip::{Clip, ClipConfig, Reading};
pub use qwen::{Qwen, QwenConfig};
pub use t5::{T5, T5Config};
pub use words::{Pieces, WordPieces};

use crate::NetsError;
use base::{Device, Tensor, Tokens};

/// One vector per text `[b d]` from its tokens: their sum, its elements of mean square one; zeros where there is no token.
pub fn pooled(tokens: &Tokens) -> Tensor<2> {
    let [b, _, d] = tokens.embedding.dims();
    let keep = tokens.mask.clone().float().unsqueeze_dim::<3>(2);
    let sum: Tensor<2> = (tokens.embedding.clone() * keep).sum_dim(1).reshape([b, d]);
    let norm = sum.clone().square().sum_dim(1).sqrt() + 1e-12;
    sum / norm * (d as f64).sqrt()
}

/// MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers.
pub const MINILM: base::Paper = base::Paper::arxiv(
    "wang2020minilm",
    "Wang, Wenhui and Wei, Furu and Dong, Li and Bao, Hangbo and Yang, Nan and Zhou, Ming",
    "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    (2020, "2002.10957"),
    "NeurIPS 2020",
);
/// Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks.
pub const SENTENCES: base::Paper = base::Paper::arxiv(
    "reimers2019sentence",
    "Reimers, Nils and Gurevych, Iryna",
    "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    (2019, "1908.10084"),
    "EMNLP 2019",
);

/// A frozen encoder with its vocabulary.
#[derive(Debug)]
pub struct TextEncoder {
    bert: Bert,
    words: WordPieces,
    length: usize,
    device: Device,
}

impl TextEncoder {
    /// Prompts of at most `length` tokens, the two marks at their ends included; longer ones are cut.
    ///
    /// # Errors
    /// If `length` is below 3 or beyond the encoder's positions.
    pub fn new(bert: Bert, words: WordPieces, length: usize, device: &Device) -> Result<Self, NetsError> {
        let most = bert.positions();
        if !(3..=most).contains(&length) {
            return Err(NetsError::config(format!("text.length is {length}; use 3 to {most} tokens")));
        }
        Ok(Self { bert, words, length, device: device.clone() })
    }

    /// Features of a token.
    pub fn features(&self) -> usize {
        self.bert.features()
    }

    /// Tokens of a prompt at most.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The tokens of each prompt, `[b length d]`, zero where there are none.
    ///
    /// # Errors
    /// [`NetsError::Config`] if the vocabulary and the encoder do not go together.
    pub fn encode<S: AsRef<str>>(&self, prompts: &[S]) -> Result<Tokens, NetsError> {
        let (ids, mask) = self.words.batch(prompts, self.length)?;
        let (b, n) = (prompts.len(), self.length);
        if let Some(id) = ids.iter().find(|id| **id >= self.bert.vocabulary() as i64) {
            let size = self.bert.vocabulary();
            return Err(NetsError::config(format!(
                "the tokenizer gives word {id}, the encoder knows {size}; use the tokenizer.json of these weights"
            )));
        }
        Ok(self.bert.tokens(&ids, &mask, [b, n], &self.device))
    }

    /// One vector per prompt, `[b d]`: the mean of its tokens at unit length, whose products are cosines of meaning
    /// (Reimers and Gurevych 2019, section 3).
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn sentences<S: AsRef<str>>(&self, prompts: &[S]) -> Result<Tensor<2>, NetsError> {
        let Tokens { embedding, mask } = self.encode(prompts)?;
        let [b, n, d] = embedding.dims();
        let keep: Tensor<3> = mask.float().reshape([b, n, 1]);
        let mean = (embedding * keep.clone()).sum_dim(1) / (keep.sum_dim(1) + 1e-9);
        let mean: Tensor<2> = mean.reshape([b, d]);
        let norm = mean.clone().square().sum_dim(1).sqrt() + 1e-12;
        Ok(mean / norm)
    }
}

#[cfg(test)]
mod tests;
