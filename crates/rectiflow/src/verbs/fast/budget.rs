//! The budget of `fast`: read, shared out among the stages by what this machine does in a second, and kept in `fast.json`.

use super::{FastRequest, SEARCH, TEACHER_STEPS, write};
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
    /// Pairs and training seconds of the reflow; no pairs for none.
    pub reflow: (u64, f64),
    /// Pairs and training seconds of the distillation.
    pub distill: (u64, f64),
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
    let ((pairs, seconds), (more, last)) = (plan.reflow, plan.distill);
    if pairs > 0 {
        context.note(format!("reflow: {pairs} pairs and {seconds:.0} s of training"));
    }
    context.note(format!("distil: {more} pairs and {last:.0} s of training"));
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
