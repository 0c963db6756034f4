//! How samples and pairs are drawn: the `[sample]` and `[pairs]` tables of a recipe.

use flow::{ScheduleConfig, Solver, guidance::GuidanceConfig};
use kernels::Precision;
use serde::{Deserialize, Serialize};

/// From noise to samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Steps of the solver (an adaptive solver chooses its own).
    pub steps: usize,
    /// Samples computed together; does not change them.
    pub batch: usize,
    /// Operands of products in the network, `"f32"` or `"bf16"`; also for figures.
    pub precision: Precision,
    /// The method of integration.
    pub solver: Solver,
    /// Where the steps lie.
    pub schedule: ScheduleConfig,
    /// Classifier-free guidance; scale 1 is none.
    pub guidance: GuidanceConfig,
    /// Another path than the trained one to sample along, both from Gaussian noise and without latent: the same flow at
    /// another pace and scale, exactly (see docs/interpolants.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<flow::Path>,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            steps: 50,
            batch: 64,
            precision: Precision::F32,
            solver: Solver::default(),
            schedule: ScheduleConfig::default(),
            guidance: GuidanceConfig::default(),
            path: None,
        }
    }
}

impl SampleConfig {
    /// Refuses settings out of range, naming the key.
    ///
    /// # Errors
    /// The first key that is wrong, with its remedy.
    pub fn check(&self) -> Result<(), String> {
        if self.steps == 0 || self.batch == 0 {
            return Err("sample.steps and sample.batch must be at least 1".into());
        }
        self.solver.check().map_err(|error| format!("sample.{error}"))?;
        self.schedule.build(self.steps).map_err(|error| format!("sample.schedule: {error}"))?;
        if let Some(path) = &self.path {
            path.check().map_err(|error| format!("sample.{error}"))?;
        }
        self.guidance.check().map_err(|error| format!("sample.{error}"))
    }

    /// Evaluations of the network per sample; `None` where the solver chooses its own steps.
    pub fn evaluations(&self) -> Option<usize> {
        self.solver.evaluations(self.schedule.build(self.steps).ok()?.steps())
    }
}

/// The pairs a reflow or distillation trains on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairsRecipe {
    /// Pairs to make.
    pub count: u64,
    /// Seconds after which no more are made, once there is a quarter of them; 0: no limit.
    pub seconds: f64,
    /// Operands of products in the teacher, `"f32"` or `"bf16"`.
    pub precision: Precision,
    /// Classifier-free guidance of the teacher; the student learns its result.
    pub guidance: GuidanceConfig,
    /// Solver, steps and seed.
    pub generate: methods::PairsConfig,
}

impl Default for PairsRecipe {
    fn default() -> Self {
        Self {
            count: 20_000,
            seconds: 0.0,
            precision: Precision::F32,
            guidance: GuidanceConfig::default(),
            generate: Default::default(),
        }
    }
}

impl PairsRecipe {
    /// Refuses settings out of range, naming the key.
    ///
    /// # Errors
    /// The first key that is wrong, with its remedy.
    pub fn check(&self) -> Result<(), String> {
        if self.count == 0 || !(self.seconds.is_finite() && self.seconds >= 0.0) {
            return Err("pairs.count must be at least 1 and pairs.seconds zero or more".into());
        }
        self.guidance.check().map_err(|error| format!("pairs.{error}"))?;
        self.generate.check().map_err(|error| format!("pairs.generate: {error}"))
    }
}
