//! Paths `x_t = alpha(t) x0 + beta(t) x1 + gamma(t) z`: coefficients and their derivatives in one record.
//!
//! Rectified flow, arXiv 2209.03003, §2.1 (linear) and eq. 6 (nonlinear, VP); stochastic interpolants, arXiv 2303.08797,
//! table 4 (trigonometric). `alpha` multiplies the **source** (noise), `beta` the **data**.

mod coefficients;
mod point;

pub use coefficients::Coefficients;
pub use point::Point;

use crate::{FlowError, error::require};
use base::{Tensor, Times};
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;

/// A curve between a source point and a data point.
///
/// Only [`Path::Linear`] is straightened by reflow (2209.03003, theorem 3.7); the others are for comparison and for
/// networks trained elsewhere.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Path {
    /// `x_t = (1-t) x0 + t x1`: rectified flow.
    Linear {},
    /// `x_t = cos(πt/2) x0 + sin(πt/2) x1`: keeps unit variance when both ends have it.
    Trigonometric {},
    /// The variance-preserving diffusion: `log beta = -(1-t)² (beta_max - beta_min)/4 - (1-t) beta_min/2`,
    /// `alpha = √(1 - beta²)`. At t = 0 a trace of data is left (`beta(0)` = 0.0066 with the customary values).
    Vp {
        /// Noise rate at the data end, 0.1 in the literature.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// Noise rate at the noise end, 20 in the literature (`a` = 19.9 and `b` = 0.1 of 2209.03003).
        #[serde(default = "beta_max")]
        beta_max: f64,
    },
}

fn beta_min() -> f64 {
    0.1
}

fn beta_max() -> f64 {
    20.0
}

impl Default for Path {
    fn default() -> Self {
        Self::Linear {}
    }
}

/// Derivatives that diverge at an end of the path are evaluated this far inside it.
const END: f64 = 1e-5;

impl Path {
    /// The variance-preserving path with the customary rates 0.1 and 20.
    pub fn vp() -> Self {
        Self::Vp { beta_min: beta_min(), beta_max: beta_max() }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless `0 < beta_min <= beta_max`.
    pub fn check(&self) -> Result<(), FlowError> {
        if let Self::Vp { beta_min, beta_max } = *self {
            let fine = |b: f64| b.is_finite() && b > 0.0;
            require(fine(beta_min), "path.beta_min", beta_min, "it must be positive; 0.1 is customary")?;
            let holds = fine(beta_max) && beta_max >= beta_min;
            require(holds, "path.beta_max", beta_max, "it must be at least beta_min; 20 is customary")?;
        }
        Ok(())
    }

    /// Name as in a recipe: `linear`, `trigonometric`, `vp`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear {} => "linear",
            Self::Trigonometric {} => "trigonometric",
            Self::Vp { .. } => "vp",
        }
    }

    /// Coefficients and derivatives at `t`, which is held to [0, 1].
    ///
    /// Everything is finite: where `d_alpha` diverges (VP at t = 1) it is taken `1e-5` before the end, while the product
    /// `alpha · d_alpha`, which has a limit, is exact there.
    pub fn at(&self, t: f64) -> Coefficients {
        let t = t.clamp(0.0, 1.0);
        match *self {
            Self::Linear {} => Coefficients::source_data((1.0 - t, -1.0), (t, 1.0)),
            Self::Trigonometric {} => {
                // The cosine through the nearer end, so that both ends are exact zeros.
                let (sin, cos) = (FRAC_PI_2 * t).sin_cos();
                let (sin, cos) = if t == 1.0 { (1.0, 0.0) } else { (sin, cos) };
                Coefficients::source_data((cos, -FRAC_PI_2 * sin), (sin, FRAC_PI_2 * cos))
            }
            Self::Vp { beta_min, beta_max } => vp(beta_min, beta_max, t),
        }
    }

    /// The point of every pair at its time.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if `x0`, `x1` and `times` disagree.
    pub fn point<const D: usize>(&self, x0: Tensor<D>, x1: Tensor<D>, times: &Times) -> Result<Point<D>, FlowError> {
        Point::on(self, x0, x1, times)
    }
}

/// VP coefficients, 2209.03003 §2.3 with `a = beta_max - beta_min`, `b = beta_min`.
fn vp(beta_min: f64, beta_max: f64, t: f64) -> Coefficients {
    let (a, b) = (beta_max - beta_min, beta_min);
    let values = |t: f64| {
        let s = 1.0 - t;
        let log_beta = -a * s * s / 4.0 - b * s / 2.0;
        let beta = log_beta.exp();
        // √(1-β²) without cancellation where β is nearly one.
        let alpha = (-(2.0 * log_beta).exp_m1()).sqrt();
        let d_beta = beta * (a * s / 2.0 + b / 2.0);
        (alpha, beta, d_beta)
    };
    let (alpha, beta, d_beta) = values(t);
    let inside = values(t.min(1.0 - END));
    let d_alpha = -inside.1 * inside.2 / inside.0;
    Coefficients { alpha_d_alpha: -beta * d_beta, ..Coefficients::source_data((alpha, d_alpha), (beta, d_beta)) }
}
