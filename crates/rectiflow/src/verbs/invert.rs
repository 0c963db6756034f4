//! `invert`: given pictures walked back to the noise that leads to them, and how near walking forth again comes.
//!
//! The way back is the same solver on the reversed schedule, which returns to the start to the solver's order (RF-Solver,
//! arXiv 2411.04746, is the midpoint rule); `exact` undoes every step by fixed-point iteration. `sample --noise` goes forth.

use crate::{
    Context, Error, Model,
    context::Event,
    editing::source_classes,
    model::which,
    output::Output,
    overrides::SampleOverrides,
    recipe::SampleConfig,
    released::{self, Beside},
    restoring::{Judge, inputs},
    sampling::{Classes, host},
    steerable::{Steerable, Way},
};
use base::{Tensor, TensorData};
use data::Dataset;
use flow::{solve, solver::FixedPoint};
use serde::Serialize;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};

/// What to invert, and how.
#[derive(Clone, Debug)]
pub struct InvertRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// What only released models read.
    pub beside: Beside,
    /// A folder, a file of pictures, or a named set (its held-out part).
    pub input: String,
    /// Pictures at most; all without.
    pub count: Option<usize>,
    /// Whether pictures of another size are brought to the model's.
    pub resize: bool,
    /// Classes of the pictures, in turn; their own labels without.
    pub class: Option<String>,
    /// What they show, for a model that reads text.
    pub prompt: Option<String>,
    /// Whether each step is undone exactly.
    pub exact: bool,
    /// Steps, solver, guidance, batch and precision in place of the recipe's.
    pub overrides: SampleOverrides,
    /// `.npy`, or `.safetensors`, which keeps the classes as well.
    pub output: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct InvertReport {
    /// What the pictures are called.
    pub data: String,
    /// How many.
    pub pictures: usize,
    /// The solver, and whether its steps were undone exactly.
    pub solver: String,
    /// Steps one way.
    pub steps: usize,
    /// Evaluations of the field per picture on the way back, and forth.
    pub nfe: [usize; 2],
    /// Root mean square, in units of what the flow moves, of what comes back minus what was given.
    pub error: f64,
    /// The same of the worst picture.
    pub worst: f64,
    /// PSNR in dB, SSIM and perceptual distance of what comes back, as pictures.
    pub psnr: f64,
    /// PSNR of what a codec alone gives back, for a flow of latents: more cannot come back.
    pub codec: Option<f64>,
    /// Structural similarity.
    pub ssim: Option<f64>,
    /// Perceptual distance, where its weights are here.
    pub lpips: Option<f64>,
    /// Mean and standard deviation of the noise found; 0 and 1 for a model that knows such pictures.
    pub noise: [f64; 2],
    /// Seconds for both ways.
    pub seconds: f64,
    /// The file of the noise.
    pub output: PathBuf,
}

/// Inverts pictures and writes their noise.
///
/// # Errors
/// A model that does not start from noise, pictures that cannot be read, a solver that does not go backwards; nothing is written
/// then.
pub fn invert(request: &InvertRequest, context: &mut Context) -> Result<InvertReport, Error> {
    let output = Output::parse(&request.output)?;
    if !matches!(output, Output::Npy(_) | Output::Safetensors(_)) {
        let place = request.output.display();
        return Err(Error::Usage(format!("--output {place}: noise is no picture; write .npy or .safetensors")));
    }
    if request.beside.is_for(&request.checkpoint) {
        let size = if request.resize { None } else { Some(inputs::size(&request.input, "--input")?) };
        let of_a_run = (request.ema.as_deref(), request.class.as_deref());
        // Nothing is exaggerated where nobody asks for it: guidance of a picture that is known leads away from it.
        let guidance = Some(request.overrides.guidance.unwrap_or(1.0));
        let overrides = SampleOverrides { guidance, ..request.overrides.clone() };
        let model = released::steered(&request.checkpoint, of_a_run, &request.beside, &overrides, size, context)?;
        let config = overrides.apply(&model.usual(overrides.steps)?)?;
        let classes = request.prompt.clone().map_or(Classes::None, |prompt| Classes::prompts(vec![prompt]));
        model.check_asked(&classes)?;
        let (set, batch) = pictures(request, model.picture()?)?;
        return inverted(request, (&model, &config), (&*set, &batch), &classes, output, context);
    }
    request.beside.refuse(&request.checkpoint)?;
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    model.check_steerable("invert")?;
    let config = request.overrides.apply(&model.recipe.sample)?;
    model.recipe.check_solver(&config.solver).map_err(|reason| Error::Usage(reason.into()))?;
    let (set, batch) = pictures(request, model.picture()?)?;
    let classes = if let Some(prompt) = &request.prompt {
        model.check_reads()?;
        Classes::prompts(vec![prompt.clone()])
    } else if model.classes() == 0 && request.class.is_none() {
        Classes::None
    } else {
        let own = (set.class_names() == model.subject.classes).then_some(&*batch.labels);
        Classes::InTurn(source_classes("--class", request.class.as_deref(), &model, own, batch.len())?)
    };
    inverted(request, (&model, &config), (&*set, &batch), &classes, output, context)
}

