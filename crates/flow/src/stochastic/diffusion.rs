//! The diffusion `ε(t)` of a stochastic solver: any non-negative function keeps the marginals, so it is chosen after
//! training.
//!
//! Stochastic interpolants, arXiv 2303.08797, §2.4 (noise increments are `√(2 ε dt)`); forms of SiT, Ma et al. 2024, arXiv
//! 2401.08740, table 4 and its code. A source that writes `g dW` means `ε = g²/2`.

use crate::{FlowError, Path, error::require};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How strongly a stochastic solver stirs, as a function of time.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Diffusion {
    /// `ε = value`.
    Constant {
        /// Zero (the ordinary differential equation) or more.
        value: f64,
    },
    /// `scale` times that of the noising process, `ε = scale · alpha (alpha beta' - beta alpha')/beta` (on the linear path
    /// `(1-t)/t`): infinite at t = 0. The reverse diffusion of score-based models.
    Sbdm {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
    },
    /// `ε = scale · alpha(t)`: bounded `ε · score`, and still at the data.
    Sigma {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
    },
    /// `ε = scale (1-t)`.
    Linear {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
    },
    /// `ε = scale (1-t)^power`; with `scale = s²/2`, `power = 2` the `sigma_variance = s` of rectified flow's first code.
    Power {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
        /// Zero or more.
        power: f64,
    },
    /// `ε = (scale cos(πt) + 1)²/4`.
    Decreasing {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
    },
    /// `ε = scale sin²(πt)`: still at both ends.
    IncreasingDecreasing {
        /// Zero or more.
        #[serde(default = "one")]
        scale: f64,
    },
    /// Straight lines through the points (`times[i]`, `values[i]`), level beyond them.
    Custom {
        /// Strictly rising times in [0, 1], at least one.
        times: Vec<f64>,
        /// `ε` there, zero or more.
        values: Vec<f64>,
    },
}

fn one() -> f64 {
    1.0
}

impl Default for Diffusion {
    fn default() -> Self {
        Self::Sigma { scale: 1.0 }
    }
}

impl Diffusion {
    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant { .. } => "constant",
            Self::Sbdm { .. } => "sbdm",
            Self::Sigma { .. } => "sigma",
            Self::Linear { .. } => "linear",
            Self::Power { .. } => "power",
            Self::Decreasing { .. } => "decreasing",
            Self::IncreasingDecreasing { .. } => "increasing_decreasing",
            Self::Custom { .. } => "custom",
        }
    }

    /// Whether its value depends on the path.
    pub fn needs_path(&self) -> bool {
        matches!(self, Self::Sbdm { .. } | Self::Sigma { .. })
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let fine = |v: f64| v.is_finite() && v >= 0.0;
        let check = |setting, v: f64| require(fine(v), setting, v, "it must be zero or more");
        match self {
            Self::Constant { value } => check("solver.diffusion.value", *value),
            Self::Sbdm { scale }
            | Self::Sigma { scale }
            | Self::Linear { scale }
            | Self::Decreasing { scale }
            | Self::IncreasingDecreasing { scale } => check("solver.diffusion.scale", *scale),
            Self::Power { scale, power } => {
                check("solver.diffusion.scale", *scale)?;
                check("solver.diffusion.power", *power)
            }
            Self::Custom { times, values } => {
                let rising = times.windows(2).all(|p| p[0] < p[1]) && times.iter().all(|t| (0.0..=1.0).contains(t));
                let remedy = "give strictly rising times in [0, 1], at least one";
                require(rising && !times.is_empty(), "solver.diffusion.times", format!("{times:?}"), remedy)?;
                let right = values.len() == times.len() && values.iter().all(|v| fine(*v));
                let remedy = "give one value per time, each zero or more";
                require(right, "solver.diffusion.values", format!("{values:?}"), remedy)
            }
        }
    }

    /// `ε(t)`; `path` is read by the forms that [need](Diffusion::needs_path) one.
    ///
    /// # Errors
    /// [`FlowError::Diffusion`] where it is not finite (`sbdm` at the source) or a needed path is missing.
    pub fn at(&self, t: f64, path: Option<&Path>) -> Result<f64, FlowError> {
        let fail = |value, remedy| Err(FlowError::Diffusion { form: self.name(), value, t, remedy });
        let value = match self {
            Self::Constant { value } => *value,
            Self::Sbdm { scale } | Self::Sigma { scale } => {
                let Some(path) = path else {
                    return fail(
                        f64::NAN,
                        "it is a function of the path, which this field does not know; use another form",
                    );
                };
                let c = path.at(t);
                match self {
                    // alpha beta'/beta alpha - alpha alpha', with the product that stays finite where alpha' does not.
                    Self::Sbdm { .. } => scale * (c.alpha * c.alpha * c.d_beta / c.beta - c.alpha_d_alpha),
                    _ => scale * c.alpha,
                }
            }
            Self::Linear { scale } => scale * (1.0 - t),
            Self::Power { scale, power } => scale * (1.0 - t).powf(*power),
            Self::Decreasing { scale } => 0.25 * (scale * (PI * t).cos() + 1.0).powi(2),
            Self::IncreasingDecreasing { scale } => scale * (PI * t).sin().powi(2),
            Self::Custom { times, values } => interpolate(times, values, t),
        };
        if value.is_finite() {
            return Ok(value.max(0.0));
        }
        fail(
            value,
            "start the schedule later (times = [0.01, ...]), or use dpm_solver_sde, which integrates it exactly",
        )
    }
}

