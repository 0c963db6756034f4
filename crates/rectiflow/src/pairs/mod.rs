//! Pair stores between a teacher and its student: making them, streaming them, saying what they are.

mod check;
mod ends;

pub use check::{check, describe};
pub(crate) use ends::views;

use crate::{
    Error, Model, Start,
    context::{Context, Event},
    recipe::PairsRecipe,
    sampling::host,
    words::Captioned,
};
use base::{Condition, NULL_CLASS};
use data::{
    Share, Split,
    pairs::{FORMAT, PairMeta, PairRecord, PairWriter},
};
use ends::{Ends, prompt};
use flow::Solver;
use methods::{Labels, PairChunk, pairs::generate_from};
use serde::Serialize;
use std::{
    ops::Range,
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
    make_share(teacher, recipe, Share::default(), folder, context)
}

/// The numbers of the pairs that are a share of the store that `recipe` makes: whole trajectories, one range.
fn numbers(recipe: &PairsRecipe, share: Share) -> Range<u64> {
    let pieces = recipe.generate.pieces() as u64;
    let all = recipe.count.div_ceil(pieces);
    let begins = |part: usize| (all * part as u64 / share.of as u64 * pieces).min(recipe.count);
    begins(share.part)..begins(share.part + 1)
}

/// As [`make`], a share of the pairs: several programs may fill one store at a time, or each a folder of its own whose files are then put
/// into one.
///
/// # Errors
/// Those of [`make`].
pub fn make_share(
    teacher: &Model,
    recipe: &PairsRecipe,
    share: Share,
    folder: &Path,
    context: &mut Context,
) -> Result<PairsReport, Error> {
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
    let mut writer = PairWriter::open(folder, &meta(teacher, recipe, &ends.start), numbers(recipe, share))?;
    let mut report = PairsReport { folder: folder.into(), count: 0, made: 0, seconds: 0.0 };
    // Whole trajectories at a time.
    let batch = recipe.generate.batch.max(1).next_multiple_of(recipe.generate.pieces());
    if let Some(reason) = recipe.precision.fallback(&context.device.device) {
        context.note(reason);
    }
    let Range { start, end } = numbers(recipe, share);
    context.tell(Event::Begin { what: "pairs", total: end - start });
    loop {
        let missing = writer.missing(batch);
        let Some(&first) = missing.first() else { break };
        let late = recipe.seconds > 0.0 && began.elapsed().as_secs_f64() > recipe.seconds;
        if late && writer.next_index() - start >= (end - start).div_ceil(4) {
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
        context.tell(Event::Advance { done: writer.next_index() - start });
    }
    // Of a share no more than is its own, though the next may lie in the same folder.
    let most = if share.of > 1 { end } else { u64::MAX };
    report.count = writer.next_index().min(most) - start;
    writer.finish()?;
    context.tell(Event::End);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Pairs `range` of the teacher, in one batch or a few.
fn chunk(ends: &mut Ends, recipe: &PairsRecipe, range: Range<u64>) -> Result<PairChunk<2>, Error> {
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
