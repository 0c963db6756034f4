//! The exact inverse of an explicit Runge–Kutta step, by fixed-point iteration.
//!
//! Walking a schedule backwards is another step of the same method and returns to the start only to the method's order. The
//! step itself, `y = z + h Φ(z)`, is undone by `z ← y - h Φ(z)`: for RF-Solver (arXiv 2411.04746), in the midpoint form in
//! which it is computed, `z ← y - h v(z + h/2 v(z, a), (a + b)/2)`. The iteration contracts where the step is short against
//! one over the velocity's Lipschitz constant; where it does not there is an error, never a point that is no inverse.

use super::stepper::Leg;
use super::{Solution, Solver, fixed};
use crate::{Field, FlowError, Schedule, error::require, rows};
use base::{Condition, Tensor, Times};

/// When an iteration ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedPoint {
    /// Iterations per step at most, at least 1; each costs one step of the method.
    pub iterations: usize,
    /// Change of a sample from one iteration to the next, root mean square over its values, below which a step is undone;
    /// positive.
    pub tolerance: f64,
}

impl Default for FixedPoint {
    fn default() -> Self {
        Self { iterations: 30, tolerance: 1e-5 }
    }
}

impl FixedPoint {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        require(self.iterations > 0, "iterations", self.iterations, "it must be at least 1; 30 is customary")?;
        let holds = self.tolerance.is_finite() && self.tolerance > 0.0;
        require(holds, "tolerance", self.tolerance, "it must be positive; 1e-5 is customary")
    }
}

/// The point `[b ...]` at the first time of `schedule` that `solver` carries to `y` `[b ...]` at its last: what
/// [`solve`](super::solve) is the other direction of.
///
/// # Errors
/// [`FlowError::NotConverged`] where a step is too long to be undone by iteration, naming its time and a sample;
/// [`FlowError::Needs`] for a solver that is no fixed Runge–Kutta method; [`FlowError::NotFinite`] and
/// [`FlowError::Setting`] as from [`solve`](super::solve).
pub fn invert<const D: usize>(
    field: &dyn Field<D>,
    y: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    how: &FixedPoint,
) -> Result<Solution<D>, FlowError> {
    solver.check()?;
    how.check()?;
    let remedy = "only the steps of euler, midpoint, heun, rk4 and rf_solver stand for themselves; run any other solver on the \
                  reversed schedule, which inverts to its order";
    let what = "to be a Runge-Kutta method on fixed steps";
    let tableau = solver.tableau().ok_or(FlowError::Needs { solver: solver.name(), what, remedy })?;
    let batch = y.dims()[0];
    let mut nfe = 0;
    let mut y = y;
    if batch == 0 {
        return Ok(Solution { x: y, nfe, nfe_per_sample: Vec::new() });
    }
    rows::check_finite(&y, &Times::all(schedule.ends().1, batch), "the initial state")?;
    for (step, pair) in schedule.times().windows(2).enumerate().rev() {
        let leg = Leg { step, from: pair[0], to: pair[1], replaced: false };
        let refuse = |sample: usize, iterations: usize, change: f64| {
            let (t, step) = (leg.from, leg.h().abs());
            Err(FlowError::NotConverged { t, step, sample, iterations, change, tolerance: how.tolerance })
        };
        let mut z = y.clone();
        let mut before = vec![f64::INFINITY; batch];
        for iteration in 1..=how.iterations {
            let moved = fixed::step(field, z.clone(), condition, tableau, &leg);
            nfe += tableau.b.len();
            let next = y.clone() - (moved.next - z.clone());
            rows::check_finite(&next, &Times::all(leg.from, batch), "the state")?;
            let changes = rows::host(rows::mean((next.clone() - z).square()))?;
            let changes: Vec<f64> = changes.into_iter().map(f64::sqrt).collect();
            z = next;
            // A contraction shrinks every change. Where one grows the step may be undone in more than one way, and what
            // the iteration ends at need not be where the solver came from.
            let grown = |i: &usize| changes[*i] >= how.tolerance && changes[*i] > before[*i];
            if let Some(sample) = (0..batch).find(grown) {
                return refuse(sample, iteration, changes[sample]);
            }
            let (change, sample) =
                changes.iter().copied().zip(0..).fold((0.0, 0), |a, b| if b.0 > a.0 { b } else { a });
            if change < how.tolerance {
                break;
            }
            if iteration == how.iterations {
                return refuse(sample, iteration, change);
            }
            before = changes;
        }
        y = z;
    }
    Ok(Solution { x: y, nfe, nfe_per_sample: vec![nfe; batch] })
}
