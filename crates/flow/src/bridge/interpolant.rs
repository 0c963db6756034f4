//! The bridge by optimising over the interpolant: max over `I` and γ, min over the drift.
//!
//! 2303.08797, §3.4: `max_I min_u ∫ E[½|u|² - (dI/dt + (γ' - ε/γ) z)·u] dt` over `x_t = I + γ z`. For a fixed interpolant the
//! inner minimum is the forward drift `b_F`, a regression, and is worth `-½ ∫ E|b_F|²`; so the outer problem seeks the
//! interpolant of least action. Here `I = alpha x0 + beta x1` with independent ends, drifts are affine in `x`, and
//! `alpha, beta, gamma` run through sine and cosine series: what this needs of the data are means and variances, taken from
//! samples or known. Between Gaussians the family contains the bridge.

use crate::{Coefficients, FlowError, error::require};
use std::f64::consts::PI;

/// Mean and variance of one coordinate at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marginals {
    /// Mean at t = 0 and t = 1.
    pub mean: [f64; 2],
    /// Variance at t = 0 and t = 1, positive.
    pub variance: [f64; 2],
}

impl Marginals {
    /// Of samples of one coordinate, at least two at each end.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for fewer, or where all are equal or one is not finite.
    pub fn of(source: &[f64], target: &[f64]) -> Result<Self, FlowError> {
        let moments = |x: &[f64]| {
            let n = x.len().max(1) as f64;
            let mean = x.iter().sum::<f64>() / n;
            (mean, x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
        };
        let ((m0, v0), (m1, v1)) = (moments(source), moments(target));
        let marginals = Self { mean: [m0, m1], variance: [v0, v1] };
        marginals.check()?;
        Ok(marginals)
    }

    pub(super) fn check(&self) -> Result<(), FlowError> {
        let [a, b] = self.variance;
        let holds = a.is_finite() && b.is_finite() && a > 0.0 && b > 0.0;
        require(holds, "variance", format!("{a}, {b}"), "both ends must have a positive finite variance")?;
        let finite = self.mean.iter().all(|m| m.is_finite());
        require(finite, "mean", format!("{:?}", self.mean), "both ends must have a finite mean")
    }
}

/// An interpolant by its series: `alpha = 1 - t + Σ a_k sin kπt`, `beta = t + Σ b_k sin kπt`,
/// `gamma² = 2 ε t (1-t) exp(Σ g_k cos (k-1)πt)`, k from 1. All ends are exact for every choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpolant {
    /// `a_k`.
    pub alpha: Vec<f64>,
    /// `b_k`.
    pub beta: Vec<f64>,
    /// `g_k`.
    pub gamma: Vec<f64>,
    /// Diffusion ε, which sets the scale of γ.
    pub epsilon: f64,
}

impl Interpolant {
    /// The straight interpolant with a Brownian bridge of diffusion `epsilon`, with `modes` free modes each.
    pub fn straight(epsilon: f64, modes: usize) -> Self {
        Self { alpha: vec![0.0; modes], beta: vec![0.0; modes], gamma: vec![0.0; modes], epsilon }
    }

    /// Coefficients at `t`. `d_gamma` is infinite at the ends, like every Brownian bridge's; `gamma_d_gamma` is not.
    pub fn at(&self, t: f64) -> Coefficients {
        let series = |modes: &[f64]| {
            let term = |(k, a): (usize, &f64)| {
                let w = (k + 1) as f64 * PI;
                (a * (w * t).sin(), a * w * (w * t).cos())
            };
            modes.iter().enumerate().map(term).fold((0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1))
        };
        let ((a, da), (b, db)) = (series(&self.alpha), series(&self.beta));
        let exponent = |(k, g): (usize, &f64)| {
            let w = k as f64 * PI;
            (g * (w * t).cos(), -g * w * (w * t).sin())
        };
        let (e, de) = self.gamma.iter().enumerate().map(exponent).fold((0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1));
        let scale = 2.0 * self.epsilon * e.exp();
        let square = scale * t * (1.0 - t);
        let gamma_d_gamma = 0.5 * (scale * (1.0 - 2.0 * t) + square * de);
        let gamma = square.sqrt();
        Coefficients {
            gamma,
            d_gamma: gamma_d_gamma / gamma,
            gamma_d_gamma,
            ..Coefficients::source_data((1.0 - t + a, -1.0 + da), (t + b, 1.0 + db))
        }
    }

