//! `fast`: makes any flow model fast within a budget, and says whether it worked.
//!
//! Other verbs in a row: search for a schedule, reflow, distil to the wanted number of evaluations. Every candidate is measured
//! as the model itself was, the best is named. The plan is laid before the first step, kept in `fast.json`, and followed by a
//! run that continues.

use super::{
    eval::measure,
    plan,
    schedule::{ScheduleRequest, StepsizeConfig, schedule},
    student::{Method, student},
    train::Resume,
};
use crate::{
    Context, Error, Model,
    judge::{Judge, JudgeConfig},
    model::which,
    recipe::EvaluateConfig,
    report::Figures,
    schedules,
};
use base::{Condition, Key, Purpose, Times};
use flow::{Field, ScheduleConfig, Solver, guidance::GuidanceConfig};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use train::checkpoint::Which;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct FastRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Evaluations per sample.
    pub nfe: usize,
    /// Seconds for all of it.
    pub budget: f64,
    /// Samples behind every figure.
    pub samples: usize,
    /// Where everything goes.
    pub folder: PathBuf,
}

/// How the seconds are shared out; kept, so that a continued run does the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    checkpoint: PathBuf,
    nfe: usize,
    samples: usize,
    /// Trajectories of the schedule search; 0 for no search.
    search: u64,
    /// Pairs and training seconds of the reflow; no pairs for none.
    reflow: (u64, f64),
    /// Pairs and training seconds of the distillation.
    distill: (u64, f64),
}

/// One way to draw samples, and what it reaches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// "as it was", "schedule", "reflow", "distill".
    pub name: String,
    /// The command that draws such samples.
    pub command: String,
    /// The figures at the wanted number of evaluations.
    pub figures: Figures,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct FastReport {
    /// Evaluations per sample.
    pub nfe: usize,
    /// All ways, the model as it was first.
    pub candidates: Vec<Candidate>,
    /// Which of them is best by Fréchet distance.
    pub best: usize,
    /// Seconds of this call.
    pub seconds: f64,
}

impl std::fmt::Display for FastReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} evaluations per sample  Fréchet  recall  s for all samples", self.nfe)?;
        for (i, Candidate { name, figures, .. }) in self.candidates.iter().enumerate() {
            let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            let (mark, frechet, recall) =
                (if i == self.best { "*" } else { " " }, number(figures.frechet), number(figures.recall));
            writeln!(f, "{name:<12}{mark}            {frechet:>8} {recall:>7}  {:.2}", figures.seconds)?;
        }
        match self.best {
            0 => writeln!(f, "nothing here was better than the model as it was: more budget, or more evaluations"),
            best => writeln!(f, "best: {}", self.candidates[best].command),
        }
    }
}

/// `10m`, `90s`, `1h30m` or plain seconds.
///
/// # Errors
/// [`Error::Usage`] for anything else.
pub fn seconds(text: &str) -> Result<f64, Error> {
    let refused = || Error::Usage(format!("--budget {text}: give a time such as 90s, 10m or 1h30m"));
    let (mut total, mut digits) = (0.0, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' | '.' => {
                digits.push(c);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            _ => return Err(refused()),
        };
        total += std::mem::take(&mut digits).parse::<f64>().map_err(|_| refused())? * unit;
    }
    if !digits.is_empty() {
        total += digits.parse::<f64>().map_err(|_| refused())?;
    }
    if total > 0.0 && total.is_finite() { Ok(total) } else { Err(refused()) }
}

/// Fewer pairs than this teach a student the pairs (see papers/slimflow.md).
const FEWEST_PAIRS: u64 = 1000;
/// Fewer steps than this only disturb the weights.
const FEWEST_STEPS: f64 = 200.0;
/// Trajectories of the schedule search and its anchors.
const SEARCH: (u64, usize) = (40, 40);
/// Steps of a teacher's solver per trajectory, before and after it was straightened.
const TEACHER_STEPS: (usize, usize) = (16, 6);

/// Seconds per unit of work on this machine.
struct Speed {
    /// One evaluation of one sample.
    evaluation: f64,
    /// One training image.
    image: f64,
}

