//! `eval`: quality against the number of function evaluations, and how straight the flow is.

use crate::{
    Context, Error, Model, Start,
    judge::{Judge, JudgeConfig, SPOILED},
    machine::{Machine, peak_memory_mb},
    model::which,
    one_more_step::{FirstStep, OneMoreStep},
    recipe::{EvaluateConfig, SampleConfig},
    report::{Curve, Figures, Guided, Report, Sheet, Stage, Straightness, Summary, summary::SCHEMA},
    sampling::{Classes, draw_from, noise},
    schedules,
};
use flow::{ScheduleConfig, Solver, diagnostics, guidance::GuidanceConfig};
use media::Grid;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

/// What to measure.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Steps, samples, seeds.
    pub config: EvaluateConfig,
    /// A schedule file in place of equal steps.
    pub schedule: Option<PathBuf>,
    /// Who judges.
    pub judge: JudgeConfig,
    /// One more step before every sample: its checkpoint, and how it is taken.
    pub first_step: Option<(PathBuf, OneMoreStep)>,
    /// Whether to say which defects of real images the judges see.
    pub explain: bool,
    /// Folder for a report; none without.
    pub output: Option<PathBuf>,
    /// The command to print in the report.
    pub command: String,
}

/// Measures a checkpoint and, if asked, writes a report.
///
/// # Errors
/// A checkpoint, data or classifier that cannot be used; a folder that cannot be written.
pub fn eval(request: &EvalRequest, context: &mut Context) -> Result<Summary, Error> {
    let mut config = request.config.clone();
    if let Some(file) = &request.schedule {
        config.schedule = schedules::read(file)?;
        if let ScheduleConfig::Custom { times } = &config.schedule {
            config.steps = vec![times.len() - 1];
        }
    }
    config.check().map_err(Error::Usage)?;
    let began = Instant::now();
    let mut model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if let Some((file, step)) = &request.first_step {
        model.before = Some(Box::new(FirstStep::open(file, step.clone(), &model, &context.device)?));
    }
    model.check_pictures("eval")?;
    let dataset = data::open(&model.recipe.data)?;
    let judge = Judge::new(&dataset, config.reference, &request.judge, &context.device)?;
    let measured = measure(&model, &judge, &config, context)?;
    let stage = stage(&model, &measured);
    let real = judge.floor(&model.recipe.data, config.samples)?;
    let mut summary = summary(&model, &judge, &config, real, context);
    if request.explain {
        context.note("spoiling real images in known ways, to say what these judges see");
        summary.sensitivity = judge.sensitivity(&model.recipe.data, SPOILED)?;
        summary.clip_sensitivity = judge.clip_sensitivity(&model.recipe.data, SPOILED)?;
    }
    summary.stage_order = vec![stage.name.clone()];
    summary.timings = vec![("evaluation".into(), began.elapsed().as_secs_f64())];
    summary.seconds = began.elapsed().as_secs_f64();
    summary.peak_memory_mb = peak_memory_mb();
    summary.commands = vec![request.command.clone()];
    summary.stages = vec![stage];
    if let Some(folder) = &request.output {
        let report = Report {
            title: format!("{}: {} at {} images", model.recipe.name, model.subject.stage, model.images),
            summary: summary.clone(),
            recipes: vec![(model.subject.stage.clone(), model.recipe.to_toml())],
            curves: curve(&request.checkpoint, &model.subject.stage)?.into_iter().collect(),
            sheets: measured.sheets,
        };
        let page = report.save(folder)?;
        context.note(format!("report: {}", page.display()));
    }
    Ok(summary)
}

/// Figures and sheets of one model.
pub struct Measured {
    /// By number of evaluations.
    pub figures: BTreeMap<u32, Figures>,
    /// How straight its flow is.
    pub straightness: Option<Straightness>,
    /// Its conditional samples under guidance.
    pub guided: Option<Guided>,
    /// A sheet per number of evaluations.
    pub sheets: Vec<Sheet>,
}

/// Draws and measures.
///
/// # Errors
/// What drawing and measuring may say.
pub fn measure(
    model: &Model,
    judge: &Judge,
    config: &EvaluateConfig,
    context: &mut Context,
) -> Result<Measured, Error> {
    let classes = Classes::all(model)?;
    let start = Start::held_out(&model.recipe, model.subject.shape)?;
    // The same image twice says nothing new.
    let most = |wanted: usize| start.count().map_or(wanted as u64, |count| count.min(wanted as u64));
    if most(config.samples) < config.samples as u64 {
        context.note(format!("{} samples: one for each held-out image of the source", most(config.samples)));
    }
    let sampling = |solver: &Solver, steps: usize, scale: f64, schedule: &ScheduleConfig| SampleConfig {
        steps,
        batch: config.batch,
        precision: model.recipe.sample.precision,
        solver: solver.clone(),
        schedule: schedule.clone(),
        guidance: GuidanceConfig { scale, interval: None },
        path: model.recipe.sample.path.clone(),
    };
    let mut measured = Measured { figures: BTreeMap::new(), straightness: None, guided: None, sheets: Vec::new() };
    for &steps in &config.steps {
        let how = sampling(&config.solver, steps, config.guidance, &config.schedule);
        let drawn = draw_from(model, &start, &how, &classes, config.seed, 0..most(config.samples), context)?;
        let nfe = drawn.nfe as u32;
        measured.figures.insert(nfe, judge.figures(&drawn)?);
        let grid = Grid { columns: config.sheet_columns, padding: 2, upscale: 1, background: 24 };
        let images = drawn.images().ok().filter(|images| matches!(images.shape()[0], 1 | 3));
        if let Some(images) = images {
            let sheet = grid.draw(&images.take(config.sheet));
            let png = media::png::encode(&sheet, &[])?;
            measured.sheets.push(Sheet { stage: model.subject.stage.clone(), nfe, png });
        }
    }
    if config.guided_samples > 0 && judge.tells_classes() && model.classes() > 0 {
        let range = 0..config.guided_samples as u64;
        let how = sampling(&Solver::Euler {}, config.guided_steps, config.guided_scale, &ScheduleConfig::Uniform {});
        let drawn = draw_from(model, &start, &how, &classes, config.seed, range, context)?;
        measured.guided = judge.class_accuracy(&drawn)?.map(|class_accuracy| Guided {
            scale: config.guided_scale,
            nfe: drawn.nfe as u32,
            class_accuracy,
        });
    }
    if config.straightness_samples > 0 {
        measured.straightness = Some(straightness(model, &start, &classes, config, context)?);
    }
    Ok(measured)
}

