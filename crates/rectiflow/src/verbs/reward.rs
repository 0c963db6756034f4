//! `reward train`: a reward that learns from pairs of samples, labelled by people or by oracles.
//!
//! People's verdicts come from a pair file, with the samples they were shown. Oracles label the model's own samples, with a band of ties
//! and, if asked, a share of labels turned round, as people would. What the reward reaches is measured on pairs it has not seen,
//! those of oracles labelled without any turned.

pub mod bench;
pub mod score;

use crate::{
    Context, Error, Model,
    align::{
        Candidates, Judge, People, PeopleRequest, Prompts, RewardModel, RewardRecipe,
        candidates::in_pairs,
        comparisons::ComparisonSource,
        reward::{RewardTask, STAGE},
    },
    model::Subject,
    stage::{Lineage, Resume, Stage, TrainReport},
    words::Words,
};
use base::{Key, Purpose};
use methods::align::{Accuracy, Verdict, accuracy};
use nets::{RewardConfig, reward::Axis};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

/// Who labels; the run keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Labels {
    /// Formulas, on pairs that the model draws.
    Oracles {
        /// Their names, separated by commas.
        names: String,
        /// Pairs to learn from.
        pairs: usize,
        /// Further pairs to measure on.
        held_out: usize,
        /// Share of pairs that are ties on each axis.
        tied: f64,
        /// Share of decided labels that are turned round.
        turned: f64,
    },
    /// People, on the samples of a pair file.
    People {
        /// The file.
        pairs: PeopleRequest,
        /// The axes that ask whether a sample shows its class; those called `TA` or `match` without.
        asks: Option<Vec<String>>,
        /// Pairs to measure on; a tenth without.
        held_out: Option<usize>,
    },
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RewardRequest<'a> {
    /// Who labels.
    pub labels: Labels,
    /// Where the run goes.
    pub folder: &'a Path,
    /// Where it continues from.
    pub resume: Option<Resume>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct RewardReport {
    /// Who labelled.
    pub labels: String,
    /// For each axis how well the reward agrees with labels of held-out pairs.
    pub accuracy: Vec<(String, Accuracy)>,
    /// The training.
    pub train: TrainReport,
}

/// The usual reward for samples of `model`: a small network of the model's own kind, a few thousand pairs' worth of steps.
pub fn usual(model: &Model) -> RewardRecipe {
    let network = model.recipe.network.small();
    let mut recipe = RewardRecipe { reward: RewardConfig { network, ..RewardConfig::default() }, ..Default::default() };
    recipe.train.images = 30_000;
    recipe.train.batch = 64;
    (recipe.train.validate_every, recipe.train.sample_every) = (0, 0);
    recipe.train.optim.weight_decay = 0.05;
    recipe
}

/// Pairs with labels to learn from and, behind them, to measure on.
struct Labelled {
    by: String,
    axes: Vec<Axis>,
    candidates: Candidates,
    /// What is learned, `[pairs axes]`.
    labels: Vec<Verdict>,
    /// What it is measured on.
    truth: Vec<Verdict>,
    /// How many are learned from.
    learned: usize,
}

impl Labelled {
    /// Those of a pair file.
    fn by_people(
        request: &PeopleRequest,
        (asks, held_out): (Option<&[String]>, Option<usize>),
        (model, seed): (&Model, u64),
        context: &mut Context,
    ) -> Result<Self, Error> {
        let people = People::read(request, (&model.subject, true), seed, context)?;
        let (file, all) = (people.file.display(), people.candidates.pairs());
        let held_out = held_out.unwrap_or(all.div_ceil(10));
        if held_out == 0 || held_out >= all {
            return Err(Error::Usage(format!(
                "--held-out {held_out}: {file} has {all} pairs, of which at least one is learned from and one measured on"
            )));
        }
        let names = &people.candidates.scores.axes;
        if let Some(missing) = asks.unwrap_or_default().iter().find(|axis| !names.contains(axis)) {
            return Err(Error::Usage(format!("--asks {missing}: the axes are {}", names.join(", "))));
        }
        let told = model.classes() > 0 || model.words.is_some();
        let usually = |name: &str| told && ["ta", "match"].contains(&name.to_ascii_lowercase().as_str());
        let asking = |name: &String| asks.map_or_else(|| usually(name), |asks| asks.contains(name));
        let axes: Vec<Axis> = names.iter().map(|name| Axis { name: name.clone(), asks: asking(name) }).collect();
        people.note_unread((&model.subject, axes.iter().any(|axis| axis.asks)), context);
        let learned = all - held_out;
        for (axis, name) in names.iter().enumerate() {
            let said = people.verdicts[..learned * names.len()].iter().skip(axis).step_by(names.len());
            if !said.clone().any(|said| matches!(said, Verdict::First | Verdict::Second)) {
                let ties = said.filter(|said| **said == Verdict::Tie).count();
                return Err(Error::Failure(format!(
                    "{file}: of the {learned} pairs to learn from none is decided on {name} ({ties} say same): label more, or \
                     leave that axis out with --axes"
                )));
            }
        }
        context.note(format!("{learned} pairs are learned from, {held_out} are measured on"));
        let by = people.label();
        Ok(Self {
            by,
            axes,
            candidates: people.candidates,
            labels: people.verdicts.clone(),
            truth: people.verdicts,
            learned,
        })
    }

