//! `restore`: a folder of degraded pictures in, a folder of restored ones out, by a flow that was never trained for it.

use crate::{
    Context, Error, Model,
    model::which,
    overrides::SampleOverrides,
    pictures,
    released::{self, Beside},
    restoring::{
        Blur, Figures, Goal, Hole, Inputs, Judge, Pull, Run, Space, Task, Toward, figures,
        inputs::{self, Source},
        page::Page,
        sensed, told,
    },
    sampling::{self, Classes},
    steerable::Steerable,
};
use base::{Tensor, TensorData};
use media::Images;
use methods::steer::{Sensor, Steering};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

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

/// Restores a folder of pictures.
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
    Goal::check(model, (&request.task, request.noise), held, methods.clone())?;
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
    let hole = matches!(request.task, Task::Inpaint(_)).then(|| unknown(&sensor)).transpose()?;
    let judge = Judge::new(shape, hole, context);
    let back = projected(&sensor, &inputs.measured)?;
    let mut rows = vec![row("degraded", serde_json::Value::Null, &judge, &back, &inputs, &sensor, None)?];
    let mut columns = vec![back];
    for (steering, steps) in &request.methods {
        let average = which(request.ema.as_deref())?;
        let lift = || model.taped(average, &context.device);
        let taped = steering.differentiates().then(lift).transpose()?;
        let run = Run {
            model,
            taped: taped.as_ref(),
            goal: &goal,
            classes,
            overrides: &request.overrides,
            seed: request.seed,
        };
        // Prompts are read before the clock, which compares methods.
        model.hear(&[classes], context)?;
        let began = Instant::now();
        let (restored, nfe, differentiated) = run.restore(steering, *steps, context)?;
        let cost = Some((nfe, differentiated, began.elapsed().as_secs_f64()));
        let settings = serde_json::to_value(steering).unwrap_or_default();
        rows.push(row(steering.name(), settings, &judge, &restored, &inputs, &sensor, cost)?);
        columns.push(restored);
    }
    let report = RestoreReport {
        task: request.task.words(),
        data: inputs.set.clone(),
        pictures: inputs.names.len(),
        noise: request.noise,
        checkpoint: model.place(),
        toward: request.toward.clone(),
        space: goal.space(),
        distance: judge.distance(),
        rows,
        output: request.output.clone(),
        command: request.command.clone(),
    };
    write(request, &report, &inputs, columns, shape)?;
    Ok(report)
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
        residual: figures::residual(sensor, pictures, &inputs.measured)?,
        nfe,
        differentiated,
        seconds,
    })
}

/// Removes what an earlier run into the same folder left and this one does not write, unless this one was given it.
fn clear(request: &RestoreRequest, shape: [usize; 3]) -> Result<(), Error> {
    let out = &request.output;
    if !out.join("metrics.json").is_file() {
        return Ok(()); // no run was here
    }
    let mut given = vec![PathBuf::from(&request.input)];
    match &request.task {
        Task::Inpaint(Hole::Mask(file)) | Task::Deblur(Blur::Kernel(file)) => given.push(file.clone()),
        _ => {}
    }
    for toward in &request.toward {
        if let Toward::Picture(picture) = toward {
            given.push(picture.file.clone());
            given.extend(picture.mask.clone());
        }
    }
    let given: Vec<PathBuf> = given.iter().filter_map(|file| file.canonicalize().ok()).collect();
    let drawn = matches!(&request.task, Task::Inpaint(hole) if hole.is_drawn());
    let numbers = request.task.measured(shape).is_none();
    let sensed = matches!(request.task, Task::Sense { .. });
    for (name, written) in [("mask.png", drawn), ("measured.npy", numbers), ("measured.json", sensed)] {
        let file = out.join(name);
        if !written && file.canonicalize().is_ok_and(|file| !given.contains(&file)) {
            std::fs::remove_file(&file)
                .map_err(|error| Error::Failure(format!("cannot remove {}: {error}", file.display())))?;
        }
    }
    Ok(())
}

/// Pictures in a folder per method, the sheet, the figures and the page.
fn write(
    request: &RestoreRequest,
    report: &RestoreReport,
    inputs: &Inputs,
    mut columns: Vec<Vec<f32>>,
    shape: [usize; 3],
) -> Result<(), Error> {
    let out = &request.output;
    let about = format!("{}, {}", report.task, report.checkpoint);
    clear(request, shape)?;
    let save = |folder: &Path, values: &[f32], shape: [usize; 3]| -> Result<(), Error> {
        let images = Images::new(values.to_vec(), inputs.names.len(), shape)?;
        for (i, name) in inputs.names.iter().enumerate() {
            let file = folder.join(format!("{name}.png"));
            pictures::save(&file, &images, i, &about)?;
        }
        Ok(())
    };
    match request.task.measured(shape) {
        Some(shape) => save(&out.join("degraded"), &inputs.measured, shape)?,
        None => {
            // What is known is no picture: its numbers, and something to look at.
            let (count, all) = (inputs.names.len(), inputs.measured.len());
            save(&out.join("degraded"), &columns[0], shape)?;
            let numbers = out.join("measured.npy");
            media::arrays::save_npy(&numbers, &[count, all / count.max(1)], &inputs.measured)?;
            sensed::keep(&numbers, &request.task, shape)?;
        }
    }
    if let Task::Inpaint(hole) = &request.task
        && hole.is_drawn()
    {
        let [_, h, w] = shape;
        let hidden = unknown(&request.task.sensor(shape)?)?;
        let white = hidden[..h * w].iter().map(|hidden| if *hidden { 1.0 } else { -1.0 }).collect();
        media::png::save(&out.join("mask.png"), &Images::new(white, 1, [1, h, w])?.bitmap(0), &[])?;
    }
    let mut names: Vec<String> = vec!["degraded".into()];
    for (i, row) in report.rows.iter().enumerate().skip(1) {
        // Two settings of one method lie side by side.
        let again = names.iter().filter(|name| name.split('-').next() == Some(&row.method)).count();
        let name = if again == 0 { row.method.clone() } else { format!("{}-{}", row.method, again + 1) };
        save(&out.join(&name), &columns[i], shape)?;
        names.push(name);
    }
    if let Some(originals) = &inputs.originals {
        columns.push(originals.clone());
        names.push("original".into());
    }
    let sheet = out.join("sheet.png");
    pictures::columns(&sheet, &columns, shape, request.rows, &format!("{about}: {}", names.join(", ")))?;
    let read = |error: std::io::Error| Error::Failure(format!("cannot read {}: {error}", sheet.display()));
    let page = Page {
        task: &report.task,
        model: &report.checkpoint,
        pictures: (&report.data, report.pictures),
        columns: &names,
        sheet: &std::fs::read(&sheet).map_err(read)?,
        rows: &report.rows,
        distance: report.distance.as_deref(),
        command: &report.command,
    };
    media::atomic::write(&out.join("index.html"), page.html().as_bytes())?;
    let json = serde_json::to_vec_pretty(report);
    let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
    Ok(media::atomic::write(&out.join("metrics.json"), &json)?)
}
