//! `restore`: a folder of degraded pictures or recordings in, a folder of restored ones out, by a flow that was never trained for it.

mod sound;
mod write;

use crate::{
    Context, Error, Model,
    model::which,
    overrides::SampleOverrides,
    released::{self, Beside},
    restoring::{
        Figures, Goal, Inputs, Judge, Pull, Run, Space, Task, Toward, figures,
        inputs::{self, Source},
        sensed, told,
    },
    sampling::{self, Classes},
    steerable::Steerable,
};
use base::{Tensor, TensorData};
use methods::steer::{Sensor, Steering};
use serde::Serialize;
use std::{path::PathBuf, time::Instant};

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// What only released models read.
    pub beside: Beside,
    /// A folder, a file of pictures, or a named set (its held-out part).
    pub input: String,
    /// Whether these are originals, to be degraded here.
    pub degrade: bool,
    /// Originals of the same names, for pictures that are degraded already.
    pub originals: Option<String>,
    /// Pictures at most; all without.
    pub count: Option<usize>,
    /// Whether pictures of another size are brought to the model's.
    pub resize: bool,
    /// What was done to them.
    pub task: Task,
    /// Deviation of the noise in what is known, in units of [-1, 1].
    pub noise: f64,
    /// Where a flow of latents is held to what is known; by habit on latents for holes, through the decoder else.
    pub space: Option<Space>,
    /// What pictures are pulled towards beside what is known.
    pub toward: Vec<Toward>,
    /// Ways of restoring, each with its own number of steps where it has one.
    pub methods: Vec<(Steering, Option<usize>)>,
    /// Steps, guidance, batch and precision in place of the recipe's.
    pub overrides: SampleOverrides,
    /// Classes by number or name, in turn; none without.
    pub class: Option<String>,
    /// What the pictures show, in turn, for a model that reads text; in place of classes.
    pub prompts: Vec<String>,
    /// Seed of all noise.
    pub seed: u64,
    /// The folder written to.
    pub output: PathBuf,
    /// Rows on the sheet.
    pub rows: usize,
    /// What the user typed.
    pub command: String,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// The task in words.
    pub task: String,
    /// What the pictures are called.
    pub data: String,
    /// How many.
    pub pictures: usize,
    /// Of recordings, where each is lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Lost>,
    /// Noise that was added or declared.
    pub noise: f64,
    /// The model's file.
    pub checkpoint: String,
    /// What they were pulled towards beside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub toward: Vec<Toward>,
    /// Where a flow of latents was held to what is known.
    pub space: Option<Space>,
    /// Which perceptual distance.
    pub distance: Option<String>,
    /// What came in, then a row per method.
    pub rows: Vec<Figures>,
    /// Where everything lies.
    pub output: PathBuf,
    /// How it was made.
    pub command: String,
}

/// A recording and its gap.
#[derive(Clone, Debug, Serialize)]
pub struct Lost {
    /// The recording's name.
    pub name: String,
    /// Seconds before the gap.
    pub start: f64,
    /// Seconds of the gap.
    pub length: f64,
}

/// Restores a folder of pictures or recordings.
///
/// # Errors
/// A request that makes no sense, pictures that cannot be read, a state that runs away. Nothing is written before everything is
/// restored.
pub fn restore(request: &RestoreRequest, context: &mut Context) -> Result<RestoreReport, Error> {
    check(request)?;
    if request.beside.is_for(&request.checkpoint) {
        // Numbers have no size of their own.
        let numbers = !request.degrade && request.task.measured([1, 2, 2]).is_none();
        let size = match request.resize || numbers {
            true => None,
            false => Some(inputs::size(&request.input, "--input")?),
        };
        let size = if request.degrade { size } else { size.map(|size| request.task.original(size)) };
        let of_a_run = (request.ema.as_deref(), request.class.as_deref());
        let model =
            released::steered(&request.checkpoint, of_a_run, &request.beside, &request.overrides, size, context)?;
        let classes = match request.prompts.is_empty() {
            true => Classes::None,
            false => Classes::prompts(request.prompts.clone()),
        };
        model.check_asked(&classes)?;
        return restored(request, &model, &classes, context);
    }
    request.beside.refuse(&request.checkpoint)?;
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    model.check_steerable("restore")?;
    let classes = told(request.class.as_deref(), &request.prompts, &model)?;
    restored(request, &model, &classes, context)
}

