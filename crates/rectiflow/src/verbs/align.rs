//! `align`: a model moved towards what a judge prefers, by Flow-DPO, Flow-RWR, supervised fine-tuning or Flow-GRPO.
//!
//! Liu et al., arXiv 2501.13918, algorithm 1, offline: the model draws candidates in pairs, the judge scores them, a correction of
//! low rank learns; by Flow-GRPO (arXiv 2505.05470) it draws samples as it learns. Any landed model will do; what its samples are, only the judge knows.

use crate::{
    Context, Error, Model, Recipe,
    align::{
        Candidates, Judge, People, PeopleRequest, Prompts,
        duel::{DuelSource, DuelTask},
        grpo::{GroupSource, GroupTask},
        judge::weights,
        weighted::{Chosen, WeightedTask},
    },
    stage::{Lineage, Resume, Stage, TrainReport},
    words::Captioned,
};
use flow::Coupling;
use methods::align::{DpoConfig, GrpoConfig, Verdict, WeightConfig, winners};
use nets::LoraConfig;
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, path::Path};

/// How a model is aligned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Directly from preferences.
    Dpo(DpoConfig),
    /// Flow matching on all candidates, weighted by their reward.
    Rwr(WeightConfig),
    /// Flow matching on the winners.
    Sft,
    /// From the rewards of samples drawn meanwhile.
    Grpo(GrpoConfig),
}

/// Names of the stages of all ways.
pub(crate) const STAGES: [&str; 4] = ["dpo", "rwr", "sft", "grpo"];

impl Way {
    /// Name of the stage, one of [`STAGES`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dpo(_) => "dpo",
            Self::Rwr(_) => "rwr",
            Self::Sft => "sft",
            Self::Grpo(_) => "grpo",
        }
    }
}

/// Who says what is better, and of which samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Preference {
    /// A judge of what the model draws.
    Judge {
        /// `oracle:…` or a reward's path.
        judge: String,
        /// Pairs of candidates; 2000 without. Flow-GRPO has none.
        pairs: Option<usize>,
    },
    /// People, of the samples of a pair file.
    People(PeopleRequest),
}

/// What is asked for; the run keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// How.
    pub way: Way,
    /// Who prefers.
    pub preference: Preference,
    /// Weights of the axes; all one without.
    pub weights: Option<String>,
}

/// What is asked for, and where.
#[derive(Clone, Debug)]
pub struct AlignRequest<'a> {
    /// What.
    pub asked: Asked,
    /// Where the run goes.
    pub folder: &'a Path,
    /// Where it continues from.
    pub resume: Option<Resume>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct AlignReport {
    /// Who preferred.
    pub judge: String,
    /// Pairs in all, and those that were decided; none where samples are drawn meanwhile.
    pub pairs: [usize; 2],
    /// The training.
    pub train: TrainReport,
}

/// The recipe of an aligned model: the model's own, under `overrides`, with a correction of low rank unless they say otherwise.
///
/// # Errors
/// A model that was trained on pairs or between two data sets; keys out of range.
pub fn recipe(
    way: &Way,
    model: &Model,
    overrides: impl FnOnce(crate::recipe::Layers) -> Result<crate::recipe::Layers, Error>,
) -> Result<Recipe, Error> {
    let theirs = &model.recipe;
    if theirs.needs_pairs() || theirs.task.source().is_some() || theirs.target != methods::Target::Path {
        let file = model.file.display();
        return Err(Error::Usage(format!(
            "align {file}: it was trained on pairs, by a target rule or between two data sets; align the base model, and make it \
             fast afterwards"
        )));
    }
    let mut below = theirs.clone();
    below.name = format!("{}-{}", theirs.name, way.name());
    below.lora = Some(LoraConfig { rank: 16, alpha: 32.0, ..LoraConfig::default() });
    below.train.images = 20_000;
    below.train.seconds = 0.0;
    below.train.sample_every = 0; // candidates and `winrate` show more than a sheet
    below.train.validate_every = 0;
    if model.words.is_none() {
        below.train.condition_dropout = 0.0; // models of text keep the side that guidance contrasts with
    }
    below.train.optim.lr = if let Way::Grpo(_) = way { 3e-4 } else { 1e-3 };
    below.perceptual = None;
    let recipe = overrides(crate::recipe::Layers::new().recipe(&below))?.build()?;
    if recipe.network != theirs.network || recipe.coupling != (Coupling::Independent {}) || recipe.path != theirs.path {
        return Err(Error::Usage("align keeps the model's network, path and coupling; leave them out".into()));
    }
    Ok(recipe)
}

