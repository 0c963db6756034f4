//! The ledger of rectification: what transport got cheaper equals straightness plus crossing.

use super::mean;
use serde::{Deserialize, Serialize};

/// Means over samples of the four entries (2209.03003, proof of theorem 3.5 with squared cost).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Ledger {
    /// `E|X1 - X0|²` of the training pairs.
    pub cost_before: f64,
    /// `E|Z1 - Z0|²` of the flow's own pairs.
    pub cost_after: f64,
    /// Straightness `S` of the flow.
    pub straightness: f64,
    /// Crossing `V` of the training pairs.
    pub crossing: f64,
}

impl Ledger {
    /// From per-sample numbers.
    pub fn new(cost_before: &[f64], cost_after: &[f64], straightness: &[f64], crossing: &[f64]) -> Self {
        Self {
            cost_before: mean(cost_before),
            cost_after: mean(cost_after),
            straightness: mean(straightness),
            crossing: mean(crossing),
        }
    }

    /// `(S + V) / (cost before - cost after) - 1`: zero for the exact velocity on the linear path.
    pub fn imbalance(&self) -> f64 {
        (self.straightness + self.crossing) / (self.cost_before - self.cost_after) - 1.0
    }
}
