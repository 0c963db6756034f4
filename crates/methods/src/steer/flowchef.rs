//! FlowChef: the velocity is held still, the gradient at the data estimate moves the point, the same velocity moves it on.
//!
//! Patel et al., "FlowChef: Steering of rectified flow models for controlled generations", arXiv 2412.00100, algorithm 1:
//! `x ← x - s ∇L(x + (1 - t) v)`, then `x ← x + h v` with the **same** `v`. The true gradient has the factor `I + (1 - t) Jᵀ`;
//! it is set to `I`, which is the better the straighter the flow, so nothing is differentiated through the network. On a
//! curved path the move carries both ends of the curve along; on the linear one that is the paper's.
//!
//! How long a step may be: what moves the point by `δ` moves the next data estimate by `∂x̂1/∂x δ`, so that the residual is
//! multiplied by `1 - κ J`, and it is `κ J < 2`, not `κ < 2`, that keeps it from growing. On the linear path a direction of
//! deviation `s` has `J = t s²/((1-t)² + t² s²)`, at most `s²/(2 (√(1 + s²) - 1))`, about `s/2`: the coarse waves of pictures
//! have `s` of 5 and more, which is why the published κ is 0.08.
//!
//! With `½ |A x - y|²` the inner loop is gradient descent on a fixed quadratic: `N` inner steps of `κ` leave the residual
//! `(1 - κ)^N`, as one of `1 - (1 - κ)^N` does where `A Aᵀ` is a multiple of the identity.

use super::ends::{Ends, path_of};
use super::{Problem, Steered, check_kappa, check_window, conjugate, gradient, shaped, within};
use crate::MethodError;
use base::{Tensor, Times};
use flow::rows;
use serde::{Deserialize, Serialize};

/// FlowChef: Steering of Rectified Flow Models for Controlled Generations.
pub const FLOWCHEF: base::Paper = base::Paper::arxiv(
    "patel2024flowchef",
    "Patel, Maitreya and Wen, Song and Metaxas, Dimitris N. and Yang, Yezhou",
    "FlowChef: Steering of Rectified Flow Models for Controlled Generations",
    (2024, "2412.00100"),
    "ICCV 2025",
);

/// Settings of FlowChef.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FlowChef {
    /// How far a gradient moves the point.
    pub rule: Rule,
    /// Gradient steps before each step of the sampler, at least 1; they cost no evaluation of the network.
    pub inner: usize,
    /// Times `[from, to]` (t = 1 at the data) whose steps are steered; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<(f64, f64)>,
    /// Whether the last step is steered too. The published code leaves it out, and a small residual with it.
    pub last_step: bool,
    /// Whether κ is held to `h √λ/(2σ)` for a measurement with noise `σ`, `h` the length of the step and `λ` the cost's curvature.
    /// What of the noise no picture could show is taken up at every step and damped by the flow at the rate `1/(1 - t)`, so
    /// that it stands at `κ σ/(√λ h)` times the noise that the flow expects at that time; here at no more than half.
    pub noise_aware: bool,
    /// Whether the samples are put onto the measurement at the end. For measurements without noise.
    pub project: bool,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

/// How far a gradient moves the point.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// By `κ` over the cost's curvature: gradient descent.
    Descent {
        /// `κ`, in (0, 2).
        kappa: f64,
    },
    /// By Adam with its customary averages (0.9, 0.999), begun anew at every time: nearly a step of `rate` along the sign.
    Adam {
        /// Its step, positive, in the units of the data.
        rate: f64,
        /// What it adds to the root of the second moment, positive: values with smaller gradients move in proportion.
        threshold: f64,
    },
}

impl Default for FlowChef {
    fn default() -> Self {
        Self {
            rule: Rule::Descent { kappa: 0.5 },
            inner: 1,
            window: None,
            last_step: false,
            noise_aware: true,
            project: false,
            unstable: false,
        }
    }
}

impl FlowChef {
    /// Gradient descent with `kappa`.
    pub fn new(kappa: f64) -> Self {
        Self { rule: Rule::Descent { kappa }, ..Self::default() }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        if self.inner == 0 {
            let remedy = "it must be at least 1";
            return Err(MethodError::Setting { setting: "inner", value: "0".into(), remedy });
        }
        check_window(self.window)?;
        match self.rule {
            Rule::Descent { kappa } => check_kappa(kappa, self.unstable),
            Rule::Adam { rate, threshold } => {
                for (setting, value) in [("rate", rate), ("threshold", threshold)] {
                    if !(value.is_finite() && value > 0.0) {
                        let remedy = "it must be positive";
                        return Err(MethodError::Setting { setting, value: value.to_string(), remedy });
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        mut x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "flowchef")?;
        let (batch, steps) = (x.dims()[0], problem.schedule.steps());
        for (step, leg) in problem.schedule.times().windows(2).enumerate() {
            let (from, to) = (Times::all(leg[0], batch), leg[1]);
            let velocity = problem.velocity(x.clone(), &from)?;
            let mut ends = Ends::of(path, x, velocity, leg[0]);
            if within(self.window, leg[0]) && (self.last_step || step + 1 < steps) {
                // The velocity is a number from here on: whatever moves the point moves both ends with it.
                let moved = self.descend(problem, ends.data.clone(), self.most(problem, leg[1] - leg[0]));
                let shift = moved.clone() - ends.data;
                ends = Ends { source: ends.source + shift, data: moved };
            }
            x = ends.at(path, to);
            rows::check_finite(&x, &from, "the steered state")?;
        }
        if self.project {
            x = conjugate::project(problem.cost, x)?;
        }
        Ok(Steered { x, nfe: steps, differentiated: 0 })
    }

    /// The largest κ that the measurement bears in a step of length `h`.
    fn most<const D: usize>(&self, problem: &Problem<'_, D>, h: f64) -> f64 {
        let noise = problem.cost.noise();
        if self.noise_aware && noise > 0.0 { 0.5 * h * problem.cost.curvature().sqrt() / noise } else { f64::INFINITY }
    }

    /// The inner steps from a data estimate.
    fn descend<const D: usize>(&self, problem: &Problem<'_, D>, mut data: Tensor<D>, most: f64) -> Tensor<D> {
        match self.rule {
            Rule::Descent { kappa } => {
                let rate = kappa.min(most) / problem.cost.curvature();
                for _ in 0..self.inner {
                    data = data.clone() - gradient(problem.cost, &data) * rate;
                }
                data
            }
            Rule::Adam { rate, threshold } => {
                let flat = rows::flatten(data.clone());
                let (mut first, mut second) = (flat.zeros_like(), flat.zeros_like());
                let mut point = flat;
                for n in 1..=self.inner as i32 {
                    let g = problem.cost.gradient(point.clone());
                    first = first * 0.9 + g.clone() * 0.1;
                    second = second * 0.999 + g.square() * 0.001;
                    let size = (second.clone() / (1.0 - 0.999f64.powi(n))).sqrt() + threshold;
                    point = point - first.clone() / (1.0 - 0.9f64.powi(n)) / size * (most.min(1.0) * rate);
                }
                shaped(point, &data)
            }
        }
    }
}