impl Speed {
    fn measure(model: &Model, context: &Context) -> Result<Self, Error> {
        let [c, h, w] = model.subject.shape;
        let device = &context.device.device;
        let field = model.field(&GuidanceConfig::default(), model.recipe.sample.precision)?;
        let indices: Vec<u64> = (0..100).collect();
        let x = Key::new(0, Purpose::Probe).normal_tensor(&indices, [0, c, h, w], device);
        let ask = || field.velocity(x.clone(), &Times::all(0.5, 100), &Condition::none()).into_data();
        ask(); // the first call allocates
        let began = Instant::now();
        ask();
        let evaluation = began.elapsed().as_secs_f64() / 100.0;
        let per_second = plan::measure(&model.recipe, model.subject.shape, &model.subject.classes, context)?;
        Ok(Self { evaluation, image: 1.0 / per_second.max(1e-9) })
    }
}

impl Plan {
    /// Shares the budget out, or says what the least is.
    fn lay(request: &FastRequest, model: &Model, speed: &Speed) -> Result<Self, Error> {
        let FastRequest { nfe, budget, samples, .. } = *request;
        let straight = model.recipe.needs_pairs();
        let steps = if straight { TEACHER_STEPS.1 } else { TEACHER_STEPS.0 };
        // Drawing and judging the model, its schedule and each student; judging costs about two evaluations a sample.
        let figures = |ways: f64| ways * samples as f64 * (nfe + 2) as f64 * speed.evaluation;
        let search = if nfe > 1 { SEARCH.0 } else { 0 };
        let searching = 3.0 * (search as usize * SEARCH.1) as f64 * speed.evaluation;
        let (pair, second) = (steps as f64 * speed.evaluation, TEACHER_STEPS.1 as f64 * speed.evaluation);
        let least = FEWEST_STEPS * model.recipe.train.batch as f64 * speed.image + FEWEST_PAIRS as f64 * pair;
        let stages = if straight { 1.0 } else { 2.0 };
        let needed = figures(2.0 + stages) + searching + stages * least;
        if budget < needed {
            return Err(Error::Usage(format!(
                "--budget {budget:.0}s is too small here: {samples} samples judged {} times, {FEWEST_PAIRS} pairs and \
                 {FEWEST_STEPS} training steps a stage take about {needed:.0} s; give --budget {:.0}s, or fewer samples with --num",
                2.0 + stages,
                (1.1 * needed).ceil()
            )));
        }
        let rest = budget - figures(2.0 + stages) - searching;
        // A third for pairs, of which ever more teach ever less; the rest for training.
        let share = |seconds: f64, pair: f64| {
            let pairs = ((0.3 * seconds / pair) as u64).clamp(FEWEST_PAIRS, 50_000);
            (pairs, seconds - pairs as f64 * pair)
        };
        let (reflow, distill) = match straight {
            true => ((0, 0.0), share(rest, pair)),
            false => (share(0.6 * rest, pair), share(0.4 * rest, second)),
        };
        Ok(Self { checkpoint: model.file.clone(), nfe, samples, search, reflow, distill })
    }

    fn check_same(&self, request: &FastRequest, file: &Path) -> Result<(), Error> {
        let same = self.checkpoint.starts_with(&request.checkpoint) || self.checkpoint == request.checkpoint;
        if same && self.nfe == request.nfe && self.samples == request.samples {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} holds the plan of another run ({}, {} evaluations, {} samples): choose another --output-dir",
            file.display(),
            self.checkpoint.display(),
            self.nfe,
            self.samples
        )))
    }
}

