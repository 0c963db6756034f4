//! A pair of samples as the flow meets it: winner and loser at the same time with the same noise.
//!
//! Sharing both is not a detail: what is compared are two errors that the noise moves by far more than the preference does.

use super::Errors;
use crate::MethodError;
use crate::tape::place;
use base::{Condition, Device, Network, Pass, Tensor, Times};
use flow::{Beside, Loss, Objective, Parameterization, Weighting, path::Ends};

/// A batch of pairs with what their points are made of.
#[derive(Clone, Debug)]
pub struct Duel<const D: usize> {
    /// The preferred samples, `[pairs ...]`.
    pub winner: Tensor<D>,
    /// The others.
    pub loser: Tensor<D>,
    /// The source of both, `[pairs ...]`.
    pub noise: Tensor<D>,
    /// A time for each pair.
    pub times: Times,
    /// What both were asked for.
    pub condition: Condition,
}

impl<const D: usize> Duel<D> {
    /// The squared errors of `policy` (on `device`, which may be a tape) and of `reference` (never on one), of the velocity that
    /// the network's output stands for, whatever `objective` says of loss and weighting. Each network is asked once.
    ///
    /// # Errors
    /// Shapes that disagree; a path with a latent, or an output that is no velocity.
    pub fn errors(
        &self,
        objective: &Objective,
        (policy, pass, device): (&dyn Network<D>, &Pass, &Device),
        reference: &dyn Network<D>,
    ) -> Result<Errors, MethodError> {
        let objective = Objective {
            loss: Loss::L2 {},
            weighting: Weighting::Velocity {},
            measure: None,
            perceptual: None,
            antithetic: false,
            ..objective.clone()
        };
        if objective.path.has_latent() {
            let path = objective.path.name();
            return Err(MethodError::Teacher(format!(
                "Flow-DPO compares two errors at one noise, and path `{path}` mixes in a latent; align a model on another path"
            )));
        }
        objective.parameterization.check_reads(Parameterization::Velocity {}, &objective.path)?;
        let pairs = self.times.len();
        let numbers: usize = self.winner.dims()[1..].iter().product();
        let ends = Ends {
            x0: Tensor::cat(vec![self.noise.clone(), self.noise.clone()], 0),
            x1: Tensor::cat(vec![self.winner.clone(), self.loser.clone()], 0),
            z: None,
        };
        let exercise = objective.exercise(ends, &self.times.cat(&self.times), &self.condition.repeated(2))?;
        let halves = |losses: Tensor<1>| {
            let losses = losses * numbers as f64; // means become sums
            [losses.clone().narrow(0, 0, pairs), losses.narrow(0, pairs, pairs)]
        };
        let asked = exercise.clone();
        let reference = objective.loss_on(reference, exercise, &Pass::Infer, Beside::default());
        let lifted = flow::Exercise {
            x: place(asked.x, device),
            wanted: place(asked.wanted, device),
            condition: asked.condition.on(device),
            data: None,
            ..asked
        };
        // Winners and losers at once, with the same dropout for both.
        let policy = objective.loss_on(policy, lifted, &pass.repeated(2), Beside::default());
        let reference = halves(reference).map(|losses| place(losses, device));
        Ok(Errors { policy: halves(policy), reference, numbers })
    }
}
