//! How prompts are read: the `text` table of tasks whose data have captions.

use serde::{Deserialize, Serialize};

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
    /// A frozen encoder that `rectiflow data get` brings: `minilm`, 384 features.
    pub encoder: String,
    /// Tokens of a prompt at most, marks at both ends included; longer prompts are cut.
    pub length: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { encoder: "minilm".into(), length: 16 }
    }
}

impl TextConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// The key, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if self.encoder != "minilm" {
            return Err(format!("task.text.encoder = \"{}\" is unknown; there is `minilm`", self.encoder));
        }
        if !(3..=512).contains(&self.length) {
            return Err(format!("task.text.length = {} must be 3 to 512 tokens", self.length));
        }
        Ok(())
    }
}
