//! PnP-Flow: a gradient step on the sample, fresh noise along the flow's own path, and the flow as a denoiser.
//!
//! Martin et al., "PnP-Flow: plug-and-play image restoration with flow matching", arXiv 2410.02423, algorithm 3:
//! `z = x - γ ∇L(x)`, `x_t = alpha ε + beta z` for fresh `ε`, `x = E[x1 | x_t]` averaged over the draws, with
//! `γ = κ/λ · alpha(t)^power`. What moves is an estimate of the data, not a point of the flow: answers are means, so smooth.

use super::ends::{Ends, path_of};
use super::{Problem, Steered, check_kappa, gradient, shaped};
use crate::MethodError;
use base::{Tensor, Times};
use flow::rows;
use serde::{Deserialize, Serialize};

/// PnP-Flow: Plug-and-Play Image Restoration with Flow Matching.
pub const PNP_FLOW: base::Paper = base::Paper::arxiv(
    "martin2024pnp",
    "Martin, S{\\'e}gol{\\`e}ne and Gagneux, Anne and Hagemann, Paul and Steidl, Gabriele",
    "PnP-Flow: Plug-and-Play Image Restoration with Flow Matching",
    (2024, "2410.02423"),
    "ICLR 2025",
);

/// Settings of PnP-Flow.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PnpFlow {
    /// `κ` of the first step, in (0, 2).
    pub kappa: f64,
    /// How fast the steps shrink towards the data: `alpha(t)` to this power, zero or more.
    pub power: f64,
    /// Draws of noise averaged at every step, at least 1.
    pub draws: usize,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

impl Default for PnpFlow {
    fn default() -> Self {
        Self { kappa: 1.0, power: 0.5, draws: 5, unstable: false }
    }
}

impl PnpFlow {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        check_kappa(self.kappa, self.unstable)?;
        let setting = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        if self.draws == 0 {
            return setting("draws", "0".into(), "it must be at least 1; 5 is published");
        }
        if !(self.power.is_finite() && self.power >= 0.0) {
            return setting("power", self.power.to_string(), "it must be zero or more");
        }
        Ok(())
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "pnp_flow")?;
        let linear = problem.cost.linear().ok_or_else(|| MethodError::not_linear("pnp_flow"))?;
        let rate = self.kappa / problem.cost.curvature();
        let back = linear.operator.adjoint(linear.measured.clone()) / linear.operator.bound();
        let (dims, device, dtype) = (x.dims(), x.device(), x.dtype());
        let mut x = shaped(back, &x);
        let times = problem.schedule.times();
        for (step, &t) in times[..times.len() - 1].iter().enumerate() {
            let (c, at) = (path.at(t), Times::all(t, dims[0]));
            let z = x.clone() - gradient(problem.cost, &x) * (rate * c.alpha.powf(self.power));
            let mut sum = x.zeros_like();
            for draw in 0..self.draws {
                let key = problem.key.fold((step * self.draws + draw) as u64);
                let noise: Tensor<D> = key.normal_tensor(problem.indices, dims, &device).cast(dtype);
                let point = Ends { source: noise, data: z.clone() }.at(path, t);
                let velocity = problem.velocity(point.clone(), &at)?;
                sum = sum + Ends::of(path, point, velocity, t).data;
            }
            x = sum / self.draws as f64;
            rows::check_finite(&x, &at, "the steered state")?;
        }
        Ok(Steered { x, nfe: problem.schedule.steps() * self.draws, differentiated: 0 })
    }
}
