//! The budget of `fast`: read, compared with what the work costs on this machine, and shared out among the students.
//!
//! Speeds are measured before the plan is laid and again by every row of figures, and each student gets its share of what is
//! then left: where a part takes longer than was thought, those after it get less.

use super::stage::{Cost, Way};
use crate::{Context, Error, Model, report::words::duration, verbs::plan};
use base::{Condition, Key, Purpose, Times};
use flow::{Field, guidance::GuidanceConfig};
use serde::{Deserialize, Serialize};
use std::time::Instant;

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
/// And ever more teach ever less.
const MOST_PAIRS: u64 = 50_000;
/// The share of a student's seconds that goes into its pairs.
const FOR_PAIRS: f64 = 0.3;
/// Fewer steps than this only disturb the weights.
const FEWEST_STEPS: u64 = 200;
/// The share of a budget that is kept for what no plan counts: opening models, checkpoints, pages.
const KEPT_BACK: f64 = 0.04;
/// And of every row to come: nothing that follows the last one can make up for its taking longer than the one before.
const ROWS_LATE: f64 = 0.25;

/// Seconds that a piece of work takes on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Speed {
    /// One evaluation of one sample.
    pub evaluation: f64,
    /// One training sample.
    #[serde(rename = "image")] // as plans of former programs say
    pub sample: f64,
    /// Judging the samples of one row.
    pub judging: f64,
}

impl Speed {
    /// Asks the network and trains it for a second or two each; judging was timed before.
    pub fn measure(model: &Model, judging: f64, context: &Context) -> Result<Self, Error> {
        let device = &context.device.device;
        let field = model.field(&GuidanceConfig::default(), model.recipe.sample.precision)?;
        let indices: Vec<u64> = (0..100).collect();
        let x = Key::new(0, Purpose::Probe).normal_tensor(&indices, [0, model.subject.shape.numel()], device);
        let ask = || field.velocity(x.clone(), &Times::all(0.5, 100), &Condition::none()).into_data();
        ask(); // the first call allocates
        let began = Instant::now();
        ask();
        let evaluation = began.elapsed().as_secs_f64() / 100.0;
        let per_second = plan::of_flow(&model.recipe, model.subject.shape, model.classes(), context)?;
        Ok(Self { evaluation, sample: 1.0 / per_second.max(1e-9), judging })
    }

    /// Drawing and judging `samples` in `steps` evaluations each.
    pub fn row(&self, samples: usize, steps: usize) -> f64 {
        (samples * steps) as f64 * self.evaluation + self.judging
    }

    /// Making one pair.
    pub fn pair(&self, way: Way, nfe: usize) -> f64 {
        way.teacher_steps(nfe).unwrap_or(0) as f64 * self.evaluation
    }

    /// Training without which there is no student.
    fn least_training(&self, way: Way, batch: usize) -> f64 {
        (FEWEST_STEPS * batch as u64) as f64 * (self.sample + way.questions() as f64 * self.evaluation)
    }

    fn least(&self, way: Way, nfe: usize, batch: usize) -> f64 {
        self.least_training(way, batch) + FEWEST_PAIRS as f64 * self.pair(way, nfe)
    }

    /// What the first of `ways` may cost where `left` seconds are left for all of them.
    pub fn share(&self, ways: &[Way], left: f64, nfe: usize, batch: usize) -> Cost {
        let way = ways[0];
        let seconds = left * way.share() / ways.iter().map(|way| way.share()).sum::<f64>();
        let pair = self.pair(way, nfe);
        let pairs = match pair > 0.0 {
            true => ((FOR_PAIRS * seconds / pair) as u64).clamp(FEWEST_PAIRS, MOST_PAIRS),
            false => 0,
        };
        let making = pairs as f64 * pair;
        Cost { pairs, making, seconds: (seconds - making).max(self.least_training(way, batch)) }
    }
}

/// What is kept of a budget where figures of `rows` seconds are still to come.
pub(super) fn kept_back(budget: f64, rows: f64) -> f64 {
    KEPT_BACK * budget + ROWS_LATE * rows
}

/// What is left of a budget when `rows` seconds of figures are still to come.
pub(super) fn left(budget: f64, spent: f64, rows: f64) -> f64 {
    budget - kept_back(budget, rows) - spent - rows
}

/// Refuses a budget that holds no student, with one that does. `spent` seconds are gone, `figures` are needed for the rows.
pub(super) fn enough(
    budget: f64,
    spent: f64,
    figures: f64,
    (ways, nfe, batch): (&[Way], usize, usize),
    speed: &Speed,
) -> Result<(), Error> {
    let least = ways.iter().map(|&way| speed.least(way, nfe, batch)).sum::<f64>();
    if left(budget, spent, figures) >= least {
        return Ok(());
    }
    let wanted = ((spent + figures + kept_back(0.0, figures) + least) / (1.0 - KEPT_BACK) * 1.05).ceil();
    let with_pairs = match ways.iter().any(|way| way.teacher_steps(nfe).is_some()) {
        true => format!(" on {FEWEST_PAIRS} pairs"),
        false => String::new(),
    };
    Err(Error::Usage(format!(
        "--budget {}: too small here. Measuring took {spent:.0} s, the figures need about {figures:.0} s, and {FEWEST_STEPS} \
         training steps a student{with_pairs} {least:.0} s: give --budget {wanted:.0}s, or fewer samples with --num",
        duration(budget)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    const SPEED: Speed = Speed { evaluation: 1e-3, sample: 2e-3, judging: 4.0 };

    /// Mutant: the second student shares with the first again.
    #[test]
    fn the_students_use_up_what_is_left_and_no_more() {
        let ways = [Way::Reflow, Way::Distill];
        let cost = |cost: Cost, steps: f64| cost.pairs as f64 * steps * SPEED.evaluation + cost.seconds;
        let first = SPEED.share(&ways, 500.0, 2, 64);
        assert_eq!(first.pairs, (0.3 * 300.0 / 16e-3) as u64);
        assert!((cost(first, 16.0) - 300.0).abs() < 1e-9);
        // It took a hundred seconds more than it should: the second has them less.
        let second = SPEED.share(&ways[1..], 100.0, 2, 64);
        assert!((cost(second, 6.0) - 100.0).abs() < 1e-9);
        // Nothing left: the least that is a training.
        assert_eq!(
            SPEED.share(&ways[1..], -5.0, 2, 64),
            Cost { pairs: 1000, making: 6.0, seconds: 200.0 * 64.0 * 2e-3 }
        );
    }

    /// The least budget that is named is one that is accepted. Mutant: pairs or what is kept back left out of it.
    #[test]
    fn the_budget_that_a_refusal_names_is_enough() {
        let ways = [Way::Reflow, Way::Distill];
        let check = |budget| enough(budget, 12.0, SPEED.row(1000, 2) * 4.0, (&ways, 2, 64), &SPEED);
        let said = check(60.0).unwrap_err().to_string();
        let named = said.split("give --budget ").nth(1).and_then(|rest| rest.split('s').next()).unwrap();
        check(named.parse().unwrap()).unwrap();
        assert!(check(0.85 * named.parse::<f64>().unwrap()).is_err(), "{said}");
    }
}
