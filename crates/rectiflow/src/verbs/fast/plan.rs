//! What `fast` has decided and done so far. Kept in `fast.json`, so that a run that was stopped goes on where it was and its
//! budget with it.

use super::{
    FastRequest, SAMPLES, SEARCH,
    budget::{Speed, enough, left},
    stage::{Stage, Way},
    ways::Candidate,
    write,
};
use crate::{
    Context, Error, Model,
    judge::Judge,
    report::{Figures, words::duration},
    sampling::Drawn,
};
use base::{Key, NULL_CLASS, Purpose, Shape};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Evaluations at which the model as it was is measured too: what few of them have to reach.
const MANY: usize = 20;

/// The most of a budget that figures may take where their number of samples is not given.
const FOR_FIGURES: f64 = 0.25;

/// What as many real held-out images get, and the seconds that judging takes, whatever is judged.
fn judged(judge: &Judge, model: &Model, samples: usize) -> Result<(Option<Figures>, f64), Error> {
    let began = Instant::now();
    let floor = judge.floor(&model.recipe.data, samples)?;
    if floor.is_none() {
        judge.figures(&noise(samples, model.drawn()))?;
    }
    Ok((floor, began.elapsed().as_secs_f64()))
}

/// Rows of noise in place of samples.
fn noise(samples: usize, shape: Shape) -> Drawn {
    let indices: Vec<u64> = (0..samples as u64).collect();
    let key = Key::new(0, Purpose::Probe);
    let rows = indices.iter().flat_map(|index| key.normals(*index, shape.numel())).collect();
    Drawn::given(rows, shape, vec![NULL_CLASS; samples])
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub checkpoint: PathBuf,
    /// Which of its weights; as asked.
    #[serde(default)]
    pub ema: Option<String>,
    pub nfe: usize,
    pub samples: usize,
    /// Trajectories of the schedule search; 0 for no search.
    pub search: u64,
    /// The students, each the next one's teacher.
    pub stages: Vec<Stage>,
    pub speed: Speed,
    /// What real held-out images get; `None` where there are none.
    pub floor: Option<Figures>,
    /// The model as it was in many evaluations.
    #[serde(default)]
    pub many: Option<Candidate>,
    /// What was measured, the model as it was first.
    #[serde(default)]
    pub found: Vec<Candidate>,
    /// Seconds spent by all calls.
    #[serde(default)]
    pub spent: f64,
}

impl Plan {
    /// The plan kept in the folder, or a new one, which nothing keeps yet. `began` is when this call began: its measuring is paid for
    /// as well.
    pub fn laid(
        request: &FastRequest,
        model: &Model,
        judge: &Judge,
        began: Instant,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let file = Self::file(&request.folder);
        if let Ok(text) = std::fs::read_to_string(&file) {
            let damaged =
                |error| Error::Failure(format!("{}: is no plan ({error}); remove it to start again", file.display()));
            let plan: Self = serde_json::from_str(&text).map_err(damaged)?;
            plan.check_same(request, &model.file, &file)?;
            return Ok(plan);
        }
        context.note("measuring how fast this machine judges, samples and trains");
        let few = request.samples.unwrap_or(SAMPLES[SAMPLES.len() - 1]);
        let (floor, judging) = judged(judge, model, few)?;
        let speed = Speed::measure(model, judging, context)?;
        let mut plan = Self {
            checkpoint: model.file.clone(),
            ema: request.ema.clone(),
            nfe: request.nfe,
            samples: few,
            search: if request.nfe > 1 { SEARCH.0 } else { 0 },
            stages: Way::chosen(&model.recipe, request.nfe).into_iter().map(Stage::new).collect(),
            speed,
            floor,
            many: None,
            found: Vec::new(),
            spent: 0.0,
        };
        if request.samples.is_none() {
            plan.take_more_samples(request.budget);
            if plan.samples > few {
                (plan.floor, plan.speed.judging) = judged(judge, model, plan.samples)?;
            }
        }
        let (spent, figures) = (began.elapsed().as_secs_f64(), plan.figures());
        enough(request.budget, spent, figures, (&plan.ways(0), request.nfe, model.recipe.train.batch), &plan.speed)?;
        plan.spent = spent;
        Ok(plan)
    }

    /// The plan to follow: what [`Self::laid`] gives, kept in the folder from now on.
    pub fn of(
        request: &FastRequest,
        model: &Model,
        judge: &Judge,
        began: Instant,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let was_begun = Self::file(&request.folder).exists();
        let mut plan = Self::laid(request, model, judge, began, context)?;
        if was_begun {
            return Ok(plan);
        }
        std::fs::create_dir_all(&request.folder)
            .map_err(|error| Error::Failure(format!("{}: cannot be made: {error}", request.folder.display())))?;
        plan.write(&request.folder)?;
        let (spent, figures) = (std::mem::take(&mut plan.spent), plan.figures()); // this call's clock counts it from here on
        let students: Vec<&str> = plan.stages.iter().map(|stage| stage.way.name()).collect();
        context.note(format!(
            "of {}: {} gone on measuring, about {} for figures, {} for {}",
            duration(request.budget),
            duration(spent),
            duration(figures),
            duration(left(request.budget, spent, figures)),
            students.join(" and ")
        ));
        Ok(plan)
    }

