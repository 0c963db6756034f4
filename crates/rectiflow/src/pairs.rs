//! Pair stores between a teacher and its student: making them, streaming them, saying what they are.

use crate::{
    Error, Model, Start,
    codec::{Mixtures, raw, through},
    context::{Context, Event},
    recipe::PairsRecipe,
    sampling::host,
    sight::Views,
    sound::Part,
    words::Captioned,
};
use base::{Condition, Dense, Device, Key, NULL_CLASS, Purpose, Tensor};
use data::pairs::{FORMAT, PairMeta, PairRecord, PairStore, PairWriter};
use data::{Dataset, Split};
use flow::Solver;
use methods::{Failure, Labels, PairChunk, Supply, pairs::generate_from};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use train::Batch;

/// What making pairs came to.
#[derive(Clone, Debug, Serialize)]
pub struct PairsReport {
    /// The store's folder.
    pub folder: PathBuf,
    /// Pairs in the store now.
    pub count: u64,
    /// Pairs made by this call.
    pub made: u64,
    /// Seconds this call took.
    pub seconds: f64,
}

/// Every class, or every caption, equally often.
fn labels(teacher: &Model, prompts: &[String]) -> Labels {
    match teacher.classes() + prompts.len() {
        0 => Labels::None {},
        classes => Labels::Balanced { classes },
    }
}

/// The solver's name, and its settings where they are not the usual ones.
fn solver(solver: &Solver) -> String {
    match Solver::all().contains(solver) {
        true => solver.name().into(),
        false => serde_json::to_string(solver).expect("a solver is plain values"),
    }
}

/// What a teacher's pairs begin at: its noise or its source's images, and its data for inverted ones.
struct Ends<'a> {
    teacher: &'a Model,
    start: Start,
    data: Option<Arc<dyn Dataset>>,
    /// What labels stand for where the teacher is asked in words, in alphabetical order.
    prompts: Vec<String>,
    /// What each trajectory is heard in, where the teacher separates sounds.
    mixtures: Option<Mixtures>,
    /// The pictures each trajectory is drawn from, where the teacher is shown some.
    views: Option<Views>,
    seed: u64,
    device: Device,
}

impl<'a> Ends<'a> {
    /// The part `split` of the teacher's data sets.
    fn of(teacher: &'a Model, recipe: &PairsRecipe, split: Split, context: &mut Context) -> Result<Self, Error> {
        let shape = teacher.subject.shape;
        let start = match split {
            Split::Train => Start::of(&teacher.recipe, shape, split)?,
            Split::Test => Start::held_out(&teacher.recipe, shape)?,
        };
        let device = context.device.device.clone();
        let part = if split == Split::Train { Part::Train } else { Part::Test };
        let mixtures = Mixtures::of(&teacher.recipe, teacher.codec.clone(), part, recipe.generate.seed, &device)?;
        let data = match recipe.generate.inverted > 0.0 {
            true if mixtures.is_some() => {
                return Err(Error::Usage(
                    "pairs.generate.inverted: inverted pairs begin at a data set, and a separator has mixtures without end; set it to 0"
                        .into(),
                ));
            }
            true => {
                let codec = teacher.codec.as_deref();
                let data = raw(&teacher.recipe.data.with_split(split), codec, context)?;
                Some(through(data, codec, context)?)
            }
            false => None,
        };
        let prompts = if teacher.words.is_some() { teacher.captions()? } else { Vec::new() };
        let views = views(teacher, split, recipe.generate.seed, context)?;
        Ok(Self { teacher, start, data, prompts, mixtures, views, seed: recipe.generate.seed, device })
    }

