//! Samples that lie in a folder, as a judge sees them: what each is worth on every axis.

use super::{Judge, RewardModel, Scores, file::Loaded, found, pair_samples::class_of};
use crate::{
    Context, Error, Model,
    context::Event,
    model::{Subject, which},
    sampling::Drawn,
};
use base::NULL_CLASS;
use std::path::{Path, PathBuf};

/// A judge of samples that lie somewhere, and what they are: a reward knows it of itself, an oracle of the model in `model`.
///
/// # Errors
/// Those of opening; an oracle without a model.
pub fn judge_of(text: &str, model: Option<&Path>, context: &mut Context) -> Result<(Judge, Subject), Error> {
    let model = match model {
        Some(path) => Some(Model::open(path, which(None)?, &context.device)?),
        None => None,
    };
    match (&model, text.starts_with("oracle:")) {
        (Some(model), _) => {
            model.check_plain("reward")?;
            Ok((Judge::parse(text, model, &context.device)?, model.subject.clone()))
        }
        (None, true) => Err(Error::Usage(format!(
            "{text}: an oracle does not know what samples are; name a model whose samples these are, or would be, by --model"
        ))),
        (None, false) => {
            let reward = RewardModel::open(Path::new(text), &context.device)?;
            let subject = reward.subject();
            Ok((Judge::Learned(Box::new(reward)), subject))
        }
    }
}

/// Samples of a folder with what they are worth.
pub struct Scored {
    /// The files, or folders of frames.
    pub paths: Vec<PathBuf>,
    /// What each was asked to show, as it says.
    pub prompts: Vec<String>,
    /// What each is worth.
    pub scores: Scores,
}

impl Scored {
    /// The samples below `folder`, which are of `subject`'s shape, judged. With `skip` those that cannot be used are left out, counted.
    ///
    /// # Errors
    /// No sample; one that cannot be read, or whose prompt is no class or names none where an axis asks for it, unless it may be left out; those
    /// of judging.
    pub fn of(
        (judge, subject): (&Judge, &Subject),
        (folder, output, folders_are_clips): (&Path, &Path, bool),
        skip: bool,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let shown = folder.display();
        let (samples, passed) = found::find(folder, output, folders_are_clips)?;
        passed.into_iter().for_each(|line| context.note(line));
        let (mut paths, mut prompts, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut classes, mut unread, mut silent) = (Vec::new(), Vec::new(), 0, 0);
        let by_text = subject.classes.is_empty();
        context.tell(Event::Begin { what: "samples read", total: samples.len() as u64 });
        for (done, sample) in samples.iter().enumerate() {
            context.go_on()?;
            let class = match class_of(&sample.prompt, &subject.classes) {
                Ok(class) => judge.deaf_to(&sample.prompt).filter(|_| by_text).map_or(Ok(class), Err),
                Err(why) if judge.asks() => Err(why),
                Err(_) => {
                    unread += 1;
                    Ok(NULL_CLASS)
                }
            };
            match (Loaded::open(&sample.path, subject.shape), class) {
                (Ok(loaded), Ok(class)) => {
                    silent += usize::from(sample.prompt.is_empty());
                    rows.extend(loaded.row);
                    classes.push(class);
                    paths.push(sample.path.clone());
                    prompts.push(sample.prompt.clone());
                }
                (Err(error), _) => lost.push(error.to_string()),
                (_, Err(why)) => lost.push(format!("{}: {why}", sample.path.display())),
            }
            context.tell(Event::Advance { done: done as u64 + 1 });
        }
        context.tell(Event::End);
        if let Some(first) = lost.first() {
            let (count, all) = (lost.len(), samples.len());
            if !skip || paths.is_empty() {
                let remedy =
                    if paths.is_empty() { "" } else { "; mend them, or leave them out with --skip-unreadable" };
                return Err(Error::Failure(format!(
                    "{first}; {count} of {all} samples below {shown} cannot be used{remedy}"
                )));
            }
            context.note(format!("{shown}: {count} of {all} samples are left out, the first: {first}"));
        }
        if paths.is_empty() {
            return Err(Error::Failure(format!("{shown}: no picture, clip or sound lies there")));
        }
        if unread > 0 {
            context.note(format!("{shown}: {unread} prompts are no class, and no axis asks for them"));
        }
        if silent > 0 && judge.asks() {
            let all = paths.len();
            context.note(format!(
                "{shown}: {silent} of {all} samples have no prompt: axes that ask ask for nothing there"
            ));
        }
        let mut drawn = Drawn::given(rows, subject.shape, classes);
        if by_text {
            drawn.prompts = prompts.clone();
        }
        Ok(Self { paths, prompts, scores: judge.score(&drawn)? })
    }
}
