//! `fast`: makes any flow model fast within a budget, and says whether it worked.
//!
//! Other verbs in a row: search for a schedule, then a student of phases, or a reflow and a distillation of it, by the number
//! of evaluations. Every candidate is measured as the model itself was, the best is named. The plan is laid before the first
//! step, kept in `fast.json`, and followed by a run that continues.

mod budget;
mod forecast;
mod plan;
mod report;
mod stage;
mod ways;

pub use budget::seconds;
pub use forecast::{FastPlan, StudentPlan};
pub use report::FastReport;
pub use ways::Candidate;

use crate::{
    Context, Error, Model,
    judge::{Judge, JudgeConfig},
    model::which,
    recipe::EvaluateConfig,
};
use flow::Solver;
use plan::Plan;
use report::Page;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use ways::Ways;

/// Trajectories of the schedule search and its anchors.
const SEARCH: (u64, usize) = (40, 40);

/// Samples behind every figure, the first of them that the budget can pay for.
const SAMPLES: [usize; 3] = [1000, 500, 250];

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
    /// Samples behind every figure; `None` for as many as leave most of the budget to the students.
    pub samples: Option<usize>,
    /// Where everything goes.
    pub folder: PathBuf,
}

/// Makes the model fast. A run stopped on the way continues where it was, with what is left of its budget.
///
/// # Errors
/// A model that cannot be straightened, a budget too small for it, and what the verbs may say.
pub fn fast(request: &FastRequest, context: &mut Context) -> Result<FastReport, Error> {
    let began = Instant::now();
    let (model, config, judge) = opened(request, context)?;
    let plan = Plan::of(request, &model, &judge, began, context)?;
    let config = EvaluateConfig { samples: plan.samples, ..config };
    let mut ways = Ways { request, config, judge, clock: (plan.spent, began), plan };
    let made = go(&mut ways, model, context);
    let kept = ways.keep(); // stopped or not, what was spent is spent
    let page = made?;
    kept?;
    report::write(ways, page, context)
}

/// What [`fast`] would do with its budget: every check that it makes, the speeds measured, nothing written.
///
/// # Errors
/// Those of [`fast`] before its first step, and a folder in which it has begun: what is left of that is settled as it goes.
pub fn plan(request: &FastRequest, context: &mut Context) -> Result<FastPlan, Error> {
    let file = Plan::file(&request.folder);
    if file.exists() {
        return Err(Error::Usage(format!(
            "{}: this run has begun; without --dry-run it goes on with what is left of its budget",
            file.display()
        )));
    }
    let began = Instant::now();
    let (model, _, judge) = opened(request, context)?;
    let plan = Plan::laid(request, &model, &judge, began, context)?;
    Ok(FastPlan::of(request, plan, model.recipe.train.batch))
}

/// The model, how it is measured, and who judges it.
fn opened(request: &FastRequest, context: &mut Context) -> Result<(Model, EvaluateConfig, Judge), Error> {
    if request.nfe == 0 {
        return Err(Error::Usage("--nfe 0: a sample takes at least one evaluation".into()));
    }
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if model.recipe.path.has_latent() {
        let path = model.recipe.path.name();
        return Err(Error::Usage(format!(
            "this model's path `{path}` mixes in a latent; only paths between two points are made fast"
        )));
    }
    model.check_pictures("fast")?;
    let config = EvaluateConfig {
        steps: vec![request.nfe],
        solver: solver(&model),
        samples: request.samples.unwrap_or(SAMPLES[0]),
        straightness_samples: 0,
        ..EvaluateConfig::default()
    };
    config.check().map_err(Error::Usage)?;
    let dataset = data::open(&model.recipe.data)?;
    let judge = Judge::new(&dataset, config.reference, &JudgeConfig::default(), &context.device)?;
    Ok((model, config, judge))
}

/// All rows of the table, and what the page shows of every model.
fn go(ways: &mut Ways<'_>, model: Model, context: &mut Context) -> Result<Page, Error> {
    let request = ways.request;
    ways.as_it_was(&model, context)?;
    ways.searched(&model, context)?;
    let mut page = Page::new(ways, &model, context)?;
    let mut teacher = model;
    for index in 0..ways.plan.stages.len() {
        let batch = teacher.recipe.train.batch;
        ways.plan.settle(index, request.budget, ways.spent(), batch);
        ways.keep()?;
        let stage = ways.plan.stages[index].clone();
        let (name, folder) = (stage.way.name(), request.folder.join(stage.way.name()));
        let (student, made) = stage.make(teacher, request.nfe, &folder, context)?;
        ways.measure(name, &student, &folder, None, context)?;
        page.add(name, &student, &made)?;
        teacher = student;
    }
    Ok(page)
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
