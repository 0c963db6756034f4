//! `transfer`: images of one data set carried to another, measured against their true counterparts.
//!
//! Two data sets whose files have the same names (one emoji in two styles, one scene in two seasons) say what each image
//! should become. Training never sees which belongs to which; the held-out part is where it is asked. Two answers that take
//! no flow stand beside: the source image itself, and the training image of the target nearest to it.

use crate::{
    Context, Error, Model, Start,
    assets::lpips,
    model::which,
    pictures,
    recipe::SampleConfig,
    sampling::{Classes, draw_from},
};
use data::{Dataset, Split};
use flow::Solver;
use metrics::{Lpips, LpipsConfig, LpipsNet, psnr};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// What to measure.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Numbers of steps.
    pub steps: Vec<usize>,
    /// The solver of those steps.
    pub solver: Solver,
    /// Held-out images, at most; all without.
    pub count: Option<usize>,
    /// Network of the perceptual distance and the side to which images are resized for it; left out without.
    pub lpips: Option<(String, usize)>,
    /// A PNG of sources, what they become at each number of steps, and counterparts; and its rows.
    pub sheet: Option<(PathBuf, usize)>,
}

/// Means over the held-out images, each against its counterpart.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// "source", "nearest" or "flow".
    pub what: String,
    /// Evaluations of the network per image; 0 for the two that take none.
    pub nfe: usize,
    /// Learned perceptual distance.
    pub lpips: Option<f64>,
    /// Standard error of that mean over images.
    pub lpips_error: Option<f64>,
    /// Root-mean-square difference of pixels in [-1, 1].
    pub l2: f64,
    /// Peak signal-to-noise ratio in dB, of images' mean squared errors averaged.
    pub psnr: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct TransferReport {
    /// From what to what.
    pub data: String,
    /// "base", "reflow" or "distill".
    pub stage: String,
    /// Held-out images with a counterpart.
    pub images: usize,
    /// Which perceptual distance.
    pub distance: Option<String>,
    /// Figures.
    pub rows: Vec<Row>,
}

impl TransferReport {
    /// The figures as text.
    pub fn table(&self) -> String {
        let distance = self.distance.as_deref().unwrap_or("no perceptual distance");
        let mut text = format!("{}, {}: {} held-out images, {distance}\n", self.data, self.stage, self.images);
        text += "what       evaluations    LPIPS   ± s.e.       L2   PSNR dB\n";
        for row in &self.rows {
            let number = |v: Option<f64>| v.map_or("      –".into(), |v| format!("{v:7.4}"));
            let (lpips, error) = (number(row.lpips), number(row.lpips_error));
            let (what, nfe, l2, psnr) = (&row.what, row.nfe, row.l2, row.psnr);
            text += &format!("{what:<10} {nfe:>11}  {lpips}  {error}  {l2:7.4}  {psnr:8.2}\n");
        }
        text
    }
}

