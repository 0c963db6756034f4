//! What a recipe's task learns from, opened: one file to a task, which `train`, `plan` and `inspect` ask.
//!
//! Its keys are one floor down (`recipe::task`). A task is a variant there and a file on each of the two floors; no verb names one.

mod generate;
mod joint;
mod separate;
mod transfer;

use super::Stream;
use crate::{
    Context, Error, Recipe,
    codec::{Codec, Rendering},
    model::Subject,
    recipe::TaskConfig,
    sampling::Classes,
    words::Words,
};
use base::Shape;
use data::Dataset;
use flow::{Gauge, Premetric};
use serde_json::Value;
use std::{path::Path, sync::Arc};

/// What a task gives the verbs that train, plan and inspect it.
pub(crate) trait Trains {
    /// All that a first stage in `folder` learns from.
    ///
    /// # Errors
    /// Data that cannot be used, and what the verb cannot follow.
    fn open(&self, recipe: &Recipe, folder: &Path, context: &mut Context) -> Result<Opened, Error>;

    /// What `plan` counts: as [`Trains::open`], without what costs time.
    ///
    /// # Errors
    /// Data that cannot be used.
    fn survey(&self, recipe: &Recipe, context: &mut Context) -> Result<Survey, Error>;

    /// Facts about what it trains on, for a reader.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn facts(&self, recipe: &Recipe) -> Result<Value, Error>;
}

/// What a first stage learns from, and what its sheets ask for.
pub(crate) struct Opened {
    pub subject: Subject,
    pub stream: Stream,
    /// The distance that the recipe's `perceptual` weighs.
    pub premetric: Option<Box<dyn Premetric<2>>>,
    /// What the loss looks through, where the task says so.
    pub gauge: Option<Box<dyn Gauge<2>>>,
    /// What latents are rendered for, where that has a loss.
    pub rendering: Option<Rendering>,
    /// Who reads prompts.
    pub words: Option<Arc<Words>>,
    /// What decodes samples, where the flow moves latents.
    pub codec: Option<Arc<Codec>>,
    pub asked: Classes,
}

/// What there is to learn from.
pub(crate) struct Survey {
    pub samples: usize,
    /// What the network moves.
    pub shape: Shape,
    /// Classes the network is told.
    pub classes: usize,
    /// The samples, where they are pictures.
    pub pictures: Option<Arc<dyn Dataset>>,
}

/// The task of a recipe.
pub(crate) fn of(task: &TaskConfig) -> &dyn Trains {
    match task {
        TaskConfig::Generate(task) => task,
        TaskConfig::Transfer(task) => task,
        TaskConfig::Separate(task) => task,
        TaskConfig::Joint(task) => task,
    }
}