/// Makes the model fast. A run stopped on the way continues where it was.
///
/// # Errors
/// A model that cannot be straightened, a budget too small for it, and what the verbs may say.
pub fn fast(request: &FastRequest, context: &mut Context) -> Result<FastReport, Error> {
    if request.nfe == 0 {
        return Err(Error::Usage("--nfe 0: a sample takes at least one evaluation".into()));
    }
    let began = Instant::now();
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    if model.recipe.path.has_latent() {
        let path = model.recipe.path.name();
        return Err(Error::Usage(format!(
            "this model's path `{path}` mixes in a latent; only paths between two points are made fast"
        )));
    }
    let config = EvaluateConfig {
        steps: vec![request.nfe],
        solver: solver(&model),
        samples: request.samples,
        straightness_samples: 0,
        ..EvaluateConfig::default()
    };
    config.check().map_err(Error::Usage)?;
    let plan = planned(request, &model, context)?;
    let dataset = data::open(&model.recipe.data)?;
    let judge = Judge::new(&dataset, config.reference, &JudgeConfig::default(), &context.device)?;
    let mut ways = Ways { request, config, judge, found: Vec::new() };
    ways.measure("as it was", &model, &request.checkpoint, None, context)?;
    ways.searched("schedule", &model, &request.checkpoint, &plan, context)?;
    let mut teacher = model;
    if plan.reflow.0 > 0 {
        let folder = request.folder.join("reflow");
        let steps = TEACHER_STEPS.0;
        teacher = stage(Method::Reflow, teacher, &folder, (plan.reflow, steps, 1), context)?;
        ways.measure("reflow", &teacher, &folder, None, context)?;
    }
    let folder = request.folder.join("distill");
    let last = stage(
        Method::Distill,
        teacher,
        &folder,
        (plan.distill, TEACHER_STEPS.1.max(request.nfe), request.nfe),
        context,
    )?;
    ways.measure("distill", &last, &folder, None, context)?;
    let frechet = |way: &Candidate| way.figures.frechet.unwrap_or(f64::INFINITY);
    let ranked = ways.found.iter().enumerate().min_by(|a, b| frechet(a.1).total_cmp(&frechet(b.1)));
    let best = ranked.map_or(0, |(i, _)| i);
    let report = FastReport { nfe: request.nfe, candidates: ways.found, best, seconds: began.elapsed().as_secs_f64() };
    write(&request.folder.join("report.json"), &report)?;
    Ok(report)
}

/// The solver a model is sampled with in few steps.
fn solver(model: &Model) -> Solver {
    match model.recipe.path {
        flow::Path::Linear {} => Solver::Euler {},
        _ => Solver::Ddim { eta: 0.0 },
    }
}

/// The plan kept in the folder, or a new one.
fn planned(request: &FastRequest, model: &Model, context: &mut Context) -> Result<Plan, Error> {
    let file = request.folder.join("fast.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        let damaged =
            |error| Error::Failure(format!("{}: is no plan ({error}); remove it to start again", file.display()));
        let plan: Plan = serde_json::from_str(&text).map_err(damaged)?;
        plan.check_same(request, &file)?;
        return Ok(plan);
    }
    context.note("measuring how fast this machine samples and trains");
    let plan = Plan::lay(request, model, &Speed::measure(model, context)?)?;
    std::fs::create_dir_all(&request.folder)
        .map_err(|error| Error::Failure(format!("{}: cannot be made: {error}", request.folder.display())))?;
    write(&file, &plan)?;
    let ((pairs, seconds), (more, last)) = (plan.reflow, plan.distill);
    if pairs > 0 {
        context.note(format!("reflow: {pairs} pairs and {seconds:.0} s of training"));
    }
    context.note(format!("distil: {more} pairs and {last:.0} s of training"));
    Ok(plan)
}

fn write(file: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::Failure(format!("{}: cannot be written: {error}", file.display()));
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    media::atomic::write(file, text.as_bytes()).map_err(|error| failed(&error))
}

/// Candidates as they are measured.
struct Ways<'a> {
    request: &'a FastRequest,
    config: EvaluateConfig,
    judge: Judge,
    found: Vec<Candidate>,
}