fn interpolate(times: &[f64], values: &[f64], t: f64) -> f64 {
    let after = times.partition_point(|at| *at < t);
    match after {
        0 => values[0],
        n if n == times.len() => values[n - 1],
        n => {
            let share = (t - times[n - 1]) / (times[n] - times[n - 1]);
            values[n - 1] + share * (values[n] - values[n - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_their_values() {
        let at = |form: Diffusion, t| form.at(t, Some(&Path::Linear {})).unwrap();
        assert!((at(Diffusion::Sbdm { scale: 2.0 }, 0.25) - 6.0).abs() < 1e-12);
        assert_eq!(at(Diffusion::Sigma { scale: 2.0 }, 0.25), 1.5);
        assert_eq!(at(Diffusion::Power { scale: 2.0, power: 2.0 }, 0.5), 0.5);
        assert_eq!(at(Diffusion::Decreasing { scale: 1.0 }, 0.0), 1.0);
        assert!(at(Diffusion::Decreasing { scale: 1.0 }, 1.0).abs() < 1e-30);
        assert!((at(Diffusion::IncreasingDecreasing { scale: 3.0 }, 0.5) - 3.0).abs() < 1e-12);
        let custom = Diffusion::Custom { times: vec![0.2, 0.6], values: vec![1.0, 3.0] };
        assert_eq!([0.0, 0.2, 0.4, 0.9].map(|t| at(custom.clone(), t)), [1.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn variance_preserving_noise_rate_is_half_the_textbook_beta() {
        // dx = -β x/2 dτ + √β dW with τ = 1 - t: ε = β(τ)/2.
        let epsilon = Diffusion::Sbdm { scale: 1.0 }.at(0.3, Some(&Path::vp())).unwrap();
        assert!((epsilon - (0.1 + 19.9 * 0.7) / 2.0).abs() < 1e-9, "{epsilon}");
    }

    #[test]
    fn singular_and_senseless_diffusions_are_refused() {
        let sbdm = Diffusion::Sbdm { scale: 1.0 };
        assert!(matches!(sbdm.at(0.0, Some(&Path::Linear {})), Err(FlowError::Diffusion { .. })));
        assert!(matches!(sbdm.at(0.5, None), Err(FlowError::Diffusion { .. })));
        assert!(Diffusion::Constant { value: -1.0 }.check().is_err());
        assert!(Diffusion::Custom { times: vec![], values: vec![] }.check().is_err());
        assert!(Diffusion::Custom { times: vec![0.0, 1.0], values: vec![1.0] }.check().is_err());
        assert!(Diffusion::Custom { times: vec![0.5, 0.5], values: vec![1.0, 1.0] }.check().is_err());
    }
}
