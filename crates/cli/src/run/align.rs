//! Verbs that learn what a judge prefers.

use super::{layers, print};
use crate::args::{self, Global, RewardVerb};
use rectiflow::{
    Context, Error, Model,
    align::{Climb, PeopleRequest, RewardRecipe},
    model::which,
    overrides::solver,
    pipeline::Around,
    recipe::document,
    verbs::{
        align::{self, AlignRequest, Asked, Preference, Way},
        reward::{
            self, Labels, RewardRequest,
            bench::{BenchRequest, bench},
            score::{ScoreRequest, score},
        },
        student::default_folder,
        train::Resume,
        winrate,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A value under assignments typed after `option`.
fn assigned<T: Serialize + DeserializeOwned>(value: &T, set: &[String], option: &str) -> Result<T, Error> {
    document::assigned(value, set, option).map_err(|error| Error::Usage(error.to_string()))
}

/// The pair file that was given, if one was.
fn of_people(given: args::PairArgs) -> Option<PeopleRequest> {
    let args::PairArgs { pairs, axes, skip_unreadable } = given;
    pairs.map(|file| PeopleRequest { file, axes, skip: skip_unreadable })
}

pub(super) fn reward(action: RewardVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    let request = match action {
        RewardVerb::Train(request) => request,
        RewardVerb::Score(request) => {
            let args::RewardScore { judge, input, folders_are_clips, weights, skip_unreadable, output } = request;
            let args::JudgeArgs { judge, model } = judge;
            let skip = skip_unreadable;
            let request = ScoreRequest { judge, model, input, folders_are_clips, weights, skip, output };
            let report = score(&request, context)?;
            return print(global, &report, || format!("{report}"));
        }
        RewardVerb::Bench(request) => {
            let args::RewardBench { judge, pairs, axes, by, skip_unreadable } = request;
            let args::JudgeArgs { judge, model } = judge;
            let pairs = PeopleRequest { file: pairs, axes, skip: skip_unreadable };
            let report = bench(&BenchRequest { judge, model, pairs, by }, context)?;
            return print(global, &report, || format!("{report}"));
        }
    };
    let args::RewardTrain { model, oracles, people, asks, num, held_out, ties, turned, noisy, set, run } = request;
    let model = Model::open(&model, which(None)?, &context.device)?;
    let recipe = RewardRecipe { noisy, ..reward::usual(&model) };
    let recipe = assigned(&recipe, &set, "--set")?;
    if run.dry_run {
        return print(global, &recipe, || recipe.to_toml());
    }
    let folder = run.output_dir.unwrap_or_else(|| PathBuf::from("runs/reward"));
    let resume = run.resume.as_deref().map(Resume::parse);
    let labels = match of_people(people) {
        Some(pairs) => Labels::People { pairs, asks, held_out },
        None => Labels::Oracles {
            names: oracles.unwrap_or_default(),
            pairs: num.unwrap_or(4000),
            held_out: held_out.unwrap_or(1000),
            tied: ties.unwrap_or(0.35),
            turned: turned.unwrap_or(0.1),
        },
    };
    let request = RewardRequest { labels, folder: &folder, resume };
    let report = reward::train(request, recipe, &model, context)?;
    print(global, &report, || format!("{report}"))
}

pub(super) fn align(request: args::Align, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Align { way, model, reward, people, weights, num, online_every, way_set, overrides, run } = request;
    let own = |name: &str| -> Result<Vec<String>, Error> {
        let stripped = |text: &String| {
            text.strip_prefix(&format!("{name}.")).map(String::from).ok_or_else(|| {
                Error::Usage(format!("--way-set {text}: these are settings of `{name}`; write {name}.KEY=VALUE"))
            })
        };
        way_set.iter().map(stripped).collect()
    };
    let way = match way {
        args::Way::Dpo => Way::Dpo(assigned(&Default::default(), &own("dpo")?, "--way-set")?),
        args::Way::Rwr => Way::Rwr(assigned(&Default::default(), &own("rwr")?, "--way-set")?),
        args::Way::Grpo => Way::Grpo(assigned(&Default::default(), &own("grpo")?, "--way-set")?),
        args::Way::Sft if way_set.is_empty() => Way::Sft,
        args::Way::Sft => return Err(Error::Usage("--way-set: sft has no settings of its own; leave it out".into())),
    };
    let model = Model::open(&model, which(None)?, &context.device)?;
    let recipe = align::recipe(&way, &model, |below| layers(below, None, &overrides))?;
    if run.dry_run {
        return print(global, &json!({ "recipe": recipe }), || recipe.to_toml());
    }
    let folder = run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = run.resume.as_deref().map(Resume::parse);
    let preference = match of_people(people) {
        Some(_) if online_every.is_some() => {
            return Err(Error::Usage(
                "--online-every: new samples are ones that nobody compared; train a reward on the pair file (rectiflow reward train \
                 --pairs) and give it by --reward"
                    .into(),
            ));
        }
        Some(file) => Preference::People(file),
        None => Preference::Judge { judge: reward.unwrap_or_default(), pairs: num, online_every },
    };
    let request = AlignRequest { asked: Asked { way, preference, weights }, folder: &folder, resume };
    let report = align::align(request, &recipe, model, context)?;
    print(global, &report, || {
        let [drawn, decided] = report.pairs;
        if drawn == 0 {
            return format!("rewarded by {}: {}\n", report.judge, shown(&report.train.checkpoint));
        }
        let of = if report.rounds > 1 { format!(" of the first of {} rounds", report.rounds) } else { String::new() };
        format!("{decided} of {drawn} pairs{of} are decided by {}: {}\n", report.judge, shown(&report.train.checkpoint))
    })
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

pub(super) fn winrate(request: args::Winrate, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Winrate { first, second, reward, weights, first_reward, first_reward_weight, num, solver: how } = request;
    let open = |file: &Path| Model::open(file, which(None)?, &context.device);
    let (mut first, second) = (open(&first)?, open(&second)?);
    if let Some(file) = first_reward {
        let climb = Climb::open(&file, &first_reward_weight, &first, &context.device)?;
        climb.advice().into_iter().for_each(|advice| context.note(advice));
        first.around = Some(Box::new(climb));
    }
    let mut config = second.recipe.sample.clone();
    config.steps = how.steps.unwrap_or(config.steps);
    config.batch = how.batch_size.unwrap_or(config.batch);
    config.guidance.scale = how.guidance_scale.unwrap_or(config.guidance.scale);
    if let Some(name) = &how.solver {
        config.solver = solver(name)?;
    }
    let seed = how.seed.unwrap_or(0);
    let report = winrate::winrate((&first, &second), &reward, weights.as_deref(), (&config, num, seed), context)?;
    print(global, &report, || format!("{report}"))
}
