//! `diagnose`: where a checkpoint's flow bends, stiffens and loses accuracy along time, and how its training pairs cross.

use crate::{
    Error, Model, Start,
    codec::through,
    context::{Context, Event},
    memory,
    model::which,
    report::{
        panels::{Panel, page},
        plot::{self, Labels, Series, Style},
    },
    sampling::{Classes, noise},
};
use base::{Condition, Key, RandomStream, Tensor};
use data::{
    Loader, LoaderConfig, Points, Split,
    pairs::{PairLoader, PairStore},
};
use flow::{Ends, Field, ScheduleConfig, Solver, coupling::Draw, diagnostics, guidance::GuidanceConfig};
use kernels::Precision;
use plotters::style::RGBColor;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{Batch, PointSource, Source};

/// What is to be diagnosed, and how closely.
#[derive(Clone, Debug)]
pub struct DiagnoseRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// Weights to use: a decay or `raw`.
    pub ema: Option<String>,
    /// Samples, at least 1.
    pub samples: usize,
    /// Times at which figures are taken, at least 1.
    pub steps: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Classifier-free guidance; 1 is none.
    pub guidance: f64,
    /// The pair store a student was trained on; the one beside its checkpoint by default.
    pub pairs: Option<PathBuf>,
    /// Where `diagnose.html` and `diagnose.json` go; the run's folder by default.
    pub output: Option<PathBuf>,
}

/// What was found. Distances are sums over the values of a sample, means over samples.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// "base", "reflow" or "distill".
    pub stage: String,
    /// What it was trained on.
    pub data: String,
    /// Samples measured.
    pub samples: usize,
    /// Straightness `S` of the flow.
    pub straightness: f64,
    /// `E|Z1 - Z0|²`.
    pub transport_cost: f64,
    /// `E|one step - full solution|²`.
    pub one_step_distance: f64,
    /// Crossing `V` of the training pairs; absent where they are not at hand.
    pub crossing: Option<f64>,
    /// `E|X1 - X0|²` of the training pairs.
    pub pair_cost: Option<f64>,
    /// `(S + V)/(pair cost - transport cost) - 1`: zero for the exact velocity of these pairs on the linear path, and only
    /// given there; its size says how far the network is from it.
    pub imbalance: Option<f64>,
    /// Why something is absent.
    pub note: Option<String>,
    /// Figures along time.
    pub profile: diagnostics::Profile,
    /// `E|dx_t/dt - v(x_t, t)|²` of the training pairs at the same times.
    pub crossing_along: Vec<f64>,
    /// The page.
    pub page: PathBuf,
}

/// Euler steps that straightness is measured with.
const FINE: usize = 50;

/// Measures, writes `diagnose.html` and `diagnose.json`, and returns the figures.
///
/// # Errors
/// A checkpoint that cannot be read, settings out of range, numbers that run away, a folder that cannot be written.
pub fn diagnose(request: &DiagnoseRequest, context: &mut Context) -> Result<Diagnosis, Error> {
    if request.samples == 0 {
        return Err(Error::Usage("--num 0: diagnose at least one sample".into()));
    }
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    memory::check_samples(request.samples as u64, model.subject.shape)?;
    let schedule = ScheduleConfig::Uniform {}.build(request.steps)?;
    let field =
        model.field(&GuidanceConfig { scale: request.guidance, ..GuidanceConfig::default() }, Precision::F32)?;
    let device = context.device.device.clone();
    let indices: Vec<u64> = (0..request.samples as u64).collect();
    let starts = Start::held_out(&model.recipe, model.subject.shape)?;
    let condition = model.condition(&Classes::all(&model)?, &indices, &device)?;
    let x0 = starts.points(noise(request.seed), &indices, &model.recipe.path, &device)?;

    context.tell(Event::Begin { what: "parts", total: 3 });
    let fine = ScheduleConfig::Uniform {}.build(FINE)?;
    let solved = diagnostics::straightness(&field, x0.clone(), &condition, &Solver::Euler {}, &fine)?;
    let cost = diagnostics::transport_cost(&x0, &solved.x, 2.0)?;
    let once = ScheduleConfig::Uniform {}.build(1)?;
    let lost = diagnostics::step_error(&field, x0.clone(), &condition, &Solver::Euler {}, &once, &solved.x)?;
    context.tell(Event::Advance { done: 1 });
    context.go_on()?;
    let profile = diagnostics::profile(&field, x0, &condition, &Solver::Euler {}, &schedule, request.seed)?;
    context.tell(Event::Advance { done: 2 });
    context.go_on()?;
    let pairs = training_pairs(&model, request, &device, context)?;
    let mut found = Diagnosis {
        checkpoint: model.file.clone(),
        stage: model.subject.stage.clone(),
        data: model.subject.data.clone(),
        samples: request.samples,
        straightness: diagnostics::mean(&solved.per_sample),
        transport_cost: diagnostics::mean(&cost),
        one_step_distance: diagnostics::mean(&lost),
        crossing: None,
        pair_cost: None,
        imbalance: None,
        note: None,
        profile,
        crossing_along: Vec::new(),
        page: PathBuf::new(),
    };
    match pairs {
        Ok(pairs) => found.cross(&model, &field, &pairs, request.steps)?,
        Err(why) => found.note = Some(why),
    }
    context.tell(Event::Advance { done: 3 });
    context.tell(Event::End);
    let folder = request.output.clone().unwrap_or_else(|| run_of(&model.file));
    found.save(&folder)?;
    Ok(found)
}

