//! What `fast` says at its end: the table, `report.json` for scripts and `report.html` for eyes.

use super::{
    plan::Plan,
    ways::{AS_IT_WAS, Candidate, Ways, sheet_of},
};
use crate::{
    Context, Error, Model,
    machine::peak_memory_mb,
    report::{
        Curve, Figures, Report, Sheet, Stage, Summary,
        summary::{number, with_error},
        words::duration,
    },
    verbs::{eval, student::StudentReport},
};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct FastReport {
    /// Evaluations per sample.
    pub nfe: usize,
    /// Whose features the figures use.
    pub features: String,
    /// Samples behind every figure.
    pub samples: usize,
    /// What as many real held-out images get: nothing is better than that. `None` where there are none.
    pub floor: Option<Figures>,
    /// The model as it was in many evaluations: what the others try to reach in few.
    pub many: Option<Candidate>,
    /// All ways, the model as it was first.
    pub candidates: Vec<Candidate>,
    /// Which of them is best by Fréchet distance.
    pub best: usize,
    /// Seconds of this call and of those that it continued.
    pub seconds: f64,
    /// The page.
    pub page: PathBuf,
}

impl std::fmt::Display for FastReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { nfe, samples, features, .. } = self;
        writeln!(f, "{nfe} evaluations per sample, {samples} samples a row, features {features}")?;
        writeln!(f, "{:<27}  {:>14}  recall  ms/sample", "", "Fréchet")?;
        let row = |f: &mut std::fmt::Formatter<'_>, name: &str, figures: &Figures| {
            let distance = with_error(figures.frechet, figures.frechet_error, 2);
            let ms = match figures.seconds > 0.0 {
                true => format!("{:.2}", 1e3 * figures.seconds / figures.samples.max(1) as f64),
                false => "–".into(),
            };
            writeln!(f, "{name:<27}  {distance:>14}  {:>6}  {ms:>9}", number(figures.recall, 3))
        };
        if let Some(floor) = &self.floor {
            row(f, "real held-out images", floor)?;
        }
        if let Some(many) = &self.many {
            row(f, &many.name, &many.figures)?;
        }
        for (i, Candidate { name, figures, .. }) in self.candidates.iter().enumerate() {
            row(f, &format!("{name}{}", if i == self.best { " *" } else { "" }), figures)?;
        }
        match self.best {
            0 => writeln!(f, "nothing here was better than the model as it was: more budget, or more evaluations")?,
            best => writeln!(f, "best: {}", self.candidates[best].command)?,
        }
        writeln!(f, "{} in all; report: {}", duration(self.seconds), self.page.display())
    }
}

/// What the page shows of the models beside their figures.
pub(super) struct Page {
    summary: Summary,
    recipes: Vec<(String, String)>,
    curves: Vec<Curve>,
    stages: Vec<Stage>,
}

impl Page {
    pub fn new(ways: &Ways<'_>, model: &Model, context: &Context) -> Result<Self, Error> {
        let mut summary = eval::summary(model, &ways.judge, &ways.config, ways.plan.floor.clone(), context);
        summary.name = format!("{} in {} evaluations", model.recipe.name, ways.plan.nfe);
        let mut page = Self { summary, recipes: Vec::new(), curves: Vec::new(), stages: Vec::new() };
        page.stages.push(stage(AS_IT_WAS, model));
        page.recipes.push((AS_IT_WAS.into(), model.recipe.to_toml()));
        page.curves.extend(eval::curve(&ways.request.checkpoint, AS_IT_WAS)?);
        Ok(page)
    }

    pub fn add(&mut self, name: &str, model: &Model, made: &StudentReport) -> Result<(), Error> {
        let pair_seconds = made.pairs.as_ref().map_or(0.0, |pairs| pairs.seconds);
        let (train_seconds, pairs) = (made.train.seconds, made.pair_count);
        self.stages.push(Stage { train_seconds, pair_seconds, pairs, ..stage(name, model) });
        self.recipes.push((name.into(), model.recipe.to_toml()));
        self.curves.extend(eval::curve(&made.train.folder, name)?);
        Ok(())
    }
}

fn stage(name: &str, model: &Model) -> Stage {
    Stage {
        name: name.into(),
        images: model.images,
        train_seconds: 0.0,
        pair_seconds: 0.0,
        pairs: 0,
        parameters: model.parameters,
        straightness: None,
        guided: None,
        nfe: BTreeMap::new(),
    }
}

/// Ranks the ways and writes both reports.
pub(super) fn write(ways: Ways<'_>, page: Page, context: &Context) -> Result<FastReport, Error> {
    let seconds = ways.spent();
    let folder = &ways.request.folder;
    let Plan { nfe, samples, floor, many, found, .. } = ways.plan.clone();
    let frechet = |way: &Candidate| way.figures.frechet.unwrap_or(f64::INFINITY);
    let ranked = found.iter().enumerate().min_by(|a, b| frechet(a.1).total_cmp(&frechet(b.1)));
    let best = ranked.map_or(0, |(i, _)| i);

    let Page { mut summary, recipes, curves, mut stages } = page;
    let mut sheets = Vec::new();
    for way in many.iter().chain(&found) {
        // Many evaluations are a row of the first model, and a schedule is that model along other steps.
        let steps = if many.as_ref() == Some(way) { ways.plan.many().unwrap_or(nfe) } else { nfe } as u32;
        let place = match stages.iter().position(|stage| stage.name == way.name) {
            Some(place) => place,
            None if many.as_ref() == Some(way) => 0,
            None => {
                let stage = Stage { name: way.name.clone(), nfe: BTreeMap::new(), ..stages[0].clone() };
                stages.insert(1, stage);
                1
            }
        };
        stages[place].nfe.insert(steps, way.figures.clone());
        if let Ok(png) = std::fs::read(sheet_of(folder, &way.name)) {
            sheets.push(Sheet { stage: stages[place].name.clone(), nfe: steps, png });
        }
    }
    summary.stage_order = stages.iter().map(|stage| stage.name.clone()).collect();
    summary.stages = stages;
    summary.seconds = seconds;
    summary.timings = vec![("all of it".into(), seconds)];
    summary.peak_memory_mb = peak_memory_mb();
    summary.commands = found.iter().map(|way| way.command.clone()).collect();
    let title = format!("{}: {}", summary.name, found[best].name);
    let features = summary.evaluator.clone();
    let page = Report { title, summary, recipes, curves, sheets }.save(folder)?;
    let report = FastReport { nfe, features, samples, floor, many, candidates: found, best, seconds, page };
    super::write(&folder.join("report.json"), &report)?;
    context.go_on()?;
    Ok(report)
}
