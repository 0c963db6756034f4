//! `align`: a model moved towards what a judge prefers, by Flow-DPO, Flow-RWR or supervised fine-tuning, and `winrate`.
//!
//! Liu et al., arXiv 2501.13918, algorithm 1, offline: the model draws candidates in pairs, the judge scores them, a correction of
//! low rank learns. Any landed model will do; what its samples are, only the judge knows.

use crate::{
    Context, Error, Model, Recipe,
    align::{
        Candidates, Judge, People, PeopleRequest,
        duel::{DuelSource, DuelTask},
        judge::weights,
        weighted::{Chosen, WeightedTask},
    },
    stage::{Resume, Stage, TrainReport},
};
use flow::Coupling;
use methods::align::{DpoConfig, Verdict, WeightConfig, winners};
use nets::LoraConfig;
use serde::Serialize;
use std::{cell::RefCell, path::Path};

/// How a model is aligned.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// Directly from preferences.
    Dpo(DpoConfig),
    /// Flow matching on all candidates, weighted by their reward.
    Rwr(WeightConfig),
    /// Flow matching on the winners.
    Sft,
}

impl Way {
    /// Name of the stage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dpo(_) => "dpo",
            Self::Rwr(_) => "rwr",
            Self::Sft => "sft",
        }
    }
}

/// Who says what is better, and of which samples.
#[derive(Clone, Debug)]
pub enum Preference<'a> {
    /// A judge of what the model draws.
    Judge {
        /// `oracle:…` or a reward's path.
        judge: &'a str,
        /// Pairs of candidates.
        pairs: usize,
    },
    /// People, of the samples of a pair file.
    People(PeopleRequest<'a>),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AlignRequest<'a> {
    /// How.
    pub way: Way,
    /// Who prefers.
    pub preference: Preference<'a>,
    /// Weights of the axes; all one without.
    pub weights: Option<&'a str>,
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
    /// Pairs in all, and those that were decided.
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
    below.lora = Some(LoraConfig { rank: 16, alpha: 32.0 });
    below.train.images = 20_000;
    below.train.seconds = 0.0;
    below.train.sample_every = 0; // candidates and `winrate` show more than a sheet
    below.train.validate_every = 0;
    below.train.condition_dropout = 0.0;
    below.train.optim.lr = 1e-3;
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
    match &request.way {
        Way::Dpo(config) => config.check(),
        Way::Rwr(config) => config.check(),
        Way::Sft => Ok(()),
    }
    .map_err(|error| Error::Usage(error.to_string()))?;
    model.check_plain("align")?;
    let preferred = Preferred::of(&request, &model, recipe.seed, context)?;
    let Preferred { by, candidates, rewards, verdicts } = &preferred;
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
    let device = context.device.device.clone();
    let lora = recipe.lora.as_ref();
    let net = match lora {
        Some(lora) => lora.init(model.net.clone(), recipe.seed, &device)?,
        None => model.net.clone(),
    };
    let (batch, seed) = (recipe.train.micro_batch(), recipe.seed);
    let subject = crate::model::Subject { stage: request.way.name().into(), ..model.subject.clone() };
    let stage = Stage {
        name: request.way.name(),
        recipe: recipe.to_toml(),
        config: &recipe.train,
        seed,
        extra: subject.to_extra(),
        folder: request.folder,
        resume: request.resume.as_ref(),
    };
    let flow = recipe.flow_task(model.classes());
    let train = match &request.way {
        Way::Dpo(config) => {
            let task = DuelTask {
                config: config.clone(),
                objective: recipe.objective(),
                reference: model.net,
                seed,
                seen: RefCell::default(),
                over: RefCell::default(),
            };
            let mut source = DuelSource::new(candidates, verdicts, batch, seed).ok_or_else(none)?;
            stage.run(net, &task, &mut source, context)?
        }
        Way::Rwr(config) => {
            let weights = config.weights(rewards).map_err(|error| Error::Failure(error.to_string()))?;
            let all: Vec<usize> = (0..candidates.drawn.len()).collect();
            let mut source = Chosen::new(candidates, &all, batch, seed).ok_or_else(none)?;
            stage.run(net, &WeightedTask { flow, weights }, &mut source, context)?
        }
        Way::Sft => {
            let pairs: Vec<[usize; 2]> = (0..candidates.pairs()).map(|k| [2 * k, 2 * k + 1]).collect();
            let mut source = Chosen::new(candidates, &winners(&pairs, verdicts), batch, seed).ok_or_else(none)?;
            stage.run(net, &flow, &mut source, context)?
        }
    };
    Ok(AlignReport { judge: by.clone(), pairs: [candidates.pairs(), decided], train })
}

/// Pairs of samples, and which of each is preferred.
struct Preferred {
    by: String,
    candidates: Candidates,
    /// Of each sample; none where people compared them.
    rewards: Vec<f64>,
    verdicts: Vec<Verdict>,
}

impl Preferred {
    fn of(request: &AlignRequest<'_>, model: &Model, seed: u64, context: &mut Context) -> Result<Self, Error> {
        match &request.preference {
            Preference::Judge { pairs: 0, .. } => {
                Err(Error::Usage("--num 0: give at least one pair of candidates".into()))
            }
            Preference::Judge { judge, pairs } => {
                let judge = Judge::parse(judge, model, &context.device)?;
                let weights = weights(request.weights, &judge.axes())?;
                let candidates = Candidates::of(model, &model.recipe.sample, &judge, *pairs, seed ^ SEED, context)?;
                let rewards = candidates.scores.weighted(&weights);
                let verdicts = candidates.preferred(&rewards);
                Ok(Self { by: judge.label(), candidates, rewards, verdicts })
            }
            Preference::People(file) => {
                if let Way::Rwr(_) = request.way {
                    return Err(Error::Usage(
                        "align rwr weighs each sample by a reward, and a pair file compares two: train a reward on it first \
                         (rectiflow reward train --pairs), or align by dpo"
                            .into(),
                    ));
                }
                if model.words.is_some() {
                    return Err(Error::Usage(format!(
                        "align --pairs: {} reads prompts, and pair files align models of classes or of nothing so far",
                        model.file.display()
                    )));
                }
                let people = People::read(file, &model.subject, seed, context)?;
                let weights = weights(request.weights, &people.candidates.scores.axes)?;
                let verdicts = people.preferred(&weights);
                Ok(Self { by: people.label(), candidates: people.candidates, rewards: Vec::new(), verdicts })
            }
        }
    }
}

/// Candidates are drawn under another seed than the one samples are usually asked for with.
const SEED: u64 = 0x616c_6967;
