//! Diagnostics: how straight a flow is, how much its training pairs cross, what transport costs, and what few steps lose.
//!
//! Rectified flow, arXiv 2209.03003, §3: straightness `S(Z) = ∫ E|(Z1-Z0) - dZ/dt|² dt`, crossing
//! `V(X0,X1) = ∫ E|X1-X0 - E[X1-X0|X_t]|² dt`, and the ledger `E|X1-X0|² - E|Z1-Z0|² = S + V`. Distances are sums over the
//! values of a sample, not means. Everything is per sample and streaming: memory does not grow with the number of steps.

mod ledger;
mod profile;
mod straightness;

pub use ledger::Ledger;
pub use profile::{Profile, profile};
pub use straightness::{Straightness, straightness};

use crate::{Ends, Field, FlowError, Path, Schedule, Solver, rows, solve};
use base::{Condition, Tensor, Times};

/// Crossing of each pair, `[b]` on the host: `∫ |dx_t/dt - v(x_t, t)|² dt` by the midpoint rule on `points` equal parts.
///
/// With `v` the regressed velocity of these pairs its mean is `V`.
///
/// # Errors
/// [`FlowError`] if the shapes differ, `points` is zero or the device fails.
pub fn crossing<const D: usize>(
    field: &dyn Field<D>,
    path: &Path,
    x0: &Tensor<D>,
    x1: &Tensor<D>,
    condition: &Condition,
    points: usize,
) -> Result<Vec<f64>, FlowError> {
    crate::error::require(points > 0, "points", points, "the time integral needs at least one point")?;
    let mut total = vec![0.0; x0.dims()[0]];
    for i in 0..points {
        let t = (i as f64 + 0.5) / points as f64;
        let ends = (x0.clone(), x1.clone()).into();
        for (total, part) in total.iter_mut().zip(crossing_at(field, path, ends, condition, t)?) {
            *total += part / points as f64;
        }
    }
    Ok(total)
}

/// `|dx_t/dt - v(x_t, t)|²` of each pair at one time, `[b]` on the host: the integrand of [`crossing`], for ends with a
/// latent too.
///
/// # Errors
/// [`FlowError`] if the shapes differ, a latent is missing or the device fails.
pub fn crossing_at<const D: usize>(
    field: &dyn Field<D>,
    path: &Path,
    ends: Ends<D>,
    condition: &Condition,
    t: f64,
) -> Result<Vec<f64>, FlowError> {
    let times = Times::all(t, ends.x0.dims()[0]);
    let point = path.point_of(ends, &times)?;
    rows::host(rows::sum((point.dxt - field.velocity(point.xt, &times, condition)).square()))
}

/// `|x1 - x0|^p` of each pair (Euclidean norm over the values of a sample), on the host.
///
/// # Errors
/// [`FlowError`] if the shapes differ or the device fails.
pub fn transport_cost<const D: usize>(x0: &Tensor<D>, x1: &Tensor<D>, p: f64) -> Result<Vec<f64>, FlowError> {
    rows::same_shape("x0", x0, "x1", x1)?;
    let squared = rows::host(rows::sum((x1.clone() - x0.clone()).square()))?;
    Ok(squared.into_iter().map(|s| s.powf(p / 2.0)).collect())
}

/// `|few-step end - reference end|²` of each sample: what a short schedule loses against `reference` `[b ...]`.
///
/// # Errors
/// Those of [`solve`].
pub fn step_error<const D: usize>(
    field: &dyn Field<D>,
    x0: Tensor<D>,
    condition: &Condition,
    solver: &Solver,
    few: &Schedule,
    reference: &Tensor<D>,
) -> Result<Vec<f64>, FlowError> {
    let end = solve(field, x0, condition, solver, few, None)?.x;
    transport_cost(reference, &end, 2.0)
}

/// Mean of per-sample numbers; zero for none.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}