/// The same with a model that is open.
fn restored(
    request: &RestoreRequest,
    model: &dyn Steerable,
    classes: &Classes,
    context: &mut Context,
) -> Result<RestoreReport, Error> {
    match (model.hearing(), &request.task) {
        (Some(hearing), Task::Gap(gap)) => sound::restored(request, model, classes, (gap, &hearing), context),
        (Some(_), task) => Err(Error::Usage(format!(
            "--task {}: it is of pictures, and {} draws pictures of sound; of recordings a gap is filled, --task gap",
            task.name(),
            model.place()
        ))),
        (None, _) => seen(request, model, classes, context),
    }
}

/// Pictures.
fn seen(
    request: &RestoreRequest,
    model: &dyn Steerable,
    classes: &Classes,
    context: &mut Context,
) -> Result<RestoreReport, Error> {
    let shape = model.picture()?;
    let task = if request.degrade {
        request.task.clone()
    } else {
        request.task.check_given(shape, request.resize)?;
        sensed::recalled(&request.input, &request.task, shape)?
    };
    let request = &RestoreRequest { task, ..request.clone() };
    let sensor = request.task.sensor(shape)?;
    let held = (request.space, !request.toward.is_empty());
    let methods = request.methods.iter().map(|(method, _)| method);
    Goal::check(model, (&request.task, &sensor, request.noise), held, methods.clone())?;
    curved(model, methods.clone(), context);
    let deaf: Vec<&str> = methods.filter(|method| !method.hears_noise()).map(Steering::name).collect();
    if request.noise > 0.0 && !deaf.is_empty() {
        let deaf = deaf.join(", ");
        context.note(format!("--noise: {deaf} take what is known for exact; flowchef and ot-ode allow for its noise"));
    }
    let source = Source {
        input: &request.input,
        degrade: request.degrade,
        originals: request.originals.as_deref(),
        count: request.count,
        resize: request.resize,
        noise: request.noise,
        seed: request.seed,
    };
    let inputs = Inputs::read(&source, &request.task, &sensor, shape, &context.device.device)?;
    let known = (&*inputs.measured, request.noise);
    let open = |toward| Pull::open(toward, shape, inputs.dataset.as_ref(), &context.device);
    let pulls = request.toward.iter().map(open).collect::<Result<_, _>>()?;
    let goal = Goal::new(model, &request.task, &sensor, known, (request.space, pulls), context)?;
    if request.space.is_none() && goal.space() == Some(Space::Decoder) && matches!(request.task, Task::Inpaint(_)) {
        context.note("the hole is held through the decoder: latents know of it too little, or what is asked beside needs pictures (--cost)");
    }
    let hole = matches!(request.task, Task::Inpaint(_)).then(|| unknown(&sensor)).transpose()?;
    let judge = Judge::new(shape, hole, context);
    let back = projected(&sensor, &inputs.measured)?;
    let mut rows = vec![row(write::DEGRADED, serde_json::Value::Null, &judge, &back, &inputs, &sensor, None)?];
    let mut columns = vec![back];
    let numbers: Vec<u64> = (0..inputs.names.len() as u64).collect();
    for method in &request.methods {
        let (restored, cost) = by(method, request, (model, &goal, &numbers), classes, context)?;
        let (steering, cost) = (&method.0, Some(cost));
        let settings = serde_json::to_value(steering).unwrap_or_default();
        rows.push(row(steering.name(), settings, &judge, &restored, &inputs, &sensor, cost)?);
        columns.push(restored);
    }
    let report = RestoreReport {
        task: request.task.words(),
        data: inputs.set.clone(),
        pictures: inputs.names.len(),
        gaps: Vec::new(),
        noise: request.noise,
        checkpoint: model.place(),
        toward: request.toward.clone(),
        space: goal.space(),
        distance: judge.distance(),
        rows,
        output: request.output.clone(),
        command: request.command.clone(),
    };
    write::pictures(request, &report, &inputs, columns, shape)?;
    Ok(report)
}

/// κ that a diffusion was seen to bear.
const BORNE: f64 = 0.2;

