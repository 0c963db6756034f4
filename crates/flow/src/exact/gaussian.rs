//! The exact rectified flow between Gaussians, and the flow after reflow.
//!
//! From N(0, I) to N(m, s²) with independent pairs every marginal is Gaussian, so the flow map is affine:
//! `Z_t = beta m + √(A_t/A_0) (Z_0 - beta_0 m)`, `A = alpha² + beta² s² + gamma²`. On the linear path (2209.03003):
//! straightness `s (2 - π/2)`, crossing `s π/2`, transport cost `m² + 1 + s²` before and `m² + (1-s)²` after, per dimension.

use super::{each_row, each_row_twice};
use crate::{Field, FlowError, Frame, Path, ScoreField, error::require};
use base::{Condition, Tensor, Times};
use std::f64::consts::FRAC_PI_2;

/// The first rectified flow from N(0, I) to a Gaussian with independent coordinates.
#[derive(Clone, Debug)]
pub struct Gaussian {
    path: Path,
    mean: Vec<f64>,
    std: Vec<f64>,
}

fn check(mean: &[f64], std: &[f64]) -> Result<(), FlowError> {
    if mean.len() != std.len() {
        let (left_shape, right_shape) = (vec![mean.len()], vec![std.len()]);
        return Err(FlowError::Shape { left: "mean", left_shape, right: "std", right_shape });
    }
    let bad = std.iter().find(|s| !(s.is_finite() && **s > 0.0));
    require(bad.is_none(), "std", bad.copied().unwrap_or(1.0), "standard deviations must be positive")
}

impl Gaussian {
    /// The flow along `path` to N(`mean`, diag(`std`²)).
    ///
    /// # Errors
    /// [`FlowError`] if the lengths differ or a standard deviation is not positive.
    pub fn new(path: Path, mean: Vec<f64>, std: Vec<f64>) -> Result<Self, FlowError> {
        path.check()?;
        check(&mean, &std)?;
        Ok(Self { path, mean, std })
    }

    /// Mean, variance and their time derivatives of coordinate `i` at time `t`.
    fn moments(&self, i: usize, t: f64) -> (f64, f64, f64, f64) {
        let (c, m, s2) = (self.path.at(t), self.mean[i], self.std[i] * self.std[i]);
        let variance = c.alpha * c.alpha + c.beta * c.beta * s2 + c.gamma * c.gamma;
        let d_variance = 2.0 * (c.alpha_d_alpha + c.beta * c.d_beta * s2 + c.gamma_d_gamma);
        (c.beta * m, variance, c.d_beta * m, d_variance)
    }

    /// Velocity at one point.
    pub fn velocity_at(&self, x: &[f64], t: f64) -> Vec<f64> {
        (x.iter().enumerate())
            .map(|(i, x)| {
                let (mean, variance, d_mean, d_variance) = self.moments(i, t);
                d_mean + 0.5 * d_variance / variance * (x - mean)
            })
            .collect()
    }

    /// Score `grad log density` at one point.
    pub fn score_at(&self, x: &[f64], t: f64) -> Vec<f64> {
        (x.iter().enumerate())
            .map(|(i, x)| {
                let (mean, variance, _, _) = self.moments(i, t);
                (mean - x) / variance
            })
            .collect()
    }

    /// Log density of the marginal at time `t`.
    pub fn log_density(&self, x: &[f64], t: f64) -> f64 {
        (x.iter().enumerate())
            .map(|(i, x)| {
                let (mean, variance, _, _) = self.moments(i, t);
                -0.5 * ((x - mean).powi(2) / variance + (2.0 * std::f64::consts::PI * variance).ln())
            })
            .sum()
    }

    /// Where the exact flow carries a point from time `from` to time `to`.
    pub fn transport(&self, x: &[f64], from: f64, to: f64) -> Vec<f64> {
        (x.iter().enumerate())
            .map(|(i, x)| {
                let (m0, v0, _, _) = self.moments(i, from);
                let (m1, v1, _, _) = self.moments(i, to);
                m1 + (v1 / v0).sqrt() * (x - m0)
            })
            .collect()
    }

    /// Straightness `S` of the first rectified flow on the **linear** path, summed over coordinates.
    pub fn linear_straightness(&self) -> f64 {
        self.std.iter().map(|s| s * (2.0 - FRAC_PI_2)).sum()
    }

    /// Crossing `V` of independent pairs on the **linear** path, summed over coordinates.
    pub fn linear_crossing(&self) -> f64 {
        self.std.iter().map(|s| s * FRAC_PI_2).sum()
    }

    /// `E|X1 - X0|²` of independent pairs.
    pub fn cost_before(&self) -> f64 {
        self.mean.iter().zip(&self.std).map(|(m, s)| m * m + 1.0 + s * s).sum()
    }

    /// `E|Z1 - Z0|²` of the linear flow's own pairs (the optimal cost: the map is monotone in each coordinate).
    pub fn cost_after(&self) -> f64 {
        self.mean.iter().zip(&self.std).map(|(m, s)| m * m + (1.0 - s).powi(2)).sum()
    }
}

impl Field<2> for Gaussian {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        each_row(x, t, |x, t| self.velocity_at(x, t))
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: !self.path.has_latent() })
    }

    fn score_field(&self) -> Option<&dyn ScoreField<2>> {
        Some(self)
    }
}

impl ScoreField<2> for Gaussian {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, _: &Condition) -> (Tensor<2>, Tensor<2>) {
        each_row_twice(x, t, |x, t, velocity, score| {
            velocity.copy_from_slice(&self.velocity_at(x, t));
            score.copy_from_slice(&self.score_at(x, t));
        })
    }
}

/// The flow after reflow of the monotone coupling `X1 = m + s X0`, along any path.
///
/// Straight on the linear path, where one Euler step is exact; on the trigonometric path it is not (2209.03003's negative
/// case: only the linear path is straightened).
#[derive(Clone, Debug)]
pub struct GaussianReflow {
    path: Path,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl GaussianReflow {
    /// The reflow along `path` of the coupling `X1 = mean + std X0`.
    ///
    /// # Errors
    /// [`FlowError`] if the lengths differ or a standard deviation is not positive.
    pub fn new(path: Path, mean: Vec<f64>, std: Vec<f64>) -> Result<Self, FlowError> {
        path.check()?;
        check(&mean, &std)?;
        Ok(Self { path, mean, std })
    }

    /// Velocity at one point: `alpha' z + beta' (m + s z)` with `z` the source point that passes there.
    pub fn velocity_at(&self, x: &[f64], t: f64) -> Vec<f64> {
        let c = self.path.at(t);
        (x.iter().zip(&self.mean).zip(&self.std))
            .map(|((x, m), s)| {
                let z = (x - c.beta * m) / (c.alpha + c.beta * s);
                c.d_alpha * z + c.d_beta * (m + s * z)
            })
            .collect()
    }
}

impl Field<2> for GaussianReflow {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        each_row(x, t, |x, t| self.velocity_at(x, t))
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: false })
    }
}
