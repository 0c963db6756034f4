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
use data::DataConfig;
use std::path::{Path, PathBuf};

/// Continues the run in `folder` from its newest checkpoint, to the end that its recipe names.
///
/// # Errors
/// [`Error::Failure`] where there is no run, its teacher or pairs are gone; [`Error::Usage`] for runs that only their own verb can
/// continue. Those of training.
pub fn resume(folder: &Path, context: &mut Context) -> Result<TrainReport, Error> {
    let checkpoint = find(folder)?;
    let (meta, file) = (checkpoint.meta().clone(), checkpoint.path().to_path_buf());
    drop(checkpoint);
    let stage = Subject::from_extra(&meta.extra, &file)?.stage;
    let name = format!("recipe inside {}", file.display());
    let lineage = Lineage::read(folder)?;
    let latest = Some(Resume::Latest);
    let from = |mut data: DataConfig| {
        if let Some(lineage) = &lineage {
            data.path = data.path.map(|path| lineage.found(&path));
        }
        data
    };
    if stage == codecs::STAGE {
        let recipe = CodecRecipe::parse(&meta.recipe, &name)?;
        let recipe = CodecRecipe { data: from(recipe.data.clone()), ..recipe };
        return codec(&recipe, folder, latest, context).map(|report| report.train);
    }
    let recipe = Recipe::parse(&meta.recipe, &name)?;
    let recipe = Recipe { data: from(recipe.data.clone()), ..recipe };
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
    let Lineage { teacher, pairs, .. } = lineage.ok_or_else(none)?;
    let teacher = beside(&teacher.ok_or_else(none)?, folder);
    let pairs = pairs.map(|pairs| beside(&pairs, folder));
    let teacher = Model::open(&teacher, which(None)?, &context.device)?;
    student(method, &recipe, teacher, pairs.as_deref(), folder, latest, context).map(|report| report.train)
}

/// `path`, or what bears its last names beside the run's folder, where both were moved together.
fn beside(path: &Path, folder: &Path) -> PathBuf {
    let Some(around) = folder.parent().filter(|_| !path.exists()) else { return path.to_path_buf() };
    let names: Vec<_> = path.components().rev().take(3).collect();
    (1..=names.len())
        .map(|count| names[..count].iter().rev().fold(around.to_path_buf(), |at, name| at.join(name)))
        .find(|at| at.exists())
        .unwrap_or_else(|| path.to_path_buf())
}
