//! `schedule --export`: a checkpoint's path and the times of its sampler as diffusers' `scheduler_config.json`.

use crate::{Error, Recipe, model, scheduler_config, schedules};
use flow::{ScheduleConfig, schedule::FlowMatch};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// What to write.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A schedule file in place of the recipe's schedule.
    pub schedule: Option<PathBuf>,
    /// Number of steps in place of the recipe's.
    pub steps: Option<usize>,
    /// Lay a shifted schedule out as diffusers does when it is given a number of steps and nothing else: the shift is applied
    /// twice at the low end, and the settings alone say everything.
    pub legacy_double_shift: bool,
    /// The file.
    pub file: PathBuf,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The file.
    pub file: PathBuf,
    /// The scheduler's class.
    pub class: String,
    /// Steps of the times below.
    pub steps: usize,
    /// Times of the visits, noise at 0.
    pub times: Vec<f64>,
    /// Whether the levels stand in the file as `sigmas`, to be passed to diffusers as such.
    pub listed: bool,
}

impl std::fmt::Display for ExportReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let advice = match self.listed {
            true => "pass its `sigmas` to the pipeline: the settings alone give other levels",
            false => "the settings say everything; give the number of steps",
        };
        writeln!(f, "{}: {}, {} steps; {advice}", self.file.display(), self.class, self.steps)
    }
}

/// Writes the config. Reads the checkpoint's recipe only.
///
/// # Errors
/// A checkpoint or schedule that cannot be read, what diffusers cannot follow, a file that cannot be written.
pub fn export_schedule(request: &ExportRequest) -> Result<ExportReport, Error> {
    let checkpoint = model::find(&request.checkpoint)?;
    let recipe = Recipe::parse(&checkpoint.meta().recipe, &format!("recipe inside {}", checkpoint.path().display()))?;
    let refuse = |why: String| Error::Usage(format!("--export: {why}"));
    if recipe.native.is_some() || recipe.sample.path.as_ref().is_some_and(|path| *path != recipe.path) {
        let why = "this network is asked on another path than its own, which no scheduler of diffusers does";
        return Err(refuse(why.into()));
    }
    let mut schedule = match &request.schedule {
        Some(file) => schedules::read(file)?,
        None => recipe.sample.schedule.clone(),
    };
    let steps = match (&schedule, request.steps) {
        (ScheduleConfig::Custom { times }, Some(steps)) if steps + 1 != times.len() => {
            return Err(refuse(format!("--steps {steps}: the schedule has {} steps of its own", times.len() - 1)));
        }
        (ScheduleConfig::Custom { times }, _) => times.len() - 1,
        (_, steps) => steps.unwrap_or(recipe.sample.steps),
    };
    if request.legacy_double_shift {
        schedule = match schedule {
            ScheduleConfig::Uniform {} => ScheduleConfig::FlowMatch(FlowMatch::default()),
            ScheduleConfig::Shifted { shift } => ScheduleConfig::FlowMatch(FlowMatch { shift, ..FlowMatch::default() }),
            other => other,
        };
        match &mut schedule {
            ScheduleConfig::FlowMatch(settings) => settings.legacy_double_shift = true,
            _ => return Err(refuse("--legacy-double-shift: a list of times has no shift to apply twice".into())),
        }
    }
    let config = scheduler_config::export(&recipe.path, recipe.parameterization, &schedule, steps).map_err(refuse)?;
    let class = config.get("_class_name").and_then(Value::as_str).unwrap_or_default().to_string();
    let listed = config.contains_key("sigmas");
    let text = serde_json::to_string_pretty(&config).map_err(|error| refuse(error.to_string()))? + "\n";
    media::atomic::write(&request.file, text.as_bytes())?;
    let times = schedule.build(steps)?.times().to_vec();
    Ok(ExportReport { file: request.file.clone(), class, steps, times, listed })
}