/// The pictures of a request, of `shape`.
fn pictures(request: &InvertRequest, shape: [usize; 3]) -> Result<(Arc<dyn Dataset>, data::Batch), Error> {
    let set = inputs::open(&request.input, shape, request.resize, "--input")?;
    let count = request.count.unwrap_or(usize::MAX).min(set.len());
    if count == 0 {
        return Err(Error::Usage("--num 0: give at least one picture".into()));
    }
    let batch = data::gather(&*set, &(0..count).collect::<Vec<_>>())?;
    Ok((set, batch))
}

/// The same with a model that is open.
fn inverted(
    request: &InvertRequest,
    (model, config): (&dyn Steerable, &SampleConfig),
    (set, batch): (&dyn Dataset, &data::Batch),
    classes: &Classes,
    output: Output,
    context: &mut Context,
) -> Result<InvertReport, Error> {
    if config.solver.is_stochastic() {
        return Err(Error::Usage(format!(
            "--solver {}: it draws noise of its own on the way, so no start leads back; use euler, midpoint, heun or rk4",
            config.solver.name()
        )));
    }
    if request.exact && config.solver.tableau().is_none() {
        return Err(Error::Usage(format!(
            "--exact undoes the steps of euler, midpoint, heun, rk4 and rf_solver; leave it out for {}",
            config.solver.name()
        )));
    }
    let (shape, count) = (model.picture()?, batch.len());
    let began = Instant::now();
    let moved = model.encode(&batch.rows, context)?;
    model.hear(&[classes], context)?;
    let walk = Walk { model, config, exact: request.exact };
    let Walked { noise, back, nfe } = walk.both(&moved, classes, context)?;
    let size = model.moved().numel();
    let errors: Vec<f64> = (back.chunks(size).zip(moved.chunks(size)))
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / size as f64)
        .collect();
    let shown = model.decode(&back, context)?;
    let seconds = began.elapsed().as_secs_f64();
    let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
    let centre = mean(&mut noise.iter().map(|v| f64::from(*v)), noise.len());
    let spread = mean(&mut noise.iter().map(|v| (f64::from(*v) - centre).powi(2)), noise.len()).sqrt();
    let seen = |rows: Vec<f32>| -> Vec<f32> { rows.into_iter().map(|v| v.clamp(-1.0, 1.0)).collect() };
    let judge = Judge::new(shape, None, context);
    let kept = judge.compare(&seen(shown), &batch.rows)?;
    let latents = model.moves_latents();
    let codec = match latents {
        true => Some(judge.compare(&seen(model.decode(&moved, context)?), &batch.rows)?.psnr),
        false => None,
    };
    let axes = model.moved().batch(count);
    match &output {
        Output::Safetensors(path) => {
            let note = serde_json::json!({
                "program": concat!("rectiflow ", env!("CARGO_PKG_VERSION")),
                "checkpoint": model.place(),
                "inverted": inputs::called(&request.input, set),
                "sample": config,
            });
            let metadata = HashMap::from([("rectiflow".to_string(), note.to_string())]);
            // A released model knows no classes, and reads a file of one tensor.
            let known = !request.beside.is_for(&request.checkpoint);
            let labels = known.then(|| (0..count as u64).map(|i| classes.of(i)).collect::<Vec<i64>>());
            media::arrays::save_safetensors(path, &axes, &noise, labels.as_deref(), metadata)?;
        }
        _ => media::arrays::save_npy(&request.output, &axes, &noise)?,
    }
    Ok(InvertReport {
        data: inputs::called(&request.input, set),
        pictures: count,
        solver: format!("{}{}", config.solver.name(), if request.exact { ", undone exactly" } else { "" }),
        steps: config.schedule.build(config.steps)?.steps(),
        nfe,
        error: (errors.iter().sum::<f64>() / count as f64).sqrt(),
        worst: errors.iter().copied().fold(0.0, f64::max).sqrt(),
        psnr: kept.psnr,
        codec,
        ssim: kept.ssim,
        lpips: kept.lpips,
        noise: [centre, spread],
        seconds,
        output: request.output.clone(),
    })
}

