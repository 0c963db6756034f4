//! `codec`: trains an autoencoder whose latents flows learn on, and measures what it loses.

use crate::{
    Context, Error,
    codec::{Codec, CodecRecipe, Moments, STAGE, Vocoded, encoded},
    host::host,
    model::{Subject, find},
    pictures,
    report::page_of_run,
    round_trip::{Level, RoundTrip, level, round_trip as round_trip_of_shapes},
    shapes, sheets,
    sound::Analysis,
    stage::{DataRecord, Resume, Stage, TrainReport, place},
};
use base::{Shape, Tensor, TensorData};
use data::{DataConfig, Dataset, Split, TestPart};
use media::{
    Grid,
    audio::picture,
    shape::{Mesh, record::Counts},
};
use serde::Serialize;
use std::{
    iter::repeat_with,
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{RunDir, SampleSource};

/// Training samples that latents' means and deviations are taken from, at most.
const MEASURED: usize = 2000;
/// Held-out samples that the loss is measured on, at most.
const HELD_OUT: usize = 1000;
/// Samples of the sheet.
const SHEET: usize = 32;

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct CodecReport {
    /// Shape of a sample.
    pub sample: Shape,
    /// Shape of its latent.
    pub latent: Shape,
    /// The largest variance of the latents' channels over the smallest, taken together with their correlations, before whitening; `None` where
    /// nobody had to know, or one never varies.
    pub condition: Option<f64>,
    /// What is lost on the way there and back; `None` where nothing is held out.
    pub lost: Option<Lost>,
    /// Of a vocoder, in place of latents and losses.
    pub vocoder: Option<Vocoded>,
    /// The same of shapes.
    pub shapes: Option<RoundTrip>,
    /// Where surfaces lie, where that was found by measurement.
    pub level: Option<Level>,
    /// Held-out samples above, what comes back of each below; `None` for samples that no sheet shows.
    pub sheet: Option<PathBuf>,
    /// The training.
    pub train: TrainReport,
}

/// The way to latents and back, on held-out samples.
#[derive(Clone, Debug, Serialize)]
pub struct Lost {
    /// How many samples.
    pub samples: usize,
    /// Mean squared error of a number; those of pictures lie in [-1, 1].
    pub squared_error: f64,
    /// That error's share of the samples' variance.
    pub share: f64,
    /// Peak signal-to-noise ratio in dB over a range of 2.
    pub psnr: f64,
    /// Mean absolute error of a number.
    pub absolute_error: f64,
    /// What simpler means lose with at least as many numbers: averages of cells. `None` for samples that have none.
    pub floor: Option<Floor>,
}

/// Averages of cells in place of latents.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// Rows and columns of a cell.
    pub cell: [usize; 2],
    /// Mean absolute error of a number.
    pub absolute_error: f64,
    /// The squared error's share of the samples' variance.
    pub share: f64,
}

/// Makes every check that [`codec`] makes before its first step, and changes nothing.
///
/// # Errors
/// Those of [`codec`].
pub fn rehearse(recipe: &CodecRecipe, folder: &Path, resume: Option<&Resume>) -> Result<(), Error> {
    place(folder, resume)?;
    recipe.codec.kind().rehearse(recipe)
}