/// Aligns `model`.
///
/// # Errors
/// Those of drawing, judging and training; candidates of which none is preferred.
pub fn align(
    request: AlignRequest<'_>,
    recipe: &Recipe,
    model: Model,
    context: &mut Context,
) -> Result<AlignReport, Error> {
    match &request.asked.way {
        Way::Dpo(config) => config.check(),
        Way::Rwr(config) => config.check(),
        Way::Sft => Ok(()),
        Way::Grpo(config) => config.check(),
    }
    .map_err(|error| Error::Usage(error.to_string()))?;
    model.check_plain("align")?;
    if let Way::Grpo(config) = &request.asked.way {
        return by_groups(config, &request, recipe, model, context);
    }
    let preferred = Preferred::of(&request, &model, recipe.seed, context)?;
    let Preferred { by, candidates, rewards, verdicts, prompts } = &preferred;
    let decided = verdicts.iter().filter(|v| matches!(v, Verdict::First | Verdict::Second)).count();
    let none = || {
        Error::Failure(format!(
            "of {} pairs none is preferred by {by}: there is nothing to learn; bring more, or weigh other axes",
            candidates.pairs()
        ))
    };
    if decided == 0 {
        return Err(none());
    }
    let (batch, seed) = (recipe.train.micro_batch(), recipe.seed);
    let net = corrected(recipe, &model, context)?;
    let lineage = Lineage::here(Some(&model.file), None)?.asked(&request.asked);
    let stage = stage(&request, recipe, &model);
    let flow = recipe.flow_task(model.classes());
    let train = match &request.asked.way {
        Way::Dpo(config) => {
            let task = DuelTask {
                config: config.clone(),
                objective: recipe.objective(),
                reference: model.net,
                seed,
                prompts: prompts.clone(),
                seen: RefCell::default(),
                over: RefCell::default(),
            };
            let mut source = DuelSource::new(candidates, verdicts, batch, seed).ok_or_else(none)?;
            stage.run_after(Some(&lineage), net, &task, &mut source, context)?
        }
        Way::Rwr(config) => {
            let weights = config.weights(rewards).map_err(|error| Error::Failure(error.to_string()))?;
            let all: Vec<usize> = (0..candidates.drawn.len()).collect();
            let mut source = told(Chosen::new(candidates, &all, batch, seed).ok_or_else(none)?, prompts.as_ref());
            stage.run_after(Some(&lineage), net, &WeightedTask { flow, weights }, &mut *source, context)?
        }
        Way::Sft => {
            let pairs: Vec<[usize; 2]> = (0..candidates.pairs()).map(|k| [2 * k, 2 * k + 1]).collect();
            let chosen = Chosen::new(candidates, &winners(&pairs, verdicts), batch, seed).ok_or_else(none)?;
            let mut source = told(chosen, prompts.as_ref());
            stage.run_after(Some(&lineage), net, &flow, &mut *source, context)?
        }
        Way::Grpo(_) => return Err(Error::Failure("Flow-GRPO has no pairs".into())),
    };
    Ok(AlignReport { judge: by.clone(), pairs: [candidates.pairs(), decided], train })
}

/// Samples with their prompts read, where classes stand for some.
fn told(chosen: Chosen, prompts: Option<&Prompts>) -> Box<dyn train::Source> {
    let names = prompts.map(|prompts| prompts.texts().to_vec()).unwrap_or_default();
    Captioned::named(Box::new(chosen), prompts.map(Prompts::words), names)
}

