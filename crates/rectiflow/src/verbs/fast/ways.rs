//! The ways of `fast` to draw samples, and what each reaches.

use super::{FastRequest, plan::Plan, solver};
use crate::{
    Context, Error, Model,
    judge::Judge,
    recipe::EvaluateConfig,
    report::Figures,
    schedules,
    verbs::{
        eval::measure,
        schedule::{ScheduleRequest, StepsizeConfig, schedule},
    },
};
use flow::{ScheduleConfig, Solver};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// The name of the first way.
pub(super) const AS_IT_WAS: &str = "as it was";

/// One way to draw samples, and what it reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// "as it was", "schedule", "reflow", "distill", "phased".
    pub name: String,
    /// The command that draws such samples.
    pub command: String,
    /// The figures at the wanted number of evaluations.
    pub figures: Figures,
}

/// Candidates as they are measured, into the plan.
pub(super) struct Ways<'a> {
    pub request: &'a FastRequest,
    pub config: EvaluateConfig,
    pub judge: Judge,
    pub plan: Plan,
    /// What earlier calls spent, and when this one began.
    pub clock: (f64, Instant),
}

impl Ways<'_> {
    /// Seconds spent so far, by this call and those before.
    pub fn spent(&self) -> f64 {
        self.clock.0 + self.clock.1.elapsed().as_secs_f64()
    }

    /// Keeps what is decided, done and spent.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.plan.spent = self.spent();
        self.plan.write(&self.request.folder)
    }

    /// The model as it was, in the wanted evaluations and in many.
    pub fn as_it_was(&mut self, model: &Model, context: &mut Context) -> Result<(), Error> {
        let place = &self.request.checkpoint;
        if let Some(steps) = self.plan.many().filter(|_| self.plan.many.is_none()) {
            let config = EvaluateConfig { solver: solver(model), steps: vec![steps], ..self.config.clone() };
            let many = self.row(&format!("{AS_IT_WAS}, {steps} evaluations"), model, place, config, context)?;
            self.plan.many = Some(many);
            self.keep()?;
        }
        self.measure(AS_IT_WAS, model, place, None, context)
    }

    /// A way to draw in the wanted evaluations, unless it was measured before.
    pub fn measure(
        &mut self,
        name: &str,
        model: &Model,
        place: &Path,
        file: Option<&Path>,
        context: &mut Context,
    ) -> Result<(), Error> {
        if self.plan.found.iter().any(|way| way.name == name) {
            return Ok(());
        }
        let mut config = EvaluateConfig { solver: solver(model), ..self.config.clone() };
        if let Some(file) = file {
            config.schedule = schedules::read(file)?;
        }
        let mut way = self.row(name, model, place, config, context)?;
        if let Some(file) = file {
            way.command = format!("{} --schedule {}", way.command, file.display());
        }
        self.plan.found.push(way);
        self.keep()
    }

    /// Draws and judges, leaves the sheet, and learns from it how long that takes.
    fn row(
        &mut self,
        name: &str,
        model: &Model,
        place: &Path,
        config: EvaluateConfig,
        context: &mut Context,
    ) -> Result<Candidate, Error> {
        context.note(format!("figures: {name}"));
        let began = Instant::now();
        let measured = measure(model, &self.judge, &config, context)?;
        let whole = began.elapsed().as_secs_f64();
        let figures = measured.figures.into_values().next().unwrap_or_default();
        let evaluations = (figures.samples * config.steps[0]).max(1) as f64;
        self.plan.speed.evaluation = figures.seconds / evaluations;
        self.plan.speed.judging = whole - figures.seconds;
        let steps = match config.schedule {
            ScheduleConfig::Custom { .. } => String::new(),
            _ => format!(" --steps {}", config.steps[0]),
        };
        let mut command = format!("rectiflow sample {}{steps} --solver {}", place.display(), config.solver.name());
        // The table is of samples without guidance, and of these weights.
        if model.recipe.sample.guidance.scale != config.guidance {
            command += &format!(" --guidance-scale {}", config.guidance);
        }
        if let Some(ema) = self.request.ema.as_ref().filter(|_| place == self.request.checkpoint) {
            command += &format!(" --ema {ema}");
        }
        if let Some(sheet) = measured.sheets.first() {
            media::atomic::write(&sheet_of(&self.request.folder, name), &sheet.png)?;
        }
        Ok(Candidate { name: name.into(), command, figures })
    }

    /// The model along a schedule of its own, where a search has anything to choose.
    pub fn searched(&mut self, model: &Model, context: &mut Context) -> Result<(), Error> {
        let (name, place, plan) = ("schedule", &self.request.checkpoint, &self.plan);
        let anchors = plan.anchors();
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

/// Where a way's samples are shown.
pub(super) fn sheet_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.png", name.replace(", ", "-").replace(' ', "-")))
}