struct Walk<'a> {
    model: &'a dyn Steerable,
    config: &'a SampleConfig,
    exact: bool,
}

/// Both ways, rows `[n ...]`.
struct Walked {
    noise: Vec<f32>,
    back: Vec<f32>,
    nfe: [usize; 2],
}

impl Walk<'_> {
    fn both(&self, pictures: &[f32], classes: &Classes, context: &mut Context) -> Result<Walked, Error> {
        let Self { model, config, exact } = self;
        let field = model.field(Way::Forth(&config.guidance), config.precision, None)?;
        let schedule = config.schedule.build(config.steps)?;
        let (size, total) = (model.moved().numel(), pictures.len() / model.moved().numel());
        let device = context.device.device.clone();
        let room = || Vec::with_capacity(total * size);
        let mut walked = Walked { noise: room(), back: room(), nfe: [0; 2] };
        context.tell(Event::Begin { what: "pictures", total: total as u64 });
        for first in (0..total).step_by(config.batch) {
            context.go_on()?;
            let rows = first..total.min(first + config.batch);
            let values = pictures[rows.start * size..rows.end * size].to_vec();
            let x = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), size]), &device);
            let indices: Vec<u64> = rows.clone().map(|i| i as u64).collect();
            let condition = model.condition(classes, &indices, &device)?;
            let solver = &config.solver;
            let back = match exact {
                true => flow::solver::invert(&*field, x, &condition, solver, &schedule, &FixedPoint::default())?,
                false => solve(&*field, x, &condition, solver, &schedule.reversed(), None)?,
            };
            let forth = solve(&*field, back.x.clone(), &condition, solver, &schedule, None)?;
            walked.nfe = [walked.nfe[0].max(back.nfe), walked.nfe[1].max(forth.nfe)];
            walked.noise.extend(host(back.x)?);
            walked.back.extend(host(forth.x)?);
            context.tell(Event::Advance { done: rows.end as u64 });
        }
        context.tell(Event::End);
        Ok(walked)
    }
}

impl std::fmt::Display for InvertReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { data, pictures, solver, steps, nfe: [back, forth], error, worst, psnr, noise: [mean, std], .. } =
            self;
        let optional = |name: &str, value: Option<f64>| value.map_or(String::new(), |v| format!(", {name} {v:.4}"));
        writeln!(f, "{pictures} pictures of {data}; {solver}, {steps} steps, {back} + {forth} evaluations")?;
        writeln!(
            f,
            "there and back: error {error:.5} (worst {worst:.5}), PSNR {psnr:.2} dB{}{}{}",
            self.codec.map_or(String::new(), |psnr| format!(" ({psnr:.2} by the codec alone)")),
            optional("SSIM", self.ssim),
            optional("LPIPS", self.lpips)
        )?;
        writeln!(f, "noise: mean {mean:.4}, deviation {std:.4}; {:.1} s: {}", self.seconds, self.output.display())
    }
}
