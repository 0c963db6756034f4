//! `reflow`, `distill` and `one-more-step`: from a teacher, by way of its pairs or of its data, to a student.

use crate::{
    Error, Model, Recipe, Start,
    codec::{Beside, Mixtures, gauge_of, raw, readable, through},
    context::Context,
    model::Subject,
    one_more_step,
    pairs::{self, PairsReport},
    recipe::Layers,
    release::{self, Beneath, beneath},
    released::adapter,
    runs::starting_point,
    sampling::Classes,
    sight::Pictured,
    sound::Part,
    stage::{DataRecord, Job, Lineage, Resume, Stream, Terms, TrainReport, place, stream},
    taught::Teacher,
    words::{Captioned, captions},
};
use data::{
    Dataset, Loader, LoaderConfig, Split,
    pairs::{PairLoader, PairStore},
};
use flow::{ScheduleConfig, Solver, guidance::GuidanceConfig};
use methods::{OneMoreStep, Target};
use nets::Net;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{PairSource, Source};

/// What a student learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The whole straightened flow.
    Reflow,
    /// The few steps that will be taken.
    Distill,
    /// The step before the first, for paths that leave signal at their noisy end.
    OneMoreStep,
}

impl Method {
    /// Name of stage and recipe table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflow => "reflow",
            Self::Distill => "distill",
            Self::OneMoreStep => one_more_step::STAGE,
        }
    }

    /// The student's complete recipe: the teacher's, under `layers`.
    ///
    /// # Errors
    /// Keys a student cannot choose; a teacher that this method cannot use.
    pub fn recipe(self, teacher: &Model, layers: impl Fn(Layers) -> Result<Layers, Error>) -> Result<Recipe, Error> {
        let mut below = Layers::new().recipe(&teacher.recipe);
        if teacher.is_released() {
            // Its levels are those of pictures of the student's size.
            let size = layers(below.clone())?.unchecked()?.data.size;
            below = Layers::new().recipe(&release::recipe(&teacher.file, None, size, &mut |_| ())?);
        }
        let layers = layers(below)?.student_of(self.name())?;
        let [wrote_sample, wrote_lora] = ["sample", "lora"].map(|key| layers.wrote(key));
        let mut recipe = layers.unchecked()?;
        if !wrote_lora {
            recipe.lora = None; // the teacher's is in its weights by now
        }
        if !(teacher.is_released() && recipe.lora.is_some()) {
            recipe.from = None; // so are a released model's, but where they lie beneath
        }
        let objective = teacher.recipe.objective();
        recipe.init = None; // the teacher's weights are where it begins
        let stage = match self {
            Self::Reflow => recipe.reflow.stage(&objective),
            Self::Distill => recipe.distill.stage(&objective, !recipe.pairs.generate.cuts.is_empty()),
            Self::OneMoreStep => Ok(OneMoreStep::stage()),
        };
        let stage = stage.map_err(|error| Error::Usage(error.to_string()))?;
        let mut recipe = recipe.with_stage(&stage);
        recipe.pairs = pairs::suited(recipe.pairs, teacher);
        if !wrote_sample {
            self.suit_sampling(&mut recipe);
        }
        if self == Self::OneMoreStep || recipe.task.separate().is_ok() {
            recipe.train.sample_every = 0; // there is nothing to draw by itself
        }
        if recipe.needs_pairs() {
            recipe.data.flip = self == Self::Reflow && recipe.reflow.flip;
            if recipe.data.flip && !teacher.recipe.data.flip {
                return Err(Error::Usage(
                    "reflow.flip = true: the teacher was trained with data.flip = false, so a mirrored pair is not one it \
                     could have made; leave it out"
                        .into(),
                ));
            }
        }
        // What a student learns from has no pictures of its own.
        let render = |recipe: &Recipe| recipe.task.latents().and_then(|latents| latents.render.clone());
        if render(&recipe).is_some() && render(&recipe) != render(&teacher.recipe) {
            return Err(Error::Usage(format!(
                "`task.latents.render` cannot be set for `{}`: students are not compared with pictures of the data; leave it out",
                self.name()
            )));
        }
        recipe.task.forget_rendering();
        recipe.check()?;
        Ok(recipe)
    }

    /// Samples the student the way it was trained to be sampled.
    fn suit_sampling(self, recipe: &mut Recipe) {
        let curved = recipe.path != (flow::Path::Linear {});
        let (sample, cuts) = (&mut recipe.sample, &recipe.pairs.generate.cuts);
        // What the teacher's guidance did is in what the student learns: guided once more, it would be done twice.
        if recipe.pairs.guidance.scale != 1.0 && (recipe.coupling.needs_pairs() || recipe.target != Target::Path) {
            sample.guidance = GuidanceConfig::default();
        }
        if recipe.coupling.needs_pairs() && curved
            || matches!(sample.solver, Solver::Anchored { .. } | Solver::Consistency {})
        {
            sample.solver = if curved { Solver::Ddim { eta: 0.0 } } else { Solver::Euler {} };
        }
        if self != Self::Distill {
            return;
        }
        (sample.steps, sample.schedule) = (recipe.distill.steps, ScheduleConfig::Uniform {});
        match &recipe.target {
            Target::Path if !cuts.is_empty() => {
                sample.steps = cuts.len() + 1;
                sample.schedule = ScheduleConfig::Custom { times: recipe.pairs.generate.times() };
            }
            Target::Segments(rule) => {
                sample.steps = rule.times.len() - 1;
                sample.schedule = ScheduleConfig::Custom { times: rule.times.clone() };
            }
            Target::Consistency(_) => sample.solver = Solver::Consistency {},
            _ => {}
        }
    }
}

