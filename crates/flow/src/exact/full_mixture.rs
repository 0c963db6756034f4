//! Gaussian mixtures with full covariances, and the exact flow between two of them.
//!
//! 2303.08797, appendix A: the pair of components `i, j` has mean `alpha m_i + beta m_j` and covariance
//! `C = alpha² C_i + beta² C_j + gamma² I`; its velocity is `m' + ½ C' C⁻¹ (x - m)`, its score `-C⁻¹ (x - m)`, and the field
//! averages them with log-sum-exp weights. Factorised once per time (Cholesky, `faer`); a batch is two products per pair.

use super::{Posterior, by_time, mixture::log_sum_exp};
use crate::{Coefficients, Field, FlowError, Frame, Path, ScoreField, error::require};
use base::{Condition, Key, Tensor, TensorData, Times};
use faer::{Mat, Side, linalg::solvers::DenseSolveCore, linalg::solvers::Llt};
use std::f64::consts::PI;

/// A mixture of Gaussians with full covariances.
#[derive(Clone, Debug)]
pub struct FullMixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    covariances: Vec<Mat<f64>>,
}

impl FullMixture {
    /// A mixture; `weights` are normalised, `covariances` are `[d d]` in row-major order, one per component.
    ///
    /// # Errors
    /// [`FlowError`] if there is no component, lengths differ, a weight is not positive, or a covariance is not symmetric
    /// and positive definite.
    pub fn new(weights: Vec<f64>, means: Vec<Vec<f64>>, covariances: Vec<Vec<f64>>) -> Result<Self, FlowError> {
        let n = weights.len();
        let d = means.first().map_or(0, Vec::len);
        require(n > 0 && d > 0, "weights", n, "a mixture needs at least one component of at least one dimension")?;
        let lengths = |v: &[Vec<f64>]| v.iter().map(Vec::len).collect::<Vec<_>>();
        for (name, vectors, wanted) in [("means", &means, d), ("covariances", &covariances, d * d)] {
            if lengths(vectors) != vec![wanted; n] {
                let (left_shape, right_shape) = (vec![wanted; n], lengths(vectors));
                return Err(FlowError::Shape { left: "weights", left_shape, right: name, right_shape });
            }
        }
        let bad = weights.iter().find(|w| !(w.is_finite() && **w > 0.0));
        require(bad.is_none(), "weights", bad.copied().unwrap_or(1.0), "weights must be positive")?;
        let covariances: Vec<Mat<f64>> = covariances.iter().map(|c| Mat::from_fn(d, d, |i, j| c[i * d + j])).collect();
        for (i, c) in covariances.iter().enumerate() {
            let scale = (0..d).map(|k| c[(k, k)].abs()).fold(0.0, f64::max);
            let symmetric = (0..d).all(|a| (0..a).all(|b| (c[(a, b)] - c[(b, a)]).abs() <= 1e-9 * scale));
            let holds = symmetric && factor(c).is_some();
            require(holds, "covariances", format!("number {i}"), "it must be symmetric and positive definite")?;
        }
        let total: f64 = weights.iter().sum();
        Ok(Self { weights: weights.iter().map(|w| w / total).collect(), means, covariances })
    }

    /// N(0, I) in `d` dimensions.
    pub fn standard(d: usize) -> Self {
        Self { weights: vec![1.0], means: vec![vec![0.0; d]], covariances: vec![Mat::identity(d, d)] }
    }

    /// Number of dimensions.
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// The draw of sample `index`: a function of `key` and `index` alone.
    pub fn sample(&self, key: Key, index: u64) -> Vec<f64> {
        let (mut u, mut k) = (key.fold(0).uniform(index), 0);
        while k + 1 < self.weights.len() && u >= self.weights[k] {
            u -= self.weights[k];
            k += 1;
        }
        let z: Vec<f64> = key.fold(1).normals(index, self.dimension()).map(f64::from).collect();
        let llt = factor(&self.covariances[k]);
        let root = llt.as_ref().map(|llt| llt.L().to_owned());
        let part = |i: usize| root.as_ref().map_or(0.0, |l| (0..=i).map(|j| l[(i, j)] * z[j]).sum());
        self.means[k].iter().enumerate().map(|(i, m)| m + part(i)).collect()
    }
}