    /// Refuses more pairs than there are different ones.
    fn check(&self, recipe: &PairsRecipe) -> Result<(), Error> {
        let inverted = recipe.generate.inverted_of(recipe.count);
        let forward = recipe.count - inverted;
        let few = |what: &str, need: u64, have: u64| {
            Err(Error::Usage(format!(
                "{} pairs need {need} different images of the {what}, and there are {have}: the same image makes the same \
                 pair; ask for fewer (--num, `pairs.count`)",
                recipe.count
            )))
        };
        if let Some(have) = self.start.count().filter(|have| *have < forward) {
            return few("source", forward, have);
        }
        match &self.data {
            Some(data) if (data.len() as u64) < inverted => few("data", inverted, data.len() as u64),
            _ => Ok(()),
        }
    }
}

/// The prompt that a label stands for.
fn prompt(prompts: &[String], label: i64) -> Option<&str> {
    Some(prompts.get(usize::try_from(label).ok()?)?.as_str())
}

impl Supply<2> for Ends<'_> {
    fn source(&mut self, numbers: &[u64]) -> Result<Tensor<2>, Failure> {
        let key = Key::new(self.seed, Purpose::Noise);
        // Unwidened: pairs keep noise of variance one, whatever the path.
        Ok(self.start.points(key, numbers, &flow::Path::Linear {}, &self.device)?)
    }

    fn data(&mut self, numbers: &[u64]) -> Result<(Tensor<2>, Vec<i64>), Failure> {
        let data = self.data.as_ref().ok_or("the teacher's data were not opened")?;
        let class = |&number: &u64| {
            if self.teacher.words.is_some() {
                let caption = data.caption((number % data.len() as u64) as usize);
                let place = caption.and_then(|caption| self.prompts.binary_search_by(|p| p.as_str().cmp(caption)).ok());
                return place.map_or(NULL_CLASS, |place| place as i64);
            }
            let label = data.label((number % data.len() as u64) as usize).filter(|_| self.teacher.classes() > 0);
            label.map_or(NULL_CLASS, i64::from)
        };
        let points = crate::start::images(data, false, numbers, &self.device)?;
        Ok((points, numbers.iter().map(class).collect()))
    }

    fn labels(&mut self, trajectories: &[u64]) -> Result<Option<Vec<i64>>, Failure> {
        Ok(self.mixtures.as_ref().map(|mixtures| mixtures.at(trajectories)).transpose()?.map(|batch| batch.classes))
    }

    fn condition(&mut self, labels: &[i64], trajectories: &[u64], device: &Device) -> Result<Condition, Failure> {
        if let Some(mixtures) = &self.mixtures {
            let map = mixtures.at(trajectories)?.condition.dense;
            let dense = map.map(|map| Dense { rows: map.rows.to_device(device), shape: map.shape });
            return Ok(Condition { dense, ..Labels::condition(labels, device) });
        }
        if let Some(views) = &self.views {
            return Ok(views.at(trajectories)?.on(device));
        }
        let Some(words) = &self.teacher.words else { return Ok(Labels::condition(labels, device)) };
        let texts: Vec<Option<&str>> = labels.iter().map(|label| prompt(&self.prompts, *label)).collect();
        Ok(words.condition(&texts, device)?)
    }
}

/// Whether a model whose training data are called `trained` learned the latents of the samples of this fingerprint.
fn is_of(trained: &str, fingerprint: &str) -> bool {
    let mark = format!("latents {fingerprint:.8}");
    trained.contains(&mark)
}

/// The pictures that `teacher` draws trajectories from, of the shapes of `split`; those of its training where none is held out.
pub(crate) fn views(teacher: &Model, split: Split, seed: u64, context: &mut Context) -> Result<Option<Views>, Error> {
    let recipe = &teacher.recipe;
    let (Some(picture), Some(codec)) = (recipe.task.picture(), &teacher.codec) else { return Ok(None) };
    let test = match split {
        Split::Test => codec.recipe.codec.open_test(&recipe.data, context)?,
        Split::Train => None,
    };
    let (data, shapes) = match test {
        Some(test) => (recipe.data.with_split(Split::Test), test.set),
        None => (recipe.data.clone(), raw(&recipe.data, Some(codec), context)?),
    };
    if split == Split::Train && !is_of(&teacher.data, shapes.fingerprint()) {
        return Err(Error::Failure(format!(
            "{}: its shapes are others than {} was trained on, and the pictures beside its pairs are looked up in them; give those back, or \
             train anew",
            shapes.name(),
            teacher.file.display()
        )));
    }
    Views::of((&data, &*shapes), picture, seed, context).map(Some)
}

