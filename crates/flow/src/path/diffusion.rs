//! Paths of diffusion models in the project's frame: noise at t = 0, data at t = 1.
//!
//! Rectified flow, arXiv 2209.03003, §2.3 (VP, sub-VP, VE, constant-speed VP); EDM, arXiv 2206.00364, eq. 5; cosine,
//! arXiv 2102.09672, eq. 17; DDPM, arXiv 2006.11239, and its zero terminal SNR, arXiv 2305.08891, algorithm 1.
//! All but VE and EDM keep a unit variance (sub-VP: at most one).

use super::{Coefficients, END};
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;

/// `alpha = √(1-beta²)` from `(alpha, beta, beta')` as a function of time.
///
/// `alpha'` diverges at the data and is taken `1e-5` before it; `alpha alpha' = -beta beta'` is exact everywhere.
pub(super) fn preserving(t: f64, values: impl Fn(f64) -> (f64, f64, f64)) -> Coefficients {
    let (alpha, beta, d_beta) = values(t);
    let inside = values(t.min(1.0 - END));
    let d_alpha = -inside.1 * inside.2 / inside.0;
    Coefficients { alpha_d_alpha: -beta * d_beta, ..Coefficients::source_data((alpha, d_alpha), (beta, d_beta)) }
}

/// `(log beta, beta, beta')` of the VP diffusion, `a = beta_max - beta_min`, `b = beta_min`.
fn rates(beta_min: f64, beta_max: f64, t: f64) -> (f64, f64, f64) {
    let (a, b, s) = (beta_max - beta_min, beta_min, 1.0 - t);
    let log_beta = -a * s * s / 4.0 - b * s / 2.0;
    let beta = log_beta.exp();
    (log_beta, beta, beta * (a * s / 2.0 + b / 2.0))
}

/// `alpha = √(1-beta²)`.
pub(super) fn vp(beta_min: f64, beta_max: f64, t: f64) -> Coefficients {
    preserving(t, |t| {
        let (log_beta, beta, d_beta) = rates(beta_min, beta_max, t);
        // √(1-β²) without cancellation where β is nearly one.
        ((-(2.0 * log_beta).exp_m1()).sqrt(), beta, d_beta)
    })
}

/// `alpha = 1-beta²`.
pub(super) fn sub_vp(beta_min: f64, beta_max: f64, t: f64) -> Coefficients {
    let (log_beta, beta, d_beta) = rates(beta_min, beta_max, t);
    Coefficients::source_data((-(2.0 * log_beta).exp_m1(), -2.0 * beta * d_beta), (beta, d_beta))
}

/// `beta = t`, `alpha = √(1-t²)`.
pub(super) fn constant_speed_vp(t: f64) -> Coefficients {
    preserving(t, |t| (((1.0 - t) * (1.0 + t)).sqrt(), t, 1.0))
}

/// `beta = 1`, `alpha = sigma_min √(r^{2(1-t)} - 1)` with `r = sigma_max/sigma_min`.
pub(super) fn ve(sigma_min: f64, sigma_max: f64, t: f64) -> Coefficients {
    let rate = (sigma_max / sigma_min).ln();
    let alpha = |t: f64| sigma_min * (2.0 * rate * (1.0 - t)).exp_m1().sqrt();
    let product = |t: f64| -rate * sigma_min * sigma_min * (2.0 * rate * (1.0 - t)).exp();
    let inside = t.min(1.0 - END);
    let d_alpha = product(inside) / alpha(inside);
    Coefficients { alpha_d_alpha: product(t), ..Coefficients::source_data((alpha(t), d_alpha), (1.0, 0.0)) }
}

/// `beta = 1`, `alpha = sigma_max (1-t)^rho`.
pub(super) fn edm(sigma_max: f64, rho: f64, t: f64) -> Coefficients {
    let s = 1.0 - t;
    let (alpha, d_alpha) = (sigma_max * s.powf(rho), -sigma_max * rho * s.powf(rho - 1.0));
    Coefficients::source_data((alpha, d_alpha), (1.0, 0.0))
}

