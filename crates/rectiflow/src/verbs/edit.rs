//! `edit`: given pictures as they would be in another class or under another prompt.

use crate::{
    Context, Error, Model,
    editing::{self, Run, check_model, shared, source_classes},
    judge,
    model::which,
    overrides::SampleOverrides,
    pictures,
    released::{self, Beside},
    restoring::{Judge, inputs},
    sampling::Classes,
    steerable::Steerable,
};
use data::Dataset;
use media::Images;
use methods::edit::Editing;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc, time::Instant};

/// What to edit, and how.
#[derive(Clone, Debug)]
pub struct EditRequest {
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
    /// What the pictures are, and what they should be.
    pub asked: Asked,
    /// Ways of editing.
    pub methods: Vec<Editing>,
    /// Attention layers whose features RF-Edit shares, by number or name; the network's own habit without.
    pub blocks: Option<String>,
    /// A folder for files of shared features, in place of memory.
    pub features: Option<PathBuf>,
    /// Steps, guidance, batch and precision in place of the recipe's.
    pub overrides: SampleOverrides,
    /// Seed of all noise.
    pub seed: u64,
    /// The folder written to.
    pub output: PathBuf,
    /// Rows on the sheet.
    pub rows: usize,
}

/// What pictures are, and what they should be.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Classes by number or name, in turn.
    Classes {
        /// Their own labels without.
        source: Option<String>,
        /// Those asked for.
        target: String,
    },
    /// Texts in turn, for a model that reads.
    Prompts {
        /// Their own captions where there is none, and nothing where they have none.
        source: Vec<String>,
        /// Those asked for.
        target: Vec<String>,
    },
}

/// Means over the pictures of one method.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method; `source` for the pictures as they came.
    pub method: String,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Share that a classifier takes for the class asked for.
    pub edited: Option<f64>,
    /// PSNR against the source in dB: how much was kept.
    pub psnr: Option<f64>,
    /// Structural similarity to the source.
    pub ssim: Option<f64>,
    /// Perceptual distance to the source.
    pub lpips: Option<f64>,
    /// Evaluations of the network per picture.
    pub nfe: usize,
    /// MiB of features held, of a batch.
    pub mib: f64,
    /// Seconds for all pictures.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct EditReport {
    /// What the pictures are called.
    pub data: String,
    /// How many.
    pub pictures: usize,
    /// A row per method.
    pub rows: Vec<Row>,
    /// Where the pictures lie.
    pub output: PathBuf,
}

impl EditReport {
    /// The figures as text.
    pub fn table(&self) -> String {
        let number = |v: Option<f64>, digits: usize| v.map_or("–".into(), |v| format!("{v:.digits$}"));
        let mut text =
            format!("{} pictures of {}; PSNR, SSIM and LPIPS against the source\n", self.pictures, self.data);
        text += "method       edited %  PSNR dB     SSIM    LPIPS   NFE    MiB  seconds\n";
        for row in &self.rows {
            text += &format!(
                "{:<12} {:>8} {:>8} {:>8} {:>8} {:>5} {:>6.1} {:>8.1}\n",
                row.method,
                number(row.edited.map(|v| v * 100.0), 1),
                number(row.psnr, 2),
                number(row.ssim, 4),
                number(row.lpips, 4),
                row.nfe,
                row.mib,
                row.seconds
            );
        }
        text
    }
}

/// Edits pictures.
///
/// # Errors
/// A model without classes, pictures that cannot be read, settings that make no sense; nothing is written then.
pub fn edit(request: &EditRequest, context: &mut Context) -> Result<EditReport, Error> {
    for method in &request.methods {
        method.check().map_err(|error| Error::Usage(format!("--method {}: {error}", method.name())))?;
    }
    let shares = request.methods.iter().any(editing::shares);
    for (option, given) in [("--blocks", request.blocks.is_some()), ("--features", request.features.is_some())] {
        if given && !shares {
            return Err(Error::Usage(format!(
                "{option}: no --method here shares attention features; it is for rf-edit with --inject above 0, leave it out"
            )));
        }
    }
    if request.output.is_file() {
        return Err(Error::Usage(format!("--output {}: it is a file; give a folder", request.output.display())));
    }
    if request.beside.is_for(&request.checkpoint) {
        return edit_released(request, context);
    }
    request.beside.refuse(&request.checkpoint)?;
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    check_model(&model)?;
    let given = Given::read(request, model.picture()?)?;
    let known = given.set.class_names() == model.subject.classes;
    let labels = known.then_some(&given.batch.labels);
    let asked = asked(&request.asked, &model, labels, &given, context)?;
    edited(request, &model, &given, &asked, context)
}

/// The same with a released model, which is asked in words.
fn edit_released(request: &EditRequest, context: &mut Context) -> Result<EditReport, Error> {
    let size = if request.resize { None } else { Some(inputs::size(&request.input, "--input")?) };
    let class = match &request.asked {
        Asked::Classes { target, .. } => Some(target.as_str()),
        Asked::Prompts { .. } => None,
    };
    let of_a_run = (request.ema.as_deref(), class);
    let model = released::steered(&request.checkpoint, of_a_run, &request.beside, &request.overrides, size, context)?;
    let given = Given::read(request, model.picture()?)?;
    let asked = match &request.asked {
        Asked::Prompts { source, target } => prompts(source, target, &given, context),
        Asked::Classes { .. } => [Classes::None, Classes::None], // refused above
    };
    edited(request, &model, &given, &asked, context)
}

/// Pictures to edit.
struct Given {
    set: Arc<dyn Dataset>,
    batch: data::Batch,
    count: usize,
}