fn factor(c: &Mat<f64>) -> Option<Llt<f64>> {
    c.as_ref().llt(Side::Lower).ok()
}

/// The exact flow of a path between two mixtures with full covariances, pairs independent.
#[derive(Clone, Debug)]
pub struct FullMixtureField {
    path: Path,
    source: FullMixture,
    target: FullMixture,
}

/// One pair of components at one time.
struct Pair {
    /// Log weight minus the log normaliser.
    constant: f64,
    numbers: (usize, usize),
    mean: Vec<f64>,
    d_mean: Vec<f64>,
    precision: Mat<f64>,
    /// Half the derivative of the covariance.
    half: Mat<f64>,
}

impl FullMixtureField {
    /// The flow along `path` from N(0, I) to `target`.
    ///
    /// # Errors
    /// [`FlowError`] if the path's settings are out of range.
    pub fn new(path: Path, target: FullMixture) -> Result<Self, FlowError> {
        Self::between(path, FullMixture::standard(target.dimension()), target)
    }

    /// The flow along `path` from `source` to `target`.
    ///
    /// # Errors
    /// [`FlowError`] if the dimensions differ or the path's settings are out of range.
    pub fn between(path: Path, source: FullMixture, target: FullMixture) -> Result<Self, FlowError> {
        path.check()?;
        if source.dimension() != target.dimension() {
            let (left_shape, right_shape) = (vec![source.dimension()], vec![target.dimension()]);
            return Err(FlowError::Shape { left: "source", left_shape, right: "target", right_shape });
        }
        Ok(Self { path, source, target })
    }

    fn pairs(&self, c: &Coefficients) -> Vec<Pair> {
        let d = self.source.dimension();
        let pair = |i: usize, j: usize| {
            let (m0, c0) = (&self.source.means[i], &self.source.covariances[i]);
            let (m1, c1) = (&self.target.means[j], &self.target.covariances[j]);
            let mix = |a: f64, b: f64| m0.iter().zip(m1).map(|(x, y)| a * x + b * y).collect::<Vec<_>>();
            let sum = |a: f64, b: f64, g: f64| {
                Mat::from_fn(d, d, |p, q| a * c0[(p, q)] + b * c1[(p, q)] + if p == q { g } else { 0.0 })
            };
            let covariance = sum(c.alpha * c.alpha, c.beta * c.beta, c.gamma * c.gamma);
            // A convex sum of positive definite matrices factorises wherever one coefficient is not zero.
            let llt = factor(&covariance)?;
            let log_determinant = 2.0 * (0..d).map(|k| llt.L()[(k, k)].ln()).sum::<f64>();
            let weight = (self.source.weights[i] * self.target.weights[j]).ln();
            Some(Pair {
                constant: weight - 0.5 * (d as f64 * (2.0 * PI).ln() + log_determinant),
                numbers: (i, j),
                mean: mix(c.alpha, c.beta),
                d_mean: mix(c.d_alpha, c.d_beta),
                precision: llt.inverse(),
                half: sum(c.alpha_d_alpha, c.beta * c.d_beta, c.gamma_d_gamma),
            })
        };
        let all = (0..self.source.weights.len()).flat_map(|i| (0..self.target.weights.len()).map(move |j| (i, j)));
        all.filter_map(|(i, j)| pair(i, j)).collect()
    }