/// Means over `config.straightness_samples` trajectories without guidance.
fn straightness(
    model: &Model,
    start: &Start,
    classes: &Classes,
    config: &EvaluateConfig,
    context: &mut Context,
) -> Result<Straightness, Error> {
    let device = context.device.device.clone();
    let field = model.field(&GuidanceConfig::default(), model.recipe.sample.precision)?;
    let samples =
        start.count().map_or(config.straightness_samples as u64, |c| c.min(config.straightness_samples as u64));
    let (fine, one) =
        (ScheduleConfig::Uniform {}.build(config.straightness_steps)?, ScheduleConfig::Uniform {}.build(1)?);
    let (mut s, mut cost, mut error) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    while next < samples {
        context.go_on()?;
        let indices: Vec<u64> = (next..(next + config.batch as u64).min(samples)).collect();
        next += indices.len() as u64;
        let condition = model.condition(classes, &indices, &device)?;
        let x0 = start.points(noise(config.seed), &indices, &model.recipe.path, &device)?;
        let solved = diagnostics::straightness(&field, x0.clone(), &condition, &Solver::Euler {}, &fine)?;
        cost.extend(diagnostics::transport_cost(&x0, &solved.x, 2.0)?);
        error.extend(diagnostics::step_error(&field, x0, &condition, &Solver::Euler {}, &one, &solved.x)?);
        s.extend(solved.per_sample);
    }
    Ok(Straightness {
        s: diagnostics::mean(&s),
        transport_cost: diagnostics::mean(&cost),
        one_step_distance: diagnostics::mean(&error),
        steps: config.straightness_steps as u32,
    })
}

/// A stage of a summary, without what only its training knows.
pub fn stage(model: &Model, measured: &Measured) -> Stage {
    Stage {
        name: model.subject.stage.clone(),
        images: model.images,
        train_seconds: 0.0,
        pair_seconds: 0.0,
        pairs: 0,
        parameters: model.parameters,
        straightness: measured.straightness.clone(),
        guided: measured.guided.clone(),
        nfe: measured.figures.clone(),
    }
}

/// A summary without stages, times and commands. `real` is what the judge says of real held-out images.
pub fn summary(
    model: &Model,
    judge: &Judge,
    config: &EvaluateConfig,
    real: Option<Figures>,
    context: &Context,
) -> Summary {
    let what = match model.drawn().image() {
        Ok([1, h, w]) => format!("grey images of {w}×{h}"),
        Ok([_, h, w]) => format!("colour images of {w}×{h}"),
        Err(_) => format!("samples of shape {}", model.drawn()),
    };
    let classes = match model.classes() {
        0 => "without classes".into(),
        n => format!("in {n} classes"),
    };
    Summary {
        schema: SCHEMA,
        name: model.recipe.name.clone(),
        data: format!("{}: {what} {classes}", model.subject.data),
        evaluator: judge.label(),
        samples: config.samples,
        seconds: 0.0,
        peak_memory_mb: 0.0,
        real,
        sensitivity: Vec::new(),
        clip_sensitivity: None,
        stage_order: Vec::new(),
        stages: Vec::new(),
        timings: Vec::new(),
        machine: Machine::here(&context.device.name),
        commands: Vec::new(),
    }
}

/// The loss curve of the run in `folder`; `None` where it is no run.
///
/// # Errors
/// Statistics that cannot be read.
pub fn curve(folder: &Path, stage: &str) -> Result<Option<Curve>, Error> {
    let stats = train::RunDir::at(folder).stats();
    if !stats.is_file() {
        return Ok(None);
    }
    let mut curve = Curve { stage: stage.into(), ..Curve::default() };
    for line in train::log::stats::read(&stats)? {
        let (Some(images), Some(loss)) = (line["images"].as_f64(), line["loss"].as_f64()) else { continue };
        match line["kind"].as_str() {
            Some("log") => curve.training.push((images, loss)),
            Some("validation") => curve.validation.push((images, loss)),
            _ => {}
        }
    }
    Ok(Some(curve))
}
