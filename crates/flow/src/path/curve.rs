//! The spatially linear curves of two-sided interpolants: what multiplies the two ends when a latent is mixed in.
//!
//! Stochastic interpolants, arXiv 2303.08797, §3.1 and table 4.

use super::{Coefficients, Gamma};
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_PI_2, PI};

/// Coefficients of source and data on a path with a latent.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Curve {
    /// `1-t` and `t`.
    Linear {},
    /// `√(1-gamma²) cos(πt/2)` and `√(1-gamma²) sin(πt/2)`: unit variance throughout if both ends have it.
    Trigonometric {},
    /// `cos²(πt)` of the source in the first half, of the data in the second: everything passes through the latent at
    /// `t = 1/2`, which is why `gamma` must not vanish there.
    EncodingDecoding {},
    /// `1-t^n` and `t^n`.
    Polynomial {
        /// `n` in [1, 16]; 1 is the linear curve.
        power: f64,
    },
}

impl Default for Curve {
    fn default() -> Self {
        Self::Linear {}
    }
}

/// `(1-t^n, t^n)` with their derivatives.
pub(super) fn polynomial(power: f64, t: f64) -> Coefficients {
    let (beta, d_beta) = (t.powf(power), power * t.powf(power - 1.0));
    Coefficients::source_data((1.0 - beta, -d_beta), (beta, d_beta))
}

/// Refuses powers outside [1, 16].
pub(super) fn check_power(power: f64) -> Result<(), FlowError> {
    require((1.0..=16.0).contains(&power), "path.power", power, "it must be in [1, 16]; 1 is the linear path")
}

/// `cos(πt/2)` and `sin(πt/2)`, exact at both ends.
pub(super) fn quarter_turn(t: f64) -> (f64, f64) {
    let (sin, cos) = (FRAC_PI_2 * t).sin_cos();
    if t == 1.0 { (0.0, 1.0) } else { (cos, sin) }
}

impl Curve {
    /// Refuses settings out of range and latents that the curve cannot carry.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self, latent: &Gamma) -> Result<(), FlowError> {
        latent.check()?;
        match *self {
            Self::Linear {} => Ok(()),
            Self::Trigonometric {} => {
                let peak = if latent.is_zero() { 0.0 } else { latent.at(0.5).0 };
                let remedy = "the trigonometric curve keeps unit variance, which needs gamma(1/2) < 1: a brownian scale \
                              below 4, or bsquared, sigmoid or zero";
                require(peak < 1.0, "path.latent", latent.name(), remedy)
            }
            Self::EncodingDecoding {} => {
                let remedy = "encoding-decoding passes through nothing but the latent at t = 1/2; use sinesquared";
                require(!latent.is_zero(), "path.latent", latent.name(), remedy)
            }
            Self::Polynomial { power } => check_power(power),
        }
    }

    /// Coefficients at `t` in [0, 1] beside a latent of `(gamma, gamma', gamma gamma')`.
    pub fn at(&self, t: f64, latent: (f64, f64, f64)) -> Coefficients {
        let plain = match *self {
            Self::Linear {} => Coefficients::source_data((1.0 - t, -1.0), (t, 1.0)),
            Self::Polynomial { power } => polynomial(power, t),
            Self::EncodingDecoding {} => {
                let (value, slope) = ((PI * t).cos().powi(2), -PI * (2.0 * PI * t).sin());
                let half = (value, slope);
                let (source, data) = if t < 0.5 { (half, (0.0, 0.0)) } else { ((0.0, 0.0), half) };
                Coefficients::source_data(source, data)
            }
            Self::Trigonometric {} => {
                // rho = √(1-gamma²), so rho rho' = -gamma gamma' is finite whenever the product is.
                let (cos, sin) = quarter_turn(t);
                let rho = (1.0 - latent.0 * latent.0).sqrt();
                let d_rho = -latent.2 / rho;
                let source = (rho * cos, d_rho * cos - FRAC_PI_2 * rho * sin);
                Coefficients::source_data(source, (rho * sin, d_rho * sin + FRAC_PI_2 * rho * cos))
            }
        };
        plain.with_latent(latent)
    }
}
