//! `retrieve`: whether samples of held-out prompts show what was asked for.
//!
//! Each held-out caption is drawn once. A network that had no part in training looks at the sample and at the real pictures
//! of `among` held-out captions, its own among them: the caption of the picture it finds most alike is the one retrieved.
//! Guessing is right once in `among`.

use crate::{
    Context, Error, Model, Start,
    judge::extractor,
    model::which,
    recipe::SampleConfig,
    sampling::{Classes, draw_from},
};
use data::{DataConfig, Dataset, Split};
use flow::Solver;
use metrics::Extractor;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// What to measure.
#[derive(Clone, Debug)]
pub struct RetrieveRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Numbers of steps.
    pub steps: Vec<usize>,
    /// The solver of those steps; the recipe's without.
    pub solver: Option<Solver>,
    /// Guidance; the recipe's without.
    pub guidance: Option<f64>,
    /// Held-out captions, at most; all without.
    pub count: Option<usize>,
    /// Captions to choose among.
    pub among: usize,
    /// Who looks: `vgg16` or `efficientnet-lite0`.
    pub features: String,
    /// A set with pictures of the same names in another style: how often those are recognised.
    pub against: Option<String>,
    /// A PNG of real pictures and samples at each number of steps; and its rows.
    pub sheet: Option<(PathBuf, usize)>,
}

/// How often the true caption was found.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// "flow", or the name of the set in another style.
    pub what: String,
    /// Evaluations of the network per image, guidance counted once; 0 for real pictures.
    pub nfe: usize,
    /// Share of images whose caption came first.
    pub first: f64,
    /// Standard error of that share over images.
    pub error: f64,
    /// Share of images whose caption was among the first five.
    pub five: f64,
    /// Milliseconds an image takes in a batch of the recipe's size.
    pub milliseconds: Option<f64>,
    /// Milliseconds an image takes alone.
    pub alone: Option<f64>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct RetrieveReport {
    /// The held-out part.
    pub data: String,
    /// "base", "reflow" or "distill".
    pub stage: String,
    /// Who looked.
    pub features: String,
    /// Captions drawn.
    pub captions: usize,
    /// Captions to choose among.
    pub among: usize,
    /// Figures.
    pub rows: Vec<Row>,
    /// The captions on the sheet, from its top.
    pub shown: Vec<String>,
}

impl RetrieveReport {
    /// The figures as text.
    pub fn table(&self) -> String {
        let Self { data, stage, features, captions, among, .. } = self;
        let mut text =
            format!("{data}, {stage}: {captions} held-out captions, each among {among}, seen by {features}\n");
        text += "what                 evaluations   first  ± s.e.    five  ms an image   alone\n";
        for row in &self.rows {
            let time = |v: Option<f64>| v.map_or("      –".into(), |v| format!("{v:7.2}"));
            let (alone, batch) = (time(row.alone), time(row.milliseconds));
            let (what, nfe, first, error, five) = (&row.what, row.nfe, row.first, row.error, row.five);
            text += &format!("{what:<20} {nfe:>11}  {first:6.3}  {error:6.3}  {five:6.3}      {batch}  {alone}\n");
        }
        text
    }
}

/// Draws the held-out captions and has them recognised.
///
/// # Errors
/// A model that reads no text; fewer captions than there should be to choose among; weights that are not here.
pub fn retrieve(request: &RetrieveRequest, context: &mut Context) -> Result<RetrieveReport, Error> {
    if request.steps.is_empty() || request.steps.contains(&0) {
        return Err(Error::Usage("--steps: give one or more numbers of at least 1".into()));
    }
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if model.words.is_none() {
        let file = model.file.display();
        return Err(Error::Usage(format!(
            "{file} reads no text: there is no prompt to retrieve; train with `task.text`"
        )));
    }
    let held_out = data::open(&model.recipe.data.with_split(Split::Test))?;
    let (captions, rows) = unseen(&*held_out, &model.captions()?, request.count)?;
    if !(2..=rows.len()).contains(&request.among) {
        let (among, found) = (request.among, rows.len());
        return Err(Error::Usage(format!("--among {among}: there are {found} held-out captions; give 2 to {found}")));
    }
    let real = data::gather(&*held_out, &rows)?.rows;
    let eye = extractor(&request.features, &held_out, &context.device)?;
    let shape = model.drawn().image()?;
    let judge = Judge::new(&*eye, &real, shape, request.among)?;

    let mut figures = Vec::new();
    if let Some(name) = &request.against {
        let other = other_style(name, &model.recipe.data)?;
        let same = data::counterparts(&*held_out, &*other);
        let known = rows.iter().enumerate().filter_map(|(place, row)| Some((place, same[*row]?)));
        let (places, theirs): (Vec<usize>, Vec<usize>) = known.unzip();
        if places.is_empty() {
            let remedy = "counterparts are files of the same name in both sets";
            return Err(Error::Usage(format!("--against {name}: it has none of these pictures; {remedy}")));
        }
        figures.push(judge.row(other.name(), 0, &data::gather(&*other, &theirs)?.rows, &places)?);
    }
    let places: Vec<usize> = (0..captions.len()).collect();
    let classes = Classes::prompts(captions.clone());
    let mut columns = vec![real.clone()];
    for &steps in &request.steps {
        let mut how = SampleConfig { steps, ..model.recipe.sample.clone() };
        how.solver = request.solver.clone().unwrap_or(how.solver);
        how.guidance.scale = request.guidance.unwrap_or(how.guidance.scale);
        let start = Start::Noise { shape: model.subject.shape };
        let drawn = draw_from(&model, &start, &how, &classes, 0, 0..captions.len() as u64, context)?;
        // The first alone warms up what has never run at this size.
        draw_from(&model, &start, &how, &classes, 0, 0..1, context)?;
        let alone = draw_from(&model, &start, &how, &classes, 0, 0..1, context)?.seconds;
        let images: Vec<f32> = drawn.rows.iter().map(|v| v.clamp(-1.0, 1.0)).collect();
        let row = judge.row("flow", drawn.nfe, &images, &places)?;
        let milliseconds = Some(1e3 * drawn.seconds / captions.len() as f64);
        figures.push(Row { milliseconds, alone: Some(1e3 * alone), ..row });
        columns.push(images);
    }
    let mut shown = Vec::new();
    if let Some((path, rows)) = &request.sheet {
        let about = "real picture, then samples at each number of steps";
        shown = crate::pictures::columns(path, &columns, shape, *rows, about)?
            .into_iter()
            .map(|i| captions[i].clone())
            .collect();
    }
    Ok(RetrieveReport {
        data: held_out.name().into(),
        stage: model.subject.stage,
        features: request.features.clone(),
        captions: captions.len(),
        among: request.among,
        rows: figures,
        shown,
    })
}

