//! The coefficient `gamma(t)` of the latent `z` of a stochastic interpolant, with its derivative and their product.
//!
//! Stochastic interpolants, arXiv 2303.08797, definition 2.1 and table 4: zero at both ends, positive between them, with
//! `gamma²` twice differentiable. Where `gamma'` diverges, `gamma gamma'` does not and is given in closed form.

use super::END;
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How much latent noise is mixed in between the two ends of a path.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Gamma {
    /// None: the interpolant is deterministic and says nothing about the score.
    Zero {},
    /// `√(a t(1-t))`, the spread of a Brownian bridge. `gamma gamma' = a(1-2t)/2` does not vanish at the ends, so the
    /// scores of both end densities enter the velocity: best for sampling with the ODE (2303.08797, remark 4.1).
    Brownian {
        /// `a`, positive. 1 in most of the paper, 2 keeps unit variance on the linear path.
        #[serde(default = "one")]
        scale: f64,
    },
    /// `t(1-t)`.
    Bsquared {},
    /// `sin²(πt)`: reaches one in the middle, where nothing of either end need be left.
    Sinesquared {},
    /// `S(f(t-1/2)+1) - S(f(t-1/2)-1)` less its value at the ends, `S` the logistic function: flat in the middle.
    Sigmoid {
        /// Steepness `f`, in (0, 100]; 10 in the authors' program.
        #[serde(default = "ten")]
        steepness: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn ten() -> f64 {
    10.0
}

impl Default for Gamma {
    /// `√(t(1-t))`.
    fn default() -> Self {
        Self::Brownian { scale: one() }
    }
}

fn logistic(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

impl Gamma {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless the scale is positive and the steepness in (0, 100].
    pub fn check(&self) -> Result<(), FlowError> {
        match *self {
            Self::Brownian { scale } => {
                let holds = scale.is_finite() && scale > 0.0;
                require(holds, "path.latent.scale", scale, "it must be positive; 1 is customary")
            }
            Self::Sigmoid { steepness } => {
                let holds = steepness > 0.0 && steepness <= 100.0;
                require(holds, "path.latent.steepness", steepness, "it must be in (0, 100]; 10 is customary")
            }
            _ => Ok(()),
        }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Zero {} => "zero",
            Self::Brownian { .. } => "brownian",
            Self::Bsquared {} => "bsquared",
            Self::Sinesquared {} => "sinesquared",
            Self::Sigmoid { .. } => "sigmoid",
        }
    }

    /// Whether there is no latent at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::Zero {}
    }

    /// `(gamma, gamma', gamma gamma')` at `t` in [0, 1].
    ///
    /// All finite: the Brownian `gamma'` is taken `1e-5` inside the ends, where it is `±158 √a`; the product is exact.
    pub fn at(&self, t: f64) -> (f64, f64, f64) {
        let s = 1.0 - t;
        let (gamma, d_gamma, product) = match *self {
            Self::Zero {} => (0.0, 0.0, 0.0),
            Self::Brownian { scale: a } => {
                let inside = t.clamp(END, 1.0 - END);
                let slope = 0.5 * a * (1.0 - 2.0 * inside) / (a * inside * (1.0 - inside)).sqrt();
                ((a * t * s).sqrt(), slope, 0.5 * a * (1.0 - 2.0 * t))
            }
            Self::Bsquared {} => (t * s, 1.0 - 2.0 * t, t * s * (1.0 - 2.0 * t)),
            Self::Sinesquared {} => {
                let (sin, cos) = (PI * t).sin_cos();
                (sin * sin, 2.0 * PI * sin * cos, 2.0 * PI * sin.powi(3) * cos)
            }
            Self::Sigmoid { steepness: f } => {
                let bump = |u: f64| logistic(u + 1.0) - logistic(u - 1.0);
                let slope = |u: f64| logistic(u) * logistic(-u);
                let u = f * (t - 0.5);
                let (gamma, d_gamma) = (bump(u) - bump(-0.5 * f), f * (slope(u + 1.0) - slope(u - 1.0)));
                (gamma, d_gamma, gamma * d_gamma)
            }
        };
        // Rounding leaves a trace (sin π = 1e-16) where the latent is gone.
        if t == 0.0 || t == 1.0 { (0.0, d_gamma, self.product_at_ends(product)) } else { (gamma, d_gamma, product) }
    }

    /// `gamma gamma'` at an end: only the Brownian one is not zero.
    fn product_at_ends(&self, product: f64) -> f64 {
        if matches!(self, Self::Brownian { .. }) { product } else { 0.0 }
    }
}
