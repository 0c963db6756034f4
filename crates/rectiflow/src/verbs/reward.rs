//! `reward train`: a reward that learns from pairs of a model's samples, labelled by oracles.
//!
//! No human preference can be had here: the labels come from the oracles named, with a band of ties and, if asked, a share of them
//! turned round, as people would. What the reward reaches is measured on pairs it has not seen, labelled without any turned.

use crate::{
    Context, Error, Model,
    align::{
        Candidates, Judge, RewardModel, RewardRecipe,
        reward::{ComparisonSource, RewardTask, STAGE},
    },
    model::Subject,
    stage::{Resume, Stage, TrainReport},
};
use base::{Key, Purpose};
use methods::align::{Accuracy, Verdict, accuracy};
use nets::{
    ConditionConfig, DitConfig, MlpConfig, NetConfig, RewardConfig, SetTransformerConfig, TriflowConfig, UnetConfig,
    reward::Axis,
};
use serde::Serialize;
use std::path::Path;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RewardRequest<'a> {
    /// The oracles that label, separated by commas.
    pub oracles: &'a str,
    /// Pairs to learn from.
    pub pairs: usize,
    /// Further pairs to measure on.
    pub held_out: usize,
    /// Share of pairs that are ties on each axis.
    pub tied: f64,
    /// Share of decided labels that are turned round.
    pub turned: f64,
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
    let network = match &model.recipe.network {
        NetConfig::Unet(unet) => NetConfig::Unet(UnetConfig {
            channels: 16,
            multipliers: vec![1, 2],
            condition: ConditionConfig::default(),
            ..unet.clone()
        }),
        NetConfig::Dit(dit) => {
            NetConfig::Dit(DitConfig { depth: dit.depth.min(3), condition: ConditionConfig::default(), ..dit.clone() })
        }
        NetConfig::Mmdit(mmdit) => NetConfig::Dit(DitConfig { depth: mmdit.depth.min(3), ..mmdit.without_text() }),
        NetConfig::SetTransformer(set) => NetConfig::SetTransformer(SetTransformerConfig {
            depth: set.depth.min(3),
            eye: None,
            condition: ConditionConfig::default(),
            ..set.clone()
        }),
        NetConfig::Triflow(net) => {
            NetConfig::Triflow(TriflowConfig { condition: ConditionConfig::default(), ..net.clone() })
        }
        NetConfig::Mlp(mlp) => NetConfig::Mlp(MlpConfig { condition: ConditionConfig::default(), ..mlp.clone() }),
    };
    let mut recipe = RewardRecipe { reward: RewardConfig { network, ..RewardConfig::default() }, ..Default::default() };
    recipe.train.images = 30_000;
    recipe.train.batch = 64;
    (recipe.train.validate_every, recipe.train.sample_every) = (0, 0);
    recipe.train.optim.weight_decay = 0.05;
    recipe
}

/// Labels pairs of `model`'s samples and trains a reward on them.
///
/// # Errors
/// Shares out of range; those of drawing, judging and training.
pub fn train(
    request: RewardRequest<'_>,
    mut recipe: RewardRecipe,
    model: &Model,
    context: &mut Context,
) -> Result<RewardReport, Error> {
    for (name, share) in [("--ties", request.tied), ("--turned", request.turned)] {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::Usage(format!("{name} {share}: give a share from 0 to below 1")));
        }
    }
    if request.pairs == 0 || request.held_out == 0 {
        return Err(Error::Usage("--num and --held-out must be at least 1 pair".into()));
    }
    let usage = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
    recipe.loss.check().map_err(|error| usage(&error))?;
    model.check_plain("reward")?;
    let (shape, classes) = (model.subject.shape, &model.subject.classes);
    let judge = Judge::oracles(request.oracles, shape, classes, &context.device)?;
    let Judge::Oracles(oracles, _) = &judge else { return Err(Error::Failure("oracles are oracles".into())) };
    recipe.reward.axes =
        oracles.iter().map(|oracle| Axis { name: oracle.name().into(), asks: oracle.asks() }).collect();
    recipe.path = model.recipe.path.clone();
    let device = context.device.device.clone();
    // Before samples are drawn: a network that does not fit.
    let net = recipe.reward.init(recipe.seed, shape, classes.len(), &device)?;
    let (pairs, all) = (request.pairs, request.pairs + request.held_out);
    let candidates = Candidates::of(model, &model.recipe.sample, &judge, all, recipe.seed ^ SEED, context)?;
    let bands = candidates.bands(request.tied);
    let truth = candidates.verdicts(&bands);
    let key = Key::new(recipe.seed, Purpose::Probe);
    let turn = |(i, verdict): (usize, &Verdict)| match key.uniform(i as u64) < request.turned {
        true => verdict.turned(),
        false => *verdict,
    };
    let labels: Vec<Verdict> = truth.iter().enumerate().map(turn).collect();
    let batch = recipe.train.micro_batch();
    let mut source = ComparisonSource::new(&candidates, 0..pairs, &labels, batch, recipe.seed);
    let task =
        RewardTask { loss: recipe.loss.clone(), noisy: recipe.noisy.then(|| recipe.path.clone()), seed: recipe.seed };
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
    let report = stage.run(net, &task, &mut source, context)?;
    let trained = RewardModel::open(&report.checkpoint, &context.device)?;
    let rewards = trained.rewards(&candidates.drawn, 1.0)?;
    let axes = trained.axes();
    let of = |axis: usize| {
        let value = |i: usize| rewards[i * axes.len() + axis];
        let differences: Vec<f64> = (pairs..all).map(|k| value(2 * k) - value(2 * k + 1)).collect();
        let said: Vec<Verdict> = (pairs..all).map(|k| truth[k * axes.len() + axis]).collect();
        accuracy(&differences, &said)
    };
    let accuracy = axes.iter().enumerate().map(|(axis, name)| (name.clone(), of(axis))).collect();
    Ok(RewardReport { labels: judge.label(), accuracy, train: report })
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
