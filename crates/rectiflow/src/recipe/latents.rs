//! How the loss of a flow looks at a codec's latents: the `latents` table of tasks that have a codec (TriFlow, arXiv:2501.00651).

use serde::{Deserialize, Serialize};

/// How differences of latents count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentsConfig {
    /// In which space differences are measured.
    pub space: Space,
    /// Weight of places around the object beside 1 for the object's own, above 0 (nothing else keeps the surroundings empty); 1
    /// weighs nothing. Weights have the mean 1.
    pub w_bg: f64,
}

/// A space of latents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// As the flow moves them.
    #[default]
    Whitened,
    /// As the codec made them.
    Original,
}

impl Default for LatentsConfig {
    fn default() -> Self {
        Self { space: Space::Whitened, w_bg: 1.0 }
    }
}

impl LatentsConfig {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        match self.w_bg > 0.0 && self.w_bg <= 1.0 {
            true => Ok(()),
            false => Err(format!("task.latents.w_bg = {}; give a weight above 0, up to 1", self.w_bg)),
        }
    }
}
