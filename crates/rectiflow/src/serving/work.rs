//! What a served model makes of something that was sent to it: pictures restored or edited, sounds separated. The same as the verbs
//! `restore`, `edit` and `separate` make of it, to the bit; number `i` of several is their picture `i`.

use super::{Asked, File, Medium, Opened, Sent};
use crate::{
    Context, Error,
    context::Event,
    editing,
    model::which,
    overrides::SampleOverrides,
    pictures::single,
    restoring::{self, Goal, Task},
    sampling::Classes,
    separator::{Queries, Resynthesis, Separator},
    steerable::Steerable,
    verbs::separate,
};
use media::{
    Images,
    audio::{self, Reading},
};
use methods::{edit::Editing, steer::Steering};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Something to be done to what was sent.
#[derive(Clone, Debug)]
pub enum Work {
    /// A picture of which something is missing.
    Restore(Restore),
    /// A picture that should show something else.
    Edit(Edit),
    /// A recording of several sounds.
    Separate(Separate),
}

/// A picture to be restored.
#[derive(Clone, Debug)]
pub struct Restore {
    /// What was done to it.
    pub task: Task,
    /// What is known of it, of the shape that the task leaves.
    pub measured: Sent<f32>,
    /// How it is restored, and in how many steps where that is settled.
    pub method: (Steering, Option<usize>),
    /// What it shows.
    pub asked: Asked,
    /// Steps and guidance.
    pub overrides: SampleOverrides,
    /// Seed of all noise.
    pub seed: u64,
    /// How many answers.
    pub count: usize,
}

/// A picture to be edited.
#[derive(Clone, Debug)]
pub struct Edit {
    /// `[c h w]` of the model.
    pub pixels: Sent<f32>,
    /// How.
    pub method: Editing,
    /// What it shows.
    pub source: Asked,
    /// What it should show.
    pub target: Asked,
    /// Steps and guidance.
    pub overrides: SampleOverrides,
    /// Seed of all noise.
    pub seed: u64,
    /// How many answers.
    pub count: usize,
}

/// A recording to be separated.
#[derive(Clone, Debug)]
pub struct Separate {
    /// The file's content: WAV, FLAC, Ogg or MP3.
    pub bytes: Sent<u8>,
    /// What should be heard, one answer to each.
    pub queries: Vec<String>,
    /// From pictures to sound.
    pub resynthesis: Resynthesis,
    /// Steps and guidance.
    pub overrides: SampleOverrides,
    /// Seed of all noise.
    pub seed: u64,
}

/// Who is told how many of how many pieces are done, and may end the work with an error.
pub type Told<'w> = &'w mut (dyn FnMut(usize, usize) -> Result<(), Error> + Send);

/// Numbers of a recording at most, all channels together: five minutes of stereo at 48 kHz.
const LONGEST: usize = 5 * 60 * 48_000 * 2;
/// Seconds of it at most, whatever its rate is.
const SECONDS: u64 = 5 * 60;
/// Channels, each of which is separated by itself.
const CHANNELS: usize = 2;
/// Frames a second. A header may claim one, and then a small file would be hours at the model's rate.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

impl Work {
    /// How many files come out.
    pub fn count(&self) -> usize {
        match self {
            Self::Restore(work) => work.count,
            Self::Edit(work) => work.count,
            Self::Separate(work) => work.queries.len(),
        }
    }

    /// Seed of all noise.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Restore(work) => work.seed,
            Self::Edit(work) => work.seed,
            Self::Separate(work) => work.seed,
        }
    }

    /// Steps and guidance.
    pub fn overrides(&self) -> &SampleOverrides {
        match self {
            Self::Restore(work) => &work.overrides,
            Self::Edit(work) => &work.overrides,
            Self::Separate(work) => &work.overrides,
        }
    }

    /// Steps, where they are not the recipe's.
    pub fn steps(&self) -> Option<usize> {
        match self {
            Self::Restore(work) => work.overrides.steps.or(work.method.1),
            _ => self.overrides().steps,
        }
    }

    /// Drops what was sent: what the work was can still be told, and it can no longer be done.
    pub fn forget(&self) {
        match self {
            Self::Restore(work) => work.measured.forget(),
            Self::Edit(work) => work.pixels.forget(),
            Self::Separate(work) => work.bytes.forget(),
        }
    }

    /// How, by name.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Restore(work) => work.method.0.name(),
            Self::Edit(work) => work.method.name(),
            Self::Separate(work) => work.resynthesis.name(),
        }
    }
}

