//! The students of `fast`: which of the verbs' methods serve a number of evaluations, and how each is set.

use super::solver;
use crate::{
    Context, Error, Model, Recipe,
    report::words::duration,
    verbs::{
        student::{Method, StudentReport, student},
        train::Resume,
    },
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use train::{checkpoint::Which, optim::MatrixRule};

/// From so many evaluations on phases are nearer to the data than a reflow on stored pairs (benches/few-step/RESULTS.md).
const FEWEST_PHASES: usize = 4;
/// The share of a phase that is trained, and its teacher's steps (recipes/fashion/phased.toml).
const PHASE: (f64, usize) = (0.8, 4);

/// How a student is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// The whole flow straightened, on the teacher's pairs.
    Reflow,
    /// A straightened flow's few steps, on its pairs.
    Distill,
    /// The teacher's way over each of the wanted steps, on data.
    Phased,
}

impl Way {
    /// The ways to `nfe` evaluations of a model of `recipe`, in turn.
    pub fn chosen(recipe: &Recipe, nfe: usize) -> Vec<Self> {
        if recipe.needs_pairs() {
            return vec![Self::Distill]; // a reflow straightened it
        }
        match nfe >= FEWEST_PHASES {
            true => vec![Self::Phased],
            false => vec![Self::Reflow, Self::Distill],
        }
    }

    /// How much of the time it gets, beside the others of its row.
    pub fn share(self) -> f64 {
        match self {
            Self::Reflow => 0.6,
            Self::Distill => 0.4,
            Self::Phased => 1.0,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Reflow => "reflow",
            Self::Distill => "distill",
            Self::Phased => "phased",
        }
    }

    /// The learning rate as a share of the teacher's. Distillation fits few times, and at Muon's own rate it spoils the others: see
    /// benches/quality/RESULTS.md.
    fn slowed(self, teacher: &Recipe) -> f64 {
        match (self, teacher.train.optim.matrices) {
            (Self::Distill, MatrixRule::Muon { .. }) => 0.15,
            _ => 0.5,
        }
    }

    /// Steps of the teacher's solver for each stored pair, where there are any.
    pub fn teacher_steps(self, nfe: usize) -> Option<usize> {
        match self {
            Self::Reflow => Some(16),
            Self::Distill => Some(nfe.max(6)),
            Self::Phased => None,
        }
    }

    /// Evaluations of the teacher for each training sample.
    pub fn questions(self) -> usize {
        if self == Self::Phased { PHASE.1 } else { 0 }
    }
}

/// What a student may cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Stored pairs; 0 where it learns from data.
    pub pairs: u64,
    /// Seconds that making them may take: then those that are there must do. 0 for no limit, as plans of former programs have it.
    #[serde(default)]
    pub making: f64,
    /// Seconds of training.
    pub seconds: f64,
}

/// A student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stage {
    pub way: Way,
    /// Settled when its turn comes, and kept from then on: a training that continues must be the same one.
    pub cost: Option<Cost>,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cost { pairs, seconds, .. } = self.cost.unwrap_or(Cost { pairs: 0, making: 0.0, seconds: 0.0 });
        write!(f, "{}: ", self.way.name())?;
        if pairs > 0 {
            write!(f, "{pairs} pairs, then ")?;
        }
        write!(f, "{} of training", duration(seconds))
    }
}

impl Stage {
    pub fn new(way: Way) -> Self {
        Self { way, cost: None }
    }

    /// Trains the student of `teacher` for `nfe` evaluations into `folder`, or continues it.
    pub fn make(
        &self,
        teacher: Model,
        nfe: usize,
        folder: &Path,
        context: &mut Context,
    ) -> Result<(Model, StudentReport), Error> {
        let cost =
            self.cost.ok_or_else(|| Error::Failure(format!("{}: its cost was never settled", self.way.name())))?;
        let method = if self.way == Way::Reflow { Method::Reflow } else { Method::Distill };
        let recipe = method.recipe(&teacher, |layers| {
            let mut sets = vec![
                "train.images=0".into(),
                format!("train.seconds={:?}", cost.seconds),
                "train.condition_dropout=0.0".into(),
                "train.validate_every=0".into(),
                "train.sample_every=0".into(), // sheets are not in the seconds of training
                format!("train.optim.lr={:?}", teacher.recipe.train.optim.lr * self.way.slowed(&teacher.recipe)),
            ];
            if let Some(steps) = self.way.teacher_steps(nfe) {
                // Neither the seed of any training nor that of another stage's pairs.
                let seed = if self.way == Way::Reflow { 7_001 } else { 7_002 };
                sets.extend([
                    format!("pairs.count={}", cost.pairs),
                    format!("pairs.seconds={:?}", cost.making),
                    format!("pairs.generate.seed={}", teacher.recipe.seed.wrapping_add(seed)),
                    format!("pairs.generate.steps={steps}"),
                    "pairs.generate.batch=100".into(),
                    format!("pairs.generate.solver={{type=\"{}\"}}", solver(&teacher).name()),
                ]);
            }
            if method == Method::Distill {
                sets.push(format!("distill.steps={nfe}"));
            }
            if self.way == Way::Phased {
                let (until, substeps) = PHASE;
                sets.push(format!("distill.target={{type=\"segments\",substeps={substeps},inside={{until={until}}}}}"));
            }
            sets.iter().try_fold(layers, |layers, set| layers.set(set))
        })?;
        context.note(self.to_string());
        let made = student(method, &recipe, teacher, None, folder, Some(Resume::Latest), context)?;
        context.go_on()?;
        Ok((Model::open(folder, Which::Best, &context.device)?, made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::Coupling;

    #[test]
    fn the_ways_follow_the_evaluations_and_the_model() {
        let ways = |recipe: &Recipe, nfe| Way::chosen(recipe, nfe);
        let flow = Recipe::default();
        assert_eq!(ways(&flow, 1), [Way::Reflow, Way::Distill]);
        assert_eq!(ways(&flow, 4), [Way::Phased]);
        let straight = Recipe { coupling: Coupling::Stored {}, ..flow };
        assert_eq!(ways(&straight, 4), [Way::Distill]);
    }

    /// Mutants: every student at half the rate; AdamW's slowed too.
    #[test]
    fn distillation_is_slow_where_muon_moves() {
        let slowed = |matrices| {
            let mut teacher = Recipe::default();
            teacher.train.optim.matrices = matrices;
            [Way::Reflow, Way::Phased, Way::Distill].map(|way| way.slowed(&teacher))
        };
        assert_eq!(slowed(MatrixRule::default()), [0.5; 3]);
        assert_eq!(slowed(MatrixRule::muon()), [0.5, 0.5, 0.15]);
    }
}
