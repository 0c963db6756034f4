//! The flow of a finite set of **pairs** under a kernel: Nadaraya–Watson regression of the velocity.
//!
//! Rectified flow, arXiv 2209.03003, §5.1: `v(x, t) = Σ w_i dx_t^i/dt`, weights `w_i ∝ exp(-|x - x_t^i|²/2h²)`. It is the
//! exact flow of the pairs' law blurred by N(0, h² I) at every time, so density, score and divergence are exact too. This is
//! the cheapest stand-in for a reflowed network: no training, and it keeps the pairing.

use super::mixture::log_sum_exp;
use super::{Posterior, each_row_twice};
use crate::{Field, FlowError, Path, ScoreField, error::require};
use base::{Condition, Tensor, Times};
use std::f64::consts::PI;

/// The kernel-smoothed flow of pairs.
#[derive(Clone, Debug)]
pub struct Kernel {
    path: Path,
    d: usize,
    /// Source points, one after another.
    x0: Vec<f64>,
    /// Data points, one after another.
    x1: Vec<f64>,
    bandwidth: f64,
    nearest: usize,
}

impl Kernel {
    /// The flow of the pairs `(x0, x1)` along `path` with kernel width `bandwidth`, from the `nearest` pairs at each point
    /// (all of them where there are fewer; with fewer than all, density and divergence are those of the near ones).
    ///
    /// # Errors
    /// [`FlowError`] if there is no pair, lengths differ, a number is not finite, or `bandwidth` or `nearest` is not
    /// positive; [`FlowError::Setting`] for a path with a latent, whose law pairs alone do not determine.
    pub fn new(
        path: Path,
        x0: &[Vec<f64>],
        x1: &[Vec<f64>],
        bandwidth: f64,
        nearest: usize,
    ) -> Result<Self, FlowError> {
        path.check()?;
        require(!path.has_latent(), "path", path.name(), "kernel fields of pairs need a path without latent")?;
        let d = x0.first().map_or(0, Vec::len);
        require(d > 0, "pairs", x0.len(), "give at least one pair of at least one coordinate")?;
        let lengths = |points: &[Vec<f64>]| points.iter().map(Vec::len).collect::<Vec<_>>();
        if lengths(x0) != vec![d; x0.len()] || lengths(x1) != vec![d; x0.len()] {
            let (left_shape, right_shape) = (lengths(x0), lengths(x1));
            return Err(FlowError::Shape { left: "x0", left_shape, right: "x1", right_shape });
        }
        let bad = x0.iter().chain(x1).flatten().find(|v| !v.is_finite());
        require(bad.is_none(), "pairs", bad.copied().unwrap_or(0.0), "coordinates must be finite")?;
        let holds = bandwidth.is_finite() && bandwidth > 0.0;
        require(holds, "bandwidth", bandwidth, "it must be positive; 0.1 suits data of unit size")?;
        require(nearest > 0, "nearest", nearest, "it must be at least 1; 100 is customary")?;
        Ok(Self { path, d, x0: x0.concat(), x1: x1.concat(), bandwidth, nearest })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.x0.len() / self.d
    }

    /// Whether there is none; never.
    pub fn is_empty(&self) -> bool {
        self.x0.is_empty()
    }

    /// Where the pairs are at `t`, and their speed.
    fn at(&self, t: f64) -> Slice {
        let c = self.path.at(t);
        let mix = |a: f64, b: f64| self.x0.iter().zip(&self.x1).map(|(x0, x1)| a * x0 + b * x1).collect::<Vec<_>>();
        Slice { t, x: mix(c.alpha, c.beta), dx: mix(c.d_alpha, c.d_beta) }
    }

    /// Log weights `-|x - x_t|²/2h²` of the pairs that count at `x`, with their numbers.
    fn weigh(&self, slice: &Slice, x: &[f64], terms: &mut Vec<(f64, usize)>) {
        let half = 0.5 / (self.bandwidth * self.bandwidth);
        let distance = |at: &[f64]| x.iter().zip(at).map(|(x, at)| (x - at) * (x - at)).sum::<f64>();
        terms.clear();
        terms.extend(slice.x.chunks(self.d).enumerate().map(|(i, at)| (-half * distance(at), i)));
        if self.nearest < terms.len() {
            terms.select_nth_unstable_by(self.nearest - 1, |a, b| b.0.total_cmp(&a.0));
            terms.truncate(self.nearest);
        }
    }

    /// The exact posterior at one point.
    pub fn posterior(&self, x: &[f64], t: f64) -> Posterior {
        let slice = self.at(t);
        let mut terms = Vec::new();
        self.weigh(&slice, x, &mut terms);
        let all = log_sum_exp(&terms.iter().map(|(term, _)| *term).collect::<Vec<_>>());
        let zero = || vec![0.0; self.d];
        let (mut velocity, mut score, mut source, mut data) = (zero(), zero(), zero(), zero());
        let h2 = self.bandwidth * self.bandwidth;
        let mut product = 0.0;
        for (term, i) in terms {
            let weight = (term - all).exp();
            for k in 0..self.d {
                let at = i * self.d + k;
                let pull = (slice.x[at] - x[k]) / h2;
                velocity[k] += weight * slice.dx[at];
                score[k] += weight * pull;
                source[k] += weight * self.x0[at];
                data[k] += weight * self.x1[at];
                product += weight * pull * slice.dx[at];
            }
        }
        // The divergence is the covariance of each pair's own score with its speed.
        let divergence = product - score.iter().zip(&velocity).map(|(s, v)| s * v).sum::<f64>();
        let log_density = all - (self.len() as f64).ln() - 0.5 * self.d as f64 * (2.0 * PI * h2).ln();
        Posterior { velocity, score, source, data, latent: zero(), log_density, divergence }
    }
}

/// All pairs at one time.
struct Slice {
    t: f64,
    x: Vec<f64>,
    dx: Vec<f64>,
}

impl Field<2> for Kernel {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.velocity_and_score(x, t, condition).0
    }
}

impl ScoreField<2> for Kernel {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, _: &Condition) -> (Tensor<2>, Tensor<2>) {
        let mut slice = self.at(t.values().first().copied().unwrap_or(0.0));
        let mut terms = Vec::with_capacity(self.len());
        let h2 = self.bandwidth * self.bandwidth;
        each_row_twice(x, t, |x, t, velocity, score| {
            if t != slice.t {
                slice = self.at(t);
            }
            self.weigh(&slice, x, &mut terms);
            let top = terms.iter().map(|(term, _)| *term).fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            velocity.fill(0.0);
            score.fill(0.0);
            for (term, i) in &terms {
                let weight = (term - top).exp();
                total += weight;
                for k in 0..self.d {
                    let at = i * self.d + k;
                    velocity[k] += weight * slice.dx[at];
                    score[k] += weight * (slice.x[at] - x[k]) / h2;
                }
            }
            velocity.iter_mut().chain(score).for_each(|v| *v /= total);
        })
    }
}
