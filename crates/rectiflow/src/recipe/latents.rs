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
    /// A loss on what latents look like, beside that on themselves; for codecs that render views.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub render: Option<RenderConfig>,
}

/// How rendered pieces of the data estimate are compared with the pictures that the data's latents were made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RenderConfig {
    /// Factor of this loss, above 0.
    pub weight: f64,
    /// How colours in [0, 1] are compared.
    pub pixels: Pixels,
    /// Weight of LPIPS beside the pixels' error; 0 leaves it out, and its network too.
    pub lpips: f64,
    /// Pixels of a piece to a side; LPIPS sees nothing in fewer than 16.
    pub patch: usize,
    /// The time from which on it counts, in [0, 1): before, the estimate is a blur. From there its weight is the time itself.
    pub from: f64,
}

/// An error of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pixels {
    /// Squared.
    #[default]
    L2,
    /// Absolute.
    L1,
}

impl Default for RenderConfig {
    fn default() -> Self {
        Self { weight: 0.5, pixels: Pixels::L2, lpips: 1.0, patch: 16, from: 0.4 }
    }
}

impl RenderConfig {
    fn check(&self) -> Result<(), String> {
        let wrong =
            |key: &str, value: String, remedy: &str| Err(format!("task.latents.render.{key} = {value}; {remedy}"));
        let Self { weight, lpips, patch, from, .. } = *self;
        if !(weight.is_finite() && weight > 0.0) {
            return wrong("weight", weight.to_string(), "give a number above 0, or leave `task.latents.render` out");
        }
        if !(lpips.is_finite() && lpips >= 0.0) {
            return wrong("lpips", lpips.to_string(), "give a number from 0 on");
        }
        if !(2..=256).contains(&patch) {
            return wrong("patch", patch.to_string(), "give 2 to 256 pixels");
        }
        if !(0.0..1.0).contains(&from) {
            return wrong("from", from.to_string(), "give a time from 0 up to, not including, 1");
        }
        Ok(())
    }
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
        Self { space: Space::Whitened, w_bg: 1.0, render: None }
    }
}

impl LatentsConfig {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(self.w_bg > 0.0 && self.w_bg <= 1.0) {
            return Err(format!("task.latents.w_bg = {}; give a weight above 0, up to 1", self.w_bg));
        }
        self.render.as_ref().map_or(Ok(()), RenderConfig::check)
    }
}