/// Says so where steps are longer than curved paths were seen to bear.
fn curved<'m>(model: &dyn Steerable, methods: impl Iterator<Item = &'m Steering>, context: &mut Context) {
    if matches!(model.path(), flow::Path::Linear {}) {
        return;
    }
    let long: Vec<&str> =
        methods.filter(|method| method.kappa().is_some_and(|kappa| kappa > BORNE)).map(Steering::name).collect();
    if !long.is_empty() {
        context.note(format!(
            "--kappa: {} take steps made for straight paths, and this model's is curved; on a diffusion FlowChef was best at {BORNE} and \
             destroyed its pictures from 0.5 on (papers/flowchef.md): if they come out harsh, give --kappa {BORNE} or less",
            long.join(", ")
        ));
    }
}

/// Restored rows, and their [`by`]: evaluations, how many of them were differentiated, seconds.
type Made = (Vec<f32>, (usize, usize, f64));

/// What a method makes of pictures with these `numbers` ([`Run::numbers`]), its evaluations, how many of them were differentiated, and its seconds.
fn by(
    (steering, steps): &(Steering, Option<usize>),
    request: &RestoreRequest,
    (model, goal, numbers): (&dyn Steerable, &Goal, &[u64]),
    classes: &Classes,
    context: &mut Context,
) -> Result<Made, Error> {
    let average = which(request.ema.as_deref())?;
    let lift = || model.taped(average, &context.device);
    let taped = steering.differentiates().then(lift).transpose()?;
    let overrides = &request.overrides;
    let run = Run { model, taped: taped.as_ref(), goal, numbers, classes, overrides, seed: request.seed };
    // Prompts are read before the clock, which compares methods.
    model.hear(&[classes], context)?;
    let began = Instant::now();
    let (restored, nfe, differentiated) = run.restore(steering, *steps, context)?;
    Ok((restored, (nfe, differentiated, began.elapsed().as_secs_f64())))
}

/// Everything that can be refused without opening a file.
fn check(request: &RestoreRequest) -> Result<(), Error> {
    if request.methods.is_empty() {
        return Err(Error::Usage("--method: name at least one".into()));
    }
    if request.count == Some(0) {
        return Err(Error::Usage("--num 0: ask for at least one picture".into()));
    }
    if request.degrade && request.originals.is_some() {
        return Err(Error::Usage(
            "--originals with --degrade: the pictures given are the originals then; leave it out".into(),
        ));
    }
    if !(request.noise.is_finite() && request.noise >= 0.0) {
        let noise = request.noise;
        return Err(Error::Usage(format!("--noise {noise}: it must be zero or more, in units of [-1, 1]")));
    }
    write::check_apart(request)?;
    if request.output.is_file() {
        return Err(Error::Usage(format!("--output {}: it is a file; give a folder", request.output.display())));
    }
    for (steering, _) in &request.methods {
        steering.check().map_err(|error| Error::Usage(format!("--method {}: {error}", steering.name())))?;
    }
    Ok(())
}

/// What a degraded picture looks like at the size of its original.
fn projected(sensor: &Sensor, measured: &[f32]) -> Result<Vec<f32>, Error> {
    let m = sensor.sizes().1;
    let y = TensorData::new(measured.to_vec(), [measured.len() / m, m]);
    let back = sensor.back(Tensor::<2>::from_data(y, &base::Device::flex()));
    Ok(sampling::host(back)?.into_iter().map(|v| v.clamp(-1.0, 1.0)).collect())
}

/// The values that a mask hides.
fn unknown(sensor: &Sensor) -> Result<Vec<bool>, Error> {
    let (n, _) = sensor.sizes();
    let kept = sensor.forward(Tensor::<2>::ones([1, n], &base::Device::flex()));
    Ok(sampling::host(kept)?.into_iter().map(|v| v == 0.0).collect())
}

fn row(
    method: &str,
    settings: serde_json::Value,
    judge: &Judge,
    pictures: &[f32],
    inputs: &Inputs,
    sensor: &Sensor,
    cost: Option<(usize, usize, f64)>,
) -> Result<Figures, Error> {
    let compared = inputs.originals.as_ref().map(|originals| judge.compare(pictures, originals)).transpose()?;
    let (nfe, differentiated, seconds) = cost.unwrap_or_default();
    Ok(Figures {
        method: method.into(),
        settings,
        psnr: compared.map(|c| c.psnr),
        psnr_error: compared.map(|c| c.psnr_error),
        psnr_hole: compared.and_then(|c| c.psnr_hole),
        ssim: compared.and_then(|c| c.ssim),
        lpips: compared.and_then(|c| c.lpips),
        heard: None,
        residual: figures::residual(sensor, pictures, &inputs.measured)?,
        nfe,
        differentiated,
        seconds,
    })
}
