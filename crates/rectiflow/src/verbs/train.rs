//! `train`, and the runner of every training stage: a folder, a lock, logs, sample sheets, checkpoints, resume.

use crate::{
    Error, Recipe, Start,
    codec::{Codec, gauge_of, raw, through},
    context::{Context, Event},
    memory::Need,
    model::{Subject, find},
    pictures,
    sampling::Classes,
    sheets::{SHEET, Sheets},
    sound, symmetry,
    taught::{TaughtTask, Teacher},
    verbs::data::DataRecord,
    words::{Captioned, Words, captions},
};
use ::train::{
    Batch, ImageSource, Outcome, RunDir, Setup, Source, Task, TransferSource,
    checkpoint::{Checkpoint, Folder},
    log::{EventFile, Stats},
};
use burn::module::Module;
use data::{Dataset, Loader, LoaderConfig, Split};
use flow::{Gauge, Premetric};
use methods::Target;
use nets::Net;
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
    with_job(recipe, folder, resume, context, |job, context| job.run(context))
}

/// Makes every check that [`train`] makes before its first step, and changes nothing.
///
/// # Errors
/// Those of [`train`].
pub fn rehearse(recipe: &Recipe, folder: &Path, resume: Option<Resume>, context: &mut Context) -> Result<(), Error> {
    with_job(recipe, folder, resume, context, |job, context| job.check(context).map(drop))
}

fn with_job<T>(
    recipe: &Recipe,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
    then: impl FnOnce(Job, &mut Context) -> Result<T, Error>,
) -> Result<T, Error> {
    check(recipe)?;
    if let Some(points) = recipe.data.name.as_deref().and_then(data::Points::named) {
        let name = points.name();
        return Err(Error::Usage(format!("`{name}` is a point set in the plane: use `rectiflow toy --data {name}`")));
    }
    if recipe.sound.is_some() {
        let words = Words::of(recipe)?;
        let (subject, stream, asked) = sound::stage(recipe, words.as_ref(), SHEET as usize)?;
        let Stream { mut source, validation, data } = stream;
        let plain = Job::new(recipe, subject, &mut *source, folder, resume);
        return then(Job { validation, words, asked, data: Some(data), ..plain }, context);
    }
    let codec = Codec::of(recipe, Some(folder), &context.device)?;
    let dataset = raw(&recipe.data, codec.as_deref(), context)?;
    let dataset = through(dataset, codec.as_deref(), context)?;
    let start = Start::of(recipe, dataset.shape(), Split::Train)?;
    let subject = Subject::base(recipe, &*dataset, &start, codec.as_deref());
    symmetry::warn(recipe, &*dataset, context)?;
    let words = Words::of(recipe)?;
    let asked = match &words {
        Some(_) => Classes::prompts(captions(&*dataset)?.into_iter().take(SHEET as usize).collect()),
        None => Classes::first(subject.classes.len()),
    };
    let Stream { mut source, validation, data } =
        stream(recipe, dataset, &start, words.as_ref(), codec.as_deref(), context)?;
    let premetric = crate::perceptual::of(recipe, subject.shape, &context.device)?;
    let gauge = gauge_of(recipe, codec.as_ref(), &context.device)?;
    let plain = Job::new(recipe, subject, &mut *source, folder, resume);
    then(Job { validation, premetric, gauge, words, codec, asked, data: Some(data), ..plain }, context)
}

/// What a stage learns from.
pub(crate) struct Stream {
    pub source: Box<dyn Source>,
    /// What validation watches; `None` where it is off or nothing is kept apart.
    pub validation: Option<Batch>,
    pub data: DataRecord,
}

