//! Annealing between fresh and stored noise: how a student begins with a first flow's freedom and ends with reflow's pairs.
//!
//! SlimFlow, arXiv 2407.12718, §3.1: `z_β = √(1-β²) z + β z'` blends the stored noise `z` of a pair with fresh noise `z'` and
//! stays standard normal; β = 1 is the first rectified flow on the teacher's samples, β = 0 is reflow. β follows the images
//! seen, so that a resumed run and any batch size blend alike.

use crate::{FlowError, error::require};
use base::Paper;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// SlimFlow: Training Smaller One-Step Diffusion Models with Rectified Flow.
pub const SLIMFLOW: Paper = Paper::arxiv(
    "zhu2024slimflow",
    "Zhu, Yuanzhi and Liu, Xingchao and Liu, Qiang",
    "SlimFlow: Training Smaller One-Step Diffusion Models with Rectified Flow",
    (2024, "2407.12718"),
    "ECCV 2024",
);

/// How the share β of fresh noise falls while training.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Annealing {
    /// `β = 1 - n/images`, zero from there on: the paper's choice.
    Linear {
        /// Images over which β falls to zero; at least 1.
        images: u64,
    },
    /// `β = (1 + cos(π n/images))/2`, zero from there on.
    Cosine {
        /// Images over which β falls to zero; at least 1.
        images: u64,
    },
    /// `β = exp(-n/images)`: never quite zero.
    Exponential {
        /// Images over which β falls by e; at least 1.
        images: u64,
    },
    /// Always the same share.
    Constant {
        /// In [0, 1].
        beta: f64,
    },
}

impl Annealing {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        match *self {
            Self::Linear { images } | Self::Cosine { images } | Self::Exponential { images } => require(
                images > 0,
                "annealing.images",
                images,
                "it must be at least 1; a third of the run is customary",
            ),
            Self::Constant { beta } => {
                require((0.0..=1.0).contains(&beta), "annealing.beta", beta, "it must be in [0, 1]")
            }
        }
    }

    /// β of the sample with counter `index` (images seen before it), in [0, 1].
    pub fn beta(&self, index: u64) -> f64 {
        match *self {
            Self::Linear { images } => 1.0 - (index as f64 / images as f64).min(1.0),
            Self::Cosine { images } => 0.5 * (1.0 + (PI * (index as f64 / images as f64).min(1.0)).cos()),
            Self::Exponential { images } => (-(index as f64) / images as f64).exp(),
            Self::Constant { beta } => beta,
        }
    }
}
