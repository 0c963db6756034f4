//! The Schrödinger bridge between two Gaussians with independent coordinates, in closed form.
//!
//! Per coordinate `V(t) = (1-t)² s0² + t² s1² + 2 t (1-t) √(s0² s1² + ε²)`; the mean moves straight. The plan's covariance is
//! `√(s0² s1² + ε²) - ε`.

use super::Marginals;
use crate::{FlowError, error::require};

/// The bridge of one coordinate between N(m0, s0²) and N(m1, s1²) with diffusion ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianBridge {
    marginals: Marginals,
    epsilon: f64,
}

impl GaussianBridge {
    /// The bridge with noise `√(2 epsilon) dW`.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless variances and `epsilon` are positive.
    pub fn new(marginals: Marginals, epsilon: f64) -> Result<Self, FlowError> {
        marginals.check()?;
        require(epsilon.is_finite() && epsilon > 0.0, "epsilon", epsilon, "it must be positive")?;
        Ok(Self { marginals, epsilon })
    }

    /// Covariance of the two ends.
    pub fn covariance(&self) -> f64 {
        let Marginals { variance, .. } = self.marginals;
        (variance[0] * variance[1] + self.epsilon * self.epsilon).sqrt() - self.epsilon
    }

    /// Mean at `t`.
    pub fn mean(&self, t: f64) -> f64 {
        (1.0 - t) * self.marginals.mean[0] + t * self.marginals.mean[1]
    }

    /// Variance at `t` and its derivative.
    pub fn variance(&self, t: f64) -> (f64, f64) {
        let [a, b] = self.marginals.variance;
        let middle = self.covariance() + self.epsilon;
        let value = (1.0 - t) * (1.0 - t) * a + t * t * b + 2.0 * t * (1.0 - t) * middle;
        (value, -2.0 * (1.0 - t) * a + 2.0 * t * b + 2.0 * (1.0 - 2.0 * t) * middle)
    }

    /// The drift of the forward process `dX = b_F dt + √(2ε) dW` at a point.
    pub fn drift(&self, x: f64, t: f64) -> f64 {
        let (variance, change) = self.variance(t);
        let [from, to] = self.marginals.mean;
        to - from + (0.5 * change - self.epsilon) / variance * (x - self.mean(t))
    }

    /// `∫ ½ E|b_F|² dt`, by the midpoint rule on 2000 parts.
    pub fn action(&self) -> f64 {
        let [from, to] = self.marginals.mean;
        let parts = 2000;
        let part = |i: usize| {
            let (variance, change) = self.variance((i as f64 + 0.5) / parts as f64);
            0.5 * ((to - from).powi(2) + (0.5 * change - self.epsilon).powi(2) / variance)
        };
        (0..parts).map(part).sum::<f64>() / parts as f64
    }
}
