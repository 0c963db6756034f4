//! `train`, and the runner of every training stage: a folder, a lock, logs, sample sheets, checkpoints, resume.

use crate::{
    Error, Recipe,
    context::{Context, Event},
    guided::GuidedTask,
    memory::Need,
    model::{Subject, find},
    recipe::SampleConfig,
};
use ::train::{
    Batch, ImageSource, Outcome, RunDir, Setup, Source, Task, TrainError,
    checkpoint::{Checkpoint, Folder},
    log::{EventFile, Stats},
};
use base::Network;
use data::{Dataset, Loader, LoaderConfig, Split};
use flow::PathField;
use media::{Grid, Images};
use methods::GuideConfig;
use nets::{Net, Precise};
use serde::Serialize;
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a run continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The newest readable checkpoint; from the start where there is none.
    Latest,
    /// This checkpoint.
    File(PathBuf),
}

impl Resume {
    /// `latest` or a file.
    pub fn parse(text: &str) -> Self {
        if text == "latest" { Self::Latest } else { Self::File(text.into()) }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The run's folder.
    pub folder: PathBuf,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Training images seen.
    pub images: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Numbers in the network.
    pub parameters: u64,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

/// Trains a base model.
///
/// ```no_run
/// use rectiflow::{Context, Recipe, verbs::train};
/// let recipe = Recipe::parse("[train]\nimages = 20000\n", "example")?;
/// let report = train::train(&recipe, "runs/example".as_ref(), None, &mut Context::silent())?;
/// println!("{} images, {}", report.images, report.checkpoint.display());
/// # Ok::<(), rectiflow::Error>(())
/// ```
///
/// # Errors
/// A recipe, data or folder that cannot be used, numbers that run away, a full disk: each says what to do.
pub fn train(
    recipe: &Recipe,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<TrainReport, Error> {
    check(recipe)?;
    if let Some(points) = recipe.data.name.as_deref().and_then(data::Points::named) {
        let name = points.name();
        return Err(Error::Usage(format!("`{name}` is a point set in the plane: use `rectiflow toy --data {name}`")));
    }
    let dataset = data::open(&recipe.data)?;
    let loader = LoaderConfig {
        batch: recipe.train.micro_batch(),
        seed: recipe.seed,
        flip: recipe.data.flip,
        ..LoaderConfig::default()
    };
    let subject = Subject {
        stage: "base".into(),
        shape: dataset.shape(),
        classes: dataset.class_names().to_vec(),
        data: dataset.name().to_string(),
    };
    Loader::new(dataset.clone(), &loader, 0)?; // refuses a batch larger than the data before anything is written
    let mut source = ImageSource::new(dataset, loader);
    let validation = match recipe.train.validate_every {
        0 => None,
        _ => held_out(&data::open(&recipe.data.with_split(Split::Test))?, recipe.train.validation_samples)?,
    };
    let job = Job { recipe, subject, source: &mut source, validation, start: None, guide: None, folder, resume };
    job.run(context)
}

/// Refuses recipes that `train` cannot follow.
///
/// # Errors
/// [`Error::Usage`].
pub fn check(recipe: &Recipe) -> Result<(), Error> {
    recipe.check()?;
    if recipe.needs_pairs() {
        let remedy = "use the verb `reflow` or `distill`";
        return Err(Error::Usage(format!(
            "`coupling = {{ type = \"{}\" }}` trains on a teacher's pairs: {remedy}",
            recipe.coupling.name()
        )));
    }
    Ok(())
}

/// The first `count` samples in order: what validation watches. `None` where there are none.
fn held_out(dataset: &Arc<dyn Dataset>, count: usize) -> Result<Option<Batch>, Error> {
    let count = count.min(dataset.len());
    if count == 0 {
        return Ok(None);
    }
    let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(count), 0)?;
    Ok(loader.next().transpose()?.map(Batch::from))
}

/// One stage, ready to run.
pub(crate) struct Job<'a> {
    pub recipe: &'a Recipe,
    pub subject: Subject,
    pub source: &'a mut dyn Source,
    pub validation: Option<Batch>,
    /// First weights; fresh ones without.
    pub start: Option<Net>,
    /// A teacher that guides the training, and how.
    pub guide: Option<(GuideConfig, Net)>,
    pub folder: &'a Path,
    pub resume: Option<Resume>,
}

impl Job<'_> {
    pub fn run(self, context: &mut Context) -> Result<TrainReport, Error> {
        let Self { recipe, subject, source, validation, start, guide, folder, resume } = self;
        let device = context.device.device.clone();
        let classes = subject.classes.len();
        // Before anything is written: a network that does not fit the data or the machine, a folder that holds another run.
        let need = Need::of(recipe, subject.shape, classes)?;
        if context.device.name == "cpu" {
            need.check()?;
        }
        let checkpoint = starting_point(folder, resume.as_ref())?;
        let net = match start {
            Some(net) => net,
            None => recipe.network.init(recipe.seed, subject.shape, classes, &device)?,
        };
        let run = RunDir::create(folder)?;
        let _lock = run.lock()?;
        run.write(&run.recipe(), &recipe.to_toml())?;
        let config = &recipe.train;
        let task: Box<dyn Task> = match guide {
            Some((guide, teacher)) => Box::new(GuidedTask { flow: recipe.task(classes), guide, teacher }),
            None => Box::new(recipe.task(classes)),
        };
        let images = checkpoint.as_ref().map_or(0, |found| found.meta().images);
        let setup = Setup {
            config,
            task: &*task,
            source,
            validation: validation.as_ref(),
            seed: recipe.seed,
            recipe: recipe.to_toml(),
            extra: subject.to_extra(),
            checkpoints: Some(Folder::create(run.checkpoints())?),
            stop: context.stop.clone(),
        };
        context.tell(Event::Stage { name: &subject.stage });
        let mut stats = Stats::open(run.stats(), images)?;
        let mut events = EventFile::create(run.path())?;
        let mut sheets = Sheets { recipe, subject: &subject, run: &run, device: device.clone() };
        let mut observer = |event: &::train::Event<'_>| {
            use ::train::Observer;
            // Both files and the sheet are told before the listener, which may print that they exist.
            let _ = stats.event(event)?; // they never ask to stop
            let _ = events.event(event)?;
            if let ::train::Event::Samples { images, network } = event {
                sheets.draw(*images, *network)?;
            }
            context.tell(Event::Train(event));
            Ok(ControlFlow::Continue(()))
        };
        let outcome = match checkpoint {
            Some(from) => ::train::resume(net, from, setup, &mut observer)?,
            None => ::train::train(net, setup, &mut observer)?,
        };
        report(outcome, folder)
    }
}