    /// Variance of `x_t` and its derivative for independent ends.
    pub fn variance(&self, marginals: &Marginals, t: f64) -> (f64, f64) {
        let (c, [v0, v1]) = (self.at(t), marginals.variance);
        let value = c.alpha * c.alpha * v0 + c.beta * c.beta * v1 + c.gamma * c.gamma;
        (value, 2.0 * (c.alpha * c.d_alpha * v0 + c.beta * c.d_beta * v1 + c.gamma_d_gamma))
    }
}

/// Parts of the time integral.
const PARTS: usize = 400;

/// Square roots of the action's integrand: `½ Σ r² / PARTS` is the action.
fn residuals(interpolant: &Interpolant, marginals: &[Marginals]) -> Vec<f64> {
    let mut all = Vec::with_capacity(2 * PARTS * marginals.len());
    for i in 0..PARTS {
        let t = (i as f64 + 0.5) / PARTS as f64;
        let c = interpolant.at(t);
        for m in marginals {
            let (variance, change) = interpolant.variance(m, t);
            all.push(c.d_alpha * m.mean[0] + c.d_beta * m.mean[1]);
            // The regression of dI/dt + (γ' - ε/γ) z on x: its slope is (V'/2 - ε)/V.
            all.push((0.5 * change - interpolant.epsilon) / variance.sqrt());
        }
    }
    all
}

fn half_mean_square(residuals: &[f64]) -> f64 {
    0.5 * residuals.iter().map(|r| r * r).sum::<f64>() / PARTS as f64
}

/// `½ ∫ E|b_F|² dt` with the best affine drift of every coordinate: minus the inner minimum.
pub fn action(interpolant: &Interpolant, marginals: &[Marginals]) -> f64 {
    half_mean_square(&residuals(interpolant, marginals))
}

/// What the outer maximisation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// The interpolant.
    pub interpolant: Interpolant,
    /// Its action.
    pub action: f64,
    /// Steps taken.
    pub steps: usize,
}

/// The interpolant of least action with `modes` modes, from the straight one, by Levenberg–Marquardt on the action's
/// square roots. Several interpolants share one law of `x_t`; the law is unique.
///
/// # Errors
/// [`FlowError::Setting`] if `epsilon` or a variance is not positive, or there is no mode or no coordinate.
pub fn optimise(marginals: &[Marginals], epsilon: f64, modes: usize) -> Result<Optimum, FlowError> {
    require(epsilon.is_finite() && epsilon > 0.0, "epsilon", epsilon, "it must be positive")?;
    require((1..=32).contains(&modes), "modes", modes, "it must be from 1 to 32; 4 is customary")?;
    require(!marginals.is_empty(), "marginals", 0, "give at least one coordinate")?;
    marginals.iter().try_for_each(Marginals::check)?;
    let build = |p: &[f64]| Interpolant {
        alpha: p[..modes].to_vec(),
        beta: p[modes..2 * modes].to_vec(),
        gamma: p[2 * modes..].to_vec(),
        epsilon,
    };
    let n = 3 * modes;
    let (mut place, mut damping, mut steps) = (vec![0.0; n], 1e-3, 0);
    let mut here = residuals(&build(&place), marginals);
    let mut best = half_mean_square(&here);
    while steps < 200 && damping < 1e8 {
        steps += 1;
        let columns: Vec<Vec<f64>> = (0..n)
            .map(|k| {
                let h = 1e-6;
                let mut moved = place.clone();
                moved[k] += h;
                let there = residuals(&build(&moved), marginals);
                there.iter().zip(&here).map(|(a, b)| (a - b) / h).collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / PARTS as f64;
        let normal = |i: usize, j: usize| dot(&columns[i], &columns[j]);
        let matrix =
            faer::Mat::from_fn(n, n, |i, j| normal(i, j) + if i == j { damping * (1e-9 + normal(i, i)) } else { 0.0 });
        let slope = faer::Mat::from_fn(n, 1, |i, _| -dot(&columns[i], &here));
        let Ok(factor) = matrix.as_ref().llt(faer::Side::Lower) else {
            damping *= 10.0;
            continue;
        };
        let step = faer::linalg::solvers::Solve::solve(&factor, &slope);
        let moved: Vec<f64> = place.iter().enumerate().map(|(i, p)| p + step[(i, 0)]).collect();
        let there = residuals(&build(&moved), marginals);
        let value = half_mean_square(&there);
        if value.is_finite() && value <= best {
            let gain = best - value;
            (place, here, best, damping) = (moved, there, value, (damping * 0.3).max(1e-12));
            if gain < 1e-13 * (1.0 + best) {
                break;
            }
        } else {
            damping *= 10.0;
        }
    }
    Ok(Optimum { interpolant: build(&place), action: best, steps })
}