    /// The exact posterior at one point.
    pub fn posterior(&self, x: &[f64], t: f64) -> Posterior {
        let (c, d) = (self.path.at(t), x.len());
        let pairs = self.pairs(&c);
        let times =
            |m: &Mat<f64>, v: &[f64]| (0..d).map(|i| (0..d).map(|j| m[(i, j)] * v[j]).sum::<f64>()).collect::<Vec<_>>();
        let away: Vec<Vec<f64>> = pairs.iter().map(|p| x.iter().zip(&p.mean).map(|(x, m)| x - m).collect()).collect();
        let pulls: Vec<Vec<f64>> = pairs.iter().zip(&away).map(|(p, away)| times(&p.precision, away)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let terms: Vec<f64> =
            pairs.iter().zip(away.iter().zip(&pulls)).map(|(p, (a, q))| p.constant - 0.5 * dot(a, q)).collect();
        let log_density = log_sum_exp(&terms);
        let zero = || vec![0.0; d];
        let mut out = Posterior {
            velocity: zero(),
            score: zero(),
            source: zero(),
            data: zero(),
            latent: zero(),
            log_density,
            divergence: 0.0,
        };
        for ((pair, pull), term) in pairs.iter().zip(&pulls).zip(&terms) {
            let weight = (term - log_density).exp();
            let (i, j) = pair.numbers;
            let moved = times(&pair.half, pull);
            let source = times(&self.source.covariances[i], pull);
            let data = times(&self.target.covariances[j], pull);
            let trace: f64 =
                (0..d).map(|a| (0..d).map(|b| pair.half[(a, b)] * pair.precision[(b, a)]).sum::<f64>()).sum();
            let mut along = 0.0;
            for k in 0..d {
                let velocity = pair.d_mean[k] + moved[k];
                out.velocity[k] += weight * velocity;
                out.score[k] -= weight * pull[k];
                out.source[k] += weight * (self.source.means[i][k] + c.alpha * source[k]);
                out.data[k] += weight * (self.target.means[j][k] + c.beta * data[k]);
                along -= pull[k] * velocity;
            }
            out.divergence += weight * (trace + along);
        }
        out.divergence -= dot(&out.score, &out.velocity);
        out.latent = out.score.iter().map(|s| -c.gamma * s).collect();
        out
    }

    /// Velocity and score of rows `[b d]` that share a time.
    fn together(&self, x: &Tensor<2>, t: f64) -> (Tensor<2>, Tensor<2>) {
        let d = self.source.dimension();
        let options = (&x.device(), x.dtype());
        let matrix = |m: &Mat<f64>| {
            let values: Vec<f64> = (0..d * d).map(|k| m[(k / d, k % d)]).collect();
            Tensor::<2>::from_data(TensorData::new(values, [d, d]), options)
        };
        let row = |v: &[f64]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, d]), options);
        let (mut terms, mut parts) = (Vec::new(), Vec::new());
        for pair in self.pairs(&self.path.at(t)) {
            let away = x.clone() - row(&pair.mean);
            let pull = away.clone().matmul(matrix(&pair.precision)); // symmetric, as the next one is
            terms.push((away * pull.clone()).sum_dim(1) * -0.5 + pair.constant);
            parts.push((pull.clone().matmul(matrix(&pair.half)) + row(&pair.d_mean), -pull));
        }
        let terms = Tensor::cat(terms, 1);
        let weights = (terms.clone() - terms.max_dim(1)).exp();
        let weights = weights.clone() / weights.sum_dim(1);
        let (mut velocity, mut score) = (x.zeros_like(), x.zeros_like());
        for (k, (v, s)) in parts.into_iter().enumerate() {
            let weight = weights.clone().narrow(1, k, 1);
            velocity = velocity + v * weight.clone();
            score = score + s * weight;
        }
        (velocity, score)
    }
}

impl<const D: usize> Field<D> for FullMixtureField {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.velocity_and_score(x, t, condition).0
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: false }) // the source may be anything; the score is its own
    }

    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        Some(self)
    }
}

/// Rows that share a time with their neighbours are computed together.
///
/// # Panics
/// If a row has another number of values than the mixtures have dimensions.
impl<const D: usize> ScoreField<D> for FullMixtureField {
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, _: &Condition) -> (Tensor<D>, Tensor<D>) {
        by_time(x, t, |x, t| self.together(&x, t))
    }
}
