//! Weights of a loss over time.
//!
//! Velocity and likelihood: the forms of SiT (arXiv 2401.08740, §3.2), stated for the noise and carried over to every output.
//! Min-SNR: arXiv 2303.09556, eq. 7. π-ratio: SD3, arXiv 2403.03206, §3.1.

use crate::{FlowError, Parameterization, Path, TimeConfig, TimeLaw, error::require, path::Sides, solver::SIT};
use base::{Paper, Times, paper::SD3};
use serde::{Deserialize, Serialize};

/// Efficient Diffusion Training via Min-SNR Weighting Strategy.
pub const MIN_SNR: Paper = Paper::arxiv(
    "hang2023efficient",
    "Hang, Tiankai and Gu, Shuyang and Li, Chen and Bao, Jianmin and Chen, Dong and Hu, Han and Geng, Xin and Guo, Baining",
    "Efficient Diffusion Training via Min-SNR Weighting Strategy",
    (2023, "2303.09556"),
    "ICCV 2023",
);

/// Factor of a sample's loss as a function of its time. All but the noise fraction and the π-ratio are for the L2 loss.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// One.
    Uniform {},
    /// Weighs the errors of any parameterization as if they were errors of the velocity they stand for
    /// (no effect on velocity networks).
    Velocity {},
    /// Weighs errors as the likelihood bound of the diffusion on this path does: `w/alpha²` times the squared error of the
    /// noise, `w = alpha (alpha beta' - beta alpha')/beta`.
    Likelihood {},
    /// `min(snr, cap)` times the squared error of the data, `snr = beta²/alpha²`: what is nearly noise counts by its signal,
    /// what is nearly data no more than `cap`.
    MinSnr {
        /// Positive; 5 in the paper.
        #[serde(default = "five")]
        cap: f64,
    },
    /// `(1-t)^power`: less weight near the data for positive powers.
    NoiseFraction {
        /// In [-4, 4].
        power: f64,
    },
    /// `π(t)/q(t)` with `q` the law the times are drawn from: trains as if they were drawn from `π`, at another variance.
    PiRatio {
        /// The law `π` to imitate.
        law: TimeLaw,
    },
}

fn five() -> f64 {
    5.0
}

impl Default for Weighting {
    fn default() -> Self {
        Self::Uniform {}
    }
}

/// `(1-t)` is kept from zero so that negative powers stay finite.
const LEAST: f64 = 1e-3;

impl Weighting {
    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Uniform {} => Vec::new(),
            Self::MinSnr { .. } => vec![MIN_SNR],
            Self::Likelihood {} => vec![SIT],
            Self::Velocity {} | Self::NoiseFraction { .. } | Self::PiRatio { .. } => vec![SD3],
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for a power outside [-4, 4], a cap that is not positive, or a law without density.
    pub fn check(&self) -> Result<(), FlowError> {
        match self {
            Self::NoiseFraction { power } => {
                require((-4.0..=4.0).contains(power), "weighting.power", power, "it must be in [-4, 4]")
            }
            Self::MinSnr { cap } => {
                require(cap.is_finite() && *cap > 0.0, "weighting.cap", cap, "it must be positive; 5 is customary")
            }
            Self::PiRatio { law } => {
                law.check()?;
                let remedy = "it must have a density: constant and steps have none";
                require(law.density(0.5).is_some(), "weighting.law", format!("{law:?}"), remedy)
            }
            _ => Ok(()),
        }
    }

    /// Refuses weights that have no meaning beside the rest of an objective.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming what does not go together.
    pub fn check_beside(&self, path: &Path, output: Parameterization, time: &TimeConfig) -> Result<(), FlowError> {
        match self {
            Self::Velocity {} => output.check_reads(Parameterization::Velocity {}, path),
            Self::Likelihood {} | Self::MinSnr { .. } => {
                let remedy =
                    "likelihood and min_snr compare noise and data of a one-sided path; use uniform or velocity";
                require(path.sides() == Sides::One, "weighting", path.name(), remedy)
            }
            Self::PiRatio { .. } => {
                let remedy = "pi_ratio divides by the density of the training times; draw them from a law that has one";
                require(time.density(0.5).is_some(), "weighting", format!("{:?}", time.law), remedy)
            }
            _ => Ok(()),
        }
    }

    /// The weight of each time, drawn from `time`; `None` when all are one.
    pub fn weights(
        &self,
        path: &Path,
        parameterization: Parameterization,
        time: &TimeConfig,
        times: &Times,
    ) -> Option<Vec<f64>> {
        let velocity = Parameterization::Velocity {};
        let all = |f: &dyn Fn(f64) -> f64| Some(times.values().iter().map(|&t| f(t)).collect());
        let squared =
            |wanted: Parameterization, t: f64| parameterization.convert(wanted, &path.at(t)).of_output.powi(2);
        match self {
            Self::Uniform {} => None,
            Self::Velocity {} if parameterization == velocity => None,
            Self::Velocity {} => all(&|t| squared(velocity, t)),
            Self::Likelihood {} => all(&|t| {
                let t = t.clamp(LEAST, 1.0 - LEAST);
                let c = path.at(t);
                c.determinant() / (c.alpha * c.beta) * squared(Parameterization::Noise {}, t)
            }),
            Self::MinSnr { cap } => all(&|t| {
                let t = t.clamp(LEAST, 1.0 - LEAST);
                let c = path.at(t);
                (c.beta / c.alpha).powi(2).min(*cap) * squared(Parameterization::Data {}, t)
            }),
            Self::NoiseFraction { power } => all(&|t| (1.0 - t).max(LEAST).powf(*power)),
            Self::PiRatio { law } => all(&|t| {
                let t = t.clamp(LEAST, 1.0 - LEAST);
                match (law.density(t), time.density(t)) {
                    (Some(wanted), Some(drawn)) => wanted / drawn,
                    _ => 1.0, // refused by `check_beside`
                }
            }),
        }
    }
}
