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
mod fixed;
mod inverse;
mod march;
mod method;
mod multistep;
mod noise;
mod sde;
mod tableau;
mod unipc;

pub use inverse::{FixedPoint, invert};
pub use method::Solver;
pub use sde::{LastStep, Sde};
pub use tableau::{Embedded, Tableau};

use crate::{Brownian, Field, FlowError, Schedule, rows};
use adaptive::Control;
use base::{Condition, Tensor, Times};
use exponential::{Exponential, Keep};
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

const SCORE: &str = "a field whose score is known";
const SCORE_REMEDY: &str = "that is a field from independent pairs with a standard normal source; after reflow, distillation \
                            or optimal-transport coupling use a deterministic solver, for instance heun";

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
    observe: Observer<'_, D>,
) -> Result<Solution<D>, FlowError> {
    solver.check()?;
    let batch = x.dims()[0];
    if batch == 0 {
        return Ok(Solution { x, nfe: 0, nfe_per_sample: Vec::new() });
    }
    let times = Times::all(schedule.ends().0, batch);
    rows::check_finite(&x, &times, "the initial state")?;
    if let Some(pair) = solver.embedded() {
        let (Solver::DormandPrince { rtol, atol, max_steps } | Solver::BogackiShampine { rtol, atol, max_steps }) =
            *solver
        else {
            unreachable!("these two have a pair")
        };
        let control = Control { rtol, atol, max_steps };
        return adaptive::solve(field, x, condition, pair, control, schedule.ends(), observe);
    }
    if solver.is_stochastic() && solver.sde().is_none() {
        check_refreshing(field, solver, schedule)?;
    }
    let exponential = |second_order, keep| Exponential { name: solver.name(), second_order, keep };
    let along =
        |method: Exponential, x, observe| exponential::solve(field, x, condition, &method, schedule, noise, observe);
    let end = match solver {
        Solver::Fireflow {} => multistep::fireflow(field, x, condition, schedule, observe),
        Solver::AdamsBashforth { order } => multistep::adams_bashforth(field, x, condition, *order, schedule, observe),
        Solver::Ddim { eta: 0.0 } => along(exponential(false, Keep::All), x, observe),
        Solver::Ddim { eta } => along(exponential(false, Keep::Ancestral { eta: *eta }), x, observe),
        Solver::DpmSolver {} | Solver::DpmSolverSde { eta: 0.0 } => along(exponential(true, Keep::All), x, observe),
        Solver::DpmSolverSde { eta } => along(exponential(true, Keep::Diffuse { eta: *eta }), x, observe),
        Solver::NoiseRefresh { rate: 0.0 } | Solver::Overshooting { strength: 0.0 } => {
            along(exponential(false, Keep::All), x, observe)
        }
        Solver::Anchored { corrected } => anchored::solve(field, x, condition, *corrected, schedule, observe),
        Solver::Consistency {} => along(exponential(false, Keep::Nothing), x, observe),
        Solver::NoiseRefresh { rate } => along(exponential(false, Keep::Diffuse { eta: *rate }), x, observe),
        Solver::Overshooting { strength } => {
            exponential::overshoot(field, x, condition, *strength, schedule, noise, observe)
        }
        Solver::Unipc { order } => unipc::solve(field, x, condition, *order, schedule, observe),
        Solver::EulerMaruyama(_) | Solver::SdeHeun(_) | Solver::StochasticRk(_) => {
            let method = solver.sde().expect("these three have a scheme");
            sde::solve(field, x, condition, method, schedule, noise, observe)
        }
        _ => {
            let tableau = solver.tableau().expect("every other method has a tableau");
            fixed::solve(field, x, condition, tableau, schedule, observe)
        }
    }?;
    let nfe = solver.evaluations(schedule.steps()).expect("a fixed number of steps has a fixed cost");
    Ok(Solution { x: end, nfe, nfe_per_sample: vec![nfe; batch] })
}

/// Solvers that replace part of the noise need one that is normal and independent of the data, and go towards the data.
fn check_refreshing<const D: usize>(
    field: &dyn Field<D>,
    solver: &Solver,
    schedule: &Schedule,
) -> Result<(), FlowError> {
    let solver = solver.name();
    if !curve::frame_of(field, solver)?.independent {
        return Err(FlowError::Needs { solver, what: SCORE, remedy: SCORE_REMEDY });
    }
    let (from, to) = schedule.ends();
    if to < from {
        let remedy = "for the backward stochastic equation use euler_maruyama, sde_heun or stochastic_rk";
        return Err(FlowError::Needs { solver, what: "a schedule towards the data", remedy });
    }
    Ok(())
}
