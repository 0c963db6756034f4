//! `(a A Aᵀ + s) z = r` by conjugate gradients, a system per row, and the projection onto a measurement that it gives.
//!
//! Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49(6), 1952. Where `A Aᵀ` is a multiple of the identity on what is measured
//! (masks, pooling, grey) one division solves it.

use super::{Cost, Operator, shaped};
use crate::MethodError;
use base::Tensor;
use flow::rows;

/// Iterations at most. An ill-posed system (a wide blur without noise) is left half solved: that is its regularisation.
const ITERATIONS: usize = 60;
/// Share of the first residual at which a row is done.
const TOLERANCE: f64 = 1e-6;

/// `z` `[b m]` with `(a A Aᵀ + s) z = r`, for `r` within what `A` measures.
///
/// # Errors
/// [`MethodError::Flow`] if the device cannot be read.
pub fn solve(operator: &dyn Operator, a: f64, s: f64, r: Tensor<2>) -> Result<Tensor<2>, MethodError> {
    if operator.is_flat() {
        return Ok(r / (a * operator.bound() + s));
    }
    let apply = |v: &Tensor<2>| operator.forward(operator.adjoint(v.clone())) * a + v.clone() * s;
    let dot = |x: &Tensor<2>, y: &Tensor<2>| (x.clone() * y.clone()).sum_dim(1); // [b 1]
    let (mut z, mut residual) = (r.zeros_like(), r);
    let mut direction = residual.clone();
    let mut size = dot(&residual, &residual);
    let first = size.clone();
    for _ in 0..ITERATIONS {
        let done = rows::host(size.clone() - first.clone() * TOLERANCE * TOLERANCE)?.into_iter().all(|d| d <= 0.0);
        if done {
            break;
        }
        let image = apply(&direction);
        // A row that is done has nothing left to divide by.
        let length = size.clone() / dot(&direction, &image).clamp_min(f64::from(f32::MIN_POSITIVE));
        z = z + direction.clone() * length.clone();
        residual = residual - image * length;
        let next = dot(&residual, &residual);
        let turn = next.clone() / size.clamp_min(f64::from(f32::MIN_POSITIVE));
        direction = residual.clone() + direction * turn;
        size = next;
    }
    Ok(z)
}

/// The point nearest to `x` `[b ...]` that measures what was measured.
///
/// # Errors
/// [`MethodError::Steering`] for a cost that is no linear measurement.
pub fn project<const D: usize>(cost: &dyn Cost, x: Tensor<D>) -> Result<Tensor<D>, MethodError> {
    let linear = cost.linear().ok_or_else(|| MethodError::not_linear("a projection at the end"))?;
    let flat = rows::flatten(x.clone());
    let misfit = linear.measured.clone() - linear.operator.forward(flat.clone());
    let z = solve(linear.operator, 1.0, 0.0, misfit)?;
    Ok(shaped(flat + linear.operator.adjoint(z), &x))
}
