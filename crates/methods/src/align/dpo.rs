//! Flow-DPO: the flow learns from preferences directly, held near a frozen reference.
//!
//! VideoAlign (arXiv 2501.13918, eq. 10), after Diffusion-DPO (Wallace et al., arXiv 2311.12908). Winner `w` and loser `l` are met
//! at the **same** time with the **same** noise; with the squared errors `E = |v - v_θ|²` of the velocity,
//!
//! `L = -ln σ( -(β_t/2) [ (E_w - E_w^ref) - (E_l - E_l^ref) ] )`.
//!
//! Derived from the noise's error, `β_t = β t²` (`t = 1` at the data; the paper's `(1-t)²`). The paper and we recommend `β_t = β`.

use super::log_sigmoid;
use crate::MethodError;
use base::{Tensor, TensorData, Times};
use serde::{Deserialize, Serialize};

/// Diffusion Model Alignment Using Direct Preference Optimization.
pub const DIFFUSION_DPO: base::Paper = base::Paper::arxiv(
    "wallace2023diffusion",
    "Wallace, Bram and Dang, Meihua and Rafailov, Rafael and others",
    "Diffusion Model Alignment Using Direct Preference Optimization",
    (2023, "2311.12908"),
    "CVPR 2024",
);

/// How the strength depends on the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// The same at every time.
    #[default]
    Constant,
    /// `β t²`, as follows from Diffusion-DPO: hardly anything near the noise.
    Derived,
}

/// Whether an error is summed over a sample's numbers or averaged. `β` means another thing under each: the same training has
/// `β_mean = β_sum n` for samples of `n` numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// As released code does.
    #[default]
    Mean,
    /// As the paper writes.
    Sum,
}

/// Settings of Flow-DPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpoConfig {
    /// `β`: how closely the reference is held. Higher learns faster from a pair, and saturates sooner.
    pub beta: f64,
    /// Its dependence on time.
    pub beta_schedule: BetaSchedule,
    /// What `β` multiplies.
    pub reduction: Reduction,
    /// Training stops when the winners' error is this many times the reference's; 0 never stops.
    pub stop_ratio: f64,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self { beta: 500.0, beta_schedule: BetaSchedule::Constant, reduction: Reduction::Mean, stop_ratio: 1.1 }
    }
}

/// Squared errors of the velocity, **summed** over each sample's numbers, `[pairs]` each.
#[derive(Clone, Debug)]
pub struct Errors {
    /// The flow in training, at winners and losers.
    pub policy: [Tensor<1>; 2],
    /// The frozen reference, at the same.
    pub reference: [Tensor<1>; 2],
    /// Numbers of a sample.
    pub numbers: usize,
}

/// What a batch of pairs said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DpoFigures {
    /// Mean error per number: the flow's at winners and losers, the reference's at both. All four, because the loss sees
    /// differences only: both of the flow's may rise.
    pub errors: [f64; 4],
    /// Share of pairs in which the flow prefers the winner more than the reference does.
    pub accuracy: f64,
    /// Mean of the logarithm's argument; tens mean that the loss is saturated and its gradient rare.
    pub margin: f64,
}

impl DpoConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |setting, value: f64, remedy| Err(MethodError::Setting { setting, value: value.to_string(), remedy });
        if !(self.beta.is_finite() && self.beta > 0.0) {
            return refuse("dpo.beta", self.beta, "it must be positive; 500 is the paper's");
        }
        if !(self.stop_ratio == 0.0 || (self.stop_ratio.is_finite() && self.stop_ratio > 1.0)) {
            return refuse("dpo.stop_ratio", self.stop_ratio, "it must be above 1 (1.1 is customary), or 0 to go on");
        }
        Ok(())
    }

    /// `β_t` for errors summed over `numbers` numbers.
    fn strength(&self, t: f64, numbers: usize) -> f64 {
        let beta = match self.reduction {
            Reduction::Sum => self.beta,
            Reduction::Mean => self.beta / numbers.max(1) as f64,
        };
        match self.beta_schedule {
            BetaSchedule::Constant => beta,
            BetaSchedule::Derived => beta * t * t,
        }
    }

    /// The argument of the sigmoid for each pair, `[pairs]`: positive where the flow prefers the winner.
    pub fn margins(&self, errors: &Errors, times: &Times) -> Tensor<1> {
        let [winner, loser] = errors.policy.clone();
        let [reference_winner, reference_loser] = errors.reference.clone();
        let strength: Vec<f32> =
            times.values().iter().map(|t| (-0.5 * self.strength(*t, errors.numbers)) as f32).collect();
        let strength = Tensor::<1>::from_data(TensorData::new(strength, [times.len()]), &winner.device());
        // Differences first: each error is much larger than what tells the two flows apart.
        ((winner - reference_winner) - (loser - reference_loser)) * strength
    }

    /// Loss of each pair, `[pairs]`.
    pub fn loss(&self, errors: &Errors, times: &Times) -> Tensor<1> {
        log_sigmoid(self.margins(errors, times)).neg()
    }

    /// The figures to watch.
    ///
    /// # Errors
    /// A device that cannot give its numbers.
    pub fn figures(&self, errors: &Errors, times: &Times) -> Result<DpoFigures, MethodError> {
        let mean = |x: &Tensor<1>| -> Result<f64, MethodError> {
            let values = flow::rows::host(x.clone().inner())?;
            Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
        };
        let numbers = errors.numbers.max(1) as f64;
        let mut four = [0.0; 4];
        for (place, error) in four.iter_mut().zip(errors.policy.iter().chain(&errors.reference)) {
            *place = mean(error)? / numbers;
        }
        let margins = flow::rows::host(self.margins(errors, times).inner())?;
        let pairs = margins.len().max(1) as f64;
        let accuracy = margins.iter().filter(|m| **m > 0.0).count() as f64 / pairs;
        Ok(DpoFigures { errors: four, accuracy, margin: margins.iter().sum::<f64>() / pairs })
    }

    /// Whether these figures say that training has gone too far: the winners themselves are lost.
    pub fn has_gone_too_far(&self, figures: &DpoFigures) -> bool {
        let [winner, _, reference, _] = figures.errors;
        self.stop_ratio > 0.0 && reference > 0.0 && winner > self.stop_ratio * reference
    }
}
