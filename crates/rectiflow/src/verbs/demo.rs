//! `demo`: base, reflow and distillation on real images, measured and reported, within minutes.
//!
//! It is nothing but the other verbs in a row with the recipes of `recipes/demo/`; the report prints the commands.

use super::{
    eval::{Measured, curve, measure, stage, summary},
    student::{Method, StudentReport, student},
    train::{TrainReport, train},
};
use crate::{
    Context, Error, Model, Recipe,
    judge::{Judge, JudgeConfig},
    machine::peak_memory_mb,
    recipe::{EvaluateConfig, Layers, PairsRecipe},
    report::{Report, Stage, Summary},
};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use train::checkpoint::Which;

const BASE: &str = include_str!("../../../../recipes/demo/base.toml");
const REFLOW: &str = include_str!("../../../../recipes/demo/reflow.toml");
const DISTILL: &str = include_str!("../../../../recipes/demo/distill.toml");
const EVALUATE: &str = include_str!("../../../../recipes/demo/evaluate.toml");

/// The minutes the recipes' seconds are written for.
pub const MINUTES: f64 = 9.0;

/// What to show.
#[derive(Clone, Debug)]
pub struct DemoRequest {
    /// Minutes to spend, about.
    pub minutes: f64,
    /// Seconds instead of minutes, with a tiny network: the same path, not the same quality.
    pub smoke: bool,
    /// Seed of all randomness.
    pub seed: u64,
    /// The run's folder.
    pub folder: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DemoReport {
    /// The page.
    pub report: PathBuf,
    /// The figures.
    pub summary: Summary,
}

/// However short the demo: with fewer samples figures say nothing.
const FEWEST: usize = 100;

/// Overrides that make every stage tiny.
const SMOKE: &[&str] = &[
    "data.limit=256",
    "network.channels=8",
    "network.multipliers=[1, 2]",
    "network.patch=2",
    "train.seconds=0.0",
    "train.images=1024",
    "train.validate_every=256",
    "train.validation_samples=16",
    "train.sample_every=0",
    "train.optim.warmup=0",
];

const SMOKE_STUDENT: &[&str] = &[
    "train.seconds=0.0",
    "train.images=512",
    "train.validate_every=256",
    "train.sample_every=0",
    "train.optim.warmup=0",
    "pairs.count=128",
    "pairs.seconds=0.0",
    "pairs.generate.steps=4",
];

impl DemoRequest {
    fn check(&self) -> Result<(), Error> {
        if !(self.minutes.is_finite() && self.minutes > 0.0) {
            return Err(Error::Usage(format!("--minutes {}: give a positive number", self.minutes)));
        }
        Ok(())
    }

    /// A stage's overrides: tiny, or its seconds scaled to the minutes.
    fn adjust(&self, layers: Layers, smoke: &[&str], text: &str) -> Result<Layers, Error> {
        let mut sets: Vec<String> = vec![format!("seed={}", self.seed)];
        let own = Recipe::parse(text, "the demo's recipe")?;
        if own.pairs != PairsRecipe::default() {
            sets.push(format!("pairs.generate.seed={}", self.seed.wrapping_add(own.pairs.generate.seed)));
        }
        if self.smoke {
            sets.extend(smoke.iter().map(|set| set.to_string()));
        } else {
            let factor = self.minutes / MINUTES;
            sets.push(format!("train.seconds={:?}", own.train.seconds * factor));
            if own.pairs != PairsRecipe::default() {
                sets.push(format!("pairs.seconds={:?}", own.pairs.seconds * factor));
                sets.push(format!("pairs.count={}", ((own.pairs.count as f64 * factor) as u64).max(256)));
            }
        }
        sets.iter().try_fold(layers, |layers, set| layers.set(set))
    }

    /// The base recipe as this demo trains it.
    ///
    /// # Errors
    /// Minutes that are not positive.
    pub fn base(&self) -> Result<Recipe, Error> {
        self.check()?;
        self.adjust(Layers::new().text(BASE, "recipes/demo/base.toml")?, SMOKE, BASE)?.build()
    }

