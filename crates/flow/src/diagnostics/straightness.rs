//! Straightness of trajectories, accumulated step by step.

use crate::{Field, FlowError, Schedule, Solver, rows, solve};
use base::{Condition, Tensor};

/// A solved batch and how straight it went.
#[derive(Clone, Debug)]
pub struct Straightness<const D: usize> {
    /// `∫ |(Z1-Z0)/span - dZ/dt|² dt` of each sample over the schedule's span.
    pub per_sample: Vec<f64>,
    /// Ends of the trajectories, `[b ...]`.
    pub x: Tensor<D>,
    /// Batched evaluations of the field.
    pub nfe: usize,
}

/// Solves from `x0` and measures the straightness of every trajectory.
///
/// `dZ/dt` is the speed of the polyline through the solver's points, weighted by the length of each step, so uneven
/// schedules are measured rightly; for Euler it is the velocity itself. Few steps under-estimate: use at least 50.
/// A fixed-step solver is needed, because every row must take the same steps.
///
/// # Errors
/// Those of [`solve`], and [`FlowError::Setting`] for an adaptive solver.
pub fn straightness<const D: usize>(
    field: &dyn Field<D>,
    x0: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
) -> Result<Straightness<D>, FlowError> {
    let fixed = !solver.is_adaptive() && !solver.is_stochastic();
    crate::error::require(
        fixed,
        "solver",
        solver.name(),
        "straightness needs a deterministic fixed-step solver, for instance heun",
    )?;
    let mut sum = Accumulator::default();
    let mut failed = None;
    let mut observe = |o: crate::Observation<D>| {
        if failed.is_none() {
            failed = sum.push(o.next - o.x, o.dt[0]).err();
        }
    };
    let solution = solve(field, x0, condition, solver, schedule, Some(&mut observe))?;
    match failed {
        Some(error) => Err(error),
        None => Ok(Straightness { per_sample: sum.finish()?, x: solution.x, nfe: solution.nfe }),
    }
}

/// `∫|w|² - |∫w|²/span` with `w` the speed minus the first step's speed.
///
/// The subtraction keeps the difference of two large numbers away when trajectories are nearly straight, and nothing
/// but two running sums is kept.
struct Accumulator<const D: usize> {
    first: Option<Tensor<D>>,
    integral: Option<Tensor<D>>,
    squared: Vec<f64>,
    span: f64,
}

impl<const D: usize> Default for Accumulator<D> {
    fn default() -> Self {
        Self { first: None, integral: None, squared: Vec::new(), span: 0.0 }
    }
}

impl<const D: usize> Accumulator<D> {
    fn push(&mut self, moved: Tensor<D>, dt: f64) -> Result<(), FlowError> {
        self.span += dt.abs();
        let speed = moved / dt;
        let Some(first) = &self.first else {
            self.squared = vec![0.0; speed.dims()[0]];
            self.integral = Some(speed.zeros_like());
            self.first = Some(speed);
            return Ok(());
        };
        let w = speed - first.clone();
        for (total, part) in self.squared.iter_mut().zip(rows::host(rows::sum(w.clone().square()))?) {
            *total += part * dt.abs();
        }
        self.integral = self.integral.take().map(|sum| sum + w * dt.abs());
        Ok(())
    }

    fn finish(self) -> Result<Vec<f64>, FlowError> {
        let Some(integral) = self.integral else { return Ok(Vec::new()) };
        let mean = rows::host(rows::sum(integral.square()))?;
        Ok(self.squared.iter().zip(mean).map(|(s, m)| (s - m / self.span).max(0.0)).collect())
    }
}
