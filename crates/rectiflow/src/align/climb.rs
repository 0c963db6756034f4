//! A model whose samples climb a learned reward: Flow-NRG (arXiv 2501.13918, §4.3) as a field around the model's field.
//!
//! The mathematics is `methods::align::Rewarded`; here a trained reward is opened, held to the model, and its axes are weighed.

use super::{RewardModel, judge::weights};
use crate::{
    Error, Model,
    device::Chosen,
    pipeline::{Around, Boxed},
};
use flow::Field;
use methods::align::Rewarded;
use std::path::Path;

/// A reward that pushes every sample of a model.
pub struct Climb {
    reward: RewardModel,
    weights: Vec<f64>,
}

impl Climb {
    /// The reward in `file` for samples of `of`; `weight` is one number for all axes, or `AXIS=NUMBER,...`.
    ///
    /// # Errors
    /// A file that is no reward, one of other samples or of points on another path, a weight that is none, a model whose score
    /// cannot be read off its velocity.
    pub fn open(file: &Path, weight: &str, of: &Model, device: &Chosen) -> Result<Self, Error> {
        of.check_plain("a reward that samples climb")?;
        let reward = RewardModel::open(file, device)?;
        reward.check_for(of)?;
        if reward.recipe.noisy && reward.recipe.path != of.recipe.path {
            return Err(Error::Usage(format!(
                "the reward {} knows noisy points of path `{}`, and {} runs along `{}`: train a reward on this model",
                file.display(),
                reward.recipe.path.name(),
                of.file.display(),
                of.recipe.path.name()
            )));
        }
        let axes = reward.axes();
        let weights = match weight.trim().parse::<f64>() {
            Ok(all) if all.is_finite() => vec![all; axes.len()],
            Ok(_) => return Err(Error::Usage(format!("a reward's weight of {weight}: give a finite number"))),
            Err(_) => weights(Some(weight), &axes)?,
        };
        let climb = Self { reward, weights };
        climb.around(Box::new(of.field(&Default::default(), Default::default())?))?;
        Ok(climb)
    }
}

impl Around for Climb {
    fn around<'a>(&'a self, field: Box<dyn Field<2> + 'a>) -> Result<Box<dyn Field<2> + 'a>, Error> {
        // The weights are inside the gradient.
        let climbing = Rewarded::new(Boxed(field), self.reward.gradient_of(self.weights.clone())?, 1.0);
        Ok(Box::new(climbing.map_err(|error| Error::Usage(error.to_string()))?))
    }

    fn advice(&self) -> Option<String> {
        let file = self.reward.file.display();
        (!self.reward.recipe.noisy).then(|| {
            format!(
                "the reward {file} has learned from finished samples alone and misjudges the noisy points it is asked at; train one \
                 with `rectiflow reward train --noisy`"
            )
        })
    }
}