/// Trains the codec of `recipe` in `folder`, or continues its run.
///
/// # Errors
/// Data that are no pictures or do not fit the network; those of training.
pub fn codec(
    recipe: &CodecRecipe,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<CodecReport, Error> {
    rehearse(recipe, folder, resume.as_ref())?;
    let dataset = recipe.codec.open(&recipe.data, context)?;
    let (shape, device) = (dataset.shape(), context.device.device.clone());
    let (classes, data) = (Vec::new(), dataset.name().into());
    let subject = Subject { stage: STAGE.into(), shape, classes, data, codec: None, encoder: None };
    DataRecord::of(&*dataset).lines().iter().for_each(|line| context.note(line));
    let mut source = SampleSource::new(dataset.clone(), recipe.loader());
    let stage = Stage {
        name: STAGE,
        recipe: recipe.to_toml(),
        config: &recipe.train,
        seed: recipe.seed,
        extra: subject.to_extra(),
        folder,
        resume: resume.as_ref(),
    };
    let kind = recipe.codec.kind();
    let train = kind.train(stage, shape, &mut source, context)?;
    let checkpoint = find(&train.checkpoint)?;
    if let Some(vocoder) = kind.hand_over(recipe, &checkpoint, folder, context)? {
        let (latent, sheet) = (vocoder.picture, Some(vocoder.sheet.clone()));
        return Ok(CodecReport {
            sample: shape,
            latent,
            condition: None,
            lost: None,
            vocoder: Some(vocoder),
            shapes: None,
            level: None,
            sheet,
            train,
        });
    }
    let coder = kind.load(shape, &checkpoint, &device)?;
    let mut codec = Codec::fresh(coder, recipe.clone(), shape, train.checkpoint.clone())?;
    let rows = encoded(&*dataset, &codec, MEASURED, context)?;
    let level = match kind.seeks_level() {
        true => Some(seek(recipe, &*dataset, &rows, &mut codec, context)?),
        false => None,
    };
    codec.moments = Moments { offset: codec.moments.offset, ..Moments::of(&rows, codec.latent, recipe.whitening)? };
    let (run, condition) = (RunDir::at(folder), codec.moments.condition());
    if codec.moments.mixing.is_some() && condition.is_none() {
        context.note(
            "the latents' channels, or a mixture of them, do not vary at all: their covariance has no condition, and fewer channels would say \
             the same",
        );
    }
    run.write(&Moments::place(folder), &codec.moments.to_json())?;
    let held_out = recipe.codec.open_test(&recipe.data, context)?.map(|TestPart { set, .. }| set);
    if let Some(points) = kind.points() {
        let (shapes, sheet) = shapes_back(held_out.as_ref(), recipe, points, &codec, &run, context)?;
        // Once more, with what came back.
        if let Err(error) = page_of_run::leave(folder) {
            context.note(format!("warning: no {}: {error}", page_of_run::NAME));
        }
        return Ok(CodecReport {
            condition,
            sample: shape,
            latent: codec.latent,
            lost: None,
            vocoder: None,
            shapes,
            level,
            sheet,
            train,
        });
    }
    let shown = held_out.clone().unwrap_or(dataset);
    let (there, back) = round_trip(&shown, &codec, context)?;
    let lost = held_out
        .map(|_| Lost { floor: floor(&there, shape, codec.latent.numel()), ..lost(&there, &back, shape.numel()) });
    let sheet = match kind.heard() {
        Some(hearing) => Some(heard_back(&there, &back, &Analysis::new(&hearing)?, &run)?),
        None => sheet(&there, &back, shape, &run)?,
    };
    Ok(CodecReport {
        condition,
        sample: shape,
        latent: codec.latent,
        lost,
        vocoder: None,
        shapes: None,
        level,
        sheet,
        train,
    })
}

/// Where the surfaces of a codec lie whose raw latents of `dataset` are `rows`.
fn seek(
    recipe: &CodecRecipe,
    dataset: &dyn Dataset,
    rows: &[f32],
    codec: &mut Codec,
    context: &mut Context,
) -> Result<Level, Error> {
    let counts = Counts::default();
    // Only so many have latents here.
    let limit = Some(recipe.data.limit.map_or(MEASURED, |limit| limit.min(MEASURED)));
    let points = shapes::some(&DataConfig { limit, ..recipe.data.clone() }, SHAPES, counts, context)?;
    let names = (0..dataset.len()).filter_map(|i| Some((dataset.key(i)?, i))).collect();
    level(codec, rows, &names, (&*points, counts), context)
}

/// Held-out shapes at most.
const SHAPES: usize = 100;

/// What held-out shapes lose, and a sheet of the first: as they are above, as they come back below.
fn shapes_back(
    held_out: Option<&Arc<dyn Dataset>>,
    recipe: &CodecRecipe,
    counts: Counts,
    codec: &Codec,
    run: &RunDir,
    context: &mut Context,
) -> Result<(Option<RoundTrip>, Option<PathBuf>), Error> {
    let Some(set) = held_out else { return Ok((None, None)) };
    let (found, back) = round_trip_of_shapes(&**set, counts, codec, SHAPES, context)?;
    let back = &back[..back.len().min(SHEET)];
    let names: Vec<&str> = (0..back.len()).filter_map(|i| set.key(i)).collect();
    let there = shapes::meshes(&recipe.data.with_split(Split::Test), &names)?;
    let there: Vec<_> = there.into_iter().map(Option::unwrap_or_default).collect();
    let columns = 8;
    let rows = there.chunks(columns).zip(back.chunks(columns));
    // A row that is not full ends in empty places, so that each shape stands above what came back of it.
    let full = |row: &[Mesh]| row.iter().cloned().chain(repeat_with(Mesh::default)).take(columns).collect::<Vec<_>>();
    let all: Vec<Mesh> = rows.flat_map(|(above, below)| [full(above), full(below)].concat()).collect();
    let file = run.samples().join("round-trip.png");
    crate::shapes::sheet::sheet(&file, &all, 96, columns)?;
    sheets::leave(run, "round-trip", back)?;
    Ok((Some(found), Some(file)))
}

/// Samples of `dataset`, and what comes back of them.
fn round_trip(dataset: &Arc<dyn Dataset>, codec: &Codec, context: &mut Context) -> Result<(Vec<f32>, Vec<f32>), Error> {
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let places: Vec<usize> = (0..dataset.len().min(HELD_OUT)).collect();
    for places in places.chunks(64) {
        context.go_on()?;
        let batch = data::gather(&**dataset, places)?;
        let size = [places.len(), codec.sample.numel()];
        let rows = Tensor::<2>::from_data(TensorData::new(batch.rows.clone(), size), &context.device.device);
        back.extend(host(codec.decode(codec.encode(rows)?))?);
        there.extend(batch.rows);
    }
    Ok((there, back))
}

fn lost(there: &[f32], back: &[f32], size: usize) -> Lost {
    let count = there.len().max(1) as f64;
    let squared_error = there.iter().zip(back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / count;
    let mean = there.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = there.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    let psnr = 10.0 * (4.0 / squared_error).log10();
    let absolute_error = there.iter().zip(back).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / count;
    Lost {
        samples: there.len() / size,
        squared_error,
        share: squared_error / variance,
        psnr,
        absolute_error,
        floor: None,
    }
}

/// What is lost where every number is its cell's mean, and no more numbers are saved than by latents of `size`.
fn floor(there: &[f32], shape: Shape, size: usize) -> Option<Floor> {
    let [_, h, w] = shape.image().ok()?;
    let halvings = (shape.numel() / size.max(1)).checked_ilog2()?;
    let [a, b] = [1usize << halvings.div_ceil(2), 1 << (halvings / 2)];
    if a * b == 1 || !h.is_multiple_of(a) || !w.is_multiple_of(b) {
        return None;
    }
    let mut back = there.to_vec();
    for plane in back.chunks_exact_mut(h * w) {
        for cell in 0..h / a * (w / b) {
            let (top, left) = (cell / (w / b) * a, cell % (w / b) * b);
            let places: Vec<usize> = (0..a * b).map(|i| (top + i / b) * w + left + i % b).collect();
            let mean = places.iter().map(|at| plane[*at]).sum::<f32>() / (a * b) as f32;
            places.iter().for_each(|at| plane[*at] = mean);
        }
    }
    let Lost { absolute_error, share, .. } = lost(there, &back, shape.numel());
    Some(Floor { cell: [a, b], absolute_error, share })
}

/// Spectrograms of held-out sounds and mixtures above, what comes back of each below.
fn heard_back(there: &[f32], back: &[f32], analysis: &Analysis, run: &RunDir) -> Result<PathBuf, Error> {
    let (size, columns) = (analysis.shape().numel(), 8);
    let count = (there.len() / size).min(SHEET) / columns * columns;
    let row = |rows: &[f32], at: usize| analysis.picture(&rows[at * size..(at + 1) * size]);
    let pictures: Vec<_> = (0..count / columns)
        .flat_map(|line| {
            [there, back].into_iter().flat_map(move |rows| (0..columns).map(move |i| (rows, line * columns + i)))
        })
        .map(|(rows, at)| row(rows, at))
        .collect();
    let file = run.samples().join("round-trip.png");
    let drawn = picture::sheet(&pictures, analysis.frames(), columns, 2);
    media::png::save(&file, &drawn, &[("parameters", "held-out sounds above, what comes back below")])?;
    Ok(file)
}

/// Samples above, what comes back of them below, in the run's folder of samples.
fn sheet(there: &[f32], back: &[f32], shape: Shape, run: &RunDir) -> Result<Option<PathBuf>, Error> {
    let Ok([1 | 3, _, wide]) = pictures::shape(shape) else { return Ok(None) };
    // Views of a shape are as wide as several pictures.
    let (size, columns) = (shape.numel(), if wide > 64 { 4 } else { 8 });
    let count = (there.len() / size).min(SHEET);
    let rows: Vec<f32> = (0..count.div_ceil(columns))
        .flat_map(|row| {
            let place = row * columns * size..((row + 1) * columns).min(count) * size;
            [&there[place.clone()], &back[place]].concat()
        })
        .collect();
    let images = pictures::of(rows, 2 * count, shape)?;
    let file = run.samples().join("round-trip.png");
    let grid = Grid { columns, ..Grid::default() };
    media::png::save(&file, &grid.draw(&images), &[("parameters", "held-out samples above, what comes back below")])?;
    Ok(Some(file))
}

impl std::fmt::Display for CodecReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(vocoder) = &self.vocoder {
            write!(f, "{vocoder}")?;
            return writeln!(f, "{}", self.train.checkpoint.display());
        }
        let fewer = self.sample.numel() as f64 / self.latent.numel() as f64;
        writeln!(f, "latents {} of samples {}: {fewer:.1} times fewer numbers", self.latent, self.sample)?;
        if let Some(condition) = self.condition {
            writeln!(f, "widest to narrowest variance of their channels before whitening: {condition:.3e}")?;
        }
        if let Some(lost) = &self.lost {
            let Lost { samples, psnr, share, absolute_error, floor, .. } = lost;
            writeln!(
                f,
                "{samples} held-out samples come back with {psnr:.1} dB, {:.2} % of their variance lost, {absolute_error:.4} of a number",
                100.0 * share
            )?;
            if let Some(Floor { cell: [a, b], absolute_error, share }) = floor {
                let share = 100.0 * share;
                writeln!(
                    f,
                    "averages of {a} x {b} cells, {:.1} times fewer numbers: {share:.2} % lost, {absolute_error:.4} of a number",
                    (a * b) as f64
                )?;
            }
        }
        if let Some(shapes) = &self.shapes {
            writeln!(f, "{shapes}")?;
        }
        if let Some(level) = &self.level {
            writeln!(f, "{level}")?;
        }
        if let Some(sheet) = &self.sheet {
            writeln!(f, "{}", sheet.display())?;
        }
        writeln!(f, "{}", self.train.checkpoint.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the error's root, a range of 1.
    #[test]
    fn what_is_lost_is_counted_as_it_is_said() {
        let there = [1.0, -1.0, 1.0, -1.0];
        let back = [0.8, -0.8, 1.2, -1.2];
        let found = lost(&there, &back, 2);
        assert_eq!(found.samples, 2);
        assert!((found.squared_error - 0.04).abs() < 1e-6 && (found.share - 0.04).abs() < 1e-6);
        assert!((found.psnr - 20.0).abs() < 1e-4, "{found:?}");
        assert!((found.absolute_error - 0.2).abs() < 1e-6);
    }

    /// A picture that is even within cells loses nothing; a board of unlike neighbours loses all. Mutants: cells across rows; more
    /// numbers than the latent has.
    #[test]
    fn averages_of_cells_are_what_a_codec_is_held_against() {
        let shape = Shape::from([1, 4, 4]);
        let even: Vec<f32> = (0..16).map(|i| ((i / 8) * 2 + i % 4 / 2) as f32).collect();
        let found = floor(&even, shape, 4).unwrap();
        assert_eq!((found.cell, found.share), ([2, 2], 0.0));
        let board: Vec<f32> = (0..16).map(|i| if (i / 4 + i % 4) % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let found = floor(&board, shape, 4).unwrap();
        assert!((found.share - 1.0).abs() < 1e-6 && (found.absolute_error - 1.0).abs() < 1e-6, "{found:?}");
        assert_eq!(floor(&board, shape, 8).unwrap().cell, [2, 1]);
        assert_eq!(floor(&board, shape, 5).unwrap().cell, [2, 1]);
        assert!(floor(&board, shape, 16).is_none());
    }
}