    /// Those of oracles, on pairs that `model` draws.
    fn by_oracles(
        (judge, pairs, held_out): (&Judge, usize, usize),
        (tied, turned): (f64, f64),
        (model, seed): (&Model, u64),
        context: &mut Context,
    ) -> Result<Self, Error> {
        if let Some(texts) = model.words.as_ref().map(|_| model.captions()).transpose()? {
            judge.check_texts(&texts)?;
        }
        let (classes, config, all) = (in_pairs(model)?, &model.recipe.sample, 0..(pairs + held_out) as u64);
        let candidates = Candidates::of((model, &classes), config, judge, all, seed ^ SEED, context)?;
        let truth = candidates.verdicts(&candidates.bands(tied));
        let key = Key::new(seed, Purpose::Probe);
        let turn = |(i, verdict): (usize, &Verdict)| match key.uniform(i as u64) < turned {
            true => verdict.turned(),
            false => *verdict,
        };
        let labels = truth.iter().enumerate().map(turn).collect();
        let axes = axes_of(judge);
        Ok(Self { by: judge.label(), axes, candidates, labels, truth, learned: pairs })
    }
}

/// Who reads the texts that axes ask by, where some ask and the model is asked in words; the recipe says so from then on.
///
/// # Errors
/// A recipe that says otherwise: what its axes would ask by is not what they are told.
fn reading(recipe: &mut RewardRecipe, model: &Model) -> Result<Option<Arc<Words>>, Error> {
    let asks = recipe.reward.axes.iter().any(|axis| axis.asks);
    let config = model.recipe.task.text().filter(|_| asks && model.words.is_some());
    let read = config.map(Words::vectors).transpose()?;
    let (words, width) = read.map_or((None, 0), |(words, width)| (Some(words), width));
    let by = match words {
        Some(_) => "its axes ask by the model's own texts",
        None => "its axes ask by no text",
    };
    let said = recipe.reward.vector;
    if said != 0 && said != width {
        return Err(Error::Usage(format!("--set reward.vector={said}: {by}, which is {width}; leave it out")));
    }
    if recipe.text.is_some() && recipe.text.as_ref() != config {
        return Err(Error::Usage(format!("--set text: {by}, and the model says who reads them; leave it out")));
    }
    (recipe.text, recipe.reward.vector) = (config.cloned(), width);
    Ok(words)
}

fn axes_of(judge: &Judge) -> Vec<Axis> {
    let Judge::Oracles(oracles, _) = judge else { return Vec::new() };
    oracles.iter().map(|oracle| Axis { name: oracle.name().into(), asks: oracle.asks() }).collect()
}

