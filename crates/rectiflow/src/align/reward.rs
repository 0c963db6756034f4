//! A reward that learns from verdicts on pairs of samples: what it is made from, and the task that it is.

use super::{Prompts, comparisons::Comparisons};
use crate::recipe::TextConfig;
use base::{Condition, Device, Key, Pass, Purpose, Tensor, TensorData, Times};
use flow::{Ends, Path};
use methods::align::RewardLoss;
use nets::{Reward, RewardConfig};
use serde::{Deserialize, Serialize};
use train::{Live, Samples, Task, TrainConfig, TrainError};

/// Name of its stage in checkpoints.
pub const STAGE: &str = "reward";

/// Everything a reward is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardRecipe {
    /// Seed of all randomness.
    pub seed: u64,
    /// Network and axes.
    pub reward: RewardConfig,
    /// Who reads the texts that its axes ask by, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
    /// How it learns from verdicts.
    pub loss: RewardLoss,
    /// Whether it reads noisy points, as guidance needs; otherwise it reads samples alone.
    pub noisy: bool,
    /// The path its noisy points lie on: the model's.
    pub path: Path,
    /// Length and optimiser.
    pub train: TrainConfig,
}

impl Default for RewardRecipe {
    fn default() -> Self {
        let (reward, loss) = (RewardConfig::default(), RewardLoss::default());
        Self { seed: 0, reward, text: None, loss, noisy: false, path: Path::default(), train: TrainConfig::default() }
    }
}

impl RewardRecipe {
    /// As TOML, complete: what its run keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe holds only strings, numbers, lists and tables")
    }
}

/// Learning a reward from verdicts.
pub struct RewardTask {
    /// How it learns.
    pub loss: RewardLoss,
    /// The path of its noisy points; none for a reward of clean samples.
    pub noisy: Option<Path>,
    /// The texts that classes stand for, where axes ask by texts.
    pub prompts: Option<Prompts>,
    /// Seed of times, noise and dropout.
    pub seed: u64,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl RewardTask {
    /// Both samples of every pair at one time, with one noise.
    fn judged(
        &self,
        live: &Live<'_, Reward>,
        batch: &Comparisons,
        times: &Times,
        (pass, device): (&Pass, &Device),
    ) -> Result<Tensor<1>, TrainError> {
        let (pairs, numbers) = (batch.count(), batch.shape.numel());
        let both = [batch.rows[0].as_slice(), &batch.rows[1]].concat();
        let x1 = Tensor::<2>::from_data(TensorData::new(both, [2 * pairs, numbers]), device);
        let (x, times) = match &self.noisy {
            None => (x1, Times::all(1.0, 2 * pairs)),
            Some(path) => {
                let key = Key::new(self.seed, Purpose::Noise);
                let noise = key.normal_tensor(&batch.indices, [pairs, numbers], device);
                let ends = Ends { x0: Tensor::cat(vec![noise.clone(), noise], 0), x1, z: None };
                let times = times.cat(times);
                (path.point_of(ends, &times).map_err(failed)?.xt, times)
            }
        };
        let classes = [batch.classes.as_slice(), &batch.classes].concat();
        let condition = match &self.prompts {
            Some(prompts) => prompts.condition(&classes, device).map_err(failed)?,
            None => Condition::classes(&classes, device),
        };
        let rewards =
            live.within(|reward| reward.rewards(x, times.tensor(device), &condition, pass)).map_err(failed)?;
        let side = |which: usize| rewards.clone().narrow(0, which * pairs, pairs);
        self.loss.loss(side(0), side(1), &batch.compared).map_err(failed)
    }
}

impl Task<Reward, Comparisons> for RewardTask {
    fn loss(&self, live: &Live<'_, Reward>, batch: &Comparisons, device: &Device) -> Result<Tensor<1>, TrainError> {
        let key = Key::new(self.seed, Purpose::Time);
        let times = Times::new(batch.indices.iter().map(|i| key.uniform(*i)).collect());
        let samples = [batch.indices.as_slice(), &batch.indices].concat();
        let pass = Pass::train(Key::new(self.seed, Purpose::Dropout), samples);
        self.judged(live, batch, &times, (&live.pass(&pass), device))
    }

    fn loss_at(
        &self,
        live: &Live<'_, Reward>,
        batch: &Comparisons,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        self.judged(live, batch, times, (&Pass::Infer, device))
    }

    fn identity(&self) -> (String, String) {
        ("\"reward\"".into(), format!("{{\"noisy\":{}}}", self.noisy.is_some()))
    }
}