/// What a student's making came to.
#[derive(Clone, Debug, Serialize)]
pub struct StudentReport {
    /// The pairs, where they were made by this call.
    pub pairs: Option<PairsReport>,
    /// Pairs trained on.
    pub pair_count: u64,
    /// The training.
    pub train: TrainReport,
}

/// Trains a student of `teacher`: on pairs it makes with it (or takes from `existing`), or on the teacher's data.
///
/// # Errors
/// Those of making pairs and of training; pairs that are not this teacher's kind, data that are not its data's shape.
pub fn student(
    method: Method,
    recipe: &Recipe,
    teacher: Model,
    existing: Option<&Path>,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<StudentReport, Error> {
    let Checked { subject, premetric, gauge, start, beneath } =
        check(method, recipe, &teacher, existing, folder, resume.as_ref(), context)?;
    if let (true, Some(words)) = (teacher.is_released(), &teacher.words) {
        words.prepare(&teacher.captions()?, context)?;
    }
    let begun = starting_point(folder, resume.as_ref())?.is_some();
    let (Stream { mut source, validation, data }, made, pair_count) = match recipe.needs_pairs() {
        true => from_pairs(recipe, &teacher, existing, (folder, begun), context)?,
        false => (from_data(recipe, &teacher, context)?, None, 0),
    };
    let (words, codec) = (teacher.words.clone(), teacher.codec.clone());
    let asked = if recipe.train.sample_every > 0 { Classes::all(&teacher)? } else { Classes::None };
    let lineage = match teacher.is_released() {
        true => Lineage { teacher: Some(teacher.file.clone()), ..Lineage::here(None, existing)? },
        false => Lineage::here(Some(&teacher.file), existing)?,
    };
    let teacher = (recipe.target != Target::Path).then(|| Teacher {
        net: teacher.net,
        recipe: teacher.recipe,
        guidance: recipe.pairs.guidance.clone(),
    });
    let data = (!recipe.needs_pairs()).then_some(data);
    let plain = Job::new(recipe, subject, &mut *source, folder, resume);
    let train =
        Job { validation, start, beneath, teacher, premetric, gauge, words, codec, asked, data, lineage, ..plain }
            .run(context)?;
    adapter::hand_over(folder, context)?;
    Ok(StudentReport { pairs: made, pair_count, train })
}

/// Makes the checks that [`student`] makes before its first step, as far as they need no pairs that are still to be made, and
/// changes nothing.
///
/// # Errors
/// Those of [`student`].
pub fn rehearse(
    method: Method,
    recipe: &Recipe,
    teacher: &Model,
    existing: Option<&Path>,
    folder: &Path,
    resume: Option<&Resume>,
    context: &mut Context,
) -> Result<(), Error> {
    check(method, recipe, teacher, existing, folder, resume, context)?;
    match (recipe.needs_pairs(), existing) {
        (true, Some(store)) => open_pairs(recipe, teacher, store).map(drop),
        (true, None) => Ok(()),
        // Encoding takes hours, and writes.
        (false, _) if teacher.codec.is_some() => {
            let order = LoaderConfig { batch: recipe.train.micro_batch(), ..LoaderConfig::default() };
            Loader::new(samples(recipe, teacher, context)?, &order, 0)?;
            Ok(())
        }
        (false, _) => from_data(recipe, teacher, context).map(drop),
    }
}

/// What is settled before pairs are made, which takes hours.
struct Checked {
    subject: Subject,
    premetric: Option<Box<dyn flow::Premetric<2>>>,
    gauge: Option<Box<dyn flow::Gauge<2>>>,
    start: Option<Net>,
    beneath: Option<Beneath>,
}

fn check(
    method: Method,
    recipe: &Recipe,
    teacher: &Model,
    existing: Option<&Path>,
    folder: &Path,
    resume: Option<&Resume>,
    context: &mut Context,
) -> Result<Checked, Error> {
    recipe.check()?;
    if method == Method::OneMoreStep && recipe.task.source().is_some() {
        return Err(Error::Usage(
            "one-more-step replaces the noise a flow starts from, and this one starts from a data set: there is none to \
             replace"
                .into(),
        ));
    }
    if existing.is_some() && !recipe.needs_pairs() {
        let name = recipe.target.name();
        return Err(Error::Usage(format!("--pairs: target `{name}` learns from data and needs none; leave it out")));
    }
    place(folder, resume)?;
    let subject = Subject { stage: method.name().into(), ..teacher.subject.clone() };
    let (batch, count) = (recipe.train.micro_batch() as u64, recipe.pairs.count);
    if recipe.needs_pairs() && existing.is_none() && batch > count {
        return Err(Error::Usage(format!(
            "train.batch = {batch} is larger than pairs.count = {count}: lower the one or raise the other"
        )));
    }
    let premetric = crate::perceptual::of(recipe, subject.shape, &context.device)?;
    let gauge = gauge_of(recipe, teacher.codec.as_ref(), &context.device)?;
    let start = start(method, recipe, teacher, context)?;
    let (shape, classes) = (subject.shape, subject.classes.len());
    let drawn = teacher.codec.as_ref().map_or(Some(shape), |codec| codec.on_sheets());
    let beneath = beneath(recipe, shape, &context.device.device)?;
    let (begin, rendered) = (None, 0);
    Terms {
        recipe,
        shape,
        classes,
        drawn,
        start: start.as_ref(),
        begin,
        beneath: beneath.as_ref(),
        rendered,
        folder,
        resume,
    }
    .check(context)?;
    Ok(Checked { subject, premetric, gauge, start, beneath })
}

/// The pairs of `existing`, or those that `teacher` makes into `folder`; what was made, and how many there are.
fn from_pairs(
    recipe: &Recipe,
    teacher: &Model,
    existing: Option<&Path>,
    (folder, begun): (&Path, bool),
    context: &mut Context,
) -> Result<(Stream, Option<PairsReport>, u64), Error> {
    let (made, store) = match existing {
        Some(folder) => (None, folder.to_path_buf()),
        // Where seconds ended the making, a training that goes on learns from the pairs it began with.
        None if recipe.pairs.seconds > 0.0 && begun => (None, folder.join("pairs")),
        None => {
            let store = folder.join("pairs");
            (Some(pairs::make(teacher, &recipe.pairs, &store, context)?), store)
        }
    };
    let (store, loader) = open_pairs(recipe, teacher, &store)?;
    let validation = match recipe.train.validate_every {
        0 => None,
        _ => pairs::held_out(teacher, &recipe.pairs, recipe.train.validation_samples, context)?,
    };
    let count = store.len() as u64;
    let (seed, pieces) = (store.meta().seed, recipe.pairs.generate.pieces() as u64);
    let device = &context.device.device;
    let mixtures = Mixtures::of(&teacher.recipe, teacher.codec.clone(), Part::Train, seed, device)?;
    let names = if store.meta().captions { Vec::new() } else { teacher.named_captions().to_vec() };
    let pairs = PairSource::new(store, loader);
    let source: Box<dyn Source> = match mixtures {
        Some(mixtures) => Box::new(Beside { pairs, mixtures, pieces }),
        None => Box::new(pairs),
    };
    let source: Box<dyn Source> = match pairs::views(teacher, Split::Train, seed, context)? {
        Some(views) => Box::new(Pictured { source, views, pieces: Some(pieces) }),
        None => Captioned::named(source, teacher.words.as_ref(), names),
    };
    Ok((Stream { source, validation, data: DataRecord::default() }, made, count))
}

/// The pair store, which must be of this teacher and these pieces, and how it will be read.
fn open_pairs(recipe: &Recipe, teacher: &Model, folder: &Path) -> Result<(Arc<PairStore>, LoaderConfig), Error> {
    let store = Arc::new(PairStore::open(folder)?);
    pairs::check(&store, teacher)?;
    let (cuts, stored) = (recipe.pairs.generate.times(), &store.meta().times);
    if cuts != *stored {
        return Err(Error::Usage(format!(
            "the trajectories in {} are cut at {stored:?} but this student learns pieces between {cuts:?}: give the schedule \
             they were made for (--schedule FILE, or pairs.generate.cuts)",
            store.dir().display()
        )));
    }
    let (batch, flip) = (recipe.train.micro_batch(), recipe.data.flip);
    let loader = LoaderConfig { batch, flip, seed: recipe.seed, ..LoaderConfig::default() };
    PairLoader::new(store.clone(), &loader, 0)?; // refuses a batch larger than the store before anything is written
    Ok((store, loader))
}

/// The recipe's data before any codec, which must be of the teacher's kind.
///
/// # Errors
/// Data that cannot be read, are of another shape or other classes, or lack captions.
pub(super) fn samples(recipe: &Recipe, teacher: &Model, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
    let (subject, codec) = (&teacher.subject, teacher.codec.as_deref());
    let dataset = raw(&recipe.data, codec, context)?;
    if let Some(codec) = codec {
        readable(&*dataset, codec)?;
    }
    if teacher.words.is_some() {
        captions(&*dataset)?; // refuses data without any
    }
    let shape = codec.map_or(dataset.shape(), |codec| codec.latent);
    let classes = recipe.rows(dataset.class_names().len());
    if shape != subject.shape || classes != subject.classes.len() {
        return Err(Error::Usage(format!(
            "the data are {} in {} classes but the teacher knows {} in {}: give the teacher's data (--data)",
            shape,
            classes,
            subject.shape,
            subject.classes.len()
        )));
    }
    Ok(dataset)
}

/// Batches of the recipe's data, encoded where the teacher moves latents.
fn from_data(recipe: &Recipe, teacher: &Model, context: &mut Context) -> Result<Stream, Error> {
    let (subject, codec) = (&teacher.subject, teacher.codec.as_deref());
    if let Some(points) = recipe.data.name.as_deref().and_then(data::Points::named) {
        let source = train::PointSource::new(points, recipe.train.micro_batch(), recipe.seed);
        return Ok(Stream { source: Box::new(source), validation: None, data: DataRecord::default() });
    }
    let dataset = through(samples(recipe, teacher, context)?, codec, context)?;
    let start = Start::of(recipe, subject.shape, Split::Train)?;
    let sight = teacher.sight(context)?;
    stream(recipe, dataset, &start, teacher.words.as_ref(), teacher.codec.as_deref(), sight, context)
}

/// Where the student's weights start: at the teacher's where the networks are the same, apart from what changes no answer at first: being told
/// how far ahead to look, experts in the place of perceptrons.
pub(super) fn start(
    method: Method,
    recipe: &Recipe,
    teacher: &Model,
    context: &mut Context,
) -> Result<Option<Net>, Error> {
    if method == Method::OneMoreStep {
        return Ok(None);
    }
    let Subject { shape, classes, .. } = &teacher.subject;
    let (theirs, how) = (&teacher.recipe.network, (recipe.seed, classes.len(), *shape));
    if let Some(net) = recipe.network.beginning_as((theirs, &teacher.net), how, &context.device.device)? {
        return Ok(Some(net));
    }
    if recipe.lora.is_some() {
        return Err(Error::Usage(
            "`lora` corrects the teacher's weights, and this student is another network: leave one of the two out"
                .into(),
        ));
    }
    // Weights of another shape cannot be continued: such a student starts fresh, from the same seed as any first stage.
    let size = |recipe: &Recipe| -> Result<String, Error> {
        let cost = recipe.network.cost(*shape, recipe.rows(classes.len()))?;
        let mflop = cost.forward_flops_per_sample as f64 / 1e6;
        Ok(format!("{} parameters, {mflop:.1} MFLOP a sample", cost.parameters))
    };
    let (student, teacher) = (size(recipe)?, size(&teacher.recipe)?);
    context.note(format!("the student starts fresh: {student}; its teacher: {teacher}"));
    Ok(None)
}

/// The folder a run goes to when none is given.
pub fn default_folder(recipe: &Recipe) -> PathBuf {
    Path::new("runs").join(&recipe.name)
}