/// Carries the held-out images over and measures them.
///
/// # Errors
/// A model that starts from noise; data sets without counterparts; weights of the perceptual distance that are not here.
pub fn transfer(request: &TransferRequest, context: &mut Context) -> Result<TransferReport, Error> {
    if request.steps.is_empty() || request.steps.contains(&0) {
        return Err(Error::Usage("--steps: give one or more numbers of at least 1".into()));
    }
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    let Start::Data { dataset: sources, .. } = Start::held_out(&model.recipe, model.subject.shape)? else {
        return Err(Error::Usage(format!(
            "{} starts from noise: there is nothing to carry over; train with `--source` to carry images of one set to another",
            model.file.display()
        )));
    };
    let shape = model.subject.shape.image()?;
    let split = if model.recipe.data.holdout == 0.0 { Split::Train } else { Split::Test };
    let targets = data::open(&model.recipe.data.with_split(split))?;
    let pairs = meet(&sources, &targets, request.count)?;
    let lpips = match &request.lpips {
        None => None,
        Some((net, size)) => {
            let net = if net == "alexnet" { LpipsNet::Alexnet } else { LpipsNet::Vgg16 };
            let found = lpips(&LpipsConfig { net, size: *size, ..LpipsConfig::default() }, &context.device.device)?;
            found.check(shape)?;
            Some(found)
        }
    };
    let [source_rows, target_rows]: [Vec<usize>; 2] = [0, 1].map(|end| pairs.iter().map(|pair| pair[end]).collect());
    let truth = data::gather(&*targets, &target_rows)?.rows;
    let source = data::gather(&*sources, &source_rows)?.rows;
    let judge = Judge { truth: &truth, shape, lpips: lpips.as_ref() };
    context.note("two answers without a flow");
    let mut rows = vec![judge.row("source", 0, &source)?];
    let training = data::open(&model.recipe.data.with_split(Split::Train))?;
    rows.push(judge.row("nearest", 0, &nearest(&source, &*training)?)?);
    let start = Start::Data { dataset: sources, flip: false };
    let last = source_rows.iter().max().map_or(0, |row| *row as u64 + 1);
    let mut columns = vec![source];
    for &steps in &request.steps {
        let how = SampleConfig { steps, solver: request.solver.clone(), ..model.recipe.sample.clone() };
        let drawn = draw_from(&model, &start, &how, &Classes::None, 0, 0..last, context)?;
        let size = shape.iter().product::<usize>();
        let values = &drawn.rows;
        let carried: Vec<f32> =
            source_rows.iter().flat_map(|&row| shown(&values[row * size..(row + 1) * size])).collect();
        rows.push(judge.row("flow", drawn.nfe, &carried)?);
        columns.push(carried);
    }
    columns.push(truth.clone());
    if let Some((path, rows)) = &request.sheet {
        pictures::columns(path, &columns, shape, *rows, "source, flow at each number of steps, counterpart")?;
    }
    let (data, stage) = (model.subject.data.clone(), model.subject.stage.clone());
    Ok(TransferReport { data, stage, images: pairs.len(), distance: lpips.map(|lpips| lpips.name()), rows })
}

/// `[source, target]` of each held-out image that has a counterpart.
fn meet(sources: &Arc<dyn Dataset>, targets: &Arc<dyn Dataset>, most: Option<usize>) -> Result<Vec<[usize; 2]>, Error> {
    let found = data::counterparts(&**sources, &**targets).into_iter().enumerate();
    let pairs: Vec<_> =
        found.filter_map(|(row, target)| Some([row, target?])).take(most.unwrap_or(usize::MAX)).collect();
    if pairs.is_empty() {
        return Err(Error::Failure(format!(
            "no held-out image of {} has a counterpart in {}: counterparts are files of the same name in both sets; `eval` \
             measures a transfer without them",
            sources.name(),
            targets.name()
        )));
    }
    Ok(pairs)
}

/// What a screen would show.
fn shown(values: &[f32]) -> impl Iterator<Item = f32> {
    values.iter().map(|v| v.clamp(-1.0, 1.0))
}

/// The images of `training` nearest to each of `images` by their pixels.
fn nearest(images: &[f32], training: &dyn Dataset) -> Result<Vec<f32>, Error> {
    let rows: Vec<usize> = (0..training.len()).collect();
    let all = data::gather(training, &rows)?.rows;
    let size = training.shape().numel();
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let closest = |image: &[f32]| all.chunks(size).min_by(|a, b| distance(image, a).total_cmp(&distance(image, b)));
    Ok(images.chunks(size).filter_map(closest).flatten().copied().collect())
}

/// Who compares images with their counterparts.
struct Judge<'a> {
    truth: &'a [f32],
    shape: [usize; 3],
    lpips: Option<&'a Lpips>,
}

impl Judge<'_> {
    fn row(&self, what: &str, nfe: usize, images: &[f32]) -> Result<Row, Error> {
        let [c, h, w] = self.shape;
        let count = images.len() / (c * h * w);
        let distances = self.lpips.map(|lpips| lpips.distances(images, self.truth, [count, c, h, w])).transpose()?;
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / count as f64;
        let error = |values: &Vec<f64>| {
            let spread = values.iter().map(|v| (v - mean(values)).powi(2)).sum::<f64>() / (count as f64 - 1.0).max(1.0);
            (spread / count as f64).sqrt()
        };
        let squared: f64 = images.iter().zip(self.truth).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        Ok(Row {
            what: what.into(),
            nfe,
            lpips: distances.as_ref().map(mean),
            lpips_error: distances.as_ref().map(error),
            l2: (squared / images.len() as f64).sqrt(),
            psnr: psnr(images, self.truth, 2.0)?,
        })
    }
}
