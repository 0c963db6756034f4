//! The exact flow between two Gaussian mixtures with independent pairs, on any path.
//!
//! Every pair of components is a Gaussian whose mean and variance follow the path (2303.08797, appendix A); velocity, score
//! and posterior means are averages over the pairs with weights by log-sum-exp, so nothing underflows far from the modes.

use super::lanes;
use super::mixture::{Mixture, log_sum_exp};
use super::{Posterior, points};
use crate::{Coefficients, Field, FlowError, Frame, Path, ScoreField};
use base::{Condition, Tensor, TensorData, Times};
use rayon::prelude::*;
use std::f64::consts::PI;

/// Velocity field of a path between mixtures.
#[derive(Clone, Debug)]
pub struct MixtureField {
    path: Path,
    source: Mixture,
    target: Mixture,
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

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mixture at t = 0.
    pub fn source(&self) -> &Mixture {
        &self.source
    }

    /// The mixture at t = 1.
    pub fn target(&self) -> &Mixture {
        &self.target
    }

    /// The exact posterior at one point.
    pub fn posterior(&self, x: &[f64], t: f64) -> Posterior {
        let slice = self.at(t);
        let (c, d) = (slice.c, x.len());
        let mut weights = vec![0.0; slice.constant.len()];
        slice.terms(x, &mut weights);
        let log_density = log_sum_exp(&weights);
        weights.iter_mut().for_each(|term| *term = (*term - log_density).exp());
        let zero = || vec![0.0; d];
        let (mut velocity, mut score) = (zero(), zero());
        slice.average(x, &weights, &mut velocity, &mut score);
        let (mut source, mut data, mut divergence) = (zero(), zero(), 0.0);
        let mut moved = zero();
        for (pair, weight) in weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0) {
            let (i, j) = (pair / self.target.weights().len(), pair % self.target.weights().len());
            let (m0, v0) = (&self.source.means()[i], &self.source.variances()[i]);
            let (m1, v1) = (&self.target.means()[j], &self.target.variances()[j]);
            for k in 0..d {
                let at = pair * d + k;
                let away = x[k] - slice.mean[at];
                let pull = away * slice.precision[at];
                source[k] += weight * (m0[k] + c.alpha * v0[k] * pull);
                data[k] += weight * (m1[k] + c.beta * v1[k] * pull);
                moved[k] = slice.d_mean[at] + slice.rate[at] * away;
                // The weights move with x as well: their gradient is weight · (score of the pair - score).
                divergence += weight * (slice.rate[at] + (-pull - score[k]) * moved[k]);
            }
        }
        let latent = score.iter().map(|s| -c.gamma * s).collect();
        Posterior { velocity, score, source, data, latent, log_density, divergence }
    }

    /// Everything about the pairs of components that does not depend on the point.
    fn at(&self, t: f64) -> Slice {
        let (c, d) = (self.path.at(t), self.source.dimension());
        let pairs = self.source.weights().len() * self.target.weights().len();
        let empty = || Vec::with_capacity(pairs * d);
        let mut slice =
            Slice { c, constant: vec![], mean: empty(), precision: empty(), d_mean: empty(), rate: empty() };
        for i in 0..self.source.weights().len() {
            let (m0, v0) = (&self.source.means()[i], &self.source.variances()[i]);
            for j in 0..self.target.weights().len() {
                let (m1, v1) = (&self.target.means()[j], &self.target.variances()[j]);
                let mut constant = (self.source.weights()[i] * self.target.weights()[j]).ln();
                for k in 0..d {
                    let variance = c.alpha * c.alpha * v0[k] + c.beta * c.beta * v1[k] + c.gamma * c.gamma;
                    let half_d_variance = c.alpha_d_alpha * v0[k] + c.beta * c.d_beta * v1[k] + c.gamma_d_gamma;
                    constant -= 0.5 * (2.0 * PI * variance).ln();
                    slice.mean.push(c.alpha * m0[k] + c.beta * m1[k]);
                    slice.precision.push(1.0 / variance);
                    slice.d_mean.push(c.d_alpha * m0[k] + c.d_beta * m1[k]);
                    slice.rate.push(half_d_variance / variance);
                }
                slice.constant.push(constant);
            }
        }
        slice
    }
}

/// The pairs of components at one time, flattened: `[pairs]` and `[pairs d]`.
struct Slice {
    c: Coefficients,
    /// Log weight minus the log normaliser.
    constant: Vec<f64>,
    mean: Vec<f64>,
    precision: Vec<f64>,
    d_mean: Vec<f64>,
    /// Half the variance's derivative over the variance.
    rate: Vec<f64>,
}

/// Rows that are computed together: long enough for vector instructions, short enough for the nearest cache.
const BLOCK: usize = 64;

/// Values of the widest vectors.
const LANES: usize = 8;

/// Working memory for a block of rows, coordinate by coordinate.
struct Block {
    /// Points, `[d][BLOCK]`.
    x: Vec<[f64; BLOCK]>,
    /// Log weights, then weights, `[pairs][BLOCK]`.
    weights: Vec<[f64; BLOCK]>,
    velocity: Vec<[f64; BLOCK]>,
    score: Vec<[f64; BLOCK]>,
}

impl Block {
    fn new(pairs: usize, d: usize) -> Self {
        let rows = |n: usize| vec![[0.0; BLOCK]; n];
        Self { x: rows(d), weights: rows(pairs), velocity: rows(d), score: rows(d) }
    }
}