impl Opened {
    /// `[c h w]` of the pictures that it restores and edits.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that moves something else.
    pub fn changes(&self) -> Result<[usize; 3], Error> {
        self.model.check_steerable("this")?;
        match self.model.picture()? {
            [c @ (1 | 3), h, w] => Ok([c, h, w]),
            [frames, ..] => {
                let how = "`rectiflow restore` and `rectiflow edit` take sets of clips";
                Err(Error::Usage(format!("this: clips of {frames} frames cannot be sent; {how}")))
            }
        }
    }

    /// Whether it restores pictures.
    pub fn restores(&self) -> bool {
        self.changes().is_ok()
    }

    /// Whether it edits pictures.
    pub fn edits(&self) -> bool {
        self.changes().is_ok() && editing::check_model(&self.model).is_ok()
    }

    /// Makes every check that [`Opened::work`] makes before its long work.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that does not do this, settings out of range, a recording that cannot be read.
    pub fn check(&self, work: &Work) -> Result<(), Error> {
        let model = &self.model;
        let config = work.overrides().apply(&model.recipe.sample)?;
        model.check_guidance(config.guidance.scale)?;
        match work {
            Work::Restore(work) => {
                model.check_steerable("restore")?;
                let sensor = work.task.sensor(model.picture()?)?;
                if sensor.sizes().1 != work.measured.get().len() {
                    return Err(Error::Usage("--input: what is known has another shape than this task leaves".into()));
                }
                let method = &work.method.0;
                method.check().map_err(|error| Error::Usage(format!("--method {}: {error}", method.name())))?;
                Goal::check(model, (&work.task, &sensor, 0.0), (None, false), std::iter::once(method))?;
                self.told(&work.asked).map(drop)
            }
            Work::Edit(work) => {
                editing::check_model(model)?;
                let method = &work.method;
                method.check().map_err(|error| Error::Usage(format!("--method {}: {error}", method.name())))?;
                editing::shared(model, std::slice::from_ref(method), None, &work.overrides).map(drop)
            }
            Work::Separate(work) => {
                Separator::new(model, config, work.seed)?;
                Queries::parse(&work.queries, model)?;
                sound(work).map(drop)
            }
        }
    }

