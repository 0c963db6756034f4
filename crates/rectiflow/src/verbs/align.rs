//! `align`: a model moved towards what a judge prefers, by Flow-DPO, Flow-RWR, supervised fine-tuning or Flow-GRPO.
//!
//! Liu et al., arXiv 2501.13918, algorithm 1: the model draws candidates in pairs, once or again every so many steps, the judge scores them, a
//! correction of low rank learns; by Flow-GRPO (arXiv 2505.05470) it draws samples as it learns. Any landed model will do; what its samples
//! are, only the judge knows.

mod groups;
mod preferred;

use crate::{
    Context, Error, Model, Recipe,
    align::{
        Drawing, Judged, PeopleRequest, Prompts,
        duel::{DuelSource, DuelTask, Duels},
        online::{Begin, Kept, Lesson, OnlineTask, Place},
        weighted::{Chosen, Weighed, WeighedSource, WeightedTask},
    },
    stage::{Lineage, Resume, Stage, TrainReport},
    words::Captioned,
};
use flow::Coupling;
use methods::align::{DpoConfig, GrpoConfig, WeightConfig, winners};
use nets::LoraConfig;
use preferred::Preferred;
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, path::Path};
use train::{Batch, Samples, Source, Task, optim::MatrixRule};

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
        /// Steps after which the model as it then is draws new candidates; never without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        online_every: Option<u64>,
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

impl AlignRequest<'_> {
    /// Training samples after which new candidates are drawn, where they are asked for.
    ///
    /// # Errors
    /// A number of steps that never comes.
    fn every(&self, recipe: &Recipe) -> Result<Option<u64>, Error> {
        let Preference::Judge { online_every: Some(steps), .. } = self.asked.preference else { return Ok(None) };
        let batch = recipe.train.batch as u64;
        let last = recipe.train.total_images().map(|images| images / batch);
        let refuse = |why: String| Err(Error::Usage(format!("--online-every {steps}: {why}")));
        match (steps.checked_mul(batch), last) {
            (Some(0) | None, _) => refuse("give a number of training steps, at least 1".into()),
            (_, Some(last)) if steps >= last => refuse(format!(
                "training ends after {last} steps, before new candidates would be learned from; give fewer, or raise --images"
            )),
            (every, _) => Ok(every),
        }
    }
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct AlignReport {
    /// Who preferred.
    pub judge: String,
    /// Pairs in all, and those that were decided, of the first round; none where samples are drawn meanwhile.
    pub pairs: [usize; 2],
    /// Rounds of candidates; one where no new ones were asked for.
    pub rounds: u64,
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
    below.init = None; // it begins at the model that is aligned
    below.train.images = 20_000;
    below.train.seconds = 0.0;
    below.train.sample_every = 0; // candidates and `winrate` show more than a sheet
    below.train.validate_every = 0;
    if model.words.is_none() {
        below.train.condition_dropout = 0.0; // models of text keep the side that guidance contrasts with
    }
    // Corrections of low rank have no hidden matrices, and a comparison or a rollout is asked about again, in the same precision.
    below.train.optim.matrices = MatrixRule::default();
    below.train.precision = below.train.precision.fixed().unwrap_or_default().into();
    below.train.optim.lr = if let Way::Grpo(_) = way { 3e-4 } else { 1e-3 };
    below.perceptual = None;
    below.task.forget_rendering(); // what a judge prefers has no pictures to be compared with
    let layers = overrides(crate::recipe::Layers::new().recipe(&below))?;
    if layers.wrote("init") {
        return Err(Error::Usage(
            "`init` cannot be set for align: it begins at the model that is aligned; leave it out".into(),
        ));
    }
    let recipe = layers.build()?;
    if recipe.task.latents().is_some_and(|latents| latents.render.is_some()) {
        return Err(Error::Usage(
            "`task.latents.render` cannot be set for align: what a judge prefers has no pictures to be compared with; leave it out".into(),
        ));
    }
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
        return groups::by_groups(config, &request, recipe, model, context);
    }
    let every = request.every(recipe)?;
    if every.is_some() && context.ranks.is_some() {
        return Err(Error::Usage(
            "--online-every: rounds are drawn in one process, and ranks would each draw their own; align in one process".into(),
        ));
    }
    let later = every.map(|every| Kept::later(request.folder, request.resume.as_ref(), every)).transpose()?.flatten();
    let of = (&model, recipe.seed);
    let Preferred { by, judged, prompts, drawing } = Preferred::of(&request, of, later.is_some(), context)?;
    let counts = match (&judged, &later) {
        (Some(judged), _) if judged.decided() == 0 => return Err(judged.nothing(&by)),
        (Some(judged), _) => [judged.candidates.pairs(), judged.decided()],
        (None, kept) => {
            let drawn = drawing.as_ref().map_or(0, Drawing::samples);
            [drawn / 2, kept.as_ref().map_or(0, |kept| kept.first)]
        }
    };
    let net = corrected(recipe, &model, context)?;
    let lineage = Lineage::here(Some(&model.file), None)?.asked(&request.asked);
    let flow = recipe.flow_task(model.classes());
    let hollow = model.hollow(&context.device.device)?;
    let reference = model.net.clone();
    let (batch, seed) = (recipe.train.micro_batch(), recipe.seed);
    let run = Run { stage: stage(&request, recipe, &model), lineage: &lineage, net, batch };
    let begin = match (&judged, later) {
        (Some(judged), _) => Begin::First(judged),
        (None, kept) => Begin::Later(kept.unwrap_or_default()),
    };
    let rounds = drawing.as_ref().zip(every).map(|(drawing, every)| Rounds { drawing, model: hollow, every });
    let train = match &request.asked.way {
        Way::Dpo(config) => {
            let task = DuelTask {
                config: config.clone(),
                objective: recipe.objective(),
                reference,
                seed,
                prompts,
                seen: RefCell::default(),
                over: RefCell::default(),
            };
            let lesson = |judged: &Judged| -> Result<Box<dyn Source<Duels>>, Error> {
                let source = DuelSource::new(&judged.candidates, &judged.verdicts, batch, seed);
                Ok(Box::new(source.ok_or_else(|| judged.nothing(&by))?))
            };
            run.learn(task, Box::new(lesson), begin, rounds, context)?
        }
        Way::Rwr(config) => {
            let lesson = |judged: &Judged| -> Result<Box<dyn Source<Weighed>>, Error> {
                let weights = config.weights(&judged.rewards).map_err(|error| Error::Failure(error.to_string()))?;
                let all: Vec<usize> = (0..judged.candidates.drawn.len()).collect();
                let chosen = Chosen::new(&judged.candidates, &all, batch, seed).ok_or_else(|| judged.nothing(&by))?;
                let source = WeighedSource { source: told(chosen, prompts.as_ref()), weights };
                Ok(Box::new(source))
            };
            run.learn(WeightedTask { flow }, Box::new(lesson), begin, rounds, context)?
        }
        Way::Sft => {
            let lesson = |judged: &Judged| -> Result<Box<dyn Source<Batch>>, Error> {
                let candidates = &judged.candidates;
                let pairs: Vec<[usize; 2]> = (0..candidates.pairs()).map(|k| [2 * k, 2 * k + 1]).collect();
                let chosen = Chosen::new(candidates, &winners(&pairs, &judged.verdicts), batch, seed);
                Ok(told(chosen.ok_or_else(|| judged.nothing(&by))?, prompts.as_ref()))
            };
            run.learn(flow, Box::new(lesson), begin, rounds, context)?
        }
        Way::Grpo(_) => return Err(Error::Failure("Flow-GRPO has no pairs".into())),
    };
    let rounds = every.map_or(1, |every| train.images.div_ceil(every).max(1));
    Ok(AlignReport { judge: by.clone(), pairs: counts, rounds, train })
}

