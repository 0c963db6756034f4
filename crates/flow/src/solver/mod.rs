//! Solvers of `dx/dt = v(x, t, condition)` and of its stochastic companions: pure steps over a field, forwards or
//! backwards in time.
//!
//! Fixed-step methods are Butcher tableaus ([`Tableau`]), adaptive ones embedded pairs ([`Embedded`]) that choose a step for
//! every sample by itself; multistep methods hand their past on as a value; curve-following methods read the field's
//! [`Frame`](crate::Frame), stochastic ones its score and a [`Brownian`] path. Every solution says how often the field was
//! evaluated (NFE). A guided evaluation counts once, although the network underneath sees a batch twice as large.
//! Which to choose: `docs/choose-a-solver.md`.

mod adaptive;
mod anchored;
mod curve;
mod exponential;
mod fireflow;
mod fixed;
mod inverse;
mod method;
mod multistep;
mod noise;
mod overshooting;
mod plms;
mod rf_solver;
mod sde;
mod stepper;
mod tableau;
mod unipc;

pub use exponential::CONSISTENCY;
pub use inverse::{FixedPoint, invert};
pub use method::Solver;
pub use sde::{LastStep, SIT, Sde};
pub use stepper::Stepper;
pub use tableau::{Embedded, Tableau};

use crate::{Brownian, Field, FlowError, Schedule, rows};
use base::{Condition, Tensor, Times};
use noise::Noise;

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
    /// Velocity there (FireFlow: the midpoint velocity it stands on instead; SDE-Heun: that of the stirred point).
    pub velocity: Tensor<D>,
    /// Points after the step.
    pub next: Tensor<D>,
}

/// What may be told about every step.
pub type Observer<'a, const D: usize> = Option<&'a mut dyn FnMut(Observation<D>)>;

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

/// Integrates `field` from `x` `[b ...]` at the schedule's first time to its last, with a deterministic solver.
///
/// `observe` is called after every step, in order of time for each row.
///
/// # Errors
/// [`FlowError::NotFinite`] if a state becomes NaN or infinite, naming the time; [`FlowError::TooManySteps`] from
/// adaptive solvers; [`FlowError::Setting`] if the solver's settings are out of range; [`FlowError::Needs`] if the field
/// does not know what the solver asks, or the solver is stochastic.
pub fn solve<const D: usize>(
    field: &dyn Field<D>,
    x: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    observe: Observer<'_, D>,
) -> Result<Solution<D>, FlowError> {
    run(field, x, condition, solver, schedule, Noise(None), observe)
}

/// As [`solve`], with any solver: a stochastic one reads `brownian`, the paths of these samples, one per row of `x`.
///
/// A deterministic solver does not look at them.
///
/// # Errors
/// Those of [`solve`]; [`FlowError::Shape`] where there is not one path per row; [`FlowError::Diffusion`] and
/// [`FlowError::StepTooLong`] where the diffusion is not finite or too large for the step; [`FlowError::Schedule`] where a
/// step is below the paths' resolution.
pub fn solve_with<const D: usize>(
    field: &dyn Field<D>,
    x: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    brownian: &Brownian,
    observe: Observer<'_, D>,
) -> Result<Solution<D>, FlowError> {
    run(field, x, condition, solver, schedule, Noise(Some(brownian)), observe)
}

fn run<const D: usize>(
    field: &dyn Field<D>,
    x: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    noise: Noise<'_>,
    mut observe: Observer<'_, D>,
) -> Result<Solution<D>, FlowError> {
    if let Some((pair, control)) = solver.adaptive() {
        solver.check()?;
        let batch = x.dims()[0];
        if batch == 0 {
            return Ok(Solution { x, nfe: 0, nfe_per_sample: Vec::new() });
        }
        rows::check_finite(&x, &Times::all(schedule.ends().0, batch), "the initial state")?;
        return adaptive::solve(field, x, condition, pair, control, schedule.ends(), observe);
    }
    let mut stepper = Stepper::new(field, x, condition, solver, schedule, noise.0)?;
    while let Some(step) = stepper.advance()? {
        if let Some(observe) = observe.as_deref_mut() {
            observe(step);
        }
    }
    Ok(stepper.solution())
}
