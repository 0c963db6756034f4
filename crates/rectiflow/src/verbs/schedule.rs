//! `schedule`: where the few steps of a checkpoint's sampler should lie, found in a minute and without training.
//!
//! Bellman optimal stepsize straightening, arXiv 2312.16414, with its propagation-aware form and uniform steps as rivals;
//! the best on noise none of them has seen is written (see `methods::stepsize`).

use crate::{
    Error, Model, Start,
    context::{Context, Event},
    memory,
    model::which,
    sampling::Classes,
    schedules,
};
use data::Split;
use flow::{Schedule, ScheduleConfig, Solver, guidance::GuidanceConfig, solve};
pub use methods::StepsizeConfig;
use methods::stepsize::{self, Amplification, Candidate, Costs};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// What to search.
#[derive(Clone, Debug)]
pub struct ScheduleRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Numbers of Euler steps wanted.
    pub steps: Vec<usize>,
    /// How the search is done.
    pub config: StepsizeConfig,
    /// Classifier-free guidance the sampler will run with; the checkpoint's own without.
    pub guidance: Option<f64>,
    /// Folder for the files, one per number of steps.
    pub output: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleReport {
    /// One per number of steps asked for.
    pub schedules: Vec<Found>,
    /// Batched evaluations of the field spent on trajectories and growth; candidates are compared on top.
    pub nfe: usize,
    /// Seconds of wall clock.
    pub seconds: f64,
}

/// The schedule of one number of steps.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Number of steps.
    pub steps: usize,
    /// The file with the best.
    pub file: PathBuf,
    /// All that were compared, best first.
    pub candidates: Vec<Candidate>,
}

impl std::fmt::Display for ScheduleReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "steps  candidate   end error  local cost  times")?;
        for found in &self.schedules {
            for (i, c) in found.candidates.iter().enumerate() {
                let times: Vec<String> = c.times.iter().map(|t| format!("{t:.3}")).collect();
                let (steps, mark) = (found.steps, if i == 0 { "*" } else { " " });
                let origin = c.origin.name();
                let times = times.join(" ");
                writeln!(f, "{steps:>5}  {origin:<10}{mark} {:>9.4} {:>11.3}  {times}", c.end_error, c.local_cost)?;
            }
        }
        for found in &self.schedules {
            writeln!(f, "{}: {}", found.file.display(), found.candidates[0].origin.name())?;
        }
        Ok(())
    }
}

/// Measures a checkpoint's flow and writes the best schedule of each wanted number of steps.
///
/// # Errors
/// A checkpoint or settings that cannot be used; a folder that cannot be written.
pub fn schedule(request: &ScheduleRequest, context: &mut Context) -> Result<ScheduleReport, Error> {
    let config = &request.config;
    let most = request.steps.iter().copied().max().unwrap_or(0);
    if request.steps.contains(&0) || most == 0 {
        return Err(Error::Usage("--steps: give one or more numbers of at least 1".into()));
    }
    config.check(most).map_err(|error| Error::Usage(error.to_string()))?;
    let began = Instant::now();
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    let shape = model.subject.shape;
    // Anchors' velocities, states and as many differences in passing.
    memory::check_samples(config.batch as u64 * (config.anchors as u64 + 1) * 3, shape)?;
    let mut guidance = model.recipe.sample.guidance.clone();
    guidance.scale = request.guidance.unwrap_or(guidance.scale);
    let fine = ScheduleConfig::Uniform {}.build(config.anchors)?;
    let field = model.field(&guidance, model.recipe.sample.precision)?;
    let device = context.device.device.clone();
    let classes = Classes::all(&model)?;
    // A schedule is judged on source samples that it was not found on.
    let [searched, judged] = [Start::of(&model.recipe, shape, Split::Train)?, Start::held_out(&model.recipe, shape)?];
    let path = &model.recipe.path;
    let (classes, device, model) = (&classes, &device, &model);
    let starts = |part: u64, count: u64| {
        let start = if part == 2 { &judged } else { &searched };
        let seed = config.seed.wrapping_mul(3).wrapping_add(part);
        stepsize::numbers(start.count().map_or(count, |most| most.min(count)), config.batch).map(move |indices| {
            let x0 = start.points(stepsize::key(seed), &indices, path, device)?;
            Ok::<_, Error>((x0, model.condition(classes, &indices, device)?))
        })
    };
    context.tell(Event::Begin { what: "trajectories", total: config.samples + config.validation });
    let mut done = 0;
    let mut measured = Vec::new();
    for start in starts(0, config.samples) {
        context.go_on()?;
        let start = start?;
        done += start.0.dims()[0] as u64;
        measured.push(Costs::measure(&field, &fine, [start])?);
        context.tell(Event::Advance { done });
    }
    let costs = Costs::mean(measured)?;
    let mut nfe = config.anchors * config.samples.div_ceil(config.batch as u64) as usize;
    let growth = match (config.growth_points, starts(1, config.batch as u64).next().transpose()?) {
        (points @ 1.., Some((x0, condition))) => {
            nfe += config.anchors * (1 + points / 2);
            Some(Amplification::measure(&field, &fine, x0, &condition, points)?)
        }
        _ => None,
    };
    let mut validation = Vec::new();
    for start in starts(2, config.validation) {
        context.go_on()?;
        let (x0, condition) = start?;
        let end = solve(&field, x0.clone(), &condition, &Solver::Euler {}, &fine, None)?.x;
        nfe += config.anchors;
        done += x0.dims()[0] as u64;
        validation.push(((x0, condition), end));
        context.tell(Event::Advance { done });
    }
    context.tell(Event::End);
    let mut found = Vec::new();
    for &steps in &request.steps {
        context.go_on()?;
        let candidates = stepsize::search(&field, &costs, growth.as_ref(), steps, &validation)?;
        let file = request.output.join(format!("schedule-{steps}.json"));
        save(&file, &candidates, model, &guidance, config)?;
        found.push(Found { steps, file, candidates });
    }
    Ok(ScheduleReport { schedules: found, nfe, seconds: began.elapsed().as_secs_f64() })
}

fn save(
    file: &Path,
    candidates: &[Candidate],
    model: &Model,
    guidance: &GuidanceConfig,
    config: &StepsizeConfig,
) -> Result<(), Error> {
    let best = &candidates[0];
    Schedule::new(best.times.clone())?;
    let facts = serde_json::json!({
        "origin": best.origin,
        "end_error": best.end_error,
        "checkpoint": model.file.display().to_string(),
        "stage": model.subject.stage,
        "images_seen": model.images,
        "guidance": guidance,
        "search": config,
        "candidates": candidates,
    });
    schedules::write(file, &best.times, facts)
}
