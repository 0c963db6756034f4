//! How a reward learns from verdicts on pairs.
//!
//! With `D = r_first - r_second`. Bradley and Terry (1952): `P(first) = σ(D)`. With ties, Rao and Kupper (1967), as VideoAlign
//! uses it (arXiv 2501.13918, eq. 3): `P(first) = σ(D - ln θ)`, `P(second) = σ(-D - ln θ)`, `P(tie) = (θ² - 1)` times both.
//! Regression and margins learn from scores a judge gave each sample. Means run over what counts, not over the batch: an
//! invalid verdict must not dilute the others.

use super::{Verdict, log_sigmoid};
use crate::MethodError;
use base::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The loss of a reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardLoss {
    /// `-ln σ(D)` of the better over the worse; ties teach nothing.
    BradleyTerry {},
    /// The likelihood of the verdict, ties included.
    Ties {
        /// `θ`, above 1: how wide a tie is. 5 in the paper.
        #[serde(default = "five")]
        theta: f64,
    },
    /// `(r - score)²` of each sample.
    Regression {},
    /// `-ln σ(D - (s_better - s_worse))`: the reward keeps the distance of the scores.
    Margin {},
    /// `-ln σ(D - margin)`, one distance for all.
    ConstantMargin {
        /// The distance; 0.57 in the released code.
        #[serde(default = "usual_margin")]
        margin: f64,
    },
}

fn five() -> f64 {
    5.0
}

fn usual_margin() -> f64 {
    0.57
}

impl Default for RewardLoss {
    fn default() -> Self {
        Self::Ties { theta: five() }
    }
}

/// A batch of compared pairs, `[pairs axes]` row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What was said.
    pub verdicts: Vec<Verdict>,
    /// The judge's own scores of both samples; empty where there are none.
    pub scores: [Vec<f32>; 2],
}

impl RewardLoss {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |setting, value: f64, remedy| Err(MethodError::Setting { setting, value: value.to_string(), remedy });
        match self {
            Self::Ties { theta } if !(theta.is_finite() && *theta > 1.0) => {
                refuse("loss.theta", *theta, "it must be above 1 (at 1 nothing can tie); 5 is customary")
            }
            Self::ConstantMargin { margin } if !(margin.is_finite() && *margin >= 0.0) => {
                refuse("loss.margin", *margin, "it must be zero or more; 0.57 is customary")
            }
            _ => Ok(()),
        }
    }

    /// Whether it needs the judge's scores beside the verdicts.
    pub fn needs_scores(&self) -> bool {
        matches!(self, Self::Regression {} | Self::Margin {})
    }

    /// Loss of each pair `[pairs]`, whose mean is the mean over the verdicts that count, from the rewards of the first and of the
    /// second samples, `[pairs axes]` each. Zero where none counts.
    ///
    /// # Errors
    /// [`MethodError::Pairs`] for verdicts or scores of another number, or scores that are missing where they are needed.
    pub fn loss(&self, first: Tensor<2>, second: Tensor<2>, compared: &Compared) -> Result<Tensor<1>, MethodError> {
        let [pairs, axes] = first.dims();
        let count = pairs * axes;
        if compared.verdicts.len() != count {
            let found = compared.verdicts.len();
            return Err(MethodError::Pairs(format!("{found} verdicts for {pairs} pairs on {axes} axes")));
        }
        if self.needs_scores() && compared.scores.iter().any(|scores| scores.len() != count) {
            let name = if *self == (Self::Regression {}) { "regression" } else { "margin" };
            return Err(MethodError::Pairs(format!(
                "loss = {{ type = \"{name}\" }} learns from scores of each sample, and the pairs have none for all; use \
                 `ties`, which needs verdicts alone"
            )));
        }
        let device = first.device();
        let place = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [pairs, axes]), &device);
        let each = |f: &dyn Fn(Verdict) -> f32| place(compared.verdicts.iter().map(|v| f(*v)).collect());
        let sign = || each(&|v| f32::from(v.sign().unwrap_or(0)));
        let counts = |v: Verdict| match self {
            Self::Ties { .. } | Self::Regression {} => v != Verdict::Invalid,
            _ => matches!(v, Verdict::First | Verdict::Second),
        };
        let difference = first.clone() - second.clone();
        let losses = match self {
            Self::BradleyTerry {} => log_sigmoid(difference * sign()).neg(),
            Self::ConstantMargin { margin } => log_sigmoid(difference * sign() - *margin).neg(),
            Self::Margin {} => {
                let apart = compared.scores[0].iter().zip(&compared.scores[1]).map(|(a, b)| a - b).collect();
                log_sigmoid((difference - place(apart)) * sign()).neg()
            }
            Self::Regression {} => {
                let [a, b] = [0, 1].map(|i| place(compared.scores[i].clone()));
                ((first - a).square() + (second - b).square()) * 0.5
            }
            Self::Ties { theta } => {
                let width = theta.ln();
                let won = log_sigmoid(difference.clone() * sign() - width);
                let tie = log_sigmoid(difference.clone() - width)
                    + log_sigmoid(difference.neg() - width)
                    + (theta * theta - 1.0).ln();
                let tied = each(&|v| f32::from(v == Verdict::Tie));
                (tie * tied.clone() + won * (tied.neg() + 1.0)).neg()
            }
        };
        let counted = compared.verdicts.iter().filter(|v| counts(**v)).count();
        let mask = each(&|v| f32::from(counts(v)));
        let scale = pairs as f64 / counted.max(1) as f64;
        Ok((losses * mask).sum_dim(1).squeeze_dim::<1>(1) * scale)
    }

    /// `(P(first), P(second), P(tie))` at a reward difference, for reports.
    pub fn probabilities(&self, difference: f64) -> [f64; 3] {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let Self::Ties { theta } = self else { return [sigmoid(difference), sigmoid(-difference), 0.0] };
        let [first, second] = [1.0, -1.0].map(|sign| sigmoid(sign * difference - theta.ln()));
        [first, second, (theta * theta - 1.0) * first * second]
    }
}
