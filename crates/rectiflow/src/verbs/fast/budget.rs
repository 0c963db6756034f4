//! The budget of `fast`: read, shared out among the stages by what this machine does in a second, and kept in `fast.json`.

use super::{
    FastRequest, SEARCH,
    stage::{Stage, Way},
    write,
};
use crate::{Context, Error, Model, verbs::plan};
use base::{Condition, Key, Purpose, Times};
use flow::{Field, guidance::GuidanceConfig};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

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

/// How the seconds are shared out; kept, so that a continued run does the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub checkpoint: PathBuf,
    pub nfe: usize,
    pub samples: usize,
    /// Trajectories of the schedule search; 0 for no search.
    pub search: u64,
    /// The students, each the next one's teacher.
    pub stages: Vec<Stage>,
}

/// Seconds per unit of work on this machine.
struct Speed {
    /// One evaluation of one sample.
    evaluation: f64,
    /// One training image.
    image: f64,
}

impl Speed {
    fn measure(model: &Model, context: &Context) -> Result<Self, Error> {
        let device = &context.device.device;
        let field = model.field(&GuidanceConfig::default(), model.recipe.sample.precision)?;
        let indices: Vec<u64> = (0..100).collect();
        let x = Key::new(0, Purpose::Probe).normal_tensor(&indices, [0, model.subject.shape.numel()], device);
        let ask = || field.velocity(x.clone(), &Times::all(0.5, 100), &Condition::none()).into_data();
        ask(); // the first call allocates
        let began = Instant::now();
        ask();
        let evaluation = began.elapsed().as_secs_f64() / 100.0;
        let per_second = plan::measure(&model.recipe, model.subject.shape, model.classes(), context)?;
        Ok(Self { evaluation, image: 1.0 / per_second.max(1e-9) })
    }
}

impl Plan {
    /// Shares the budget out, or says what the least is.
    fn lay(request: &FastRequest, model: &Model, speed: &Speed) -> Result<Self, Error> {
        let FastRequest { nfe, budget, samples, .. } = *request;
        let ways = Way::chosen(&model.recipe, nfe);
        // Drawing and judging the model, its schedule and each student; judging costs about two evaluations a sample.
        let judged = 2 + ways.len();
        let figures = judged as f64 * samples as f64 * (nfe + 2) as f64 * speed.evaluation;
        let search = if nfe > 1 { SEARCH.0 } else { 0 };
        let searching = 3.0 * (search as usize * SEARCH.1) as f64 * speed.evaluation;
        // Seconds of a pair, where there are any, and of all that a student cannot do without.
        let pair = |way: Way| way.teacher_steps(nfe).unwrap_or(0) as f64 * speed.evaluation;
        let least = |way: Way| {
            let image = speed.image + way.questions() as f64 * speed.evaluation;
            FEWEST_STEPS * model.recipe.train.batch as f64 * image + FEWEST_PAIRS as f64 * pair(way)
        };
        let needed = figures + searching + ways.iter().map(|&(way, _)| least(way)).sum::<f64>();
        if budget < needed {
            return Err(Error::Usage(format!(
                "--budget {budget:.0}s is too small here: {samples} samples judged {judged} times and {FEWEST_STEPS} training steps a \
                 stage, on {FEWEST_PAIRS} pairs where it needs pairs, take about {needed:.0} s; give --budget {:.0}s, or fewer \
                 samples with --num",
                (1.1 * needed).ceil()
            )));
        }
        let rest = budget - figures - searching;
        let stage = |&(way, share): &(Way, f64)| {
            let (seconds, pair) = (share * rest, pair(way));
            // A third for pairs, of which ever more teach ever less; the rest for training.
            let pairs = if pair > 0.0 { ((0.3 * seconds / pair) as u64).clamp(FEWEST_PAIRS, 50_000) } else { 0 };
            Stage { way, pairs, seconds: seconds - pairs as f64 * pair }
        };
        let stages = ways.iter().map(stage).collect();
        Ok(Self { checkpoint: model.file.clone(), nfe, samples, search, stages })
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

/// The plan kept in the folder, or a new one.
pub(super) fn planned(request: &FastRequest, model: &Model, context: &mut Context) -> Result<Plan, Error> {
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
    for stage in &plan.stages {
        context.note(stage.to_string());
    }
    Ok(plan)
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
