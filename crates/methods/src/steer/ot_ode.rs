//! OT-ODE: the velocity corrected by the likelihood of a linear measurement, from a start that shows it already.
//!
//! Pokle et al., "Training-free linear image inverses via flows", arXiv 2310.04432, algorithm 1. The data given a point is taken
//! for Gaussian around its estimate with variance `r² = alpha²/(alpha² + beta²)`, so that
//! `∇ log p(y | x) = (∂x̂1/∂x)ᵀ Aᵀ (r² A Aᵀ + σ²)⁻¹ (y - A x̂1)`, and the velocity gains `alpha² d log(beta/alpha)/dt` of it:
//! `(1 - t)/t` on the linear path. It starts at `t0 > 0`, where that is finite, from the back-projected measurement in noise.

use super::ends::path_of;
use super::through::{Through, through};
use super::{Problem, Steered, conjugate, shaped};
use crate::MethodError;
use base::{Tensor, Times};
use flow::{Schedule, rows};
use serde::{Deserialize, Serialize};

/// Training-free Linear Image Inverses via Flows.
pub const OT_ODE: base::Paper = base::Paper::arxiv(
    "pokle2023training",
    "Pokle, Ashwini and Muckley, Matthew J. and Chen, Ricky T. Q. and Karrer, Brian",
    "Training-free Linear Image Inverses via Flows",
    (2023, "2310.04432"),
    "TMLR 2024",
);

/// Settings of OT-ODE.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct OtOde {
    /// Where it starts, in (0, 1); the schedule's times before it are left out.
    pub start: f64,
}

impl Default for OtOde {
    fn default() -> Self {
        Self { start: 0.2 }
    }
}

impl OtOde {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        if self.start > 0.0 && self.start < 1.0 {
            return Ok(());
        }
        let remedy = "it must lie between 0 and 1; 0.2 is published";
        Err(MethodError::Setting { setting: "start", value: self.start.to_string(), remedy })
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "ot_ode")?;
        let linear = problem.cost.linear().ok_or_else(|| MethodError::not_linear("ot_ode"))?;
        let later = problem.schedule.times().iter().copied().filter(|t| *t > self.start);
        let grid = Schedule::new(std::iter::once(self.start).chain(later).collect())?;
        let begin = path.at(self.start);
        let back = linear.operator.adjoint(linear.measured.clone()) / linear.operator.bound();
        let mut x = shaped(back, &x) * begin.beta + x * begin.alpha;
        for leg in grid.times().windows(2) {
            let (t, h, c) = (leg[0], leg[1] - leg[0], path.at(leg[0]));
            let spread = c.alpha * c.alpha / (c.alpha * c.alpha + c.beta * c.beta);
            let Through { velocity, pulled, .. } = through(problem, path, &x, t, |data| {
                let misfit = linear.measured.clone() - linear.operator.forward(rows::flatten(data.clone()));
                let weighed = conjugate::solve(linear.operator, spread, linear.noise * linear.noise, misfit)?;
                Ok(shaped(linear.operator.adjoint(weighed), data))
            })?;
            let gain = c.alpha * c.determinant() / c.beta;
            x = x + (velocity + pulled * gain) * h;
            rows::check_finite(&x, &Times::all(t, x.dims()[0]), "the steered state")?;
        }
        Ok(Steered { x, nfe: grid.steps(), differentiated: grid.steps() })
    }
}