fn meta(teacher: &Model, recipe: &PairsRecipe, start: &Start) -> PairMeta {
    let name = teacher.file.file_name().unwrap_or_default().to_string_lossy();
    PairMeta {
        format: FORMAT,
        teacher: format!("{} {name}", teacher.recipe.name),
        path: teacher.recipe.path.name().into(),
        parameterization: teacher.recipe.parameterization.name().into(),
        solver: solver(&recipe.generate.solver),
        schedule: serde_json::to_string(&recipe.generate.schedule).expect("a schedule is plain values"),
        steps: recipe.generate.steps,
        precision: recipe.precision.name().into(),
        guidance: recipe.guidance.scale,
        seed: recipe.generate.seed,
        shape: teacher.subject.shape,
        classes: teacher.classes(),
        data: teacher.data.clone(),
        times: recipe.generate.times(),
        start: start.identity(),
        inverted: recipe.generate.inverted,
        captions: teacher.words.is_some(),
    }
}

/// The pairs that `teacher` makes unless told otherwise.
pub fn usual(teacher: &Model) -> PairsRecipe {
    suited(teacher.recipe.pairs.clone(), teacher)
}

/// `recipe`, the usual solver exchanged where `teacher` predicts data: such a network has no velocity at t = 1, where Heun's last step looks. It
/// is then followed as it is sampled.
pub(crate) fn suited(mut recipe: PairsRecipe, teacher: &Model) -> PairsRecipe {
    let usual = recipe.generate.solver == methods::PairsConfig::default().solver;
    if usual && teacher.recipe.parameterization == (flow::Parameterization::Data {}) {
        recipe.generate.solver = teacher.recipe.sample.solver.clone();
    }
    recipe
}

