//! `fast`: makes any flow model fast within a budget, and says whether it worked.
//!
//! Other verbs in a row: search for a schedule, then a student of phases, or a reflow and a distillation of it, by the number
//! of evaluations. Every candidate is measured as the model itself was, the best is named. The plan is laid before the first
//! step, kept in `fast.json`, and followed by a run that continues.

mod budget;
mod stage;
mod ways;

pub use budget::seconds;
pub use ways::Candidate;

use crate::{
    Context, Error, Model,
    judge::{Judge, JudgeConfig},
    model::which,
    recipe::EvaluateConfig,
};
use budget::planned;
use flow::Solver;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use ways::Ways;

/// Trajectories of the schedule search and its anchors.
const SEARCH: (u64, usize) = (40, 40);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct FastRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Evaluations per sample.
    pub nfe: usize,
    /// Seconds for all of it.
    pub budget: f64,
    /// Samples behind every figure.
    pub samples: usize,
    /// Where everything goes.
    pub folder: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct FastReport {
    /// Evaluations per sample.
    pub nfe: usize,
    /// All ways, the model as it was first.
    pub candidates: Vec<Candidate>,
    /// Which of them is best by Fréchet distance.
    pub best: usize,
    /// Seconds of this call.
    pub seconds: f64,
}

impl std::fmt::Display for FastReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} evaluations per sample  Fréchet  recall  s for all samples", self.nfe)?;
        for (i, Candidate { name, figures, .. }) in self.candidates.iter().enumerate() {
            let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            let (mark, frechet, recall) =
                (if i == self.best { "*" } else { " " }, number(figures.frechet), number(figures.recall));
            writeln!(f, "{name:<12}{mark}            {frechet:>8} {recall:>7}  {:.2}", figures.seconds)?;
        }
        match self.best {
            0 => writeln!(f, "nothing here was better than the model as it was: more budget, or more evaluations"),
            best => writeln!(f, "best: {}", self.candidates[best].command),
        }
    }
}

/// Makes the model fast. A run stopped on the way continues where it was.
///
/// # Errors
/// A model that cannot be straightened, a budget too small for it, and what the verbs may say.
pub fn fast(request: &FastRequest, context: &mut Context) -> Result<FastReport, Error> {
    if request.nfe == 0 {
        return Err(Error::Usage("--nfe 0: a sample takes at least one evaluation".into()));
    }
    let began = Instant::now();
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if model.recipe.path.has_latent() {
        let path = model.recipe.path.name();
        return Err(Error::Usage(format!(
            "this model's path `{path}` mixes in a latent; only paths between two points are made fast"
        )));
    }
    let config = EvaluateConfig {
        steps: vec![request.nfe],
        solver: solver(&model),
        samples: request.samples,
        straightness_samples: 0,
        ..EvaluateConfig::default()
    };
    config.check().map_err(Error::Usage)?;
    let plan = planned(request, &model, context)?;
    model.check_pictures("fast")?;
    let dataset = data::open(&model.recipe.data)?;
    let judge = Judge::new(&dataset, config.reference, &JudgeConfig::default(), &context.device)?;
    let mut ways = Ways { request, config, judge, found: Vec::new() };
    ways.measure("as it was", &model, &request.checkpoint, None, context)?;
    ways.searched("schedule", &model, &request.checkpoint, &plan, context)?;
    let mut teacher = model;
    for stage in &plan.stages {
        let (name, folder) = (stage.way.name(), request.folder.join(stage.way.name()));
        teacher = stage.make(teacher, request.nfe, &folder, context)?;
        ways.measure(name, &teacher, &folder, None, context)?;
    }
    let frechet = |way: &Candidate| way.figures.frechet.unwrap_or(f64::INFINITY);
    let ranked = ways.found.iter().enumerate().min_by(|a, b| frechet(a.1).total_cmp(&frechet(b.1)));
    let best = ranked.map_or(0, |(i, _)| i);
    let report = FastReport { nfe: request.nfe, candidates: ways.found, best, seconds: began.elapsed().as_secs_f64() };
    write(&request.folder.join("report.json"), &report)?;
    Ok(report)
}

/// The solver a model is sampled with in few steps.
fn solver(model: &Model) -> Solver {
    match model.recipe.path {
        flow::Path::Linear {} => Solver::Euler {},
        _ => Solver::Ddim { eta: 0.0 },
    }
}

fn write(file: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::Failure(format!("{}: cannot be written: {error}", file.display()));
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    media::atomic::write(file, text.as_bytes()).map_err(|error| failed(&error))
}