fn report(outcome: Outcome<Net>, folder: &Path) -> Result<TrainReport, Error> {
    let Outcome { state, stopped, checkpoint } = outcome;
    let nothing = || Error::Failure(format!("{}: training ended without a checkpoint", folder.display()));
    Ok(TrainReport {
        folder: folder.into(),
        checkpoint: checkpoint.ok_or_else(nothing)?,
        images: state.images,
        seconds: state.seconds,
        parameters: state.parameters(),
        stopped,
    })
}

/// The checkpoint to continue from; a folder that already holds a run is not overwritten.
fn starting_point(folder: &Path, resume: Option<&Resume>) -> Result<Option<Checkpoint>, Error> {
    let run = Folder::at(RunDir::at(folder).checkpoints());
    match resume {
        Some(Resume::File(file)) => find(file).map(Some),
        Some(Resume::Latest) => Ok(run.latest()?.map(|found| found.checkpoint)),
        None if run.list()?.is_empty() => Ok(None),
        None => Err(Error::Usage(format!(
            "{} already holds a run: continue it with --resume latest, or choose another --output-dir",
            folder.display()
        ))),
    }
}

/// Sample sheets of fixed noise and classes while training.
struct Sheets<'a> {
    recipe: &'a Recipe,
    subject: &'a Subject,
    run: &'a RunDir,
    device: base::Device,
}

const SHEET: u64 = 64;

impl Sheets<'_> {
    fn draw(&mut self, images: u64, network: &dyn Network<4>) -> Result<(), TrainError> {
        let wrong = |error: &dyn std::fmt::Display| TrainError::Objective(format!("sample sheet: {error}"));
        let SampleConfig { steps, solver, schedule, path, precision, .. } = &self.recipe.sample;
        let [c, h, w] = self.subject.shape;
        let network = Precise { network, precision: *precision };
        let field = PathField::new(&network, self.recipe.path.clone(), self.recipe.parameterization)
            .independent(self.recipe.pairs_are_independent());
        let indices: Vec<u64> = (0..SHEET).collect();
        let classes = self.subject.classes.len() as u64;
        let asked: Vec<i64> =
            indices.iter().map(|i| if classes == 0 { base::NULL_CLASS } else { (i % classes) as i64 }).collect();
        let condition = methods::Labels::condition(&asked, &self.device);
        let noise = crate::sampling::noise(self.recipe.seed).normal_tensor(&indices, [0, c, h, w], &self.device);
        let x0 = crate::sampling::start(path.as_ref().unwrap_or(&self.recipe.path), noise);
        let grid = schedule.build(*steps).map_err(|error| wrong(&error))?;
        let field = crate::sampling::along(field, &self.recipe.path, path.as_ref()).map_err(|error| wrong(&error))?;
        let paths = crate::sampling::paths(self.recipe.seed, &indices);
        let end = flow::solve_with(&*field, x0, &condition, solver, &grid, &paths, None);
        let end = end.map_err(|error| wrong(&error))?.x;
        let values = crate::sampling::host(end).map_err(|error| wrong(&error))?;
        let sheet = Images::new(values, indices.len(), [c, h, w]).map_err(|error| wrong(&error))?;
        let path = self.run.samples().join(format!("{images:012}.png"));
        let text = format!("Steps: {steps}, Sampler: {}, Seed: {}, Images: {images}", solver.name(), self.recipe.seed);
        media::png::save(&path, &Grid::default().draw(&sheet), &[("parameters", &text)]).map_err(|error| wrong(&error))
    }
}
