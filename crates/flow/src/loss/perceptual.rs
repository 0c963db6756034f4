//! Weights of a perceptual distance beside the loss: LPIPS-Huber and LPIPS-Huber-1/t of 2-rectified flow++.
//!
//! Improving the training of rectified flows, arXiv 2405.20320, §4.2, with data at t = 0 there: `(1-t) Huber + LPIPS` and
//! `(1-t) Huber + LPIPS/t`. Here data are at t = 1, so the factors are `t` and `1/(1-t)`. The distance itself is a network's
//! and comes in as a [`Premetric`](crate::Premetric).

use super::IMPROVED_RF;
use crate::{FlowError, error::require};
use base::Paper;
use serde::{Deserialize, Serialize};

/// The Unreasonable Effectiveness of Deep Features as a Perceptual Metric.
pub const LPIPS: Paper = Paper::arxiv(
    "zhang2018unreasonable",
    "Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, Oliver",
    "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
    (2018, "1801.03924"),
    "CVPR 2018",
);

/// How a perceptual distance between data and data estimate counts.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Perceptual {
    /// Factor of the distance, positive; 1 in the paper.
    pub weight: f64,
    /// Whether it is divided by the noise fraction `1 - t`, so that it counts for more near the data ("1/t").
    pub over_noise: bool,
}

impl Default for Perceptual {
    fn default() -> Self {
        Self { weight: 1.0, over_noise: false }
    }
}

/// The noise fraction is kept from zero as in the paper's code.
const LEAST: f64 = 1e-5;

impl Perceptual {
    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        vec![IMPROVED_RF, LPIPS]
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless the weight is positive.
    pub fn check(&self) -> Result<(), FlowError> {
        let holds = self.weight.is_finite() && self.weight > 0.0;
        require(holds, "perceptual.weight", self.weight, "it must be positive; 1 is customary")
    }

    /// Factor of the distance at time `t`.
    pub fn of_distance(&self, t: f64) -> f64 {
        self.weight * if self.over_noise { 1.0 / (1.0 - t).max(LEAST) } else { 1.0 }
    }

    /// Factor of the loss beside it at time `t`.
    pub fn of_loss(&self, t: f64) -> f64 {
        t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_the_papers_with_time_turned_round() {
        let (plain, over) = (Perceptual::default(), Perceptual { over_noise: true, weight: 2.0 });
        // Their t = 0.25 is our 0.75: (1 - 0.25) Huber + LPIPS / 0.25.
        assert_eq!((plain.of_loss(0.75), plain.of_distance(0.75)), (0.75, 1.0));
        assert_eq!(over.of_distance(0.75), 8.0);
        assert!(over.of_distance(1.0).is_finite());
        assert!(Perceptual { weight: 0.0, ..plain }.check().is_err());
    }
}
