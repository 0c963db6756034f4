//! Flow-RWR and supervised fine-tuning: flow matching on the samples that a reward likes.
//!
//! VideoAlign (arXiv 2501.13918, eq. 12): `E[ exp(r) |v - v_θ|² ]`. Rewards have no scale of their own, so they are standardised
//! first, divided by a temperature, and their exponentials scaled to mean one and capped: otherwise a single sample is the batch.
//! Supervised fine-tuning keeps the winners, each once.

use super::Verdict;
use crate::MethodError;
use serde::{Deserialize, Serialize};

/// Settings of Flow-RWR's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightConfig {
    /// Standard deviations of the reward that make a factor of `e`; lower is greedier.
    pub temperature: f64,
    /// Largest weight, as a multiple of the mean.
    pub cap: f64,
}

impl Default for WeightConfig {
    fn default() -> Self {
        Self { temperature: 1.0, cap: 10.0 }
    }
}

impl WeightConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |setting, value: f64, remedy| Err(MethodError::Setting { setting, value: value.to_string(), remedy });
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refuse("rwr.temperature", self.temperature, "it must be positive; 1 is customary");
        }
        if !(self.cap.is_finite() && self.cap > 1.0) {
            return refuse("rwr.cap", self.cap, "it must be above 1; 10 is customary");
        }
        Ok(())
    }

    /// A weight for each sample, of mean one before the cap.
    ///
    /// # Errors
    /// [`MethodError::Pairs`] for rewards that are no numbers.
    pub fn weights(&self, rewards: &[f64]) -> Result<Vec<f64>, MethodError> {
        if let Some(at) = rewards.iter().position(|r| !r.is_finite()) {
            return Err(MethodError::Pairs(format!("the reward of sample {at} is {}, not a number", rewards[at])));
        }
        let count = rewards.len().max(1) as f64;
        let mean = rewards.iter().sum::<f64>() / count;
        let deviation = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt();
        if deviation == 0.0 {
            return Ok(vec![1.0; rewards.len()]); // nothing is preferred
        }
        let scaled: Vec<f64> = rewards.iter().map(|r| (r - mean) / (deviation * self.temperature)).collect();
        let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let raised: Vec<f64> = scaled.iter().map(|r| (r - largest).exp()).collect(); // never overflows
        let total = raised.iter().sum::<f64>() / count;
        Ok(raised.into_iter().map(|w| (w / total).min(self.cap)).collect())
    }
}

/// The samples that won a pair, each once and in order: `pairs` are numbers of samples, `verdicts` what was said of them.
pub fn winners(pairs: &[[usize; 2]], verdicts: &[Verdict]) -> Vec<usize> {
    let won = pairs.iter().zip(verdicts).filter_map(|([first, second], verdict)| match verdict {
        Verdict::First => Some(*first),
        Verdict::Second => Some(*second),
        _ => None,
    });
    let mut won: Vec<usize> = won.collect();
    won.sort_unstable();
    won.dedup();
    won
}
