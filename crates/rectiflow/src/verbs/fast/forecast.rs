//! What `fast` would do with a budget, said before it does anything.

use super::{FastRequest, Plan, budget::kept_back, stage::Cost};
use crate::report::words::duration;
use serde::Serialize;

/// How a budget will be spent. Seconds are for the machine as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct FastPlan {
    /// Spent on measuring how fast the machine judges, samples and trains.
    pub measuring: f64,
    /// For the rows of the table and the search for a schedule.
    pub figures: f64,
    /// Samples behind every row.
    pub samples: usize,
    /// The students, in turn.
    pub students: Vec<StudentPlan>,
    /// Kept for what nothing counts: opening models, checkpoints, pages, and figures that take longer than was thought.
    pub kept_back: f64,
    /// All of it.
    pub budget: f64,
}

/// A student of a [`FastPlan`].
#[derive(Clone, Debug, Serialize)]
pub struct StudentPlan {
    /// How it is made.
    pub method: &'static str,
    /// Pairs of its teacher that it learns from; 0 where it learns from data.
    pub pairs: u64,
    /// Seconds for the pairs.
    pub making_pairs: f64,
    /// Seconds of training.
    pub training: f64,
}

impl FastPlan {
    /// Follows `plan` as a run would whose parts take as long as was measured.
    pub(super) fn of(request: &FastRequest, mut plan: Plan, batch: usize) -> Self {
        let (measuring, figures) = (plan.spent, plan.figures());
        let rows = plan.stages.len() as f64 * plan.speed.row(plan.samples, request.nfe);
        let mut spent = measuring + figures - rows;
        let mut students = Vec::new();
        for index in 0..plan.stages.len() {
            plan.settle(index, request.budget, spent, batch);
            let stage = &plan.stages[index];
            let Some(cost) = stage.cost else { continue };
            let Cost { pairs, making: making_pairs, seconds: training } = cost;
            students.push(StudentPlan { method: stage.way.name(), pairs, making_pairs, training });
            spent += making_pairs + training + plan.speed.row(plan.samples, request.nfe);
        }
        let (samples, budget) = (plan.samples, request.budget);
        let kept_back = kept_back(budget, plan.speed.row(samples, request.nfe));
        Self { measuring, figures, samples, students, kept_back, budget }
    }

    /// Seconds that its parts make together.
    pub fn seconds(&self) -> f64 {
        let students: f64 = self.students.iter().map(|student| student.making_pairs + student.training).sum();
        self.measuring + self.figures + students + self.kept_back
    }
}

impl std::fmt::Display for FastPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "measured     {} for how fast this machine judges, samples and trains", duration(self.measuring))?;
        writeln!(
            f,
            "figures      about {}: every row of the table, {} samples each, and the search for a schedule",
            duration(self.figures),
            self.samples
        )?;
        for StudentPlan { method, pairs, making_pairs, training } in &self.students {
            match pairs {
                0 => writeln!(f, "{method:<12} {} of training", duration(*training))?,
                _ => writeln!(
                    f,
                    "{method:<12} {pairs} pairs in about {}, then {} of training",
                    duration(*making_pairs),
                    duration(*training)
                )?,
            }
        }
        writeln!(f, "kept back    {} for models, checkpoints, pages and delays", duration(self.kept_back))?;
        write!(f, "in all       about {} of {}", duration(self.seconds()), duration(self.budget))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        budget::Speed,
        stage::{Stage, Way},
    };
    use super::*;

    /// The parts add up to the budget, whatever it is, where it holds more than the least.
    /// Mutants: a row counted twice; what is kept back left out; the second student's share taken of the whole.
    #[test]
    fn the_parts_add_up_to_the_budget() {
        let speed = Speed { evaluation: 1e-3, sample: 2e-3, judging: 4.0 };
        for (budget, search) in [(600.0, 0), (1200.0, 40)] {
            let stages = [Way::Reflow, Way::Distill].map(Stage::new).to_vec();
            let (checkpoint, ema, floor, many, found) = Default::default();
            let plan =
                Plan { checkpoint, ema, nfe: 2, samples: 500, search, stages, speed, floor, many, found, spent: 9.0 };
            let (checkpoint, folder) = Default::default();
            let request = FastRequest { checkpoint, ema: None, nfe: 2, budget, samples: None, folder };
            let plan = FastPlan::of(&request, plan, 64);
            assert!((plan.seconds() - budget).abs() < 1e-6, "{plan}");
            assert_eq!(plan.students.iter().map(|student| student.method).collect::<Vec<_>>(), ["reflow", "distill"]);
            // Three parts of five, pairs included, and to the second what of the first row's delay was kept for nothing.
            let [reflow, distill] = [0, 1].map(|at| plan.students[at].making_pairs + plan.students[at].training);
            let row = speed.row(500, 2);
            assert!((reflow / (distill - 0.25 * row) - 1.5).abs() < 1e-6, "{plan}");
        }
    }
}
