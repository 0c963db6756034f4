//! How a model is measured: the settings of `eval` and of the demo's figures.

use flow::{ScheduleConfig, Solver};
use serde::{Deserialize, Serialize};

/// What is drawn and compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Numbers of steps to measure at.
    pub steps: Vec<usize>,
    /// Where those steps lie.
    pub schedule: ScheduleConfig,
    /// The solver of those samples.
    pub solver: Solver,
    /// Samples behind each row of figures. The Fréchet distance falls with more samples: compare equal numbers only.
    pub samples: usize,
    /// Real images behind the reference statistics, from the training part (the field's custom).
    pub reference: usize,
    /// Samples computed together; does not change them.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Guidance of the table's samples; 1 is none.
    pub guidance: f64,
    /// Trajectories behind straightness; 0 leaves it out.
    pub straightness_samples: usize,
    /// Euler steps of those trajectories; fewer than 50 flatter.
    pub straightness_steps: usize,
    /// Conditional samples whose class is judged under guidance; 0 leaves them out.
    pub guided_samples: usize,
    /// Their guidance scale.
    pub guided_scale: f64,
    /// Their Euler steps.
    pub guided_steps: usize,
    /// Samples on a sheet.
    pub sheet: usize,
    /// Samples per row of a sheet.
    pub sheet_columns: usize,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            steps: vec![1, 2, 4, 8, 50],
            schedule: ScheduleConfig::default(),
            solver: Solver::Euler {},
            samples: 2000,
            reference: 10_000,
            batch: 250,
            seed: 0,
            guidance: 1.0,
            straightness_samples: 256,
            straightness_steps: 50,
            guided_samples: 0,
            guided_scale: 1.5,
            guided_steps: 20,
            sheet: 40,
            sheet_columns: 8,
        }
    }
}

/// Fewer samples make no statistics.
const FEWEST: usize = 16;

impl EvaluateConfig {
    /// Refuses settings out of range, naming the key.
    ///
    /// # Errors
    /// The first key that is wrong, with its remedy.
    pub fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() || self.steps.contains(&0) {
            return Err("steps must be one or more numbers of at least 1".into());
        }
        if let ScheduleConfig::Custom { times } = &self.schedule
            && self.steps != [times.len().saturating_sub(1)]
        {
            let steps = times.len().saturating_sub(1);
            return Err(format!("steps must be [{steps}] with this schedule: it has exactly {steps} steps"));
        }
        self.schedule.check().map_err(|error| format!("schedule: {error}"))?;
        self.solver.check().map_err(|error| error.to_string())?;
        if self.samples < FEWEST || self.reference < FEWEST {
            return Err(format!(
                "samples and reference must be at least {FEWEST}; 2000 or more make figures worth comparing"
            ));
        }
        if self.batch == 0 || self.straightness_steps == 0 || self.guided_steps == 0 || self.sheet_columns == 0 {
            return Err("batch, straightness_steps, guided_steps and sheet_columns must be at least 1".into());
        }
        let fine = |scale: f64| scale.is_finite() && scale >= 0.0;
        if !fine(self.guidance) || !fine(self.guided_scale) {
            return Err("guidance and guided_scale must be zero or more; 1 is none".into());
        }
        Ok(())
    }
}
