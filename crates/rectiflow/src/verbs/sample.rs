//! `sample`: from a checkpoint to a sheet, single files, npy or safetensors.

mod meshes;

use crate::{
    Error, Model, Start,
    align::Climb,
    codec::Codec,
    context::Context,
    model::which,
    note::Note,
    one_more_step::{FirstStep, OneMoreStep},
    output::Output,
    overrides::SampleOverrides,
    pictures,
    recipe::SampleConfig,
    sampling::{Classes, Drawn, Pictures, draw_from, draw_latents},
    shapes, sight,
};
use data::{DataConfig, Split};
use media::Bitmap;
use serde::Serialize;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What to draw; what is not given comes from the checkpoint's recipe.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// How samples are drawn.
    pub overrides: SampleOverrides,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of samples.
    pub count: u64,
    /// Samples to start from, for a model between two data sets: a named set, a file or folder; held-out samples of its own
    /// source without.
    pub data: Option<String>,
    /// Classes by number or name, `none`, or all in turn.
    pub class: Option<String>,
    /// Prompts, in turn, for a model that reads text; in place of classes.
    pub prompts: Vec<String>,
    /// Pictures, in turn, for a model that draws what they show.
    pub images: Vec<PathBuf>,
    /// `.png` (a sheet), `.npy`, `.safetensors`, of shapes `.glb`, `.obj`, `.ply` or `.stl`, or a folder of single samples.
    pub output: PathBuf,
    /// Samples per row of a sheet; 0 chooses.
    pub columns: usize,
    /// Of shapes: cells to a side of the lattice that surfaces are taken from, a power of two.
    pub resolution: usize,
    /// One more step before every sample: its checkpoint, and how it is taken.
    pub first_step: Option<(PathBuf, OneMoreStep)>,
    /// Points to start from in place of seeded noise, see [`Start::given`].
    pub noise: Option<String>,
    /// A reward that samples climb, and its weights, see [`Climb::open`].
    pub reward: Option<(PathBuf, String)>,
}

/// What was drawn.
#[derive(Clone, Debug, Serialize)]
pub struct SampleReport {
    /// The file or folder.
    pub output: PathBuf,
    /// Number of samples.
    pub count: usize,
    /// Evaluations of the field per sample.
    pub nfe: usize,
    /// Seconds of drawing, files not included.
    pub seconds: f64,
}

/// Draws samples and writes them.
///
/// # Errors
/// A checkpoint that cannot be used, options that make no sense, a place that cannot be written.
pub fn sample(request: &SampleRequest, context: &mut Context) -> Result<SampleReport, Error> {
    let Prepared { model, config, classes, start, count, output } = prepare(request, context)?;
    if let Some(dataset) = start.dataset() {
        let (all, name) = (dataset.len(), dataset.name());
        context.note(format!("from {} of the {all} samples of {name}", count.min(all as u64)));
    }
    if let Some(advice) = model.around.as_ref().and_then(|method| method.advice()) {
        context.note(advice);
    }
    let solid = in_surfaces(&model, &output);
    let drawn = match solid {
        Some(codec) => draw_latents((&model, codec), &start, &config, &classes, request.seed, 0..count, context)?,
        None => draw_from(&model, &start, &config, &classes, request.seed, 0..count, context)?,
    };
    let called = model.file.display().to_string();
    let note = Note { model: &model, called: &called, config: &config, classes: &classes, seed: request.seed };
    match solid {
        Some(codec) => {
            meshes::write(&output, &drawn, codec, request, context)?;
            if let Output::Npy(_) | Output::Safetensors(_) = output {
                write(&output, &drawn, &start, request.columns, &note)?;
            }
        }
        None => write(&output, &drawn, &start, request.columns, &note)?,
    }
    Ok(SampleReport { output: request.output.clone(), count: drawn.len(), nfe: drawn.nfe, seconds: drawn.seconds })
}

