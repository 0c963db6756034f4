//! Flow-NRG: a reward's gradient added to the field while it is sampled, weights chosen then.
//!
//! VideoAlign (arXiv 2501.13918, §4.3): sampling from `p exp(w r)` shifts the score by `w ∇r`, hence the velocity by that times
//! what the score counts for in it: `(1-t)/t` on the straight line, `α (α β' - β α')/β` on a path `α x0 + β x1`. The reward must know
//! noisy points: `r(x_t, t)`, not a reward of clean data. At the noise itself the factor is infinite, and the step is skipped.

use crate::MethodError;
use base::{Condition, Tensor, Times};
use flow::{Field, Frame, path::Sides, rows};

/// The gradient of a reward that reads noisy points.
pub trait RewardGradient<const D: usize> {
    /// `∇_x r(x, t)` for each row of `x` `[b ...]`, same shape.
    fn gradient(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D>;
}

impl<const D: usize, F: Fn(Tensor<D>, &Times, &Condition) -> Tensor<D>> RewardGradient<D> for F {
    fn gradient(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self(x, t, condition)
    }
}

/// A field that climbs a reward on its way.
pub struct Rewarded<F, R> {
    field: F,
    reward: R,
    weight: f64,
}

impl<F, R> Rewarded<F, R> {
    /// `field`, pushed by `weight` times the gradient of `reward`.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for a weight that is no number; [`MethodError::Teacher`] for a field that knows no one-sided path
    /// from independent noise: there the score, which the reward shifts, cannot be read off the velocity.
    pub fn new<const D: usize>(field: F, reward: R, weight: f64) -> Result<Self, MethodError>
    where
        F: Field<D>,
    {
        if !weight.is_finite() {
            let remedy = "it must be a number; 0 is no guidance";
            return Err(MethodError::Setting { setting: "reward_scale", value: weight.to_string(), remedy });
        }
        let knows = field.frame().is_some_and(|frame| frame.independent && frame.path.sides() == Sides::One);
        if !knows {
            return Err(MethodError::Teacher(
                "a reward guides a flow whose noise was drawn independently of the data: take the base model, not one after \
                 reflow or distillation"
                    .into(),
            ));
        }
        Ok(Self { field, reward, weight })
    }

    /// What the score counts for in the velocity at `t`, zero at the noise.
    fn factor(frame: &Frame<'_>, t: f64) -> f64 {
        let c = frame.path.at(t);
        if c.beta <= 0.0 { 0.0 } else { c.alpha * c.determinant() / c.beta }
    }
}

impl<const D: usize, F: Field<D>, R: RewardGradient<D>> Field<D> for Rewarded<F, R> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let velocity = self.field.velocity(x.clone(), t, condition);
        let Some(frame) = self.field.frame() else { return velocity };
        let factors: Vec<f64> = t.values().iter().map(|t| self.weight * Self::factor(&frame, *t)).collect();
        if factors.iter().all(|factor| *factor == 0.0) {
            return velocity; // at the noise, at the data, or without weight: the reward is not even asked
        }
        velocity + rows::scale(self.reward.gradient(x, t, condition), factors)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }
}
