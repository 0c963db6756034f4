//! What a training run is: how long, how large a step, what is watched. Units are samples seen, not steps.

use crate::checkpoint::CheckpointConfig;
use crate::ema::EmaConfig;
use crate::log::TrackConfig;
use crate::optim::OptimConfig;
use crate::precision::TrainPrecision;
use serde::{Deserialize, Serialize};

/// The `[train]` table of a recipe.
///
/// The run ends after `images` samples or `seconds` of training steps, whichever comes first; one of them may be 0 (no
/// limit). With `seconds` at 0 the run is a function of the recipe alone: interrupted and resumed, it ends with the
/// same bits on the CPU. With a time limit the learning rate follows the larger of both progresses, hence the clock.
///
/// ```
/// let config = train::TrainConfig { images: 1_000_000, batch: 64, ..Default::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Samples to see; rounded up to whole batches. 0: no limit by samples.
    pub images: u64,
    /// Seconds of training steps (validation, sampling, checkpoints and drawing what is learned from not counted). 0: no limit by time.
    pub seconds: f64,
    /// Samples per optimiser step.
    pub batch: usize,
    /// Parts a batch is computed in, to save memory; must divide `batch`.
    pub accumulation: usize,
    /// Operands of products in the network's training passes, `"f32"`, `"bf16"` or `"auto"`. Validation reads all bits, so that its
    /// losses compare.
    pub precision: TrainPrecision,
    /// Whether blocks keep only their inputs for the gradient and run again there: less memory for one more forward pass of the
    /// blocks (arXiv 1604.06174).
    pub gradient_checkpointing: bool,
    /// Probability that a training sample loses its condition, for classifier-free guidance (Ho and Salimans 2022,
    /// arXiv:2207.12598, algorithm 1).
    pub condition_dropout: f64,
    /// Steps between log events.
    pub log_every: u64,
    /// Samples between validations; 0 for none.
    pub validate_every: u64,
    /// Times at which the validation loss is taken, each in (0, 1).
    pub validation_times: Vec<f64>,
    /// Held-out samples of the validation batch.
    pub validation_samples: usize,
    /// Samples between sample grids; 0 for none.
    pub sample_every: u64,
    /// A step slower than this many running medians is reported; 0 never reports.
    pub slow_step: f64,
    /// Optimiser and learning rate.
    pub optim: OptimConfig,
    /// Averages of the weights.
    pub ema: EmaConfig,
    /// Checkpoints.
    pub checkpoint: CheckpointConfig,
    /// Who is told the numbers beside the run's folder: MLflow, Weights & Biases.
    #[serde(skip_serializing_if = "TrackConfig::is_empty")]
    pub track: TrackConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            images: 200_000,
            seconds: 0.0,
            batch: 64,
            accumulation: 1,
            precision: TrainPrecision::F32,
            gradient_checkpointing: false,
            condition_dropout: 0.1,
            log_every: 10,
            validate_every: 20_000,
            validation_times: vec![0.1, 0.3, 0.5, 0.7, 0.9],
            validation_samples: 128,
            sample_every: 0,
            slow_step: 5.0,
            optim: OptimConfig::default(),
            ema: EmaConfig::default(),
            checkpoint: CheckpointConfig::default(),
            track: TrackConfig::default(),
        }
    }
}

