//! What errors of a learned velocity and score cost in Kullback–Leibler divergence, and the diffusion that bounds it best.
//!
//! Stochastic interpolants, arXiv 2303.08797, §2.4. For the SDE with drift `b_F = b + ε s` and noise `√(2ε) dW`, Girsanov
//! gives `KL(rho1 | rho1^) <= 1/(4ε) ∫ E|b_F^ - b_F|² dt`, and with `|u+w|² <= 2|u|² + 2|w|²` the bounds below. The paper
//! states them with the excess of its losses, which carry a factor 1/2: read literally that is half of what its proof gives,
//! and a stationary Gaussian breaks it (test `the_literal_bound_of_the_paper_is_broken`). Here all errors are plain squared
//! errors `∫ E|·|² dt`, sums over the values of a sample. The ODE (ε = 0) has no such bound at all.

use crate::{FlowError, Path, ScoreField, error::require, path::Ends, rows};
use base::{Condition, Times};

/// `∫ E|b^ - b|² dt` and `∫ E|s^ - s|² dt`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Of the velocity.
    pub velocity: f64,
    /// Of the score.
    pub score: f64,
}

impl Errors {
    /// Measures `model` against `truth` at points of `path` between `ends`, by the midpoint rule on `points` equal parts of
    /// the times `[from, to]`.
    ///
    /// # Errors
    /// [`FlowError`] if shapes disagree, a latent is missing, `points` is zero or the device fails.
    pub fn measure<const D: usize>(
        model: &dyn ScoreField<D>,
        truth: &dyn ScoreField<D>,
        path: &Path,
        ends: &Ends<D>,
        condition: &Condition,
        (from, to): (f64, f64),
        points: usize,
    ) -> Result<Self, FlowError> {
        require(points > 0, "points", points, "the time integral needs at least one point")?;
        let batch = ends.x1.dims()[0];
        let mut sum = Self { velocity: 0.0, score: 0.0 };
        let part = (to - from) / (points * batch.max(1)) as f64;
        for i in 0..points {
            let t = Times::all(from + (to - from) * (i as f64 + 0.5) / points as f64, batch);
            let x = path.point_of(ends.clone(), &t)?.xt;
            let (b, s) = truth.velocity_and_score(x.clone(), &t, condition);
            let (b_model, s_model) = model.velocity_and_score(x, &t, condition);
            sum.velocity += part * rows::host(rows::sum((b_model - b).square()))?.iter().sum::<f64>();
            sum.score += part * rows::host(rows::sum((s_model - s).square()))?.iter().sum::<f64>();
        }
        Ok(sum)
    }

    /// `1/(2ε) ∫E|b^-b|² + ε/2 ∫E|s^-s|²`, at least the KL of the SDE with constant diffusion `ε > 0`.
    pub fn bound(&self, diffusion: f64) -> f64 {
        self.velocity / (2.0 * diffusion) + 0.5 * diffusion * self.score
    }

    /// The same where the velocity without latent, `v`, was learned in place of `b`: then `b_F = v + (ε - gamma gamma') s`,
    /// and the score's factor is `sup (gamma gamma' - ε)²/(2ε)` over times. `self.velocity` is the error of `v`.
    pub fn interpolant_bound(&self, path: &Path, diffusion: f64) -> f64 {
        let gap = |i: usize| (path.at(i as f64 / 1000.0).gamma_d_gamma - diffusion).powi(2);
        let worst = (0..=1000).map(gap).fold(0.0, f64::max);
        (self.velocity + worst * self.score) / (2.0 * diffusion)
    }

    /// The diffusion at which [`Errors::bound`] is least, `√(∫E|b^-b|² / ∫E|s^-s|²)`; the bound is then the geometric mean
    /// of the two errors. Infinite for an exact score, zero for an exact velocity, and 1 where both are exact.
    pub fn best_diffusion(&self) -> f64 {
        if self.velocity == self.score { 1.0 } else { (self.velocity / self.score).sqrt() }
    }
}

/// `1/(4ε) ∫ E|b_F^ - b_F|² dt`, at least the KL of the SDE: the tighter bound where the drift's own error is known.
pub fn drift_bound(drift_error: f64, diffusion: f64) -> f64 {
    drift_error / (4.0 * diffusion)
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// KL of `p` from `q` by samples of `p` with their log densities: the mean of `log p - log q + (q/p - 1)`.
///
/// The last term has mean zero and makes every summand positive or zero, so the estimate is never negative and its variance
/// is small where the two densities are close.
///
/// # Errors
/// [`FlowError::Setting`] if there are no samples or the two lists differ in length.
pub fn estimate(log_p: &[f64], log_q: &[f64]) -> Result<Estimate, FlowError> {
    let n = log_p.len();
    require(n > 0 && n == log_q.len(), "log_p", n, "both densities are needed at one sample or more")?;
    let term = |(p, q): (&f64, &f64)| {
        let r = q - p;
        r.exp_m1() - r
    };
    let terms: Vec<f64> = log_p.iter().zip(log_q).map(term).collect();
    Ok(summary(&terms))
}

/// Mean and standard error of numbers; the error is zero for a single one.
pub fn summary(values: &[f64]) -> Estimate {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Estimate { mean, standard_error: (variance / n).sqrt() }
}
