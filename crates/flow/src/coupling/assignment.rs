//! Exact assignment: the permutation of least total cost, by the Hungarian method of the `pathfinding` crate.

use crate::FlowError;
use pathfinding::prelude::{Matrix, kuhn_munkres_min};

/// For each of `n` rows the column it is assigned, so that the sum of `cost(row, column)` is least. O(n³).
///
/// Costs are scaled to integers with a resolution of 2^-40 of their range, so that the method's comparisons are exact and
/// it always ends; a difference below that resolution is a tie.
///
/// # Errors
/// [`FlowError::NotFinite`] if a cost is NaN or infinite.
pub fn assign(n: usize, cost: impl Fn(usize, usize) -> f64) -> Result<Vec<usize>, FlowError> {
    if n < 2 {
        return Ok((0..n).collect());
    }
    let costs: Vec<f64> = (0..n * n).map(|i| cost(i / n, i % n)).collect();
    if let Some(bad) = costs.iter().position(|c| !c.is_finite()) {
        return Err(FlowError::NotFinite { what: "a transport cost", t: f64::NAN, sample: bad / n });
    }
    let low = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let range = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    if range == 0.0 {
        return Ok((0..n).collect());
    }
    let scale = (1u64 << 40) as f64 / range;
    let integers = Matrix::from_fn(n, n, |(row, column)| ((costs[row * n + column] - low) * scale).round() as i64);
    Ok(kuhn_munkres_min(&integers).1)
}