/// The batches of `dataset`, those of a second data set to start from beside them where `start` is one, and what validation
/// watches.
///
/// # Errors
/// A batch larger than the data, before anything is written.
pub(crate) fn stream(
    recipe: &Recipe,
    dataset: Arc<dyn Dataset>,
    start: &Start,
    words: Option<&Arc<Words>>,
    codec: Option<&Codec>,
    context: &mut Context,
) -> Result<Stream, Error> {
    let (batch, flip) = (recipe.train.micro_batch(), recipe.data.flip);
    let loader = LoaderConfig { batch, flip, seed: recipe.seed, ..LoaderConfig::default() };
    let shape = dataset.shape();
    Loader::new(dataset.clone(), &loader, 0)?;
    let mut data = DataRecord::of(&*dataset);
    if let Some(from) = start.dataset() {
        data.not_used(from.left_out());
    }
    let source: Box<dyn Source> = match start {
        // Points of a file are for sampling; training draws its own.
        Start::Noise { .. } | Start::Given { .. } => Box::new(ImageSource::new(dataset, loader)),
        Start::Data { dataset: from, flip } => {
            let order = LoaderConfig { flip: *flip, ..loader.clone() };
            Loader::new(from.clone(), &order, 0)?;
            Box::new(TransferSource::new((from.clone(), order), (dataset, loader)))
        }
    };
    let validation = match recipe.train.validate_every {
        0 => None,
        _ => {
            let starts = Start::held_out(recipe, shape)?;
            let test = match codec {
                Some(codec) => codec.recipe.codec.open_test(&recipe.data, context)?,
                None => ::data::open_test(&recipe.data)?,
            };
            match test {
                None => None,
                Some(::data::TestPart { set: test, .. }) => {
                    data.held_out = test.len();
                    data.not_used(test.left_out());
                    let test = through(test, codec, context)?;
                    held_out(&test, starts.dataset(), recipe.train.validation_samples)?
                }
            }
        }
    };
    data.unwatched = recipe.train.validate_every > 0 && validation.is_none();
    let validation = validation.map(|batch| Captioned::read(batch, words)).transpose()?;
    Ok(Stream { source: Captioned::new(source, words), validation, data })
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
    if recipe.target.needs_teacher() {
        let name = recipe.target.name();
        return Err(Error::Usage(format!(
            "`target = {{ type = \"{name}\" }}` follows a teacher: use the verb `distill`"
        )));
    }
    if recipe.second.is_some() {
        let why = "`second` trains two networks to be read together, which only the verb `toy` does";
        return Err(Error::Usage(why.into()));
    }
    if recipe.lora.is_some() {
        return Err(Error::Usage(
            "`lora` corrects a teacher's weights, and `train` starts from none: use the verb `reflow` or `distill`"
                .into(),
        ));
    }
    Ok(())
}

/// The first `count` samples in order, beside samples of `start` in an order of their own: what validation watches. `None`
/// where there are none.
fn held_out(
    dataset: &Arc<dyn Dataset>,
    start: Option<&Arc<dyn Dataset>>,
    count: usize,
) -> Result<Option<Batch>, Error> {
    let count = start.map_or(count, |start| count.min(start.len())).min(dataset.len());
    if count == 0 {
        return Ok(None);
    }
    let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(count), 0)?;
    let Some(batch) = loader.next().transpose()?.map(Batch::from) else { return Ok(None) };
    let Some(start) = start else { return Ok(Some(batch)) };
    let shuffled = LoaderConfig { shuffle: true, ..LoaderConfig::once(count) };
    let from = Loader::new(start.clone(), &shuffled, 0)?.next().transpose()?;
    Ok(from.map(|from| Batch { x0: Some(from.rows), ..batch }))
}

/// One stage, ready to run.
pub(crate) struct Job<'a> {
    pub recipe: &'a Recipe,
    pub subject: Subject,
    pub source: &'a mut dyn Source,
    pub validation: Option<Batch>,
    /// First weights; fresh ones without.
    pub start: Option<Net>,
    /// A teacher whose flow the target rule follows.
    pub teacher: Option<Teacher>,
    /// The distance that the recipe's `perceptual` weighs.
    pub premetric: Option<Box<dyn Premetric<2>>>,
    /// What the loss looks through, where the recipe's `latents` say so.
    pub gauge: Option<Box<dyn Gauge<2>>>,
    /// Who reads prompts, and what sample sheets ask for.
    pub words: Option<Arc<Words>>,
    /// What decodes samples, where the flow moves latents.
    pub codec: Option<Arc<Codec>>,
    pub asked: Classes,
    pub folder: &'a Path,
    pub resume: Option<Resume>,
    /// What is told and kept of the data; `None` for stored pairs and points.
    pub data: Option<DataRecord>,
}

/// What a stage is about to start with.
pub(crate) struct Ready {
    checkpoint: Option<Checkpoint>,
    net: Net,
    starts: Start,
}

impl<'a> Job<'a> {
    /// A stage that learns from `source` alone: fresh weights, no teacher, no words, nothing to validate with.
    pub fn new(
        recipe: &'a Recipe,
        subject: Subject,
        source: &'a mut dyn Source,
        folder: &'a Path,
        resume: Option<Resume>,
    ) -> Self {
        let (validation, start, teacher, premetric, gauge, words, codec, data) = Default::default();
        let asked = Classes::None;
        Self {
            recipe,
            subject,
            source,
            validation,
            start,
            teacher,
            premetric,
            gauge,
            words,
            codec,
            asked,
            folder,
            resume,
            data,
        }
    }
}

