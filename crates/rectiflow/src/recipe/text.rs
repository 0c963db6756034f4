//! How prompts are read: the `text` table of tasks whose data have captions.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation.
pub const INSTAFLOW: base::Paper = base::Paper::arxiv(
    "liu2023instaflow",
    "Liu, Xingchao and Zhang, Xiwen and Ma, Jianzhu and Peng, Jian and Liu, Qiang",
    "InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation",
    (2023, "2309.06380"),
    "ICLR 2024",
);

/// A frozen encoder and how much of a prompt it sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// A frozen encoder that `rectiflow data get` brings: `minilm`, 384 features; or `released`, those of `model`.
    pub encoder: String,
    /// Tokens of a prompt at most, marks at both ends included; longer prompts are cut.
    pub length: usize,
    /// The released model whose encoders read, all of them as in its own pipeline; `length` is what its T5 sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { encoder: "minilm".into(), length: 16, model: None }
    }
}

impl TextConfig {
    /// What `encoder` is called where a released model's own encoders read.
    pub const RELEASED: &str = "released";

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// The key, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let released = self.encoder == Self::RELEASED;
        if !released && self.encoder != "minilm" {
            return Err(format!(
                "task.text.encoder = \"{}\" is unknown; there are `minilm` and `released`",
                self.encoder
            ));
        }
        if released != self.model.is_some() {
            return Err("task.text.model is the folder of a released model, whose encoders read where task.text.encoder = \"released\": \
                        give both, or leave both out"
                .into());
        }
        if !(3..=512).contains(&self.length) {
            return Err(format!("task.text.length = {} must be 3 to 512 tokens", self.length));
        }
        Ok(())
    }
}
