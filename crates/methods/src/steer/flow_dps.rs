//! FlowDPS: gradient steps on the data estimate, taken over the more the noisier it is, and fresh noise in the noise estimate.
//!
//! Kim, Kim, Ye, "FlowDPS: Flow-driven posterior sampling for inverse problems", arXiv 2503.08136, in pixels or latents alike. With
//! `σ = alpha(t)` the share of noise and `σ'` that of the next time: `x̂1 ← (1 - σ) x̂1 + σ x̂1(y)`, where `x̂1(y)` are `inner` gradient
//! steps from `x̂1` towards what is known; `x̂0 ← √σ' x̂0 + √(1 - σ') ε`; the step joins both. One evaluation, nothing differentiated
//! through the network, and unlike FlowChef the answer is drawn at random along the way.

use super::ends::{Ends, path_of};
use super::{Problem, Steered, check_kappa, gradient};
use crate::MethodError;
use base::{Tensor, Times};
use flow::rows;
use serde::{Deserialize, Serialize};

/// FlowDPS: Flow-Driven Posterior Sampling for Inverse Problems.
pub const FLOW_DPS: base::Paper = base::Paper::arxiv(
    "kim2025flowdps",
    "Kim, Jeongsol and Kim, Bryan Sangwoo and Ye, Jong Chul",
    "FlowDPS: Flow-Driven Posterior Sampling for Inverse Problems",
    (2025, "2503.08136"),
    "ICCV 2025",
);

/// Settings of FlowDPS.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FlowDps {
    /// `κ` of a gradient step, in (0, 2).
    pub kappa: f64,
    /// Gradient steps at every time, at least 1; they cost no evaluation of the network.
    pub inner: usize,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

impl Default for FlowDps {
    fn default() -> Self {
        Self { kappa: 1.0, inner: 3, unstable: false }
    }
}

impl FlowDps {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        check_kappa(self.kappa, self.unstable)?;
        match self.inner {
            0 => {
                let remedy = "it must be at least 1";
                Err(MethodError::Setting { setting: "inner", value: "0".into(), remedy })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        mut x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "flow_dps")?;
        let rate = self.kappa / problem.cost.curvature();
        let (dims, device, dtype) = (x.dims(), x.device(), x.dtype());
        for (step, leg) in problem.schedule.times().windows(2).enumerate() {
            let from = Times::all(leg[0], dims[0]);
            let velocity = problem.velocity(x.clone(), &from)?;
            let Ends { source, data } = Ends::of(path, x, velocity, leg[0]);
            let mut fitted = data.clone();
            for _ in 0..self.inner {
                fitted = fitted.clone() - gradient(problem.cost, &fitted) * rate;
            }
            // A share of noise is never above one, also on paths that are scaled otherwise.
            let share = |t: f64| path.at(t).alpha.clamp(0.0, 1.0);
            let (now, next) = (share(leg[0]), share(leg[1]));
            let fresh: Tensor<D> = problem.key.fold(step as u64).normal_tensor(problem.indices, dims, &device);
            let source = source * next.sqrt() + fresh.cast(dtype) * (1.0 - next).sqrt();
            x = Ends { source, data: data * (1.0 - now) + fitted * now }.at(path, leg[1]);
            rows::check_finite(&x, &from, "the steered state")?;
        }
        Ok(Steered { x, nfe: problem.schedule.steps(), differentiated: 0 })
    }
}
