//! Pair stores between a teacher and its student: making them, streaming them, saying what they are.

use crate::{
    Error, Model,
    context::{Context, Event},
    recipe::PairsRecipe,
    sampling::host,
};
use data::pairs::{FORMAT, PairMeta, PairRecord, PairStore, PairWriter};
use flow::Solver;
use methods::{Labels, PairChunk, pairs::generate};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
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

fn labels(teacher: &Model) -> Labels {
    match teacher.classes() {
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

fn meta(teacher: &Model, recipe: &PairsRecipe, data: &str) -> PairMeta {
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
        data: data.into(),
    }
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
    if teacher.recipe.path.start_scale() != 1.0 {
        return Err(Error::Usage(format!(
            "pairs start from standard normal noise, but the path `{}` of this teacher starts from wider noise; use a \
             teacher with path = {{ type = \"linear\" }}",
            teacher.recipe.path.name()
        )));
    }
    let began = Instant::now();
    let mut writer = PairWriter::open(folder, &meta(teacher, recipe, &teacher.data), 0..recipe.count)?;
    let mut report = PairsReport { folder: folder.into(), count: 0, made: 0, seconds: 0.0 };
    let batch = recipe.generate.batch.max(1);
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
        let chunk = chunk(teacher, recipe, first..first + run, context)?;
        let (x0, x1) = (host(chunk.x0)?, host(chunk.x1)?);
        let size = x0.len() / chunk.indices.len().max(1);
        for (i, (&index, &class)) in chunk.indices.iter().zip(&chunk.labels).enumerate() {
            let part = i * size..(i + 1) * size;
            writer.push(PairRecord { index, x0: &x0[part.clone()], x1: &x1[part], class })?;
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
fn chunk(
    teacher: &Model,
    recipe: &PairsRecipe,
    range: std::ops::Range<u64>,
    context: &Context,
) -> Result<PairChunk<4>, Error> {
    let [c, h, w] = teacher.subject.shape;
    let field = teacher.field(&recipe.guidance, recipe.precision)?;
    let mut made = None;
    let mut sink = |chunk: PairChunk<4>| {
        made = Some(chunk);
        Ok(())
    };
    let config = methods::PairsConfig { batch: (range.end - range.start).max(1) as usize, ..recipe.generate.clone() };
    generate(&field, [0, c, h, w], &labels(teacher), &config, range, &context.device.device, &mut sink)?;
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
    context: &Context,
) -> Result<Option<Batch>, Error> {
    if count == 0 {
        return Ok(None);
    }
    let first = 1 << 40;
    let chunk = chunk(teacher, recipe, first..first + count as u64, context)?;
    let [c, h, w] = teacher.subject.shape;
    let classes = if teacher.classes() > 0 { chunk.labels } else { Vec::new() };
    Ok(Some(Batch {
        x1: host(chunk.x1)?,
        x0: Some(host(chunk.x0)?),
        shape: [count, c, h, w],
        classes,
        indices: chunk.indices.clone(),
        places: chunk.indices,
    }))
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
    if meta.classes != teacher.classes() {
        return differ("number of classes", &meta.classes, &teacher.classes());
    }
    if meta.path != recipe.path.name() {
        return differ("path", &meta.path, &recipe.path.name());
    }
    if meta.parameterization != recipe.parameterization.name() {
        return differ("parameterization", &meta.parameterization, &recipe.parameterization.name());
    }
    let rows: Vec<usize> = (0..store.len().min(512)).collect();
    let batch = store.batch(&rows)?;
    let device = base::Device::flex();
    let tensor = |values: Vec<f32>| base::Tensor::<4>::from_data(base::TensorData::new(values, batch.shape), &device);
    let (x0, x1) = (tensor(batch.x0), tensor(batch.x1));
    methods::checks::check_orientation(&x0, &x1)?;
    methods::checks::check_coupled(&x0, &x1)?;
    Ok(())
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
