//! Losses: a number per sample from a prediction and its target.
//!
//! L2: rectified flow, arXiv 2209.03003, eq. 1. Pseudo-Huber: arXiv 2405.20320, §4.2, with `c` proportional to the number
//! of values of a sample and the norm taken over the whole sample.

mod perceptual;
mod weighting;

pub use perceptual::{LPIPS, Perceptual};
pub use weighting::{MIN_SNR, Weighting};

use crate::{FlowError, error::require};
use base::{Paper, Tensor};
use serde::{Deserialize, Serialize};

/// Improving the Training of Rectified Flows.
pub const IMPROVED_RF: Paper = Paper::arxiv(
    "lee2024improving",
    "Lee, Sangyun and Lin, Zinan and Fanti, Giulia",
    "Improving the Training of Rectified Flows",
    (2024, "2405.20320"),
    "NeurIPS 2024",
);

/// A distance between prediction and target.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Mean of the squared difference.
    L2 {},
    /// `(√(|d|² + (cn)²) - cn) / n` over the `n` values of a sample: squared near zero, linear far away.
    PseudoHuber {
        /// Crossover per value, positive; 0.00054 in the paper.
        #[serde(default = "huber_c")]
        c: f64,
    },
}

fn huber_c() -> f64 {
    0.00054
}

impl Default for Loss {
    fn default() -> Self {
        Self::L2 {}
    }
}

impl Loss {
    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::L2 {} => Vec::new(),
            Self::PseudoHuber { .. } => vec![IMPROVED_RF],
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless `c` is positive.
    pub fn check(&self) -> Result<(), FlowError> {
        match *self {
            Self::L2 {} => Ok(()),
            Self::PseudoHuber { c } => {
                require(c.is_finite() && c > 0.0, "loss.c", c, "it must be positive; 0.00054 is customary")
            }
        }
    }

    /// The loss of each sample, `[b]`.
    pub fn per_sample<const D: usize>(&self, prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
        let values: usize = prediction.dims()[1..].iter().product();
        let squared = kernels::squared_error(prediction, target);
        match *self {
            Self::L2 {} => squared,
            Self::PseudoHuber { c } => {
                let c = c * values as f64;
                ((squared * values as f64 + c * c).sqrt() - c) / values as f64
            }
        }
    }
}
