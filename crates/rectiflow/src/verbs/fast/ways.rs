//! The ways of `fast` to draw samples, and what each reaches.

use super::{FastRequest, SEARCH, budget::Plan, solver};
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
use std::path::Path;

/// One way to draw samples, and what it reaches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// "as it was", "schedule", "reflow", "distill", "phased".
    pub name: String,
    /// The command that draws such samples.
    pub command: String,
    /// The figures at the wanted number of evaluations.
    pub figures: Figures,
}

/// Candidates as they are measured.
pub(super) struct Ways<'a> {
    pub request: &'a FastRequest,
    pub config: EvaluateConfig,
    pub judge: Judge,
    pub found: Vec<Candidate>,
}

impl Ways<'_> {
    pub fn measure(
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
    pub fn searched(
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
