//! The exact flow between two Gaussian mixtures with independent pairs, on any path.
//!
//! Every pair of components is a Gaussian whose mean and variance follow the path (2303.08797, appendix A); velocity, score
//! and posterior means are averages over the pairs with weights by log-sum-exp, so nothing underflows far from the modes.

use super::each_row;
use super::mixture::{Mixture, log_gaussian, log_sum_exp};
use crate::{Field, FlowError, Path};
use base::{Condition, Tensor, Times};

/// Velocity field of a path between mixtures.
#[derive(Clone, Debug)]
pub struct MixtureField {
    path: Path,
    source: Mixture,
    target: Mixture,
}

/// Everything the exact posterior says at one point and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// `E[dx_t/dt | x_t = x]`.
    pub velocity: Vec<f64>,
    /// `grad log density`.
    pub score: Vec<f64>,
    /// `E[x0 | x_t = x]`.
    pub source: Vec<f64>,
    /// `E[x1 | x_t = x]`.
    pub data: Vec<f64>,
    /// Log density of `x_t` at `x`.
    pub log_density: f64,
}

impl MixtureField {
    /// The flow along `path` from N(0, I) to `target`.
    ///
    /// # Errors
    /// [`FlowError`] if the path's settings are out of range.
    pub fn new(path: Path, target: Mixture) -> Result<Self, FlowError> {
        Self::between(path, Mixture::standard(target.dimension()), target)
    }

    /// The flow along `path` from `source` to `target`.
    ///
    /// # Errors
    /// [`FlowError`] if the dimensions differ or the path's settings are out of range.
    pub fn between(path: Path, source: Mixture, target: Mixture) -> Result<Self, FlowError> {
        path.check()?;
        if source.dimension() != target.dimension() {
            let (left_shape, right_shape) = (vec![source.dimension()], vec![target.dimension()]);
            return Err(FlowError::Shape { left: "source", left_shape, right: "target", right_shape });
        }
        Ok(Self { path, source, target })
    }

    /// The mixture at t = 1.
    pub fn target(&self) -> &Mixture {
        &self.target
    }

    /// The exact posterior at one point.
    pub fn posterior(&self, x: &[f64], t: f64) -> Posterior {
        let c = self.path.at(t);
        let d = x.len();
        let pairs: Vec<(usize, usize)> = (0..self.source.weights().len())
            .flat_map(|i| (0..self.target.weights().len()).map(move |j| (i, j)))
            .collect();
        let mut mean = vec![0.0; d];
        let mut variance = vec![0.0; d];
        let moments = |i: usize, j: usize, mean: &mut [f64], variance: &mut [f64]| {
            let (m0, v0) = (&self.source.means()[i], &self.source.variances()[i]);
            let (m1, v1) = (&self.target.means()[j], &self.target.variances()[j]);
            for k in 0..d {
                mean[k] = c.alpha * m0[k] + c.beta * m1[k];
                variance[k] = c.alpha * c.alpha * v0[k] + c.beta * c.beta * v1[k] + c.gamma * c.gamma;
            }
        };
        let terms: Vec<f64> = (pairs.iter())
            .map(|&(i, j)| {
                moments(i, j, &mut mean, &mut variance);
                (self.source.weights()[i] * self.target.weights()[j]).ln() + log_gaussian(x, &mean, &variance)
            })
            .collect();
        let log_density = log_sum_exp(&terms);
        let zero = || vec![0.0; d];
        let mut out = Posterior { velocity: zero(), score: zero(), source: zero(), data: zero(), log_density };
        for (&(i, j), term) in pairs.iter().zip(&terms) {
            let weight = (term - log_density).exp();
            if weight == 0.0 {
                continue;
            }
            moments(i, j, &mut mean, &mut variance);
            let (m0, v0) = (&self.source.means()[i], &self.source.variances()[i]);
            let (m1, v1) = (&self.target.means()[j], &self.target.variances()[j]);
            for k in 0..d {
                let pull = (x[k] - mean[k]) / variance[k];
                let d_mean = c.d_alpha * m0[k] + c.d_beta * m1[k];
                let half_d_variance = c.alpha_d_alpha * v0[k] + c.beta * c.d_beta * v1[k] + c.gamma_d_gamma;
                out.velocity[k] += weight * (d_mean + half_d_variance * pull);
                out.score[k] -= weight * pull;
                out.source[k] += weight * (m0[k] + c.alpha * v0[k] * pull);
                out.data[k] += weight * (m1[k] + c.beta * v1[k] * pull);
            }
        }
        out
    }
}

impl Field<2> for MixtureField {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        each_row(x, t, |x, t| self.posterior(x, t).velocity)
    }
}
