//! From noise to the data, or to what a codec makes of them; with their captions, classes, or unconditionally.

use super::{Keys, LatentsConfig, Recipe, TextConfig};
use methods::Target;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Draws samples like the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generate {
    /// The run of a codec (verb `codec`): the flow learns its latents of the data, and samples are decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<PathBuf>,
    /// How the loss looks at the latents of `codec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latents: Option<LatentsConfig>,
    /// Reads the data's captions, by a frozen encoder, in place of their classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
}

impl Keys for Generate {
    fn name(&self) -> &'static str {
        "generate"
    }

    fn text(&self) -> Option<&TextConfig> {
        self.text.as_ref()
    }

    fn codec(&self) -> Option<&Path> {
        self.codec.as_deref()
    }

    fn latents(&self) -> Option<&LatentsConfig> {
        self.latents.as_ref()
    }

    /// What looks at pictures cannot look at latents.
    fn check(&self, recipe: &Recipe) -> Result<(), String> {
        if let Some(latents) = &self.latents {
            latents.check()?;
            if self.codec.is_none() {
                return Err("`task.latents` says how the loss looks at a codec's latents, and there is no `task.codec`: name one, or \
                            leave it out"
                    .into());
            }
            // A rule's exercises speak of no data point, so there is no object to weigh by.
            if latents.w_bg < 1.0 && recipe.target != Target::Path {
                let name = recipe.target.name();
                return Err(format!(
                    "task.latents.w_bg weighs by the object that a latent shows, which `target` = {name} does not know; set it to 1"
                ));
            }
            // A piece of a trajectory is trained as a straight line that leads past its end, and no codec knows what is there.
            if latents.w_bg < 1.0 && !recipe.pairs.generate.cuts.is_empty() {
                return Err("task.latents.w_bg weighs by the object that a latent shows, and pieces of trajectories \
                            (`pairs.generate.cuts`) end at none; set it to 1, or leave the cuts out"
                    .into());
            }
        }
        if self.codec.is_none() {
            return Ok(());
        }
        if recipe.data.flip || recipe.reflow.flip {
            return Err(
                "latents are encoded once and cannot be mirrored; set data.flip = false (and reflow.flip = false)"
                    .into(),
            );
        }
        if recipe.perceptual.is_some() {
            return Err("`perceptual` looks at pictures, and this flow moves latents; leave it out".into());
        }
        Ok(())
    }
}