impl Given {
    fn read(request: &EditRequest, shape: [usize; 3]) -> Result<Self, Error> {
        let set = inputs::open(&request.input, shape, request.resize, "--input")?;
        let count = request.count.unwrap_or(usize::MAX).min(set.len());
        if count == 0 {
            return Err(Error::Usage("--num 0: give at least one picture".into()));
        }
        let batch = data::gather(&*set, &(0..count).collect::<Vec<_>>())?;
        Ok(Self { set, batch, count })
    }
}

/// Pictures edited by a model that is open.
fn edited(
    request: &EditRequest,
    model: &dyn Steerable,
    given: &Given,
    [source, target]: &[Classes; 2],
    context: &mut Context,
) -> Result<EditReport, Error> {
    let (shape, Given { set, batch, count }) = (model.picture()?, given);
    let count = *count;
    let range = shared(model, &request.methods, request.blocks.as_deref(), &request.overrides)?;
    let moved = model.encode(&batch.rows, context)?;
    let judge = Judge::new(shape, None, context);
    let wanted: Vec<i64> = (0..count as u64).map(|i| target.of(i)).collect();
    let classifier = match request.asked {
        Asked::Classes { .. } => judge::shipped(set, &context.device)?,
        Asked::Prompts { .. } => None,
    };
    let edited = |pictures: &[f32]| -> Result<Option<f64>, Error> {
        let Some(classifier) = &classifier else { return Ok(None) };
        let [c, h, w] = shape;
        let logits = classifier.logits(pictures, [count, c, h, w])?;
        Ok(Some(metrics::class_accuracy(&logits, &wanted)?.overall))
    };
    let run = Run {
        model,
        moved: &moved,
        asked: [source, target],
        blocks: range,
        features: request.features.as_deref(),
        overrides: &request.overrides,
        seed: request.seed,
    };
    let mut columns = vec![batch.rows.clone()];
    let mut rows = vec![Row {
        method: "source".into(),
        settings: serde_json::Value::Null,
        edited: edited(&batch.rows)?,
        psnr: None,
        ssim: None,
        lpips: None,
        nfe: 0,
        mib: 0.0,
        seconds: 0.0,
    }];
    for method in &request.methods {
        // Prompts are read before the clock, which compares methods.
        model.hear(&[source, target], context)?;
        let began = Instant::now();
        let (pictures, nfe, bytes) = run.edit(method, context)?;
        let seconds = began.elapsed().as_secs_f64();
        let kept = judge.compare(&pictures, &batch.rows)?;
        rows.push(Row {
            method: method.name().into(),
            settings: serde_json::to_value(method).unwrap_or_default(),
            edited: edited(&pictures)?,
            psnr: Some(kept.psnr),
            ssim: kept.ssim,
            lpips: kept.lpips,
            nfe,
            mib: bytes as f64 / f64::from(1 << 20),
            seconds,
        });
        columns.push(pictures);
    }
    let report = EditReport {
        data: inputs::called(&request.input, &**set),
        pictures: count,
        rows,
        output: request.output.clone(),
    };
    write(request, &report, &columns, shape)?;
    Ok(report)
}

/// What every picture is, and what it is asked to be.
fn asked(
    asked: &Asked,
    model: &Model,
    labels: Option<&Vec<i64>>,
    given: &Given,
    context: &mut Context,
) -> Result<[Classes; 2], Error> {
    match asked {
        Asked::Classes { source, target } => {
            let labels = labels.map(Vec::as_slice);
            let source = source_classes("--source-class", source.as_deref(), model, labels, given.count)?;
            Ok([Classes::InTurn(source), Classes::parse(target, model)?])
        }
        Asked::Prompts { source, target } => {
            model.check_reads()?;
            Ok(prompts(source, target, given, context))
        }
    }
}

/// Texts of what every picture shows, its own caption where nobody says, and of what it should show.
fn prompts(source: &[String], target: &[String], given: &Given, context: &mut Context) -> [Classes; 2] {
    let captions = &given.batch.captions;
    let bare = captions.iter().filter(|caption| caption.is_none()).count();
    let source = match source.is_empty() {
        false => Classes::prompts(source.to_vec()),
        true if bare == captions.len() => Classes::None,
        true => {
            if bare > 0 {
                let all = captions.len();
                context.note(format!("{bare} of {all} pictures have no caption and are taken for the empty prompt"));
            }
            Classes::prompts(captions.iter().map(|caption| caption.clone().unwrap_or_default()).collect())
        }
    };
    [source, Classes::prompts(target.to_vec())]
}

/// Pictures in a folder per method, the sheet and the figures.
fn write(request: &EditRequest, report: &EditReport, columns: &[Vec<f32>], shape: [usize; 3]) -> Result<(), Error> {
    let mut names: Vec<String> = Vec::new();
    for (row, values) in report.rows.iter().zip(columns) {
        let again = names.iter().filter(|name| name.split('-').next() == Some(&row.method)).count();
        let name = if again == 0 { row.method.clone() } else { format!("{}-{}", row.method, again + 1) };
        let images = Images::new(values.clone(), report.pictures, shape)?;
        for i in 0..report.pictures {
            let file = request.output.join(&name).join(format!("{i:06}.png"));
            pictures::save(&file, &images, i, &name)?;
        }
        names.push(name);
    }
    pictures::columns(&request.output.join("sheet.png"), columns, shape, request.rows, &names.join(", "))?;
    let json = serde_json::to_vec_pretty(report);
    let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
    Ok(media::atomic::write(&request.output.join("metrics.json"), &json)?)
}