/// `beta = cos θ / cos θ0`, `θ = (1-t+offset)/(1+offset) π/2`, `θ0` its value at the data.
pub(super) fn cosine(offset: f64, t: f64) -> Coefficients {
    let rate = FRAC_PI_2 / (1.0 + offset);
    let last = offset * rate;
    preserving(t, |t| {
        let angle = (1.0 - t + offset) * rate;
        let beta = if t == 0.0 { 0.0 } else { angle.cos() / last.cos() };
        // 1 - β by a product of sines, which does not cancel where β is nearly one.
        let rest = 2.0 * (0.5 * (angle + last)).sin() * (0.5 * (angle - last)).sin() / last.cos();
        ((rest * (1.0 + beta)).sqrt(), beta, angle.sin() * rate / last.cos())
    })
}

/// How the noise rates of a discrete diffusion grow.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// Linearly from the first to the last.
    Linear,
    /// Their square roots linearly: Stable Diffusion.
    #[default]
    ScaledLinear,
}

/// The discrete noise schedule of DDPM and Stable Diffusion as a path.
///
/// `abar_i` is the product of `1 - rate` over the first `i+1` rates; step `i` of `n` lies at `t = 1 - (i+1)/n`, the data
/// itself at t = 1, and `beta = √abar` is interpolated linearly between steps.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Discrete {
    /// How the rates grow.
    pub rates: Rates,
    /// First rate (next to the data), in (0, 1); 0.00085 in Stable Diffusion, 0.0001 in DDPM.
    pub rate_start: f64,
    /// Last rate (next to the noise), in (0, 1); 0.012 in Stable Diffusion, 0.02 in DDPM.
    pub rate_end: f64,
    /// Number of steps `n`, in [2, 100000].
    pub steps: usize,
    /// Shifts and scales `√abar` so that nothing of the data is left at t = 0 while the first step stays as it was.
    pub zero_terminal: bool,
}

impl Default for Discrete {
    /// Stable Diffusion's.
    fn default() -> Self {
        let (rate_start, rate_end) = (0.00085, 0.012);
        Self { rates: Rates::ScaledLinear, rate_start, rate_end, steps: 1000, zero_terminal: false }
    }
}

impl Discrete {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let inside = |rate: f64| rate > 0.0 && rate < 1.0;
        require(inside(self.rate_start), "path.rate_start", self.rate_start, "it must be in (0, 1)")?;
        let holds = inside(self.rate_end) && self.rate_end >= self.rate_start;
        require(holds, "path.rate_end", self.rate_end, "it must be in (0, 1) and at least rate_start")?;
        require((2..=100_000).contains(&self.steps), "path.steps", self.steps, "it must be in [2, 100000]")
    }

    /// The time of step `index` (0 next to the data, `steps - 1` at the noise).
    pub fn time(&self, index: usize) -> f64 {
        1.0 - (index + 1).min(self.steps) as f64 / self.steps as f64
    }

    fn rate(&self, i: usize) -> f64 {
        let u = i as f64 / (self.steps - 1) as f64;
        match self.rates {
            Rates::Linear => self.rate_start + (self.rate_end - self.rate_start) * u,
            Rates::ScaledLinear => {
                (self.rate_start.sqrt() + (self.rate_end.sqrt() - self.rate_start.sqrt()) * u).powi(2)
            }
        }
    }

    /// `√abar` after `k` and after `k+1` steps from the data.
    fn knots(&self, k: usize) -> (f64, f64) {
        let mut product = 1.0;
        let (mut first, mut here, mut next) = (1.0, 1.0, 1.0);
        let last = if self.zero_terminal { self.steps } else { k + 1 };
        for i in 0..last {
            product *= 1.0 - self.rate(i);
            match i {
                _ if i + 1 == k => here = product,
                _ if i == k => next = product,
                _ => {}
            }
            if i == 0 {
                first = product;
            }
        }
        let (first, here, next) = (f64::sqrt(first), f64::sqrt(here), f64::sqrt(next));
        if !self.zero_terminal {
            return (here, next);
        }
        let terminal = product.sqrt();
        let shifted = |b: f64| (b - terminal) * first / (first - terminal);
        (if k == 0 { 1.0 } else { shifted(here) }, shifted(next))
    }

    pub(super) fn at(&self, t: f64) -> Coefficients {
        let steps = self.steps as f64;
        preserving(t, |t| {
            let place = (1.0 - t) * steps;
            let k = (place.floor() as usize).min(self.steps - 1);
            let (here, next) = self.knots(k);
            let beta = here + (place - k as f64) * (next - here);
            (((1.0 - beta) * (1.0 + beta)).sqrt(), beta, steps * (here - next))
        })
    }
}
