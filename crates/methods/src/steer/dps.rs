//! Diffusion posterior sampling on a flow: FlowChef's step with the true gradient, through the network.
//!
//! Chung et al., "Diffusion posterior sampling for general noisy inverse problems", arXiv 2209.14687, algorithm 1, with the squared
//! misfit and its step as `κ` (the paper divides by the misfit's root). `x ← x - s (∂x̂1/∂x)ᵀ ∇L(x̂1)`, then the step with the
//! velocity already found. What FlowChef saves is the derivative: here a second pass through the network, and its activations.

use super::ends::{Ends, path_of};
use super::through::{Through, through};
use super::{Problem, Steered, check_kappa, gradient};
use crate::MethodError;
use base::{Tensor, Times};
use flow::rows;
use serde::{Deserialize, Serialize};

/// Diffusion Posterior Sampling for General Noisy Inverse Problems.
pub const DPS: base::Paper = base::Paper::arxiv(
    "chung2022diffusion",
    "Chung, Hyungjin and Kim, Jeongsol and Mccann, Michael T. and Klasky, Marc L. and Ye, Jong Chul",
    "Diffusion Posterior Sampling for General Noisy Inverse Problems",
    (2022, "2209.14687"),
    "ICLR 2023",
);

/// Settings of DPS.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Dps {
    /// `κ`, in (0, 2).
    pub kappa: f64,
    /// Whether the last step is steered too.
    pub last_step: bool,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

impl Default for Dps {
    fn default() -> Self {
        Self { kappa: 0.2, last_step: false, unstable: false }
    }
}

impl Dps {
    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        mut x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        check_kappa(self.kappa, self.unstable)?;
        let path = path_of(problem.field, "dps")?;
        let (steps, rate) = (problem.schedule.steps(), self.kappa / problem.cost.curvature());
        let mut differentiated = 0;
        for (step, leg) in problem.schedule.times().windows(2).enumerate() {
            let from = Times::all(leg[0], x.dims()[0]);
            let ends = if self.last_step || step + 1 < steps {
                let Through { ends, pulled, .. } =
                    through(problem, path, &x, leg[0], |data| Ok(gradient(problem.cost, data)))?;
                differentiated += 1;
                let shift = pulled * -rate;
                Ends { source: ends.source + shift.clone(), data: ends.data + shift }
            } else {
                let velocity = problem.velocity(x.clone(), &from)?;
                Ends::of(path, x, velocity, leg[0])
            };
            x = ends.at(path, leg[1]);
            rows::check_finite(&x, &from, "the steered state")?;
        }
        Ok(Steered { x, nfe: steps, differentiated })
    }
}
