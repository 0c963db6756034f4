//! Solvers of `dx/dt = v(x, t, condition)`: pure steps over a field, forwards or backwards in time.
//!
//! Fixed-step methods are Butcher tableaus ([`Tableau`]); Dormand–Prince chooses a step for every sample by itself.
//! Every solution says how often the field was evaluated (NFE). A guided evaluation counts once, although the network
//! underneath sees a batch twice as large.

mod dormand_prince;
mod fixed;
mod tableau;

pub use tableau::Tableau;

use crate::{Field, FlowError, Schedule, error::require, rows};
use base::{Condition, Tensor, Times};
use serde::{Deserialize, Serialize};

/// A method of integration.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Solver {
    /// Order 1, one evaluation per step.
    Euler {},
    /// Order 2, two evaluations per step.
    Midpoint {},
    /// Order 2 (explicit trapezoid), two evaluations per step.
    Heun {},
    /// The classical method of order 4, four evaluations per step.
    Rk4 {},
    /// Dormand–Prince 5(4): steps chosen per sample from an error estimate. Visits only the ends of the schedule.
    DormandPrince {
        /// Relative tolerance, positive.
        #[serde(default = "tolerance")]
        rtol: f64,
        /// Absolute tolerance, positive.
        #[serde(default = "tolerance")]
        atol: f64,
        /// Steps (accepted or not) after which a sample is given up, at least 1.
        #[serde(default = "max_steps")]
        max_steps: usize,
    },
}

fn tolerance() -> f64 {
    1e-5
}

fn max_steps() -> usize {
    1000
}

impl Default for Solver {
    fn default() -> Self {
        Self::Euler {}
    }
}

impl Solver {
    /// Dormand–Prince with tolerances 1e-5, as 2209.03003 uses it.
    pub fn dormand_prince() -> Self {
        Self::DormandPrince { rtol: tolerance(), atol: tolerance(), max_steps: max_steps() }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Euler {} => "euler",
            Self::Midpoint {} => "midpoint",
            Self::Heun {} => "heun",
            Self::Rk4 {} => "rk4",
            Self::DormandPrince { .. } => "dormand_prince",
        }
    }

    /// Evaluations of the field per step; `None` when it chooses its own steps.
    pub fn evaluations_per_step(&self) -> Option<usize> {
        self.tableau().map(|t| t.b.len())
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let Self::DormandPrince { rtol, atol, max_steps } = *self else { return Ok(()) };
        require(rtol.is_finite() && rtol > 0.0, "solver.rtol", rtol, "it must be positive; 1e-5 is customary")?;
        require(atol.is_finite() && atol > 0.0, "solver.atol", atol, "it must be positive; 1e-5 is customary")?;
        require(max_steps > 0, "solver.max_steps", max_steps, "it must be at least 1; 1000 is customary")
    }

    /// The tableau of a fixed-step method.
    pub fn tableau(&self) -> Option<&'static Tableau> {
        match self {
            Self::Euler {} => Some(&tableau::EULER),
            Self::Midpoint {} => Some(&tableau::MIDPOINT),
            Self::Heun {} => Some(&tableau::HEUN),
            Self::Rk4 {} => Some(&tableau::RK4),
            Self::DormandPrince { .. } => None,
        }
    }
}

/// What a solver shows after each step: where the rows were and where they went.
#[derive(Clone, Debug)]
pub struct Observation<const D: usize> {
    /// Number of this step, from 0.
    pub step: usize,
    /// Which rows of the batch took it (all of them in fixed-step methods).
    pub rows: Vec<usize>,
    /// Times before the step, one per row.
    pub t: Times,
    /// Length of the step of each row; negative backwards in time.
    pub dt: Vec<f64>,
    /// Points before the step.
    pub x: Tensor<D>,
    /// Velocity there.
    pub velocity: Tensor<D>,
    /// Points after the step.
    pub next: Tensor<D>,
}

/// The end of a trajectory.
#[derive(Clone, Debug)]
pub struct Solution<const D: usize> {
    /// Points at the schedule's last time, `[b ...]`.
    pub x: Tensor<D>,
    /// Batched evaluations of the field.
    pub nfe: usize,
    /// Evaluations that each sample took part in.
    pub nfe_per_sample: Vec<usize>,
}

/// Integrates `field` from `x` `[b ...]` at the schedule's first time to its last.
///
/// `observe` is called after every step, in order of time for each row.
///
/// # Errors
/// [`FlowError::NotFinite`] if a state becomes NaN or infinite, naming the time; [`FlowError::TooManySteps`] from
/// Dormand–Prince; [`FlowError::Setting`] if the solver's settings are out of range.
pub fn solve<const D: usize>(
    field: &dyn Field<D>,
    x: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    observe: Option<&mut dyn FnMut(Observation<D>)>,
) -> Result<Solution<D>, FlowError> {
    solver.check()?;
    let batch = x.dims()[0];
    if batch == 0 {
        return Ok(Solution { x, nfe: 0, nfe_per_sample: Vec::new() });
    }
    let times = Times::all(schedule.ends().0, batch);
    rows::check_finite(&x, &times, "the initial state")?;
    match *solver {
        Solver::DormandPrince { rtol, atol, max_steps } => {
            dormand_prince::solve(field, x, condition, rtol, atol, max_steps, schedule.ends(), observe)
        }
        _ => {
            let tableau = solver.tableau().expect("every other method has a tableau");
            fixed::solve(field, x, condition, tableau, schedule, observe)
        }
    }
}