/// Has pairs labelled and trains a reward on them, for samples of `model`.
///
/// # Errors
/// Shares out of range; those of reading, drawing, judging and training.
pub fn train(
    request: RewardRequest<'_>,
    mut recipe: RewardRecipe,
    model: &Model,
    context: &mut Context,
) -> Result<RewardReport, Error> {
    let usage = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
    recipe.loss.check().map_err(|error| usage(&error))?;
    model.check_plain("reward")?;
    let (shape, classes) = (model.subject.shape, &model.subject.classes);
    recipe.path = model.recipe.path.clone();
    let device = context.device.device.clone();
    let of = (model, recipe.seed);
    let labelled = match &request.labels {
        Labels::People { pairs, asks, held_out } => {
            let labelled = Labelled::by_people(pairs, (asks.as_deref(), *held_out), of, context)?;
            if recipe.loss.needs_scores() && labelled.candidates.scores.is_empty() {
                return Err(Error::Usage(format!(
                    "--set loss.type: this loss learns from scores, and {} has no MOS_A_ and MOS_B_ of every axis in every row; \
                     use `ties`",
                    pairs.file.display()
                )));
            }
            labelled
        }
        Labels::Oracles { names, pairs, held_out, tied, turned } => {
            let (pairs, held_out, tied, turned) = (*pairs, *held_out, *tied, *turned);
            for (name, share) in [("--ties", tied), ("--turned", turned)] {
                if !(0.0..1.0).contains(&share) {
                    return Err(Error::Usage(format!("{name} {share}: give a share from 0 to below 1")));
                }
            }
            if pairs == 0 || held_out == 0 {
                return Err(Error::Usage("--num and --held-out must be at least 1 pair".into()));
            }
            let judge = Judge::oracles(names, shape, (classes, model.words.is_some()), &context.device)?;
            // Before samples are drawn: a network that does not fit.
            recipe.reward.axes = axes_of(&judge);
            reading(&mut recipe, model)?;
            recipe.reward.init(recipe.seed, shape, classes.len(), &device)?;
            Labelled::by_oracles((&judge, pairs, held_out), (tied, turned), of, context)?
        }
    };
    let Labelled { by, axes, candidates, labels, truth, learned } = labelled;
    recipe.reward.axes = axes;
    let words = reading(&mut recipe, model)?;
    let mut told = candidates.drawn.classes.clone();
    let prompts = words.map(|words| {
        let (prompts, numbers) = Prompts::of(&words, &candidates.drawn.prompts);
        told = numbers;
        prompts
    });
    let net = recipe.reward.init(recipe.seed, shape, classes.len(), &device)?;
    let batch = recipe.train.micro_batch();
    let mut source = ComparisonSource::new((&candidates, &told), 0..learned, &labels, batch, recipe.seed);
    let noisy = recipe.noisy.then(|| recipe.path.clone());
    let task = RewardTask { loss: recipe.loss.clone(), noisy, prompts, seed: recipe.seed };
    let subject = Subject { stage: STAGE.into(), ..model.subject.clone() };
    let stage = Stage {
        name: STAGE,
        recipe: recipe.to_toml(),
        config: &recipe.train,
        seed: recipe.seed,
        extra: subject.to_extra(),
        folder: request.folder,
        resume: request.resume.as_ref(),
    };
    let lineage = Lineage::here(Some(&model.file), None)?.asked(&request.labels);
    let report = stage.run_after(Some(&lineage), net, &task, &mut source, context)?;
    let trained = RewardModel::open(&report.checkpoint, &context.device)?;
    let rewards = trained.rewards(&candidates.drawn, 1.0)?;
    let axes = trained.axes();
    let of = |axis: usize| {
        let value = |i: usize| rewards[i * axes.len() + axis];
        let measured = learned..candidates.pairs();
        let differences: Vec<f64> = measured.clone().map(|k| value(2 * k) - value(2 * k + 1)).collect();
        let said: Vec<Verdict> = measured.map(|k| truth[k * axes.len() + axis]).collect();
        accuracy(&differences, &said)
    };
    let accuracy = axes.iter().enumerate().map(|(axis, name)| (name.clone(), of(axis))).collect();
    Ok(RewardReport { labels: by, accuracy, train: report })
}

/// Continues the run in `folder` of a reward for samples of `model`, which is all that it was told when it began.
///
/// # Errors
/// Those of [`train`]; a run that does not say what it was asked.
pub(crate) fn resume(
    folder: &Path,
    recipe: RewardRecipe,
    (model, lineage): (&Model, &Lineage),
    context: &mut Context,
) -> Result<TrainReport, Error> {
    let mut labels: Labels = lineage.read_asked(folder)?;
    if let Labels::People { pairs, .. } = &mut labels {
        pairs.file = lineage.found(&pairs.file);
    }
    let request = RewardRequest { labels, folder, resume: Some(Resume::Latest) };
    train(request, recipe, model, context).map(|report| report.train)
}

/// Its samples are drawn under another seed than anything else's.
const SEED: u64 = 0x7265_7761;

impl std::fmt::Display for RewardReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "labels: {}", self.labels)?;
        for (axis, found) in &self.accuracy {
            let Accuracy { without_ties, with_ties, decided, valid, .. } = found;
            writeln!(
                f,
                "{axis:<12} right {:5.1} % of {decided} decided, {:5.1} % of {valid} with ties",
                without_ties * 100.0,
                with_ties * 100.0
            )?;
        }
        Ok(())
    }
}