impl TrainConfig {
    /// Refuses values out of range, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !(self.seconds.is_finite() && self.seconds >= 0.0) {
            return Err(format!("train.seconds = {} must be zero or a positive number", self.seconds));
        }
        if self.images == 0 && self.seconds == 0.0 {
            return Err("train.images and train.seconds are both 0, so the run would never end; set one".to_string());
        }
        if self.batch == 0 {
            return Err("train.batch = 0 must be at least 1".to_string());
        }
        if self.accumulation == 0 || !self.batch.is_multiple_of(self.accumulation) {
            return Err(format!(
                "train.accumulation = {} must divide train.batch = {} into equal parts",
                self.accumulation, self.batch
            ));
        }
        if !(0.0..=1.0).contains(&self.condition_dropout) {
            return Err(format!("train.condition_dropout = {} must lie in [0, 1]", self.condition_dropout));
        }
        if self.log_every == 0 {
            return Err("train.log_every = 0 must be at least 1 step".to_string());
        }
        if let Some(t) = self.validation_times.iter().find(|t| !(**t > 0.0 && **t < 1.0)) {
            return Err(format!("train.validation_times holds {t}; times must lie strictly between 0 and 1"));
        }
        if self.slow_step != 0.0 && (self.slow_step.is_nan() || self.slow_step <= 1.0) {
            return Err(format!("train.slow_step = {} must be 0 or more than 1", self.slow_step));
        }
        self.track.check()?;
        self.optim.check().and_then(|()| self.ema.check()).map_err(|e| format!("train.{e}"))
    }

    /// Samples computed at once: `batch / accumulation`. The batch size of the [`Source`](crate::Source).
    pub fn micro_batch(&self) -> usize {
        self.batch / self.accumulation.max(1)
    }

    /// Samples that each of `ranks` computes at once.
    ///
    /// # Errors
    /// Parts of a batch that are not shared equally.
    pub fn share(&self, ranks: usize) -> Result<usize, String> {
        let (part, batch) = (self.micro_batch(), self.batch);
        if ranks > 0 && part.is_multiple_of(ranks) {
            return Ok(part / ranks);
        }
        let parts = if self.accumulation > 1 { format!(" in {} parts", self.accumulation) } else { String::new() };
        Err(format!("train.batch = {batch}{parts} cannot be shared equally by {ranks} ranks; choose one that can"))
    }

    /// Samples the run ends at, in whole batches; `None` when only time limits it.
    pub fn total_images(&self) -> Option<u64> {
        (self.images > 0).then(|| self.images.next_multiple_of(self.batch as u64))
    }

    /// Progress in [0, 1] after `images` samples and `seconds` of training.
    pub fn progress(&self, images: u64, seconds: f64) -> f64 {
        let by_images = self.total_images().map_or(0.0, |total| images as f64 / total as f64);
        let by_time = if self.seconds > 0.0 { seconds / self.seconds } else { 0.0 };
        by_images.max(by_time).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_refused_by_name() {
        let with = |change: fn(&mut TrainConfig)| {
            let mut config = TrainConfig::default();
            change(&mut config);
            config.check().unwrap_err()
        };
        assert!(with(|c| c.images = 0).contains("train.images"));
        assert!(with(|c| c.seconds = f64::NAN).contains("train.seconds"));
        assert!(with(|c| c.batch = 0).contains("train.batch"));
        assert!(with(|c| c.accumulation = 3).contains("train.accumulation"));
        assert!(with(|c| c.condition_dropout = 1.5).contains("train.condition_dropout"));
        assert!(with(|c| c.validation_times = vec![1.0]).contains("train.validation_times"));
        assert!(with(|c| c.slow_step = 0.5).contains("train.slow_step"));
        assert!(with(|c| c.optim.lr = -1.0).contains("train.optim.lr"));
        assert!(with(|c| c.ema.decays = vec![2.0]).contains("train.ema.decays"));
        assert!(TrainConfig::default().check().is_ok());
    }

    #[test]
    fn progress_is_the_larger_of_images_and_time() {
        let config = TrainConfig { images: 1000, seconds: 10.0, batch: 100, ..Default::default() };
        assert_eq!(config.progress(500, 1.0), 0.5);
        assert_eq!(config.progress(500, 8.0), 0.8);
        assert_eq!(config.progress(5000, 8.0), 1.0);
        assert_eq!(TrainConfig { seconds: 0.0, ..config }.progress(500, 8.0), 0.5);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<TrainConfig>(r#"{"imgaes": 3}"#).is_err());
        assert!(serde_json::from_str::<TrainConfig>(r#"{"optim": {"lr": 0.1, "momentum": 1}}"#).is_err());
        assert!(serde_json::from_str::<TrainConfig>(r#"{"precision": "f16"}"#).is_err());
        let rounded = serde_json::from_str::<TrainConfig>(r#"{"precision": "bf16"}"#).unwrap();
        assert_eq!(rounded.precision, TrainPrecision::Bf16);
        assert_eq!(serde_json::from_str::<TrainConfig>("{}").unwrap(), TrainConfig::default());
    }
}