/// Fills the store in `folder` up to `recipe.count` pairs, continuing what is there.
///
/// # Errors
/// A store of other pairs, a full disk, a teacher whose flow runs away, [`Error::Interrupted`] (what is made stays).
pub fn make(teacher: &Model, recipe: &PairsRecipe, folder: &Path, context: &mut Context) -> Result<PairsReport, Error> {
    recipe.check().map_err(Error::Usage)?;
    if recipe.generate.seed == teacher.recipe.seed {
        return Err(Error::Usage(format!(
            "pairs.generate.seed = {} is the seed the teacher was trained with, so pairs would repeat the noise that \
             training drew; choose another (--set pairs.generate.seed=..., or --seed for the verb `pairs`)",
            recipe.generate.seed
        )));
    }
    let began = Instant::now();
    let mut ends = Ends::of(teacher, recipe, Split::Train, context)?;
    ends.check(recipe)?;
    let mut writer = PairWriter::open(folder, &meta(teacher, recipe, &ends.start), 0..recipe.count)?;
    let mut report = PairsReport { folder: folder.into(), count: 0, made: 0, seconds: 0.0 };
    // Whole trajectories at a time.
    let batch = recipe.generate.batch.max(1).next_multiple_of(recipe.generate.pieces());
    if let Some(reason) = recipe.precision.fallback(&context.device.device) {
        context.note(reason);
    }
    context.tell(Event::Begin { what: "pairs", total: recipe.count });
    loop {
        let missing = writer.missing(batch);
        let Some(&first) = missing.first() else { break };
        let late = recipe.seconds > 0.0 && began.elapsed().as_secs_f64() > recipe.seconds;
        if late && writer.next_index() >= recipe.count.div_ceil(4) {
            break;
        }
        if let Err(stopped) = context.go_on() {
            writer.flush()?;
            return Err(stopped);
        }
        // Consecutive ones only: another writer's samples may lie between.
        let run = missing.iter().zip(first..).take_while(|(index, expected)| **index == *expected).count() as u64;
        let chunk = chunk(&mut ends, recipe, first..first + run)?;
        let (x0, x1) = (host(chunk.x0)?, host(chunk.x1)?);
        let size = x0.len() / chunk.indices.len().max(1);
        for (i, (&index, &class)) in chunk.indices.iter().zip(&chunk.labels).enumerate() {
            let part = i * size..(i + 1) * size;
            let caption = prompt(&ends.prompts, class);
            let class = if teacher.words.is_some() { NULL_CLASS } else { class };
            writer.push(PairRecord { index, x0: &x0[part.clone()], x1: &x1[part], class, caption })?;
        }
        report.made += run;
        context.tell(Event::Advance { done: writer.next_index() });
    }
    report.count = writer.next_index();
    writer.finish()?;
    context.tell(Event::End);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Pairs `range` of the teacher, in one batch or a few.
fn chunk(ends: &mut Ends, recipe: &PairsRecipe, range: std::ops::Range<u64>) -> Result<PairChunk<2>, Error> {
    let (teacher, device) = (ends.teacher, ends.device.clone());
    let labels = labels(teacher, &ends.prompts);
    let field = teacher.field(&recipe.guidance, recipe.precision)?;
    let mut made = None;
    let mut sink = |chunk: PairChunk<2>| {
        made = Some(chunk);
        Ok(())
    };
    let config = methods::PairsConfig { batch: (range.end - range.start).max(1) as usize, ..recipe.generate.clone() };
    generate_from(&field, ends, &labels, &config, range, &device, &mut sink)?;
    made.ok_or_else(|| Error::Failure("no pairs were made: the range is empty".into()))
}

/// Pairs that are in no store: what a student's validation watches.
///
/// # Errors
/// What the solver may say.
pub fn held_out(
    teacher: &Model,
    recipe: &PairsRecipe,
    count: usize,
    context: &mut Context,
) -> Result<Option<Batch>, Error> {
    if count == 0 {
        return Ok(None);
    }
    let first = 1 << 40;
    let mut ends = Ends::of(teacher, recipe, Split::Test, context)?;
    let chunk = chunk(&mut ends, recipe, first..first + count as u64)?;
    let captions: Vec<Option<String>> = match teacher.words {
        Some(_) => chunk.labels.iter().map(|label| prompt(&ends.prompts, *label).map(str::to_string)).collect(),
        None => Vec::new(),
    };
    let classes = if teacher.classes() > 0 { chunk.labels } else { Vec::new() };
    let pieces = recipe.generate.pieces();
    let numbers: Vec<u64> = chunk.indices.iter().map(|index| index / pieces as u64).collect();
    let heard = ends.mixtures.as_ref().map(|mixtures| mixtures.at(&numbers)).transpose()?;
    let meta = meta(teacher, recipe, &ends.start);
    let batch = Batch {
        x0: Some(host(chunk.x0)?),
        classes,
        captions,
        condition: match (heard, &ends.views) {
            (Some(batch), _) => batch.condition,
            (None, Some(views)) => views.at(&numbers)?,
            (None, None) => Condition::none(),
        },
        spans: match recipe.generate.cuts.is_empty() {
            true => Vec::new(),
            false => chunk.indices.iter().map(|&index| meta.span(index)).collect(),
        },
        ..Batch::new(host(chunk.x1)?, teacher.subject.shape, chunk.indices)
    };
    Captioned::read(batch, teacher.words.as_ref()).map(Some)
}

/// Refuses a store whose pairs are not this teacher's kind, or do not look like (noise, data).
///
/// # Errors
/// Shape, classes, path or parameterization that differ; swapped or shuffled ends.
pub fn check(store: &PairStore, teacher: &Model) -> Result<(), Error> {
    let meta = store.meta();
    let differ = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
        let folder = store.dir().display();
        Err(Error::Failure(format!(
            "the pairs in {folder} have {what} {theirs:?} but the teacher {ours:?}: make pairs with this teacher"
        )))
    };
    let recipe = &teacher.recipe;
    if meta.shape != teacher.subject.shape {
        return differ("shape", &meta.shape, &teacher.subject.shape);
    }
    // Pairs of the time when captions were classes, of a teacher of that time.
    let named = teacher.named_captions().len();
    let of_old = !meta.captions && named > 0 && meta.classes == named;
    if meta.classes != teacher.classes() && !of_old {
        return differ("number of classes", &meta.classes, &teacher.classes());
    }
    if meta.captions != teacher.words.is_some() && !of_old {
        return differ("captions:", &meta.captions, &teacher.words.is_some());
    }
    let start = Start::of(recipe, meta.shape, Split::Train)?;
    if meta.start != start.identity() {
        return differ("start", &meta.start, &start.identity());
    }
    if meta.path != recipe.path.name() {
        return differ("path", &meta.path, &recipe.path.name());
    }
    if meta.parameterization != recipe.parameterization.name() {
        return differ("parameterization", &meta.parameterization, &recipe.parameterization.name());
    }
    // Only pairs that start at the noise can be told from their ends.
    let starts = |row: &usize| store.index(*row).is_some_and(|index| meta.span(index)[0] == 0.0);
    let rows: Vec<usize> = (0..store.len()).filter(starts).take(512).collect();
    let batch = store.batch(&rows)?;
    let device = base::Device::flex();
    let size = [rows.len(), batch.shape.numel()];
    let tensor = |values: Vec<f32>| base::Tensor::<2>::from_data(base::TensorData::new(values, size), &device);
    let (x0, x1) = (tensor(batch.x0), tensor(batch.x1));
    if start.dataset().is_none() {
        // Where the backward flow ended is near noise only.
        let drawn: Vec<usize> = (0..rows.len()).filter(|&row| !is_inverted(meta.inverted, batch.index[row])).collect();
        if !drawn.is_empty() {
            let (x0, x1) = (flow::rows::select(x0.clone(), &drawn), flow::rows::select(x1.clone(), &drawn));
            methods::checks::check_orientation(&x0, &x1)?;
        }
    }
    // What a mixture holds, or a picture shows, may decide the end whatever the noise was.
    if recipe.task.separate().is_err() && recipe.task.picture().is_none() {
        methods::checks::check_coupled(&x0, &x1)?;
    }
    Ok(())
}

fn is_inverted(share: f64, index: u64) -> bool {
    methods::PairsConfig { inverted: share, ..Default::default() }.is_inverted(index)
}

/// Facts about the pair store at `path`; `None` where there is none.
///
/// # Errors
/// A store that is there but damaged.
pub fn describe(path: &Path) -> Result<Option<Value>, Error> {
    let is_shard = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("pairs-");
    let here = path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut all| all.any(|e| e.is_ok_and(is_shard)));
    if !here {
        return Ok(None);
    }
    let store = PairStore::open(path)?;
    let facts = json!({
        "kind": "pairs",
        "folder": path.display().to_string(),
        "pairs": store.len(),
        "checksums": "ok",
        "fingerprint": store.fingerprint(),
        "made": store.meta(),
    });
    Ok(Some(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `codec::latents` calls them. Mutant: any data let through.
    #[test]
    fn latents_know_what_they_were_made_of() {
        let trained = "solids as latents c249feb07aea0997, shuffled by seed 1 seen in f819fdf703aca397";
        assert!(is_of(trained, "c249feb0c1beb93b"));
        assert!(!is_of(trained, "c249feb1c1beb93b") && !is_of(trained, "f819fdf703aca397"));
    }
}