/// The codec whose surfaces are written: for a mesh any that has some, for whatever else one whose latents cannot be looked at.
fn in_surfaces<'a>(model: &'a Model, output: &Output) -> Option<&'a Codec> {
    let codec = model.codec.as_deref().filter(|codec| codec.has_surface())?;
    (matches!(output, Output::Mesh(_)) || !codec.is_seen()).then_some(codec)
}

/// Samples about to be drawn.
pub struct Prepared {
    /// The network.
    pub model: Model,
    /// How it will be sampled.
    pub config: SampleConfig,
    classes: Classes,
    start: Start,
    /// How many: no more than there are points to start from.
    pub count: u64,
    output: Output,
}

/// Makes every check that [`sample`] makes before the first sample, and writes nothing.
///
/// # Errors
/// Those of [`sample`].
pub fn prepare(request: &SampleRequest, context: &mut Context) -> Result<Prepared, Error> {
    if request.count == 0 {
        return Err(Error::Usage("--num 0: ask for at least one sample".into()));
    }
    let output = Output::parse(&request.output)?;
    let mut model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if let Some((file, step)) = &request.first_step {
        model.before = Some(Box::new(FirstStep::open(file, step.clone(), &model, &context.device)?));
    }
    if let Some((file, weight)) = &request.reward {
        model.around = Some(Box::new(Climb::open(file, weight, &model, &context.device)?));
    }
    let config = request.overrides.apply(&model.recipe.sample)?;
    if !request.prompts.is_empty() {
        model.check_reads()?;
    }
    let (start, labels) = beginning(&model, request)?;
    let pictures = pictured(&model, &request.images, context)?;
    let classes = match (&request.class, labels) {
        _ if pictures.is_some() => pictures.unwrap_or(Classes::None),
        (Some(text), _) => Classes::parse(text, &model)?,
        (None, _) if !request.prompts.is_empty() => Classes::prompts(request.prompts.clone()),
        (None, Some(labels)) => Classes::InTurn(labels),
        (None, None) => Classes::all(&model)?,
    };
    model.check_guidance(config.guidance.scale)?;
    let count = start.count().map_or(request.count, |most| most.min(request.count));
    let place = request.output.display();
    let of_shapes = model.codec.as_ref().is_some_and(|codec| codec.has_surface());
    if of_shapes {
        let value = request.resolution;
        shapes::files::depth(value)?;
        // What can be seen from cameras has a density, which says nothing about how far its surface is.
        if value > 256 && model.codec.as_ref().is_some_and(|codec| codec.is_seen()) {
            return Err(Error::Usage(format!(
                "--resolution {value}: planes are asked in all cells, {value} to a side of the cube; take at most 256"
            )));
        }
    } else if let Output::Mesh(_) = &output {
        return Err(Error::Usage(format!(
            "--output {place}: this model draws no shapes; write .png, .npy or .safetensors"
        )));
    } else if let (Output::Png(_) | Output::Folder(_), Err(error)) = (&output, pictures::shape(model.drawn())) {
        return Err(Error::Usage(format!("--output {place}: {error}; write .npy or .safetensors")));
    }
    crate::sampling::check(&model, &config, count)?;
    Ok(Prepared { model, config, classes, start, count, output })
}

/// What the files show, framed as `model` reads pictures; `None` where there is no file.
fn pictured(model: &Model, files: &[PathBuf], context: &mut Context) -> Result<Option<Classes>, Error> {
    let Some(first) = files.first() else { return Ok(None) };
    let Some(sight) = model.sight(context)? else {
        return Err(Error::Usage(format!(
            "--image {}: {} draws from no picture; train a flow over shapes with `task.picture` (docs/shapes.md)",
            first.display(),
            model.file.display()
        )));
    };
    let mut rows = Vec::new();
    for file in files {
        let (picture, note) = sight::read(file, sight.config())?;
        rows.extend(picture);
        note.into_iter().for_each(|note| context.note(note));
    }
    Ok(Some(Classes::Pictures(Arc::new(Pictures { rows, sight }))))
}