impl Slice {
    /// Log weight plus log density of each pair at `x`.
    fn terms(&self, x: &[f64], terms: &mut [f64]) {
        let d = x.len();
        for (pair, term) in terms.iter_mut().enumerate() {
            let of = pair * d..(pair + 1) * d;
            let squares = x.iter().zip(&self.mean[of.clone()]).zip(&self.precision[of]);
            *term = self.constant[pair] - 0.5 * squares.map(|((x, m), p)| (x - m) * (x - m) * p).sum::<f64>();
        }
    }

    /// Averages velocity and score over the pairs with `weights`.
    fn average(&self, x: &[f64], weights: &[f64], velocity: &mut [f64], score: &mut [f64]) {
        let d = x.len();
        for (pair, weight) in weights.iter().enumerate() {
            for k in 0..d {
                let at = pair * d + k;
                let away = x[k] - self.mean[at];
                velocity[k] += weight * (self.d_mean[at] + self.rate[at] * away);
                score[k] -= weight * self.precision[at] * away;
            }
        }
    }

    /// Velocity and score of at most [`BLOCK`] rows `[rows d]`, all loops along the rows.
    #[inline(always)]
    fn block(&self, rows: &[f64], velocity: &mut [f64], score: &mut [f64], block: &mut Block) {
        let d = block.x.len();
        let count = rows.len() / d;
        for (r, row) in rows.chunks(d).enumerate() {
            row.iter().zip(&mut block.x).for_each(|(value, x)| x[r] = *value);
        }
        let mut top = [f64::NEG_INFINITY; BLOCK];
        for (pair, terms) in block.weights.iter_mut().enumerate() {
            terms.fill(self.constant[pair]);
            for (k, x) in block.x.iter().enumerate() {
                let (mean, half) = (self.mean[pair * d + k], 0.5 * self.precision[pair * d + k]);
                terms.iter_mut().zip(x).for_each(|(term, x)| *term -= half * (x - mean) * (x - mean));
            }
            top.iter_mut().zip(terms).for_each(|(top, term)| *top = top.max(*term));
        }
        let mut total = [0.0; BLOCK];
        for weights in &mut block.weights {
            // Only the exponentials are dear: a last vector is filled up, but none is spent on rows that are not there.
            for r in 0..count.next_multiple_of(LANES) {
                weights[r] = lanes::exp(weights[r] - top[r]);
                total[r] += weights[r];
            }
        }
        for k in 0..d {
            let (x, velocity, score) = (&block.x[k], &mut block.velocity[k], &mut block.score[k]);
            velocity.fill(0.0);
            score.fill(0.0);
            for (pair, weights) in block.weights.iter().enumerate() {
                let at = pair * d + k;
                let (mean, precision, d_mean, rate) =
                    (self.mean[at], self.precision[at], self.d_mean[at], self.rate[at]);
                for r in 0..BLOCK {
                    let away = x[r] - mean;
                    velocity[r] += weights[r] * (d_mean + rate * away);
                    score[r] -= weights[r] * (precision * away);
                }
            }
        }
        for r in 0..count {
            for k in 0..d {
                velocity[r * d + k] = block.velocity[k][r] / total[r];
                score[r * d + k] = block.score[k][r] / total[r];
            }
        }
    }
}

/// Velocity and score `[rows d]` of points that share a slice, block after block. A type and no closure: a closure's own call is
/// sometimes compiled apart, without the wide instructions.
struct Rows<'a> {
    slice: &'a Slice,
    pairs: usize,
    d: usize,
    points: &'a [f64],
    velocity: &'a mut [f64],
    score: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut block = Block::new(self.pairs, self.d);
        let size = BLOCK * self.d;
        let out = self.velocity.chunks_mut(size).zip(self.score.chunks_mut(size));
        for (points, (velocity, score)) in self.points.chunks(size).zip(out) {
            self.slice.block(points, velocity, score, &mut block);
        }
    }
}

/// Rows of one task: enough to be worth another thread.
const TASK: usize = 64 * BLOCK;

impl Field<2> for MixtureField {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.velocity_and_score(x, t, condition).0
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let standard = self.source == Mixture::standard(self.source.dimension());
        let independent = standard && !self.path.has_latent();
        Some(Frame { path: &self.path, independent })
    }

    fn score_field(&self) -> Option<&dyn ScoreField<2>> {
        Some(self)
    }
}

impl ScoreField<2> for MixtureField {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, _: &Condition) -> (Tensor<2>, Tensor<2>) {
        let (device, dtype, [batch, d]) = (x.device(), x.dtype(), x.dims());
        let points = points(x);
        let (mut velocity, mut score) = (vec![0.0; batch * d], vec![0.0; batch * d]);
        let pairs = self.source.weights().len() * self.target.weights().len();
        let (mut velocities, mut scores, mut rest) = (&mut velocity[..], &mut score[..], &points[..]);
        // Rows that share their time with their neighbours share a slice.
        for run in t.values().chunk_by(|a, b| a == b) {
            let (slice, size) = (self.at(run[0]), run.len() * d);
            let (points, velocity, score);
            (points, rest) = rest.split_at(size);
            (velocity, velocities) = std::mem::take(&mut velocities).split_at_mut(size);
            (score, scores) = std::mem::take(&mut scores).split_at_mut(size);
            let out = velocity.par_chunks_mut(TASK * d).zip(score.par_chunks_mut(TASK * d));
            points.par_chunks(TASK * d).zip(out).for_each(|(points, (velocity, score))| {
                pulp::Arch::new().dispatch(Rows { slice: &slice, pairs, d, points, velocity, score });
            });
        }
        let tensor = |values| Tensor::from_data(TensorData::new(values, [batch, d]), (&device, dtype));
        (tensor(velocity), tensor(score))
    }
}
