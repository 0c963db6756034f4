//! One More Step as part of a model: the small network that goes before every sample (see `methods::one_more_step`).

use crate::{Error, Model, device::Chosen, pipeline::Before, runs::which};
use base::{Condition, Key, RandomStream, Tensor, Times};
use flow::{Field, Parameterization, guidance::GuidanceConfig};
pub use methods::OneMoreStep;
use std::path::Path;

/// Name of its stage in checkpoints.
pub const STAGE: &str = "one_more_step";

/// The step's network and settings.
pub struct FirstStep {
    /// The network.
    pub model: Model,
    /// How the step is taken.
    pub step: OneMoreStep,
}

impl FirstStep {
    /// The step in `file`, for samples of `of`.
    ///
    /// # Errors
    /// A checkpoint that is no such step, or one of other data, shape or classes; a model that starts at its noise by
    /// training; settings out of range.
    pub fn open(file: &Path, step: OneMoreStep, of: &Model, device: &Chosen) -> Result<Self, Error> {
        step.check().map_err(|error| Error::Usage(error.to_string()))?;
        let model = Model::open(file, which(None)?, device)?;
        let (ours, theirs) = (&of.subject, &model.subject);
        if theirs.stage != STAGE {
            let (file, stage) = (file.display(), &theirs.stage);
            return Err(Error::Usage(format!(
                "--one-more-step {file}: it is a `{stage}` checkpoint; make a step with `rectiflow one-more-step`"
            )));
        }
        if theirs.shape != ours.shape || theirs.classes.len() != ours.classes.len() {
            return Err(Error::Usage(format!(
                "--one-more-step {}: it is for samples of {} in {} classes, and these are {} in {}",
                file.display(),
                theirs.shape,
                theirs.classes.len(),
                ours.shape,
                ours.classes.len()
            )));
        }
        if of.recipe.needs_pairs() && OneMoreStep::applies(&of.recipe.path, 0.0) {
            return Err(Error::Usage(format!(
                "--one-more-step {}: this model was trained on stored pairs, which start at the noise itself, so that nothing is \
                 missing there; sample it without the step",
                file.display()
            )));
        }
        Ok(Self { model, step })
    }
}

impl Before for FirstStep {
    fn applies(&self, path: &flow::Path, t: f64) -> bool {
        OneMoreStep::applies(path, t)
    }

    fn start(
        &self,
        path: &flow::Path,
        t: f64,
        noise: &Tensor<2>,
        condition: &Condition,
        seed: u64,
        indices: &[u64],
    ) -> Result<Option<Tensor<2>>, Error> {
        if !OneMoreStep::applies(path, t) {
            return Ok(None);
        }
        let recipe = &self.model.recipe;
        let guidance = GuidanceConfig { scale: self.step.guidance, interval: None };
        let field = self.model.field(&guidance, recipe.sample.precision)?;
        let zero = Times::all(0.0, indices.len());
        let velocity = field.velocity(noise.clone(), &zero, condition);
        let data = Parameterization::Data {};
        let estimate = Parameterization::Velocity {}.read(data, &recipe.path, noise.clone(), velocity, &zero);
        let fresh = || {
            // Noise that neither the samples nor anything else draws.
            let key = Key::of(seed, RandomStream::OneMoreStepNoise);
            key.normal_tensor(indices, noise.dims(), &noise.device())
        };
        Ok(Some(self.step.start(path, t, noise.clone(), estimate, fresh)))
    }
}