impl Job<'_> {
    /// All that can be refused before anything is written: a network that does not fit the data or the machine, a folder that
    /// holds another run or cannot be written.
    pub fn check(&self, context: &Context) -> Result<Ready, Error> {
        let Self { recipe, subject, start, folder, resume, .. } = self;
        let drawn = self.codec.as_ref().map_or(subject.shape, |codec| codec.drawn());
        if let (true, Err(error)) = (recipe.train.sample_every > 0, pictures::shape(drawn)) {
            return Err(Error::Usage(format!("sample sheets are pictures, and {error}; set train.sample_every = 0")));
        }
        let need = Need::of(recipe, subject.shape, subject.classes.len())?;
        if context.device.name == "cpu" {
            need.check()?;
        }
        RunDir::check(folder)?;
        let checkpoint = starting_point(folder, resume.as_ref())?;
        let net = match start {
            Some(net) => net.clone(),
            None => {
                let classes = recipe.rows(subject.classes.len());
                recipe.network.init(recipe.seed, subject.shape, classes, &context.device.device)?
            }
        };
        let starts = match recipe.train.sample_every {
            0 => Start::Noise { shape: subject.shape }, // no sheet will ask
            _ => Start::held_out(recipe, subject.shape)?,
        };
        Ok(Ready { checkpoint, net, starts })
    }

    pub fn run(self, context: &mut Context) -> Result<TrainReport, Error> {
        let Ready { checkpoint, net, starts } = self.check(context)?;
        let Self { recipe, subject, source, validation, teacher, premetric, gauge, .. } = self;
        let Self { words, codec, asked, folder, data, .. } = self;
        let device = context.device.device.clone();
        let classes = subject.classes.len();
        if let Some(data) = &data {
            data.lines().iter().for_each(|line| context.note(line));
        }
        let is_new = !folder.exists();
        let run = RunDir::create(folder)?;
        let mut lock = run.hold()?;
        let config = &recipe.train;
        let flow = recipe.task(classes);
        let (target, reaching) = (recipe.target.clone(), recipe.network.reaches());
        let task: Box<dyn Task<Net>> = match (&target, &premetric, &gauge) {
            (Target::Path, None, None) => Box::new(flow),
            _ => Box::new(TaughtTask { flow, target, teacher, premetric, gauge, reaching }),
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
        // Opened at the first event: until then a run may be refused, and a refused command changes no file.
        let mut logs: Option<(Stats, EventFile)> = None;
        let mut log_failed = false;
        let shape = subject.shape;
        let mut sheets = Sheets { recipe, shape, starts, words, codec, asked, run: &run, device: device.clone() };
        let mut observer = |event: &::train::Event<'_>| {
            use ::train::Observer;
            let (stats, events) = match &mut logs {
                Some(logs) => logs,
                None => {
                    lock.sign()?;
                    run.write(&run.recipe(), &recipe.to_toml())?;
                    if let Some(data) = &data {
                        run.write(&run.data(), &data.to_json())?;
                    }
                    logs.insert((Stats::open(run.stats(), images)?, EventFile::create(run.path())?))
                }
            };
            // Both files and the sheet are told before the listener, which may print that they exist. They never ask to stop,
            // and a full disk under them does not stop training: what cannot be lost is in the checkpoints.
            let told = [stats.event(event).err(), events.event(event).err()];
            if let Some(error) = told.into_iter().flatten().next().filter(|_| !log_failed) {
                log_failed = true;
                context.note(format!("warning: {error}; training goes on without that log"));
            }
            if let ::train::Event::Samples { images, network } = event {
                sheets.draw(*images, *network)?;
            }
            context.tell(Event::Train(event));
            Ok(ControlFlow::Continue(()))
        };
        let net = match &recipe.lora {
            None => Ok(net),
            Some(lora) => lora.init(net, recipe.seed, &device).map_err(Error::from),
        };
        let outcome = net.and_then(|net| match checkpoint {
            Some(from) => ::train::resume(net, from, setup, &mut observer).map_err(Error::from),
            None => ::train::train(net, setup, &mut observer).map_err(Error::from),
        });
        if outcome.is_err() && logs.is_none() && is_new {
            run.abandon();
        }
        report(outcome?, folder)
    }
}

pub(crate) fn report<M: Module>(outcome: Outcome<M>, folder: &Path) -> Result<TrainReport, Error> {
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

/// Refuses a folder where a run cannot be, or that holds another one.
///
/// # Errors
/// [`Error::Usage`] or what the system says.
pub fn place(folder: &Path, resume: Option<&Resume>) -> Result<(), Error> {
    RunDir::check(folder)?;
    starting_point(folder, resume).map(drop)
}

/// The checkpoint to continue from; a folder that already holds a run is not overwritten.
pub(crate) fn starting_point(folder: &Path, resume: Option<&Resume>) -> Result<Option<Checkpoint>, Error> {
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