/// The model's network, with the correction that learns where the recipe has one.
fn corrected(recipe: &Recipe, model: &Model, context: &Context) -> Result<nets::Net, Error> {
    Ok(match &recipe.lora {
        Some(lora) => lora.init(model.net.clone(), recipe.seed, &context.device.device)?,
        None => model.net.clone(),
    })
}

fn stage<'a>(request: &'a AlignRequest<'_>, recipe: &'a Recipe, model: &Model) -> Stage<'a> {
    let subject = crate::model::Subject { stage: request.asked.way.name().into(), ..model.subject.clone() };
    Stage {
        name: request.asked.way.name(),
        recipe: recipe.to_toml(),
        config: &recipe.train,
        seed: recipe.seed,
        extra: subject.to_extra(),
        folder: request.folder,
        resume: request.resume.as_ref(),
    }
}

/// Continues the run in `folder` of an alignment of `model`, which is all that it was told when it began.
///
/// # Errors
/// Those of [`align`]; a run that does not say what it was asked.
pub(crate) fn resume(
    folder: &Path,
    recipe: &Recipe,
    (model, lineage): (Model, &Lineage),
    context: &mut Context,
) -> Result<TrainReport, Error> {
    let mut asked: Asked = lineage.read_asked(folder)?;
    match &mut asked.preference {
        Preference::Judge { judge, .. } if !judge.starts_with("oracle:") => {
            *judge = lineage.found(Path::new(judge)).display().to_string();
        }
        Preference::Judge { .. } => {}
        Preference::People(request) => request.file = lineage.found(&request.file),
    }
    let request = AlignRequest { asked, folder, resume: Some(Resume::Latest) };
    align(request, recipe, model, context).map(|report| report.train)
}

/// Flow-GRPO.
fn by_groups(
    config: &GrpoConfig,
    request: &AlignRequest<'_>,
    recipe: &Recipe,
    model: Model,
    context: &mut Context,
) -> Result<AlignReport, Error> {
    let refuse = |why: String| Err(Error::Usage(why));
    let judge = match &request.asked.preference {
        Preference::Judge { judge, pairs: None } => Judge::parse(judge, &model, &context.device)?,
        Preference::Judge { .. } => {
            return refuse(
                "--num: align grpo draws samples as it learns, train.images of them; leave --num out".into(),
            );
        }
        Preference::People(_) => {
            return refuse(
                "align grpo draws new samples, which nobody compared: train a reward on the pair file first (rectiflow reward train \
                 --pairs)"
                    .into(),
            );
        }
    };
    if model.words.is_some() {
        return refuse(format!(
            "align grpo: {} reads prompts, and groups are of one class so far; align it by dpo, rwr or sft",
            model.file.display()
        ));
    }
    if !recipe.pairs_are_independent() || model.recipe.path.has_latent() {
        return refuse(format!(
            "align grpo: {} does not start from noise of its own on a one-sided path, so that its score, which noise on the way \
             needs, is not known",
            model.file.display()
        ));
    }
    let weights = weights(request.asked.weights.as_deref(), &judge.axes())?;
    let (batch, part) = (recipe.train.batch as u64, recipe.train.micro_batch() as u64);
    let group = config.group as u64;
    if !part.is_multiple_of(group) {
        return refuse(format!("--batch-size: {part} samples at a time are no whole groups of grpo.group = {group}"));
    }
    let net = corrected(recipe, &model, context)?;
    let lineage = Lineage::here(Some(&model.file), None)?.asked(&request.asked);
    let stage = stage(request, recipe, &model);
    let (shape, by) = (model.subject.shape, judge.label());
    let mut source = GroupSource {
        group,
        classes: model.classes() as u64,
        batch: [batch, part],
        updates: config.updates as u64,
        next: 0,
    };
    let task = GroupTask::new((config.clone(), recipe.objective(), model.net), (&judge, weights), (shape, recipe.seed));
    let train = stage.run_after(Some(&lineage), net, &task, &mut source, context)?;
    Ok(AlignReport { judge: by, pairs: [0, 0], train })
}