/// Who draws rounds of new candidates, as which model, and after how many samples each.
struct Rounds<'a> {
    drawing: &'a Drawing,
    /// Without its weights.
    model: Model,
    every: u64,
}

/// A training that is about to begin.
struct Run<'a> {
    stage: Stage<'a>,
    lineage: &'a Lineage,
    net: nets::Net,
    batch: usize,
}

impl Run<'_> {
    /// Trains by `task` on what `lesson` makes of the candidates that it begins with, and of new ones where `rounds` says who draws them.
    fn learn<B: Samples>(
        self,
        task: impl Task<nets::Net, B>,
        lesson: Lesson<'_, B>,
        begin: Begin<'_>,
        rounds: Option<Rounds<'_>>,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let Self { stage, lineage, net, batch } = self;
        let Some(Rounds { drawing, model, every }) = rounds else {
            let Begin::First(judged) = begin else { return Err(Error::Failure("nobody draws rounds".into())) };
            let mut source = lesson(judged)?;
            return stage.run_after(Some(lineage), net, &task, &mut *source, context);
        };
        let (folder, device, stop) = (stage.folder.to_path_buf(), context.device.clone(), context.stop.clone());
        let place = Place { every, folder, device, stop };
        let task = OnlineTask::new((task, lesson), (drawing, model), begin, place)?;
        let mut source = task.rounds(batch, lineage.checksum.as_deref().unwrap_or_default());
        stage.run_after(Some(lineage), net, &task, &mut source, context)
    }
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
            for preference in [
                Preference::Judge { judge: "oracle:match".into(), pairs: Some(3), online_every: Some(5) },
                Preference::People(people),
            ] {
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