/// The run's folder: checkpoints lie in a folder of their own inside it.
fn run_of(file: &Path) -> PathBuf {
    let inside = file.parent().unwrap_or(Path::new("."));
    let run = inside.parent().filter(|run| train::RunDir::at(run).recipe().is_file());
    run.unwrap_or(inside).to_path_buf()
}

/// Coupled ends with their condition.
struct Pairs {
    x0: Tensor<2>,
    x1: Tensor<2>,
    condition: Condition,
}

/// The first pairs the model was trained on, or why there are none.
fn training_pairs(
    model: &Model,
    request: &DiagnoseRequest,
    device: &base::Device,
    context: &mut Context,
) -> Result<Result<Pairs, String>, Error> {
    let (recipe, count) = (&model.recipe, request.samples);
    let needs = recipe.needs_pairs();
    let batch: Batch = if needs || request.pairs.is_some() {
        let store = request.pairs.clone().unwrap_or_else(|| run_of(&model.file).join("pairs"));
        if !store.is_dir() {
            let why = "the pairs it was trained on are not beside it: name them with --pairs to measure their crossing";
            return Ok(Err(why.into()));
        }
        let store = Arc::new(PairStore::open(&store)?);
        let mut loader = PairLoader::new(store.clone(), &LoaderConfig::once(count.min(store.len())), 0)?;
        match loader.next().transpose()? {
            Some(batch) => batch.into(),
            None => return Ok(Err("its pair store is empty".into())),
        }
    } else if let Some(points) = recipe.data.name.as_deref().and_then(Points::named) {
        PointSource::new(points, count, recipe.seed).next()?
    } else {
        let dataset = match data::open(&recipe.data) {
            Ok(dataset) => dataset,
            Err(error) => return Ok(Err(format!("its data are not here: {error}"))),
        };
        let dataset = through(dataset, model.codec.as_deref(), context)?;
        let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(count.min(dataset.len())), 0)?;
        match loader.next().transpose()? {
            Some(batch) => batch.into(),
            None => return Ok(Err("its data set is empty".into())),
        }
    };
    if batch.shape != model.subject.shape {
        return Err(Error::Usage(format!(
            "the pairs have shape {} but the model {}: they belong to another model",
            batch.shape, model.subject.shape
        )));
    }
    let tensor = |values: &[f32]| batch.rows(values, device);
    let classes = Some(batch.classes.as_slice()).filter(|classes| !classes.is_empty() && model.classes() > 0);
    let captions = batch.captions.as_slice();
    let condition = |classes: &[i64], captions: &[Option<String>]| model.condition_of(classes, captions, device);
    if let Some(x0) = &batch.x0 {
        let (x0, x1) = (tensor(x0), tensor(&batch.x1));
        return Ok(Ok(Pairs { x0, x1, condition: condition(classes.unwrap_or_default(), captions)? }));
    }
    let key = Key::of(request.seed, RandomStream::DiagnoseNoise);
    let x0 = Start::of(recipe, model.subject.shape, Split::Train)?.points(key, &batch.indices, &recipe.path, device)?;
    let x1 = tensor(&batch.x1);
    let pairing = recipe.coupling.pair(&x0, &x1, &Draw::new(recipe.seed, &batch.indices).with_classes(classes))?;
    let classes: Vec<i64> = classes.map_or(Vec::new(), |all| pairing.data.iter().map(|row| all[*row]).collect());
    let captions: Vec<_> = pairing.data.iter().filter_map(|row| captions.get(*row).cloned()).collect();
    let condition = condition(&classes, &captions)?;
    Ok(Ok(Pairs { x0: pairing.apply(x0), x1: pairing.apply_data(x1), condition }))
}