    fn student(&self, method: Method, text: &str, teacher: &Model) -> Result<Recipe, Error> {
        let name = format!("recipes/demo/{}.toml", method.name());
        method.recipe(teacher, |below| self.adjust(below.text(text, &name)?, SMOKE_STUDENT, text))
    }

    fn evaluation(&self) -> Result<EvaluateConfig, Error> {
        let config: EvaluateConfig = toml::from_str(EVALUATE)
            .map_err(|error| Error::Usage(format!("recipes/demo/evaluate.toml: {}", error.message())))?;
        if !self.smoke {
            // Less time means fewer samples; more time does not change what figures are compared with.
            let scaled =
                |count: usize| ((count as f64 * (self.minutes / MINUTES).min(1.0)) as usize).max(FEWEST.min(count));
            return Ok(EvaluateConfig {
                samples: scaled(config.samples),
                straightness_samples: scaled(config.straightness_samples),
                guided_samples: scaled(config.guided_samples),
                ..config
            });
        }
        Ok(EvaluateConfig {
            samples: 64,
            reference: 256,
            batch: 64,
            straightness_samples: 16,
            guided_samples: 32,
            guided_steps: 4,
            ..config
        })
    }
}

/// Runs the demo. An earlier run in the same folder is replaced.
///
/// # Errors
/// What any of its verbs may say; [`Error::Interrupted`] with finished stages left in their folders.
pub fn demo(request: &DemoRequest, context: &mut Context) -> Result<DemoReport, Error> {
    let began = Instant::now();
    let recipe = request.base()?;
    let config = request.evaluation()?;
    let folder = |name: &str| request.folder.join(name);
    for name in ["base", "reflow", "distill"] {
        clear(&folder(name))?;
    }
    let mut done = Done { timings: Vec::new(), stages: Vec::new() };

    context.note(format!("1/4  base: {}", budget(&recipe)));
    let report = train(&recipe, &folder("base"), None, context)?;
    done.trained(context, "base", &report, None)?;

    for (number, method, text, teacher) in
        [(2, Method::Reflow, REFLOW, "base"), (3, Method::Distill, DISTILL, "reflow")]
    {
        let teacher = Model::open(&folder(teacher), Which::Best, &context.device)?;
        let recipe = request.student(method, text, &teacher)?;
        let name = method.name();
        context.note(format!("{number}/4  {name}: {} pairs, then {}", recipe.pairs.count, budget(&recipe)));
        let report = student(method, &recipe, teacher, None, &folder(name), None, context)?;
        done.trained(context, name, &report.train, Some(&report))?;
    }

    let steps: Vec<String> = config.steps.iter().map(usize::to_string).collect();
    context.note(format!("4/4  figures over {} samples at {} steps", config.samples, steps.join(", ")));
    let measuring = Instant::now();
    let dataset = data::open(&recipe.data)?;
    let judge = Judge::new(&dataset, config.reference, &JudgeConfig::default(), &context.device)?;
    let mut measured = Vec::new();
    for name in ["base", "reflow", "distill"] {
        let model = Model::open(&folder(name), Which::Best, &context.device)?;
        let config = match name {
            "base" => config.clone(),
            _ => EvaluateConfig { guided_samples: 0, ..config.clone() },
        };
        let figures = measure(&model, &judge, &config, context)?;
        measured.push((model, figures));
    }
    done.timings.push(("evaluation".into(), measuring.elapsed().as_secs_f64()));
    finish(request, context, done, measured, &judge, &config, began)
}

/// What the stages left behind.
struct Done {
    timings: Vec<(String, f64)>,
    stages: Vec<(TrainReport, f64, u64)>,
}

impl Done {
    fn trained(
        &mut self,
        context: &Context,
        name: &str,
        report: &TrainReport,
        student: Option<&StudentReport>,
    ) -> Result<(), Error> {
        context.go_on()?;
        let (pair_seconds, pairs) = student.map_or((0.0, 0), |student| {
            (student.pairs.as_ref().map_or(0.0, |pairs| pairs.seconds), student.pair_count)
        });
        if pairs > 0 {
            self.timings.push((format!("{name} pairs"), pair_seconds));
        }
        self.timings.push((name.into(), report.seconds));
        self.stages.push((report.clone(), pair_seconds, pairs));
        Ok(())
    }
}

fn finish(
    request: &DemoRequest,
    context: &mut Context,
    done: Done,
    measured: Vec<(Model, Measured)>,
    judge: &Judge,
    config: &EvaluateConfig,
    began: Instant,
) -> Result<DemoReport, Error> {
    let first = &measured[0].0;
    let real = judge.floor(&first.recipe.data, config.samples)?;
    let mut summary = summary(first, judge, config, real, context);
    let (mut sheets, mut recipes, mut curves) = (Vec::new(), Vec::new(), Vec::new());
    for ((model, figures), (trained, pair_seconds, pairs)) in measured.into_iter().zip(done.stages) {
        let stage = stage(&model, &figures);
        summary.stages.push(Stage { train_seconds: trained.seconds, pair_seconds, pairs, ..stage });
        let name = model.subject.stage.clone();
        curves.extend(curve(&trained.folder, &name)?);
        recipes.push((name, model.recipe.to_toml()));
        sheets.extend(figures.sheets);
    }
    summary.name = "demo".into();
    summary.stage_order = summary.stages.iter().map(|stage| stage.name.clone()).collect();
    summary.commands = commands(request);
    summary.timings = done.timings;
    summary.peak_memory_mb = peak_memory_mb();
    summary.seconds = began.elapsed().as_secs_f64();
    let report =
        Report { title: "Rectified flow, straightened and distilled".into(), summary, recipes, curves, sheets };
    let page = report.save(&request.folder)?;
    Ok(DemoReport { report: page, summary: report.summary })
}

fn commands(request: &DemoRequest) -> Vec<String> {
    let folder = request.folder.display();
    let how = if request.smoke { "--smoke".into() } else { format!("--minutes {}", request.minutes) };
    let seed = request.seed;
    vec![
        format!("rectiflow demo {how} --seed {seed}"),
        String::new(),
        "# or stage by stage".into(),
        format!("rectiflow train   recipes/demo/base.toml --seed {seed} -o {folder}/base"),
        format!("rectiflow reflow  recipes/demo/reflow.toml --seed {seed} --teacher {folder}/base -o {folder}/reflow"),
        format!(
            "rectiflow distill recipes/demo/distill.toml --seed {seed} --teacher {folder}/reflow -o {folder}/distill"
        ),
        format!("rectiflow eval    {folder}/distill --num 1000 --seed 7"),
    ]
}

fn budget(recipe: &Recipe) -> String {
    match recipe.train.seconds {
        0.0 => format!("{} images", recipe.train.images),
        seconds => format!("{seconds:.0} s of training"),
    }
}

/// Removes a stage of an earlier demo, and nothing that is not one.
fn clear(folder: &Path) -> Result<(), Error> {
    let is_run = train::RunDir::at(folder).recipe().is_file() || folder.join("pairs").is_dir();
    if !is_run {
        return Ok(());
    }
    std::fs::remove_dir_all(folder)
        .map_err(|error| Error::Failure(format!("cannot replace the earlier demo in {}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_recipes_are_recipes() {
        for (text, name) in [(BASE, "base"), (REFLOW, "reflow"), (DISTILL, "distill")] {
            let recipe = Recipe::parse(text, name).unwrap();
            assert_eq!(recipe.name, format!("demo-{name}"));
        }
        let request = DemoRequest { minutes: 4.5, smoke: false, seed: 3, folder: "x".into() };
        let full = Recipe::parse(BASE, "base").unwrap();
        let half = request.base().unwrap();
        assert_eq!((half.seed, half.train.seconds), (3, full.train.seconds / 2.0));
        request.evaluation().unwrap().check().unwrap();
        assert!(DemoRequest { minutes: 0.0, ..request }.base().is_err());
    }

    #[test]
    fn the_demo_fits_its_minutes() {
        let seconds = |text| Recipe::parse(text, "x").map(|r| (r.train.seconds, r.pairs.seconds)).unwrap();
        let (base, (reflow, pairs), (distill, more)) = (seconds(BASE).0, seconds(REFLOW), seconds(DISTILL));
        let planned = base + reflow + pairs + distill + more;
        assert!(planned < 60.0 * MINUTES - 60.0, "{planned} s leave less than a minute for figures");
    }
}