/// What samples begin at (noise, points of a file, or samples of `data` brought to the form of the model's source), and the classes
/// that a file names.
fn beginning(model: &Model, request: &SampleRequest) -> Result<(Start, Option<Vec<i64>>), Error> {
    let Some(file) = &request.noise else { return Ok((samples_or_noise(model, request.data.as_deref())?, None)) };
    if let Some(data) = &request.data {
        return Err(Error::Usage(format!("--noise {file} with --data {data}: both say where samples start; give one")));
    }
    if model.recipe.task.source().is_some() {
        return Err(Error::Usage(format!("--noise {file}: this model starts from data, not from noise; use --data")));
    }
    if model.before.is_some() {
        return Err(Error::Usage(format!(
            "--noise {file}: --one-more-step brings its own start; leave one of them out"
        )));
    }
    let (start, labels) = Start::given(file, model.subject.shape)?;
    let classes = model.classes() as i64;
    // A file of another model's classes: -1 is no class.
    let known = labels.filter(|labels| labels.iter().all(|label| (-1..classes).contains(label)));
    Ok((start, known))
}

fn samples_or_noise(model: &Model, data: Option<&str>) -> Result<Start, Error> {
    let shape = model.subject.shape;
    match (data, model.recipe.task.source()) {
        (None, _) => Start::held_out(&model.recipe, shape),
        (Some(data), None) => Err(Error::Usage(format!(
            "--data {data}: this model starts from noise, not from data; train one with `--source` to carry samples of one \
             set to another"
        ))),
        (Some(data), Some(source)) => {
            let DataConfig { name, path, .. } = DataConfig::of(data);
            let shape = shape.image()?;
            let form = DataConfig { size: Some(shape[2]), channels: Some(shape[0]), ..source.clone() };
            let all = DataConfig { classes: Vec::new(), limit: None, flip: false, holdout: 0.0, ..form };
            Start::samples(&DataConfig { name, path, split: Split::Train, ..all }, shape)
        }
    }
}

fn write(output: &Output, drawn: &Drawn, start: &Start, columns: usize, note: &Note) -> Result<(), Error> {
    let images = || {
        let told = |error| Error::Usage(format!("--output: {error}; write .npy or .safetensors"));
        drawn.images().map_err(told)
    };
    let axes = drawn.shape.batch(drawn.len());
    let png = |path: &Path, bitmap: &Bitmap, first: usize, classes: &[i64]| {
        media::png::save(path, bitmap, &[("parameters", &note.line()), ("rectiflow", &note.json(first, classes))])
    };
    match output {
        Output::Png(path) => {
            let sheet = pictures::sheet(&images()?, columns, &drawn.classes, &note.model.subject.classes);
            png(path, &sheet, 0, &drawn.classes)?;
        }
        // Refused by `prepare`: what has a surface is written by `meshes`.
        Output::Mesh(path) => {
            return Err(Error::Usage(format!("--output {}: this model draws no shapes", path.display())));
        }
        Output::Npy(path) => media::arrays::save_npy(path, &axes, &drawn.rows)?,
        Output::Safetensors(path) => {
            let metadata = HashMap::from([
                ("parameters".to_string(), note.line()),
                ("rectiflow".to_string(), note.json(0, &drawn.classes)),
            ]);
            media::arrays::save_safetensors(path, &axes, &drawn.rows, Some(&drawn.classes), metadata)?;
        }
        Output::Folder(folder) => {
            let images = images()?;
            for i in 0..images.len() {
                // A sample that was somebody's keeps its name.
                let key = start.dataset().and_then(|dataset| dataset.key(i)).map(|key| key.replace(['/', '\\'], "_"));
                let name = format!("{}.png", key.unwrap_or_else(|| format!("{i:06}")));
                let (place, classes) = (folder.join(name), &drawn.classes[i..=i]);
                let (line, json) = (note.line(), note.json(i, classes));
                let text = [("parameters", line.as_str()), ("rectiflow", json.as_str())];
                media::atomic::write(&place, &pictures::encoded(&images, i, &text)?)?;
            }
        }
    }
    Ok(())
}
