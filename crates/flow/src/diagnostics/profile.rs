//! What a flow does along time: speed, bending, stiffness and what a step of a solver loses there.
//!
//! A straight flow has no acceleration anywhere; where one bends, a step loses accuracy, and where neighbouring
//! trajectories part quickly (a large Lipschitz constant) errors grow. Together they say where steps belong.

use crate::{Field, FlowError, Schedule, Solver, rows, solve};
use base::{Condition, Key, Purpose, Tensor, Times};
use serde::{Deserialize, Serialize};

/// Figures at the beginning of each step of a schedule; norms are Euclidean over the values of a sample.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Times.
    pub t: Vec<f64>,
    /// Root mean square of the speed `|v|`.
    pub speed: Vec<f64>,
    /// Root mean square of the acceleration `|dv/dt + (∇v) v|` along trajectories; zero for a straight flow.
    pub curvature: Vec<f64>,
    /// Mean over samples of a lower estimate of the Lipschitz constant of `v(·, t)`.
    pub lipschitz: Vec<f64>,
    /// Root mean square of the difference between one step and two half steps: the solver's local error.
    pub truncation: Vec<f64>,
}

/// Length of the time step that measures acceleration.
const INSTANT: f64 = 1e-3;
/// Length of the probe that measures stiffness, per square root of the dimension.
const NEAR: f64 = 1e-3;
/// Power iterations of that probe.
const ITERATIONS: usize = 4;

/// Follows `x0` `[b ...]` through `schedule` and takes the figures before each step.
///
/// # Errors
/// Those of [`solve`], and [`FlowError::Setting`] for an adaptive solver.
pub fn profile<const D: usize>(
    field: &dyn Field<D>,
    x0: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    schedule: &Schedule,
    seed: u64,
) -> Result<Profile, FlowError> {
    let fixed = !solver.is_adaptive() && !solver.is_stochastic();
    crate::error::require(fixed, "solver", solver.name(), "a profile needs a fixed-step solver, for instance heun")?;
    let mut profile = Profile::default();
    let mut x = x0;
    let batch = x.dims()[0];
    for pair in schedule.times().windows(2) {
        let (t, next) = (pair[0], pair[1]);
        let step = |times: Vec<f64>| Ok(solve(field, x.clone(), condition, solver, &Schedule::new(times)?, None)?.x);
        let velocity = field.velocity(x.clone(), &Times::all(t, batch), condition);
        let instant = INSTANT.min((next - t).abs()) * (next - t).signum();
        let there = x.clone() + velocity.clone() * instant;
        let later = field.velocity(there, &Times::all(t + instant, batch), condition);
        let (one, two) = (step(vec![t, next])?, step(vec![t, 0.5 * (t + next), next])?);
        profile.t.push(t);
        profile.speed.push(root_mean_square(velocity.clone())?);
        profile.curvature.push(root_mean_square((later - velocity.clone()) / instant)?);
        profile.truncation.push(root_mean_square(one - two.clone())?);
        profile.lipschitz.push(super::mean(&lipschitz(field, &x, &velocity, t, condition, seed)?));
        x = two;
    }
    Ok(profile)
}

/// A lower estimate of the Lipschitz constant of `v(·, t)` at each point of `x` `[b ...]`, on the host: the largest stretch
/// of a small displacement under a few power iterations of finite differences.
fn lipschitz<const D: usize>(
    field: &dyn Field<D>,
    x: &Tensor<D>,
    velocity: &Tensor<D>,
    t: f64,
    condition: &Condition,
    seed: u64,
) -> Result<Vec<f64>, FlowError> {
    let [batch, d] = rows::flatten(x.clone()).dims();
    let indices: Vec<u64> = (0..batch as u64).collect();
    let probe = Key::new(seed, Purpose::Probe).normal_tensor(&indices, x.dims(), &x.device()).cast(x.dtype());
    let near = NEAR * (d as f64).sqrt();
    let unit = |v: Tensor<D>| -> Result<(Tensor<D>, Vec<f64>), FlowError> {
        let norms: Vec<f64> = rows::host(rows::sum(v.clone().square()))?.into_iter().map(f64::sqrt).collect();
        let factors = norms.iter().map(|n| if *n > 0.0 { near / n } else { 0.0 }).collect();
        Ok((rows::scale(v, factors), norms))
    };
    let mut largest = vec![0.0f64; batch];
    let (mut direction, _) = unit(probe)?;
    for _ in 0..ITERATIONS {
        let moved = field.velocity(x.clone() + direction, &Times::all(t, batch), condition) - velocity.clone();
        let (next, norms) = unit(moved)?;
        largest.iter_mut().zip(norms).for_each(|(largest, norm)| *largest = largest.max(norm / near));
        direction = next;
    }
    Ok(largest)
}

fn root_mean_square<const D: usize>(x: Tensor<D>) -> Result<f64, FlowError> {
    Ok(super::mean(&rows::host(rows::sum(x.square()))?).sqrt())
}
