//! Gaussian mixtures with independent coordinates: densities by log-sum-exp, draws by counter.

use crate::{FlowError, error::require};
use base::Key;
use std::f64::consts::PI;

/// A mixture of Gaussians with diagonal covariances.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    variances: Vec<Vec<f64>>,
}

impl Mixture {
    /// A mixture; `weights` are normalised, `means` and `variances` hold one vector per component.
    ///
    /// # Errors
    /// [`FlowError`] if there is no component, lengths differ, or a weight or variance is not positive.
    pub fn new(weights: Vec<f64>, means: Vec<Vec<f64>>, variances: Vec<Vec<f64>>) -> Result<Self, FlowError> {
        let n = weights.len();
        require(n > 0, "weights", n, "a mixture needs at least one component")?;
        let shapes = |v: &Vec<Vec<f64>>| v.iter().map(Vec::len).collect::<Vec<_>>();
        let expected = vec![means.first().map_or(0, Vec::len); n];
        for (name, vectors) in [("means", &means), ("variances", &variances)] {
            if shapes(vectors) != expected {
                let right_shape = shapes(vectors);
                return Err(FlowError::Shape { left: "weights", left_shape: expected, right: name, right_shape });
            }
        }
        let bad = weights.iter().chain(variances.iter().flatten()).find(|v| !(v.is_finite() && **v > 0.0));
        require(bad.is_none(), "mixture", bad.copied().unwrap_or(1.0), "weights and variances must be positive")?;
        let total: f64 = weights.iter().sum();
        Ok(Self { weights: weights.iter().map(|w| w / total).collect(), means, variances })
    }

    /// N(0, I) in `d` dimensions.
    pub fn standard(d: usize) -> Self {
        Self { weights: vec![1.0], means: vec![vec![0.0; d]], variances: vec![vec![1.0; d]] }
    }

    /// `modes` equal Gaussians of standard deviation `std` on a circle of radius `radius` in the plane.
    ///
    /// # Errors
    /// [`FlowError::Setting`] if `modes` is zero or `std` not positive.
    pub fn ring(modes: usize, radius: f64, std: f64) -> Result<Self, FlowError> {
        let angle = |i: usize| 2.0 * PI * i as f64 / modes as f64;
        let means = (0..modes).map(|i| vec![radius * angle(i).cos(), radius * angle(i).sin()]).collect();
        Self::new(vec![1.0; modes], means, vec![vec![std * std; 2]; modes])
    }

    /// Number of dimensions.
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// Normalised weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Means of the components.
    pub fn means(&self) -> &[Vec<f64>] {
        &self.means
    }

    /// Variances of the components, per coordinate.
    pub fn variances(&self) -> &[Vec<f64>] {
        &self.variances
    }

    /// Mean of the mixture.
    pub fn mean(&self) -> Vec<f64> {
        (0..self.dimension()).map(|i| self.weights.iter().zip(&self.means).map(|(w, m)| w * m[i]).sum()).collect()
    }

    /// Log density.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let terms: Vec<f64> = (0..self.weights.len())
            .map(|k| self.weights[k].ln() + log_gaussian(x, &self.means[k], &self.variances[k]))
            .collect();
        log_sum_exp(&terms)
    }

    /// The draw of sample `index`: a function of `key` and `index` alone.
    pub fn sample(&self, key: Key, index: u64) -> Vec<f64> {
        let mut u = key.fold(0).uniform(index);
        let mut k = 0;
        while k + 1 < self.weights.len() && u >= self.weights[k] {
            u -= self.weights[k];
            k += 1;
        }
        (key.fold(1).normals(index, self.dimension()).enumerate())
            .map(|(i, z)| self.means[k][i] + self.variances[k][i].sqrt() * f64::from(z))
            .collect()
    }
}

/// Log density of a Gaussian with diagonal covariance.
fn log_gaussian(x: &[f64], mean: &[f64], variance: &[f64]) -> f64 {
    (x.iter().zip(mean).zip(variance)).map(|((x, m), v)| -0.5 * ((x - m).powi(2) / v + (2.0 * PI * v).ln())).sum()
}

/// `log Σ exp` without overflow or underflow.
pub(super) fn log_sum_exp(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top.is_infinite() { top } else { top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln() }
}
