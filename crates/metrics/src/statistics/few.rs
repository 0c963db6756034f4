//! `tr (S1 S2)^(1/2)` where `S2` is the covariance of fewer rows than they have dimensions, as pixels of images are.
//!
//! With centred rows `X` `[n d]`, `S2 = Xᵀ X / (n - 1)`, and the eigenvalues of `S1 S2` that are not zero are those of
//! `X S1 Xᵀ / (n - 1)`, which is `n` by `n`: no eigenvalue problem of the dimension `d` is left, and a resample's square is made
//! of entries of the first.

use super::frechet::noise_floor;
use super::moments::Gaussian;
use crate::MetricsError;
use crate::matrix::products;
use faer::{Mat, Side};

/// `X S Xᵀ` of rows about the mean of `S`'s own set.
pub(super) struct Few {
    square: Vec<f64>,
    rows: usize,
}

impl Few {
    /// Of the rows `x` `[n d]`, row-major, the reference's mean taken off.
    pub fn of(real: &Gaussian, x: &[f64]) -> Self {
        let d = real.dim();
        let square = products(&products(x, &real.covariance, d), x, d);
        Self { square, rows: x.len() / d }
    }

    /// `tr (S1 S2)^(1/2)` with row `i` counted `times[i]` times; the counts sum to the number of rows.
    pub fn root_trace(&self, times: &[f64]) -> Result<f64, MetricsError> {
        let n = self.rows;
        let along: Vec<f64> = self.square.chunks_exact(n).map(|row| dot(row, times) / n as f64).collect();
        let whole = dot(&along, times) / n as f64;
        let there: Vec<usize> = (0..n).filter(|&i| times[i] > 0.0).collect();
        let square = Mat::from_fn(there.len(), there.len(), |a, b| {
            let (i, j) = (there[a], there[b]);
            (self.square[i * n + j] - along[i] - along[j] + whole) * (times[i] * times[j]).sqrt()
        });
        let failed = |_| MetricsError::NoConvergence { what: "Fréchet distance" };
        let values = square.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
        let floor = noise_floor(&values, n);
        Ok(values.iter().filter(|&&v| v > floor).map(|v| (v / (n as f64 - 1.0)).sqrt()).sum())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