/// Pairs of samples, and which of each is preferred.
struct Preferred {
    by: String,
    candidates: Candidates,
    /// Of each sample; none where people compared them.
    rewards: Vec<f64>,
    verdicts: Vec<Verdict>,
    /// What classes stand for, of a model that reads prompts.
    prompts: Option<Prompts>,
}

impl Preferred {
    fn of(request: &AlignRequest<'_>, model: &Model, seed: u64, context: &mut Context) -> Result<Self, Error> {
        match &request.asked.preference {
            Preference::Judge { pairs: Some(0), .. } => {
                Err(Error::Usage("--num 0: give at least one pair of candidates".into()))
            }
            Preference::Judge { judge, pairs } => {
                let judge = Judge::parse(judge, model, &context.device)?;
                let weights = weights(request.asked.weights.as_deref(), &judge.axes())?;
                let candidates =
                    Candidates::of(model, &model.recipe.sample, &judge, pairs.unwrap_or(PAIRS), seed ^ SEED, context)?;
                let rewards = candidates.scores.weighted(&weights);
                let verdicts = candidates.preferred(&rewards);
                let asked = match &model.words {
                    Some(_) => candidates.asked(model)?,
                    None => Vec::new(),
                };
                let by = judge.label();
                Ok(Self { by, candidates, rewards, verdicts, prompts: None }.in_words(model, &asked))
            }
            Preference::People(file) => {
                if let Way::Rwr(_) = request.asked.way {
                    return Err(Error::Usage(
                        "align rwr weighs each sample by a reward, and a pair file compares two: train a reward on it first \
                         (rectiflow reward train --pairs), or align by dpo"
                            .into(),
                    ));
                }
                let people = People::read(file, &model.subject, seed, context)?;
                let weights = weights(request.asked.weights.as_deref(), &people.candidates.scores.axes)?;
                let verdicts = people.preferred(&weights);
                if model.words.is_none() {
                    people.note_unread(&model.subject, context);
                }
                let (by, candidates) = (people.label(), people.candidates);
                let preferred = Self { by, candidates, rewards: Vec::new(), verdicts, prompts: None };
                Ok(preferred.in_words(model, &people.prompts))
            }
        }
    }

    /// The same with prompts for classes, where the model reads them.
    fn in_words(mut self, model: &Model, asked: &[String]) -> Self {
        if let Some(words) = &model.words {
            let (prompts, numbers) = Prompts::of(words, asked);
            self.candidates.drawn.classes = numbers;
            self.prompts = Some(prompts);
        }
        self
    }
}

/// Pairs of candidates that a model draws.
const PAIRS: usize = 2000;

/// Candidates are drawn under another seed than the one samples are usually asked for with.
const SEED: u64 = 0x616c_6967;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run keeps is what is read from it, and every way's stage is one that `resume` knows.
    #[test]
    fn what_was_asked_is_kept_and_read() {
        let ways =
            [Way::Dpo(Default::default()), Way::Rwr(Default::default()), Way::Sft, Way::Grpo(Default::default())];
        for way in ways {
            assert!(STAGES.contains(&way.name()));
            let people = PeopleRequest { file: "p.csv".into(), axes: Some(vec!["VQ".into()]), skip: true };
            for preference in
                [Preference::Judge { judge: "oracle:match".into(), pairs: Some(3) }, Preference::People(people)]
            {
                let asked = Asked { way: way.clone(), preference, weights: Some("VQ=1".into()) };
                let lineage = Lineage::of_here().asked(&asked);
                let read: Asked = lineage.read_asked(Path::new("run")).unwrap();
                assert_eq!(format!("{read:?}"), format!("{asked:?}"));
            }
        }
        let none = Lineage::of_here().read_asked::<Asked>(Path::new("run")).unwrap_err().to_string();
        assert!(none.contains("--resume latest"), "{none}");
    }
}
