//! `resume`: continues any run of a flow, a codec, a reward or an alignment from its own folder. The recipe, the teacher, the pairs and
//! what else was asked are the run's own.

use super::{
    align,
    codec::codec,
    reward,
    student::{Method, student},
    train::{Resume, TrainReport, train},
};
use crate::{
    Context, Error, Model, Recipe,
    align::{RewardRecipe, reward::STAGE},
    codec::{self as codecs, CodecRecipe},
    model::{Subject, find, which},
    one_more_step,
    recipe::document,
    runs::shipped,
    stage::Lineage,
};
use std::path::{Path, PathBuf};

/// Continues the run in `folder` from its newest checkpoint, to the end that its recipe names.
///
/// # Errors
/// [`Error::Failure`] where there is no run, its teacher or pairs are gone; [`Error::Usage`] for runs that only their own verb can
/// continue. Those of training.
pub fn resume(folder: &Path, context: &mut Context) -> Result<TrainReport, Error> {
    let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let checkpoint = find(folder)?;
    let (meta, file) = (checkpoint.meta().clone(), checkpoint.path().to_path_buf());
    drop(checkpoint);
    let stage = Subject::from_extra(&meta.extra, &file)?.stage;
    let name = format!("recipe inside {}", file.display());
    let lineage = Lineage::read(folder)?;
    let latest = Some(Resume::Latest);
    let text = match &lineage {
        Some(lineage) => lineage.at_home(&meta.recipe)?,
        None => meta.recipe.clone(),
    };
    if stage == codecs::STAGE {
        return codec(&CodecRecipe::parse(&text, &name)?, folder, latest, context).map(|report| report.train);
    }
    // What is aligned, or whose samples a reward judges, is kept as a student's teacher is.
    if stage == STAGE {
        let lineage = lineage.ok_or_else(|| unsaid(folder, "reward train"))?;
        let model = Model::open(&teacher(&lineage, folder, context)?, which(None)?, &context.device)?;
        let recipe = document::build(document::parse::<RewardRecipe>(&text, &name)?, &name)?;
        return reward::resume(folder, recipe, (&model, &lineage), context);
    }
    if align::STAGES.contains(&stage.as_str()) {
        let lineage = lineage.ok_or_else(|| unsaid(folder, &format!("align {stage}")))?;
        let model = Model::open(&teacher(&lineage, folder, context)?, which(None)?, &context.device)?;
        return align::resume(folder, &Recipe::parse(&text, &name)?, (model, &lineage), context);
    }
    let recipe = Recipe::parse(&text, &name)?;
    let method = match stage.as_str() {
        "base" => return train(&recipe, folder, latest, context),
        one_more_step::STAGE => Method::OneMoreStep,
        "reflow" => Method::Reflow,
        "distill" => Method::Distill,
        other => {
            let remedy = "give its own verb again with --resume latest";
            return Err(Error::Usage(format!("{}: a run of the stage `{other}`; {remedy}", folder.display())));
        }
    };
    let lineage = lineage.ok_or_else(|| unsaid(folder, &method.name().replace('_', "-")))?;
    let teacher = teacher(&lineage, folder, context)?;
    let pairs = lineage.pairs.map(|pairs| moved(pairs, folder, context));
    let teacher = Model::teacher(&teacher, which(None)?, &context.device)?.over(&recipe.data, &context.device)?;
    student(method, &recipe, teacher, pairs.as_deref(), folder, latest, context).map(|report| report.train)
}

/// Of a run that does not say where it comes from.
fn unsaid(folder: &Path, verb: &str) -> Error {
    Error::Usage(format!(
        "{}: this run does not say who its teacher is (it was made before runs did); give `rectiflow {verb}` again as it was, with -o {} \
         --resume latest",
        folder.display(),
        folder.display()
    ))
}

/// `path`, or where it lies by now; said where it is another place.
fn moved(path: PathBuf, folder: &Path, context: &mut Context) -> PathBuf {
    let found = beside(&path, folder);
    if found != path {
        context.note(format!("{} is gone; {} is taken in its place", path.display(), found.display()));
    }
    found
}

/// The checkpoint that a run began from, which must be the same still.
fn teacher(lineage: &Lineage, folder: &Path, context: &mut Context) -> Result<PathBuf, Error> {
    let teacher = lineage.teacher.clone().ok_or_else(|| unsaid(folder, "VERB"))?;
    // The model within the program lies nowhere and never moves; a run called like it is another.
    let teacher = if shipped::is_named(&teacher) { teacher } else { moved(teacher, folder, context) };
    let other = |checksum: &String| find(&teacher).is_ok_and(|found| found.checksum() != *checksum);
    if lineage.checksum.as_ref().is_some_and(other) {
        let remedy = "bring this run's own teacher back, or begin a run of its own from this one";
        return Err(Error::Failure(format!(
            "{}: another model than this run was taught by; {remedy}",
            teacher.display()
        )));
    }
    Ok(teacher)
}

/// `path`, or what bears its last names beside the run's folder, where both were moved together.
fn beside(path: &Path, folder: &Path) -> PathBuf {
    let Some(around) = folder.parent().filter(|_| !path.exists()) else { return path.to_path_buf() };
    let names: Vec<_> = path.components().rev().take(3).collect();
    (1..=names.len())
        .rev()
        .map(|count| names[..count].iter().rev().fold(around.to_path_buf(), |at, name| at.join(name)))
        .find(|at| at.exists())
        .unwrap_or_else(|| path.to_path_buf())
}
