//! What a recipe trains: its `[task]` table, whose `type` decides which other keys there are.
//!
//! A task's file owns its keys, what they ask of the rest of the recipe, and its papers. What it learns from is opened one floor up
//! (`stage::task`), which `train`, `plan` and `inspect` ask. A key of one task cannot be written beside a key of another: that
//! combination has no place in the document.

mod generate;
mod joint;
pub(super) mod moved;
mod separate;
mod transfer;

pub use generate::Generate;
pub use joint::Joint;
pub(crate) use separate::check_recordings;
pub use separate::{FLOW_SEP, Separate};
pub use transfer::Transfer;

use super::{INSTAFLOW, LatentsConfig, PictureConfig, Recipe, TextConfig};
use base::Paper;
use data::DataConfig;
use flow::Parameterization;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A task by configuration: `type = "generate" | "transfer" | "separate" | "joint"` and that task's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskConfig {
    /// From noise to the data.
    Generate(Generate),
    /// From one data set to another.
    Transfer(Transfer),
    /// From a mixture of sounds to one of them.
    Separate(Separate),
    /// Two networks on one path.
    Joint(Joint),
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self::Generate(Generate::default())
    }
}

/// What a task says of itself to the rest of a recipe; what it does not say it has not.
trait Keys {
    /// Name as in a recipe.
    fn name(&self) -> &'static str;

    /// Refuses keys out of range, and what the rest of `recipe` may not say beside them.
    fn check(&self, recipe: &Recipe) -> Result<(), String>;

    /// How captions are read.
    fn text(&self) -> Option<&TextConfig> {
        None
    }

    /// The run of a codec whose latents are learned.
    fn codec(&self) -> Option<&Path> {
        None
    }

    /// How the loss looks at the codec's latents.
    fn latents(&self) -> Option<&LatentsConfig> {
        None
    }

    /// Which pictures of its shapes it is conditioned on.
    fn picture(&self) -> Option<&PictureConfig> {
        None
    }

    /// The data set that flows start from in place of noise.
    fn source(&self) -> Option<&DataConfig> {
        None
    }

    /// What a second network outputs.
    fn second(&self) -> Option<Parameterization> {
        None
    }

    /// Channels of the map that stands beside each sample, for the network to read; it says that it reads `reads`.
    fn maps(&self, reads: usize) -> usize {
        let _ = reads;
        0
    }

    /// The papers it is from, beside those of its words.
    fn papers(&self) -> Vec<Paper> {
        Vec::new()
    }

    /// Why nothing can be drawn from it by itself, and what to use.
    fn alone(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl TaskConfig {
    fn keys(&self) -> &dyn Keys {
        match self {
            Self::Generate(task) => task,
            Self::Transfer(task) => task,
            Self::Separate(task) => task,
            Self::Joint(task) => task,
        }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        self.keys().name()
    }

    /// How captions are read, where they are.
    pub fn text(&self) -> Option<&TextConfig> {
        self.keys().text()
    }

    /// The run of a codec (verb `codec`) whose latents of the data are learned, samples being decoded.
    pub fn codec(&self) -> Option<&Path> {
        self.keys().codec()
    }

    /// How the loss looks at the codec's latents.
    pub fn latents(&self) -> Option<&LatentsConfig> {
        self.keys().latents()
    }

    /// Renders nothing for the loss.
    pub(crate) fn forget_rendering(&mut self) {
        if let Self::Generate(Generate { latents: Some(latents), .. }) = self {
            latents.render = None;
        }
    }

    /// Which pictures of its shapes it is conditioned on, where it is.
    pub fn picture(&self) -> Option<&PictureConfig> {
        self.keys().picture()
    }

    /// The data set that flows start from in place of noise.
    pub fn source(&self) -> Option<&DataConfig> {
        self.keys().source()
    }

    /// What a second network on the same path outputs, trained beside the first and read together with it.
    pub fn second(&self) -> Option<Parameterization> {
        self.keys().second()
    }

    /// The papers it is from, in `recipe`.
    pub fn papers(&self, recipe: &Recipe) -> Vec<Paper> {
        let read = self.text().map(|_| [nets::text::MINILM, nets::text::SENTENCES]);
        let taught = (read.is_some() && recipe.needs_pairs()).then_some(INSTAFLOW);
        let seen = self.picture().and_then(|picture| picture.encoder.as_ref()).map(|_| nets::dinov2::DINOV2);
        let rendered = self.latents().and_then(|latents| latents.render.as_ref());
        let compared = rendered.filter(|render| render.lpips > 0.0).map(|_| flow::loss::LPIPS);
        let rendered = rendered.map(|_| nets::triflow::TRIFLOW).into_iter().chain(compared);
        let read = read.into_iter().flatten();
        read.chain(taught).chain(seen).chain(rendered).chain(self.keys().papers()).collect()
    }

    /// Refuses to draw from a model of it by itself, where something must stand beside.
    ///
    /// # Errors
    /// The reason, with what to use.
    pub fn alone(&self) -> Result<(), &'static str> {
        self.keys().alone()
    }

    /// The keys of `separate`.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for another task.
    pub(crate) fn separate(&self) -> Result<&Separate, crate::Error> {
        match self {
            Self::Separate(task) => Ok(task),
            other => Err(crate::Error::Usage(format!(
                "task `{}` mixes no sounds; that is `task = {{ type = \"separate\" }}`",
                other.name()
            ))),
        }
    }

    /// Refuses keys out of range, and what the rest of `recipe` may not say beside this task.
    pub(super) fn check(&self, recipe: &Recipe) -> Result<(), String> {
        if let Some(text) = self.text() {
            text.check()?;
        }
        if let Some(source) = self.source() {
            source.check().map_err(|error| format!("task.source: {error}"))?;
        }
        let reads = recipe.network.condition().dense;
        match (self.keys().maps(reads), reads) {
            (asked, reads) if asked == reads => {}
            (0, _) => {
                return Err("network.condition.dense is for mixtures to hear a sound in: set `task = { type = \
                            \"separate\" }`, or set it to 0"
                    .into());
            }
            (asked, reads) => {
                return Err(format!(
                    "network.condition.dense is {reads}; for task `{}` the network (a unet) reads {asked} map",
                    self.name()
                ));
            }
        }
        self.keys().check(recipe)
    }
}