/// Captions that training never saw and the first picture of each, in their order; at most `count` of them.
fn unseen(dataset: &dyn Dataset, seen: &[String], count: Option<usize>) -> Result<(Vec<String>, Vec<usize>), Error> {
    let mut first = BTreeMap::new();
    for row in 0..dataset.len() {
        let new = dataset.caption(row).filter(|caption| seen.binary_search_by(|s| s.as_str().cmp(caption)).is_err());
        new.map(|caption| first.entry(caption.to_string()).or_insert(row));
    }
    Ok(first.into_iter().take(count.unwrap_or(usize::MAX)).unzip())
}

/// All of the set `name`, in the form of ours.
fn other_style(name: &str, form: &DataConfig) -> Result<Arc<dyn Dataset>, Error> {
    let DataConfig { name, path, .. } = DataConfig::of(name);
    Ok(data::open(&DataConfig { name, path, split: Split::Train, holdout: 0.0, ..form.clone() })?)
}

/// Who recognises pictures: by the angle between features, from which those of real pictures on average are taken off.
struct Judge<'a> {
    eye: &'a dyn Extractor,
    shape: [usize; 3],
    among: usize,
    mean: Vec<f64>,
    real: Vec<Vec<f64>>,
}

impl<'a> Judge<'a> {
    fn new(eye: &'a dyn Extractor, real: &[f32], shape: [usize; 3], among: usize) -> Result<Self, Error> {
        let mut judge = Self { eye, shape, among, mean: Vec::new(), real: Vec::new() };
        let features = judge.features(real)?;
        let dim = features.first().map_or(0, Vec::len);
        judge.mean = (0..dim).map(|i| features.iter().map(|row| row[i]).sum::<f64>() / features.len() as f64).collect();
        judge.real = features.iter().map(|row| judge.direction(row)).collect();
        Ok(judge)
    }

    fn features(&self, images: &[f32]) -> Result<Vec<Vec<f64>>, Error> {
        let [c, h, w] = self.shape;
        let matrix = self.eye.features(images, [images.len() / (c * h * w), c, h, w])?;
        Ok((0..matrix.rows()).map(|row| matrix.row(row).iter().map(|v| f64::from(*v)).collect()).collect())
    }

    fn direction(&self, features: &[f64]) -> Vec<f64> {
        let centred: Vec<f64> = features.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        let norm = centred.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        centred.into_iter().map(|x| x / norm).collect()
    }

    /// Of `images`, which show the captions at `places`. Each is looked for among its own and those that follow.
    fn row(&self, what: &str, nfe: usize, images: &[f32], places: &[usize]) -> Result<Row, Error> {
        let ranks: Vec<usize> = self
            .features(images)?
            .iter()
            .zip(places)
            .map(|(features, &place)| {
                let seen = self.direction(features);
                let alike = |place: usize| -> f64 { seen.iter().zip(&self.real[place]).map(|(a, b)| a * b).sum() };
                let own = alike(place);
                let others = (1..self.among).map(|step| (place + step) % self.real.len());
                others.filter(|other| alike(*other) >= own).count()
            })
            .collect();
        let count = ranks.len() as f64;
        let share = |most: usize| ranks.iter().filter(|rank| **rank < most).count() as f64 / count;
        let (first, five) = (share(1), share(5));
        let error = (first * (1.0 - first) / count).sqrt();
        Ok(Row { what: what.into(), nfe, first, error, five, milliseconds: None, alone: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::Pixels;

    /// Pictures recognise themselves; shifted by one place they are found second to nobody but by chance; ties count against.
    #[test]
    fn ranks_are_those_of_the_angle() {
        let shape = [1, 2, 2];
        let picture = |i: usize| (0..4).map(|k| ((i * 5 + k * 3) % 7) as f32 / 3.0 - 1.0).collect::<Vec<f32>>();
        let real: Vec<f32> = (0..6).flat_map(picture).collect();
        let eye = Pixels::new(4);
        let judge = Judge::new(&eye, &real, shape, 6).unwrap();
        let places: Vec<usize> = (0..6).collect();
        let own = judge.row("flow", 1, &real, &places).unwrap();
        assert_eq!((own.first, own.five, own.error), (1.0, 1.0, 0.0));
        let turned: Vec<usize> = (1..7).map(|i| i % 6).collect();
        assert_eq!(judge.row("flow", 1, &real, &turned).unwrap().first, 0.0);
        let same = [picture(0), picture(0), picture(0)].concat();
        let ties = Judge::new(&eye, &same, shape, 3).unwrap();
        assert_eq!(ties.row("flow", 1, &same, &[0, 1, 2]).unwrap().first, 0.0);
    }
}
