//! `resume`: continues any run of a flow or a codec from its own folder. The recipe, the teacher and the pairs are the run's own.

use super::{
    codec::codec,
    student::{Method, student},
    train::{Resume, TrainReport, train},
};
use crate::{
    Context, Error, Model, Recipe,
    codec::{self as codecs, CodecRecipe},
    model::{Subject, find, which},
    one_more_step,
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
    let none = || {
        Error::Usage(format!(
            "{}: this run does not say who its teacher is (it was made before runs did); continue it with `rectiflow {} RECIPE \
             --teacher TEACHER -o {} --resume latest`",
            folder.display(),
            method.name().replace('_', "-"),
            folder.display()
        ))
    };
    let Lineage { teacher, checksum, pairs, .. } = lineage.ok_or_else(none)?;
    let mut moved = |path: PathBuf| {
        let found = beside(&path, folder);
        if found != path {
            context.note(format!("{} is gone; {} is taken in its place", path.display(), found.display()));
        }
        found
    };
    let teacher = moved(teacher.ok_or_else(none)?);
    let pairs = pairs.map(&mut moved);
    if checksum.is_some_and(|checksum| find(&teacher).is_ok_and(|found| found.checksum() != checksum)) {
        let remedy = "bring this run's own teacher back, or begin a run of its own from this one";
        return Err(Error::Failure(format!(
            "{}: another model than this run was taught by; {remedy}",
            teacher.display()
        )));
    }
    let teacher = Model::teacher(&teacher, which(None)?, &context.device)?;
    student(method, &recipe, teacher, pairs.as_deref(), folder, latest, context).map(|report| report.train)
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
