//! The laws themselves, each by its quantile function, so that one uniform number gives one time.

use super::normal::normal_quantile;
use crate::{FlowError, error::require, loss::IMPROVED_RF};
use base::{Paper, paper::SD3};
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_PI_2, PI};

/// Distribution of training times in [0, 1], t = 1 at the data.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeLaw {
    /// Every time alike: rectified flow.
    Uniform {},
    /// `logit(t)` is normal: SD3's choice (0, 1) for first training.
    LogitNormal {
        /// Mean of `logit(t)`; positive leans to the data (SD3's `m` is minus this).
        #[serde(default)]
        mean: f64,
        /// Standard deviation of `logit(t)`, positive.
        #[serde(default = "one")]
        std: f64,
    },
    /// Density `a cosh(a(t-1/2)) / (2 sinh(a/2))`: both ends often, for reflow.
    UShaped {
        /// Steepness, positive; 4 in the paper's recipes.
        #[serde(default = "four")]
        a: f64,
    },
    /// SD3's "mode with heavy tails": leans to the middle for positive scale, to the ends for negative.
    Mode {
        /// In [-1, 2/(π-2)] = [-1, 1.7519].
        #[serde(default = "mode_scale")]
        scale: f64,
    },
    /// Matches the cosine schedule's log-SNR distribution.
    CosMap {},
    /// Always the same time; `t = 0` is one-step distillation.
    Constant {
        /// In [0, 1].
        t: f64,
    },
    /// One of `0, 1/k, ..., (k-1)/k`: k-step distillation.
    Steps {
        /// Number of steps `k`, at least 1.
        count: usize,
    },
}

fn one() -> f64 {
    1.0
}

fn four() -> f64 {
    4.0
}

fn mode_scale() -> f64 {
    1.29
}

impl Default for TimeLaw {
    fn default() -> Self {
        Self::Uniform {}
    }
}

impl TimeLaw {
    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Uniform {} | Self::Constant { .. } | Self::Steps { .. } => Vec::new(),
            Self::LogitNormal { .. } | Self::Mode { .. } | Self::CosMap {} => vec![SD3],
            Self::UShaped { .. } => vec![IMPROVED_RF],
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        match *self {
            Self::Uniform {} | Self::CosMap {} => Ok(()),
            Self::LogitNormal { mean, std } => {
                require(mean.is_finite(), "time.law.mean", mean, "it must be a number")?;
                require(std.is_finite() && std > 0.0, "time.law.std", std, "it must be positive")
            }
            Self::UShaped { a } => {
                require(a > 0.0 && a <= 100.0, "time.law.a", a, "it must be in (0, 100]; 4 is customary")
            }
            Self::Mode { scale } => {
                let holds = (-1.0..=2.0 / (PI - 2.0)).contains(&scale);
                require(holds, "time.law.scale", scale, "it must be in [-1, 1.7519]")
            }
            Self::Constant { t } => require((0.0..=1.0).contains(&t), "time.law.t", t, "it must be in [0, 1]"),
            Self::Steps { count } => require(count > 0, "time.law.count", count, "it must be at least 1"),
        }
    }

    /// The time below which a fraction `u` in [0, 1] of the draws lies.
    pub fn quantile(&self, u: f64) -> f64 {
        let u = u.clamp(0.0, 1.0);
        let t = match *self {
            Self::Uniform {} => u,
            Self::LogitNormal { mean, std } => 1.0 / (1.0 + (-(mean + std * normal_quantile(u))).exp()),
            Self::UShaped { a } => 0.5 + ((2.0 * u - 1.0) * (a / 2.0).sinh()).asinh() / a,
            Self::Mode { scale } => mode(scale, u),
            Self::CosMap {} => {
                let (sin, cos) = (FRAC_PI_2 * u).sin_cos();
                sin / (sin + cos)
            }
            Self::Constant { t } => t,
            Self::Steps { count } => (u * count as f64).floor().min(count as f64 - 1.0) / count as f64,
        };
        t.clamp(0.0, 1.0)
    }

    /// Probability density at `t` in (0, 1); `None` for discrete laws.
    pub fn density(&self, t: f64) -> Option<f64> {
        match *self {
            Self::Uniform {} => Some(1.0),
            Self::LogitNormal { mean, std } => {
                let z = ((t / (1.0 - t)).ln() - mean) / std;
                Some((-0.5 * z * z).exp() / (std * (2.0 * PI).sqrt() * t * (1.0 - t)))
            }
            Self::UShaped { a } => Some(a * (a * (t - 0.5)).cosh() / (2.0 * (a / 2.0).sinh())),
            Self::Mode { scale } => {
                let u = bisect(|u| mode(scale, u), t);
                Some(1.0 / (1.0 + scale - scale * FRAC_PI_2 * (PI * u).sin()))
            }
            Self::CosMap {} => Some(2.0 / (PI - 2.0 * PI * t + 2.0 * PI * t * t)),
            Self::Constant { .. } | Self::Steps { .. } => None,
        }
    }
}

/// `t = 1 - sigma` with SD3's mode map `sigma = 1-u-s(cos²(πu/2)-1+u)`: increasing in u, symmetric about 1/2.
fn mode(scale: f64, u: f64) -> f64 {
    let sin = (FRAC_PI_2 * u).sin();
    u + scale * (u - sin * sin)
}

/// Inverse of an increasing function on [0, 1]. Bisection, because the mode map's derivative vanishes at its limits.
fn bisect(f: impl Fn(f64) -> f64, wanted: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if f(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
