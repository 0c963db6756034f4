//! Fixed-step integration with any explicit tableau: all rows share the schedule's times.

use super::method::Method;
use super::stepper::{Leg, Moved, Plan, Run};
use super::{Tableau, tableau};
use crate::{Field, FlowError};
use base::{Condition, Paper, Tensor, Times};

/// An explicit Runge–Kutta method of the textbooks.
pub(super) struct Explicit {
    name: &'static str,
    tableau: &'static Tableau,
}

pub(super) const EULER: Explicit = Explicit { name: "euler", tableau: &tableau::EULER };
pub(super) const MIDPOINT: Explicit = Explicit { name: "midpoint", tableau: &tableau::MIDPOINT };
pub(super) const HEUN: Explicit = Explicit { name: "heun", tableau: &tableau::HEUN };
pub(super) const RK4: Explicit = Explicit { name: "rk4", tableau: &tableau::RK4 };

impl Method for Explicit {
    fn name(&self) -> &'static str {
        self.name
    }

    fn order(&self) -> Option<f64> {
        Some(f64::from(self.tableau.order))
    }

    fn papers(&self) -> Vec<Paper> {
        Vec::new()
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(steps * self.tableau.b.len())
    }

    fn tableau(&self) -> Option<&'static Tableau> {
        Some(self.tableau)
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        Ok(plan(self.tableau, run))
    }
}

/// Steps of `tableau`.
pub(super) fn plan<'a, const D: usize>(tableau: &'static Tableau, run: Run<'a, '_, D>) -> Plan<'a, D> {
    let Run { field, condition, .. } = run;
    run.on_grid(Box::new(move |leg, x| Ok(step(field, x, condition, tableau, leg))))
}

/// One step of a tableau.
pub(super) fn step<const D: usize>(
    field: &dyn Field<D>,
    x: Tensor<D>,
    condition: &Condition,
    tableau: &Tableau,
    leg: &Leg,
) -> Moved<D> {
    let (batch, h) = (x.dims()[0], leg.h());
    if tableau.b.len() == 1 {
        // One stage stands for the whole step: a field that knows its mean over the step says that.
        let (from, to) = (Times::all(leg.from, batch), Times::all(leg.to, batch));
        let velocity = field.average_velocity(x.clone(), &from, &to, condition);
        return Moved { next: x + velocity.clone() * h, velocity, evaluations: 1 };
    }
    let mut stages: Vec<Tensor<D>> = Vec::with_capacity(tableau.b.len());
    for (a, c) in tableau.a.iter().zip(tableau.c) {
        // The last stage of a step is at the schedule's own time, not at t + h with its rounding.
        let time = if *c == 1.0 { leg.to } else { leg.from + c * h };
        let point = combine(x.clone(), &stages, a, h);
        stages.push(field.velocity(point, &Times::all(time, batch), condition));
    }
    let next = combine(x, &stages, tableau.b, h);
    Moved { evaluations: stages.len(), velocity: stages.swap_remove(0), next }
}

/// `x + h Σ weights_j stages_j`, skipping zeros.
pub(super) fn combine<const D: usize>(x: Tensor<D>, stages: &[Tensor<D>], weights: &[f64], h: f64) -> Tensor<D> {
    stages.iter().zip(weights).filter(|(_, w)| **w != 0.0).fold(x, |x, (k, w)| x + k.clone() * (w * h))
}