    pub fn file(folder: &Path) -> PathBuf {
        folder.join("fast.json")
    }

    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        write(&Self::file(folder), self)
    }

    /// As many samples as leave most of `budget` to the students, by what judging the present number took.
    fn take_more_samples(&mut self, budget: f64) {
        let (few, judging) = (self.samples, self.speed.judging);
        let with = |samples: usize| {
            let speed = Speed { judging: judging * samples as f64 / few as f64, ..self.speed };
            Self { samples, speed, ..self.clone() }
        };
        // The floor is measured once more, at that number.
        let pays = |plan: &Self| plan.figures() + plan.speed.judging <= FOR_FIGURES * budget;
        if let Some(plan) = SAMPLES.into_iter().filter(|&more| more > few).map(with).find(pays) {
            *self = plan;
        }
    }

    /// Evaluations of the row to compare with, where they are more than what is wanted.
    pub fn many(&self) -> Option<usize> {
        (self.nfe < MANY).then_some(MANY)
    }

    /// Seconds of the search and of all rows.
    pub fn figures(&self) -> f64 {
        let searching = 3.0 * (self.search as usize * self.anchors()) as f64 * self.speed.evaluation;
        let rows = 1 + usize::from(self.search > 0) + self.stages.len();
        let many = self.many().map_or(0.0, |many| self.speed.row(self.samples, many));
        searching + rows as f64 * self.speed.row(self.samples, self.nfe) + many
    }

    /// Times that the search chooses among.
    pub fn anchors(&self) -> usize {
        SEARCH.1.max(4 * self.nfe)
    }

    fn ways(&self, from: usize) -> Vec<Way> {
        self.stages[from..].iter().map(|stage| stage.way).collect()
    }

    /// Settles what a student may cost when its turn comes, unless it had begun before.
    pub fn settle(&mut self, index: usize, budget: f64, spent: f64, batch: usize) {
        if self.stages[index].cost.is_some() {
            return;
        }
        let ways = self.ways(index);
        let rows = ways.len() as f64 * self.speed.row(self.samples, self.nfe);
        self.stages[index].cost = Some(self.speed.share(&ways, left(budget, spent, rows), self.nfe, batch));
    }

    fn check_same(&self, request: &FastRequest, checkpoint: &Path, file: &Path) -> Result<(), Error> {
        let same = self.checkpoint == checkpoint && self.ema == request.ema;
        if same && self.nfe == request.nfe && request.samples.is_none_or(|samples| samples == self.samples) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} holds the plan of another run ({}, weights {}, {} evaluations, {} samples): choose another --output-dir",
            file.display(),
            self.checkpoint.display(),
            self.ema.as_deref().unwrap_or("as usual"),
            self.nfe,
            self.samples
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most samples whose figures take a quarter of the budget, and the fewest where none do.
    /// Mutants: the floor's second measuring left out; judging as long for any number.
    #[test]
    fn a_small_budget_is_judged_by_fewer_samples() {
        let speed = Speed { evaluation: 1e-4, sample: 2e-3, judging: 5.0 };
        let stages = [Way::Reflow, Way::Distill].map(Stage::new).to_vec();
        let taken = |budget: f64| {
            let (checkpoint, ema, floor, many, found) = Default::default();
            let (stages, samples) = (stages.clone(), SAMPLES[2]);
            let mut plan =
                Plan { checkpoint, ema, nfe: 2, samples, search: 0, stages, speed, floor, many, found, spent: 0.0 };
            plan.take_more_samples(budget);
            (plan.samples, plan.speed.judging)
        };
        // Three rows in two evaluations, one in twenty, the floor once more: 26e-4 s a sample, and five times the judging.
        assert_eq!([taken(411.0), taken(409.0)], [(1000, 20.0), (500, 10.0)]);
        assert_eq!([taken(206.0), taken(204.0)], [(500, 10.0), (250, 5.0)]);
    }

    /// What has been spent, and rows still to come, are no longer there for students; what began keeps what it was given.
    /// Mutants: `spent` left out; the rows of the other students alone; settled twice.
    #[test]
    fn a_student_gets_of_what_is_left_once() {
        let speed = Speed { evaluation: 1e-3, sample: 2e-3, judging: 4.0 };
        let stages = [Way::Reflow, Way::Distill].map(Stage::new).to_vec();
        let (checkpoint, ema, floor, many, found) = Default::default();
        let mut plan =
            Plan { checkpoint, ema, nfe: 2, samples: 500, search: 0, stages, speed, floor, many, found, spent: 0.0 };
        let seconds = |plan: &Plan, index: usize, steps: f64| {
            plan.stages[index].cost.map_or(0.0, |cost| cost.seconds + cost.pairs as f64 * steps * speed.evaluation)
        };
        // 1000 s: 40 kept back, 100 gone, two rows of 5 s that may take a quarter longer; three fifths of the rest.
        plan.settle(0, 1000.0, 100.0, 64);
        assert!((seconds(&plan, 0, 16.0) - 0.6 * 847.5).abs() < 1e-6, "{}", seconds(&plan, 0, 16.0));
        plan.settle(0, 1000.0, 900.0, 64);
        assert!((seconds(&plan, 0, 16.0) - 0.6 * 847.5).abs() < 1e-6);
        plan.settle(1, 1000.0, 700.0, 64);
        assert!((seconds(&plan, 1, 6.0) - 253.75).abs() < 1e-6, "{}", seconds(&plan, 1, 6.0));
    }
}
