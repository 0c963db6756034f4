//! The exact flow from N(0, I) to a finite set of points, blurred or not: a softmax over the points.
//!
//! Rectified flow, arXiv 2209.03003, §2.1 with atoms: `E[x1 | x_t = x] = Σ w_j x_j` with weights
//! `w_j ∝ exp(-|x - beta x_j|² / 2C)` and `C = alpha² + beta² h² + gamma²`. With `h = 0` this is what a network of infinite
//! capacity learns of its training set; with `h > 0` the set is blurred to a Gaussian kernel density.
//! Everything is one product of the batch with the points, so it works for images as for points in the plane.

use super::{Posterior, by_time};
use crate::{Coefficients, Field, FlowError, Frame, Path, ScoreField, error::require};
use base::{Condition, Tensor, TensorData, Times};
use std::f64::consts::PI;

/// The flow to a finite set of points.
#[derive(Clone, Debug)]
pub struct Empirical {
    path: Path,
    points: Vec<Vec<f64>>,
    bandwidth: f64,
}

impl Empirical {
    /// The flow along `path` to `points`, each blurred by N(0, `bandwidth`² I).
    ///
    /// # Errors
    /// [`FlowError`] if there is no point, their lengths differ, a number is not finite, or the bandwidth is negative.
    pub fn new(path: Path, points: Vec<Vec<f64>>, bandwidth: f64) -> Result<Self, FlowError> {
        path.check()?;
        let d = points.first().map_or(0, Vec::len);
        require(d > 0, "points", points.len(), "give at least one point of at least one coordinate")?;
        if let Some(other) = points.iter().find(|p| p.len() != d) {
            let (left_shape, right_shape) = (vec![d], vec![other.len()]);
            return Err(FlowError::Shape { left: "the first point", left_shape, right: "another", right_shape });
        }
        let bad = points.iter().flatten().find(|v| !v.is_finite());
        require(bad.is_none(), "points", bad.copied().unwrap_or(0.0), "coordinates must be finite")?;
        let holds = bandwidth.is_finite() && bandwidth >= 0.0;
        require(holds, "bandwidth", bandwidth, "it must be zero or positive")?;
        Ok(Self { path, points, bandwidth })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The points.
    pub fn points(&self) -> &[Vec<f64>] {
        &self.points
    }

    /// Coefficients and the variance of a component at `t`, which without blur is held `1e-3` away from a data end that
    /// is a set of points, where velocity and score are not defined.
    fn at(&self, t: f64) -> (Coefficients, f64) {
        let variance = |c: &Coefficients| {
            c.alpha * c.alpha + (c.beta * self.bandwidth) * (c.beta * self.bandwidth) + c.gamma * c.gamma
        };
        let c = self.path.at(t);
        if variance(&c) > 0.0 {
            return (c, variance(&c));
        }
        let c = self.path.at(1.0 - 1e-3);
        (c, variance(&c))
    }

    /// The exact posterior at one point.
    pub fn posterior(&self, x: &[f64], t: f64) -> Posterior {
        let (c, variance) = self.at(t);
        let d = x.len() as f64;
        let distance = |p: &Vec<f64>| x.iter().zip(p).map(|(x, p)| (x - c.beta * p).powi(2)).sum::<f64>();
        let terms: Vec<f64> = self.points.iter().map(|p| -0.5 * distance(p) / variance).collect();
        let all = super::mixture::log_sum_exp(&terms);
        let (mut mean, mut square) = (vec![0.0; x.len()], 0.0);
        for (p, term) in self.points.iter().zip(&terms) {
            let weight = (term - all).exp();
            mean.iter_mut().zip(p).for_each(|(m, p)| *m += weight * p);
            square += weight * p.iter().map(|p| p * p).sum::<f64>();
        }
        let h2 = self.bandwidth * self.bandwidth;
        let rate = (c.alpha_d_alpha + c.beta * c.d_beta * h2 + c.gamma_d_gamma) / variance;
        let of = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&mean).map(|(x, m)| f(*x, *m)).collect::<Vec<f64>>();
        let spread = square - mean.iter().map(|m| m * m).sum::<f64>();
        Posterior {
            velocity: of(&|x, m| c.d_beta * m + rate * (x - c.beta * m)),
            score: of(&|x, m| (c.beta * m - x) / variance),
            source: of(&|x, m| c.alpha * (x - c.beta * m) / variance),
            data: of(&|x, m| m + c.beta * h2 * (x - c.beta * m) / variance),
            latent: of(&|x, m| c.gamma * (x - c.beta * m) / variance),
            log_density: all - (self.points.len() as f64).ln() - 0.5 * d * (2.0 * PI * variance).ln(),
            divergence: rate * d + (c.d_beta - rate * c.beta) * c.beta / variance * spread,
        }
    }

    /// Mean of the points under the weights at each row of `x` `[b d]`, all rows at time `t`.
    fn mean(&self, x: Tensor<2>, points: &Tensor<2>, t: f64) -> Tensor<2> {
        let (c, variance) = self.at(t);
        // |x - beta p|² without |x|², which a softmax does not see.
        let norms = points.clone().square().sum_dim(1).transpose() * (0.5 * c.beta * c.beta / variance);
        let scores = x.matmul(points.clone().transpose()) * (c.beta / variance) - norms;
        let scores = scores.clone() - scores.max_dim(1);
        let weights = scores.exp();
        let total = weights.clone().sum_dim(1);
        (weights / total).matmul(points.clone())
    }
}

impl<const D: usize> Field<D> for Empirical {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.velocity_and_score(x, t, condition).0
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: !self.path.has_latent() })
    }

    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        Some(self)
    }
}

/// Rows of a batch need not share their time; rows that do are computed together.
///
/// # Panics
/// If a row has another number of values than the points.
impl<const D: usize> ScoreField<D> for Empirical {
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, _: &Condition) -> (Tensor<D>, Tensor<D>) {
        let shape = [self.points.len(), self.points[0].len()];
        let points = TensorData::new(self.points.concat(), shape);
        let points = Tensor::<2>::from_data(points, (&x.device(), x.dtype()));
        let h2 = self.bandwidth * self.bandwidth;
        by_time(x, t, |x, t| {
            let (c, variance) = self.at(t);
            let mean = self.mean(x.clone(), &points, t);
            let away = x - mean.clone() * c.beta;
            let rate = (c.alpha_d_alpha + c.beta * c.d_beta * h2 + c.gamma_d_gamma) / variance;
            (mean * c.d_beta + away.clone() * rate, away * (-1.0 / variance))
        })
    }
}