impl Diagnosis {
    fn cross(&mut self, model: &Model, field: &dyn Field<2>, pairs: &Pairs, points: usize) -> Result<(), Error> {
        let Pairs { x0, x1, condition } = pairs;
        let path = &model.recipe.path;
        let rows: Vec<u64> = (0..x0.dims()[0] as u64).collect();
        let latent = Key::of(model.recipe.seed, RandomStream::DiagnoseLatent);
        let z = model.recipe.objective().latent(latent, &rows, x1);
        let mut total = 0.0;
        for i in 0..points {
            let t = (i as f64 + 0.5) / points as f64;
            let ends = Ends { x0: x0.clone(), x1: x1.clone(), z: z.clone() };
            let gaps = diagnostics::crossing_at(field, path, ends, condition, t)?;
            self.crossing_along.push(diagnostics::mean(&gaps));
            total += diagnostics::mean(&gaps) / points as f64;
        }
        let cost = diagnostics::mean(&diagnostics::transport_cost(x0, x1, 2.0)?);
        self.crossing = Some(total);
        self.pair_cost = Some(cost);
        if *path == (flow::Path::Linear {}) {
            let ledger = diagnostics::Ledger {
                cost_before: cost,
                cost_after: self.transport_cost,
                straightness: self.straightness,
                crossing: total,
            };
            self.imbalance = Some(ledger.imbalance()).filter(|v| v.is_finite());
        }
        Ok(())
    }

    fn save(&mut self, folder: &Path) -> Result<(), Error> {
        self.page = folder.join("diagnose.html");
        let json = serde_json::to_string_pretty(self)
            // A folder whose name is no text is one reason.
            .map_err(|error| Error::Failure(format!("{}: cannot be written as JSON: {error}", folder.display())))?;
        media::atomic::write(&folder.join("diagnose.json"), json.as_bytes())?;
        let title = format!("{}: the flow along time", self.stage);
        media::atomic::write(&self.page, page(&title, &self.table(), &self.panels()).as_bytes())?;
        Ok(())
    }

    fn panels(&self) -> Vec<Panel> {
        let along = |values: &[f64]| self.profile.t.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>();
        let middles = |values: &[f64]| {
            let n = values.len() as f64;
            values.iter().enumerate().map(|(i, v)| ((i as f64 + 0.5) / n, *v)).collect::<Vec<_>>()
        };
        let p = &self.profile;
        let drawings = [
            ("Speed |v|", along(&p.speed), RGBColor(91, 108, 240), "Root mean square over samples."),
            (
                "Curvature |dv/dt + (∇v)v|",
                along(&p.curvature),
                RGBColor(225, 96, 64),
                "Acceleration along trajectories; a straight flow has none.",
            ),
            (
                "Lipschitz constant of v(·, t)",
                along(&p.lipschitz),
                RGBColor(26, 158, 119),
                "A lower estimate, mean over samples: where it is large, neighbours part and errors grow.",
            ),
            (
                "Local truncation error",
                along(&p.truncation),
                RGBColor(176, 84, 190),
                "One Euler step against two half steps: where it is large, steps belong.",
            ),
            (
                "Crossing of the training pairs",
                middles(&self.crossing_along),
                RGBColor(204, 140, 20),
                "E|dx/dt - v|²: what no network can remove, and what reflow does.",
            ),
        ];
        let panel = |(heading, points, color, text): (&str, Vec<(f64, f64)>, RGBColor, &str)| {
            let series = Series { label: String::new(), color, points, style: Style::Dotted };
            let svg = plot::linear(&[series], Labels { x: "t (0 noise, 1 data)", y: "" }, false)?;
            Some(Panel { heading: heading.into(), text: text.into(), body: svg })
        };
        drawings.into_iter().filter_map(panel).collect()
    }

    /// The figures as text, with a row for each time.
    pub fn table(&self) -> String {
        let optional = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.4}"));
        let mut text = format!(
            "straightness S      {:.4}\ntransport cost      {:.4}\none step to full    {:.4}\ncrossing V          {}\npair \
             cost           {}\nledger imbalance    {}\n",
            self.straightness,
            self.transport_cost,
            self.one_step_distance,
            optional(self.crossing),
            optional(self.pair_cost),
            self.imbalance.map_or("–".into(), |v| format!("{:+.1} %", 100.0 * v)),
        );
        if let Some(note) = &self.note {
            text += &format!("note: {note}\n");
        }
        text += "\n     t      speed  curvature  Lipschitz  truncation   crossing\n";
        let p = &self.profile;
        for (i, t) in p.t.iter().enumerate() {
            let crossing = self.crossing_along.get(i).map_or("–".into(), |v| format!("{v:.4}"));
            text += &format!(
                "{t:>6.3} {:>10.4} {:>10.4} {:>10.4} {:>11.5} {crossing:>10}\n",
                p.speed[i], p.curvature[i], p.lipschitz[i], p.truncation[i]
            );
        }
        text
    }
}