    /// Does it; `told` hears of the pieces that are done. What the files say of their making calls the model `called`.
    ///
    /// # Errors
    /// Those of [`Opened::check`], what the solver says, and what `told` says.
    pub fn work(&self, work: &Work, called: &str, told: Told<'_>) -> Result<Vec<File>, Error> {
        let work = &work.clone(); // what was sent is held here to the end, also where it is forgotten meanwhile
        self.check(work)?;
        let parts = match work {
            Work::Separate(work) => {
                let (sound, separator) = (sound(work)?, self.separator(work)?);
                let rate = separator.analysis().mel().config().rate;
                let frames = sound.frames() as u64 * u64::from(rate) / u64::from(sound.rate.max(1));
                work.queries.len() * sound.channels.len() * separator.blocks(frames as usize)?
            }
            _ => 1,
        };
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Mutex::new(None));
        let (mut begun, mut total) = (0, 0);
        let heard = |event: Event<'_>| {
            let done = match event {
                Event::Begin { total: pieces, .. } => {
                    (begun, total) = (begun + 1, pieces as usize);
                    0
                }
                Event::Advance { done } => done as usize,
                _ => return,
            };
            // What a resampler makes a frame longer is no reason to be done before the end.
            let done = (begun.min(parts).saturating_sub(1) * total + done).min(parts * total);
            if let Err(error) = told(done, parts * total) {
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
        };
        let mut context = Context::new(self.device.clone(), stop.clone(), heard);
        let made = match work {
            Work::Restore(work) => self.restored(work, called, &mut context),
            Work::Edit(work) => self.edited(work, called, &mut context),
            Work::Separate(work) => self.separated(work, &mut context),
        };
        drop(context);
        match refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => made,
        }
    }

    fn told(&self, asked: &Asked) -> Result<Classes, Error> {
        match asked {
            Asked::Nothing => restoring::told(None, &[], &self.model),
            asked => Ok(asked.classes()),
        }
    }

    fn restored(&self, work: &Restore, called: &str, context: &mut Context) -> Result<Vec<File>, Error> {
        let model = &self.model;
        let sensor = work.task.sensor(model.picture()?)?;
        let (steering, steps) = &work.method;
        let lift = || model.taped(which(None)?, &self.device);
        let taped = steering.differentiates().then(lift).transpose()?;
        let measured = work.measured.get().repeat(work.count);
        // As the command line does: an encoder must not see what is hidden.
        let hides = matches!(work.task, Task::Inpaint(_));
        let measured = if hides { restoring::inputs::kept(measured, &sensor, &self.device.device)? } else { measured };
        let goal = Goal::new(model, &work.task, &sensor, (&measured, 0.0), (None, Vec::new()), context)?;
        let run = restoring::Run {
            model,
            taped: taped.as_ref(),
            goal: &goal,
            numbers: &(0..work.count as u64).collect::<Vec<_>>(),
            classes: &self.told(&work.asked)?,
            overrides: &work.overrides,
            seed: work.seed,
        };
        let (rows, ..) = run.restore(steering, *steps, context)?;
        self.pictures(rows, work.count, &format!("{}, {called}, seed {}", work.task.words(), work.seed))
    }

    fn edited(&self, work: &Edit, called: &str, context: &mut Context) -> Result<Vec<File>, Error> {
        let (source, target) = (work.source.classes(), work.target.classes());
        let run = editing::Run {
            model: &self.model,
            moved: &self.model.encode(&work.pixels.get().repeat(work.count), context)?,
            asked: [&source, &target],
            features: None,
            blocks: editing::shared(&self.model, std::slice::from_ref(&work.method), None, &work.overrides)?,
            overrides: &work.overrides,
            seed: work.seed,
        };
        let (rows, ..) = run.edit(&work.method, context)?;
        self.pictures(rows, work.count, &format!("{}, {called}, seed {}", work.method.name(), work.seed))
    }

    fn pictures(&self, rows: Vec<f32>, count: usize, about: &str) -> Result<Vec<File>, Error> {
        let images = Images::new(rows, count, self.model.picture()?)?;
        let file = |i| {
            let bytes = media::png::encode(&single(&images, i)?, &[("parameters", about)])?;
            Ok(File { medium: Medium::Png, bytes })
        };
        (0..count).map(file).collect()
    }

    fn separator(&self, work: &Separate) -> Result<Separator<'_>, Error> {
        Separator::new(&self.model, work.overrides.apply(&self.model.recipe.sample)?, work.seed)
    }

    fn separated(&self, work: &Separate, context: &mut Context) -> Result<Vec<File>, Error> {
        let queries = Queries::parse(&work.queries, &self.model)?;
        let made = separate::outputs(&sound(work)?, &self.separator(work)?, &queries, work.resynthesis, context)?;
        let file = |sound| Ok(File { medium: Medium::Wav, bytes: audio::to_wav(&sound, separate::depth(&sound))? });
        made.into_iter().map(file).collect()
    }
}

/// The recording that was sent.
fn sound(work: &Separate) -> Result<audio::Sound, Error> {
    let refused = |why: String| Error::Usage(format!("--sound: {why}"));
    let read = audio::from_bytes_within(work.bytes.get().to_vec(), Path::new("the recording"), LONGEST);
    let Reading { sound, .. } = read.map_err(|error| refused(error.to_string()))?;
    let (rate, channels) = (sound.rate, sound.channels.len());
    if !RATES.contains(&rate) {
        let (least, most) = RATES.into_inner();
        return Err(refused(format!("it has {rate} frames a second; send one of {least} to {most}")));
    }
    if channels > CHANNELS {
        return Err(refused(format!("it has {channels} channels; send one or two")));
    }
    if sound.frames() as u64 > SECONDS * u64::from(rate) {
        return Err(refused(format!("it is longer than {SECONDS} seconds; cut it into shorter pieces")));
    }
    Ok(sound)
}
