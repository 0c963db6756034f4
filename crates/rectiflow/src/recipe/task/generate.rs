//! From noise to the data, or to what a codec makes of them; with their captions, classes, or unconditionally.

use super::{Keys, LatentsConfig, PictureConfig, Recipe, TextConfig};
use flow::Parameterization;
use methods::Target;
use nets::NetConfig;
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
    /// Reads rendered pictures of the data's shapes, by an eye trained with the flow, in place of their classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureConfig>,
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

    fn picture(&self) -> Option<&PictureConfig> {
        self.picture.as_ref()
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
        self.check_rendering(recipe)?;
        self.check_picture(recipe)?;
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

impl Generate {
    /// Refuses to render where there is no data estimate, or no picture to compare it with.
    fn check_rendering(&self, recipe: &Recipe) -> Result<(), String> {
        if self.latents.as_ref().is_none_or(|latents| latents.render.is_none()) {
            return Ok(());
        }
        let refuse = |why: String| Err(format!("`task.latents.render` {why}; leave it out"));
        if recipe.needs_pairs() {
            return refuse("compares with the pictures of the data, and a teacher's pairs have none".into());
        }
        if recipe.target != Target::Path {
            return refuse(format!("looks at data estimates, which `target` = {} does not make", recipe.target.name()));
        }
        match recipe.parameterization.reads(Parameterization::Data {}, &recipe.path) {
            true => Ok(()),
            false => {
                let name = recipe.parameterization.name();
                refuse(format!("looks at data estimates, and `parameterization` = {name} names none on this path"))
            }
        }
    }

    /// Refuses pictures that nothing reads, and an eye that has none to read.
    fn check_picture(&self, recipe: &Recipe) -> Result<(), String> {
        let eye = match &recipe.network {
            NetConfig::SetTransformer(network) => network.eye.as_ref().map(|_| network.condition.tokens),
            _ => None,
        };
        let Some(picture) = &self.picture else {
            return match eye {
                None => Ok(()),
                Some(_) => Err("`network.eye` reads pictures, and nothing here shows any: set `task.picture = {}`, or leave it out".into()),
            };
        };
        picture.check()?;
        if recipe.pairs.generate.inverted > 0.0 {
            return Err("pairs.generate.inverted: inverted pairs begin at shapes, and the pictures beside pairs are numbered otherwise; set it to 0"
                .into());
        }
        if self.codec.is_none() || self.text.is_some() {
            return Err("`task.picture` shows the shapes of a codec's data (`task.codec`), and is read in place of captions: name a codec of \
                        shapes, and leave `task.text` out"
                .into());
        }
        if picture.encoder.is_some() {
            let reads = matches!(recipe.network, NetConfig::SetTransformer(_)) && recipe.network.condition().tokens > 0;
            return match eye {
                None if reads => Ok(()),
                _ => Err("`task.picture.encoder` reads pictures, and the network hears its tokens: set network = { type = \"set_transformer\", \
                          condition = { tokens = N } }, N the encoder's hidden_size, and leave `network.eye` out"
                    .into()),
            };
        }
        let features = picture.features();
        match eye == Some(features) {
            true => Ok(()),
            false => Err(format!(
                "`task.picture` cuts patches of {features} numbers, and the network reads {}: set network = {{ type = \"set_transformer\", \
                 eye = {{}}, condition = {{ tokens = {features} }} }}",
                eye.map_or("none".into(), |eye| eye.to_string())
            )),
        }
    }
}
