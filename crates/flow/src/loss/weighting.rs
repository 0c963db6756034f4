//! Weights of a loss over time.

use crate::{FlowError, Parameterization, Path, error::require};
use base::Times;
use serde::{Deserialize, Serialize};

/// Factor of a sample's loss as a function of its time.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// One.
    Uniform {},
    /// Weighs the errors of any parameterization as if they were errors of the velocity they stand for
    /// (no effect on velocity networks). For the L2 loss.
    Velocity {},
    /// `(1-t)^power`: less weight near the data for positive powers (2405.20320 uses 1 beside LPIPS).
    NoiseFraction {
        /// In [-4, 4].
        power: f64,
    },
}

impl Default for Weighting {
    fn default() -> Self {
        Self::Uniform {}
    }
}

/// `(1-t)` is kept from zero so that negative powers stay finite.
const LEAST: f64 = 1e-3;

impl Weighting {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] if the power is not in [-4, 4].
    pub fn check(&self) -> Result<(), FlowError> {
        match *self {
            Self::NoiseFraction { power } => {
                require((-4.0..=4.0).contains(&power), "weighting.power", power, "it must be in [-4, 4]")
            }
            _ => Ok(()),
        }
    }

    /// The weight of each time; `None` when all are one.
    pub fn weights(&self, path: &Path, parameterization: Parameterization, times: &Times) -> Option<Vec<f64>> {
        let velocity = Parameterization::Velocity {};
        let all = |f: &dyn Fn(f64) -> f64| Some(times.values().iter().map(|&t| f(t)).collect());
        match *self {
            Self::Uniform {} => None,
            Self::Velocity {} if parameterization == velocity => None,
            Self::Velocity {} => all(&|t| parameterization.convert(velocity, &path.at(t)).of_output.powi(2)),
            Self::NoiseFraction { power } => all(&|t| (1.0 - t).max(LEAST).powf(power)),
        }
    }
}