impl Ways<'_> {
    fn measure(
        &mut self,
        name: &str,
        model: &Model,
        place: &Path,
        file: Option<&Path>,
        context: &mut Context,
    ) -> Result<(), Error> {
        let mut config = EvaluateConfig { solver: solver(model), ..self.config.clone() };
        let how = match file {
            Some(file) => {
                config.schedule = schedules::read(file)?;
                format!("--schedule {}", file.display())
            }
            None => format!("--steps {}", self.request.nfe),
        };
        context.note(format!("figures: {name}"));
        let measured = measure(model, &self.judge, &config, context)?;
        let figures = measured.figures.into_values().next().unwrap_or_default();
        let command = format!("rectiflow sample {} {how} --solver {}", place.display(), config.solver.name());
        if let Some(sheet) = measured.sheets.first() {
            media::atomic::write(&self.request.folder.join(format!("{}.png", name.replace(' ', "-"))), &sheet.png)?;
        }
        self.found.push(Candidate { name: name.into(), command, figures });
        Ok(())
    }

    /// The model along a schedule of its own, where a search has anything to choose.
    fn searched(
        &mut self,
        name: &str,
        model: &Model,
        place: &Path,
        plan: &Plan,
        context: &mut Context,
    ) -> Result<(), Error> {
        let anchors = SEARCH.1.max(4 * plan.nfe);
        if plan.search == 0 || solver(model) != (Solver::Euler {}) {
            return Ok(());
        }
        let folder = self.request.folder.join("schedules");
        let file = folder.join(format!("schedule-{}.json", plan.nfe));
        if !file.is_file() {
            let config = StepsizeConfig {
                anchors,
                samples: plan.search,
                validation: plan.search,
                batch: plan.search as usize,
                ..StepsizeConfig::default()
            };
            let (checkpoint, ema) = (self.request.checkpoint.clone(), self.request.ema.clone());
            schedule(
                &ScheduleRequest { checkpoint, ema, steps: vec![plan.nfe], config, guidance: None, output: folder },
                context,
            )?;
        }
        if schedules::read(&file)?
            == (ScheduleConfig::Custom { times: ScheduleConfig::Uniform {}.build(plan.nfe)?.times().to_vec() })
        {
            context.note("schedule: equal steps are best for this model");
            return Ok(());
        }
        self.measure(name, model, place, Some(&file), context)
    }
}

/// Trains a student, or continues it.
fn stage(
    method: Method,
    teacher: Model,
    folder: &Path,
    ((pairs, seconds), teacher_steps, steps): ((u64, f64), usize, usize),
    context: &mut Context,
) -> Result<Model, Error> {
    // Neither the seed of any training nor that of the other stage.
    let seed = teacher.recipe.seed.wrapping_add(if method == Method::Reflow { 7_001 } else { 7_002 });
    let solver = solver(&teacher);
    let recipe = method.recipe(&teacher, |layers| {
        let mut sets = vec![
            format!("pairs.count={pairs}"),
            format!("pairs.generate.seed={seed}"),
            format!("pairs.generate.steps={teacher_steps}"),
            "pairs.generate.batch=100".into(),
            format!("pairs.generate.solver={{type=\"{}\"}}", solver.name()),
            "train.images=0".into(),
            format!("train.seconds={seconds:?}"),
            "train.condition_dropout=0.0".into(),
            "train.validate_every=0".into(),
            format!("train.optim.lr={:?}", teacher.recipe.train.optim.lr * 0.5),
        ];
        if method == Method::Distill {
            sets.push(format!("distill.steps={steps}"));
        }
        sets.iter().try_fold(layers, |layers, set| layers.set(set))
    })?;
    context.note(format!("{}: {pairs} pairs, then {seconds:.0} s of training", method.name()));
    student(method, &recipe, teacher, None, folder, Some(Resume::Latest), context)?;
    context.go_on()?;
    Model::open(folder, Which::Best, &context.device)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn budgets_are_read_and_nonsense_is_refused() {
        let read = |text| seconds(text).unwrap();
        assert_eq!(
            [read("10m"), read("90s"), read("1h30m"), read("600"), read("1.5m")],
            [600.0, 90.0, 5400.0, 600.0, 90.0]
        );
        for text in ["", "m", "10 m", "-5s", "0s", "tenm", "1d"] {
            assert!(seconds(text).unwrap_err().to_string().contains("--budget"), "{text}");
        }
    }
}
