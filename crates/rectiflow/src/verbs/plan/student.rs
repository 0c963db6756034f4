//! What a student will cost: its teacher makes a batch of pairs, it learns from them for a second, and the rest is counting.

use super::{
    PairsPlan, PlanReport, encoding,
    measure::{Noise, Repeat, speed},
};
use crate::{
    Context, Error, Model, Recipe,
    memory::Need,
    pairs, perceptual,
    taught::{self, Teacher},
    verbs::student::{Method, rehearse, samples as samples_of, start},
};
use ::train::Source;
use data::pairs::PairStore;
use std::{path::Path, time::Instant};

/// Plans `method` of `teacher` under the student's `recipe`, on the pairs of `existing` or on those it would make.
///
/// # Errors
/// Whatever would stop the student itself before its first step.
pub fn plan_student(
    method: Method,
    recipe: &Recipe,
    teacher: Model,
    existing: Option<&Path>,
    context: &mut Context,
) -> Result<PlanReport, Error> {
    // Any folder that holds no run will do: nothing is written.
    let nowhere = tempfile::tempdir().map_err(|error| Error::Failure(format!("no temporary folder: {error}")))?;
    rehearse(method, recipe, &teacher, existing, &nowhere.path().join("run"), None, context)?;
    let (shape, classes) = (teacher.subject.shape, teacher.subject.classes.len());
    let cost = recipe.network.cost(shape, recipe.rows(classes))?;
    let need = Need::of(recipe, shape, classes)?;
    let premetric = perceptual::of(recipe, shape, &context.device)?;
    let first = start(method, recipe, &teacher, context)?;
    let mut encoding = None;
    let (mut source, made, samples) = match recipe.needs_pairs() {
        true => {
            context.note("making a batch of pairs, and learning from it for a second or more");
            let (batch, each) = timed(&teacher, recipe, context)?;
            let stored = existing.map(PairStore::open).transpose()?;
            let made = stored.is_none().then(|| PairsPlan {
                count: recipe.pairs.count,
                seconds: limited(recipe, each * recipe.pairs.count as f64),
                bytes: recipe.pairs.count * 2 * 4 * shape.numel() as u64,
            });
            let samples = stored.map_or(recipe.pairs.count as usize, |store| store.len());
            (Box::new(Repeat { batch, next: 0 }) as Box<dyn Source>, made, samples)
        }
        false => {
            context.note("measuring some training steps on noise, a second or more");
            let samples = match data::Points::named(recipe.data.name.as_deref().unwrap_or_default()) {
                Some(_) => 0,
                None => {
                    let data = samples_of(recipe, &teacher, context)?;
                    encoding = encoding::of(recipe, &*data, context)?;
                    data.len()
                }
            };
            (Box::new(Noise::of(recipe, shape, classes)?) as Box<dyn Source>, None, samples)
        }
    };
    let taught = (recipe.target != methods::Target::Path).then(|| Teacher {
        net: teacher.net,
        recipe: teacher.recipe,
        guidance: recipe.pairs.guidance.clone(),
    });
    let task = taught::task(recipe, classes, taught, premetric, None, None);
    let measured = speed(recipe, shape, classes, first, (&*task, &mut *source), context)?;
    let report =
        PlanReport::of(recipe, (samples, shape, classes), (&need, cost.forward_flops_per_sample), measured, context);
    Ok(PlanReport { pairs: made, encoding, ..report })
}

/// A batch of pairs that are in no store, and the seconds of one: what two batches take more than one, so that the opening of
/// data counts for nothing.
fn timed(teacher: &Model, recipe: &Recipe, context: &mut Context) -> Result<(::train::Batch, f64), Error> {
    let none = || Error::Failure("no pairs were made".into());
    let mut make = |count: usize| pairs::held_out(teacher, &recipe.pairs, count, context)?.ok_or_else(none);
    let batch = make(recipe.train.micro_batch())?;
    let count = recipe.pairs.generate.batch.max(1);
    let mut seconds = |count: usize| -> Result<f64, Error> {
        let began = Instant::now();
        make(count)?;
        Ok(began.elapsed().as_secs_f64())
    };
    let (one, two) = (seconds(count)?, seconds(2 * count)?);
    // A machine that grew quicker in between: what two took bounds it from above.
    let each = if two > one { two - one } else { two / 2.0 };
    Ok((batch, each / count as f64))
}

/// `pairs.seconds` ends the making early.
fn limited(recipe: &Recipe, seconds: f64) -> f64 {
    match recipe.pairs.seconds {
        0.0 => seconds,
        most => seconds.min(most.max(seconds / 4.0)),
    }
}
