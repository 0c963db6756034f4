//! `separate`: recordings in, what each query names in them out, of the same length, rate and number of channels.

mod files;
mod listener;
mod score;
#[cfg(test)]
mod tests;
mod ways;

pub use score::{Score, ScoreRequest, score};
pub use ways::{Way, Ways};

use crate::{
    Context, Error, Model,
    model::which,
    output,
    overrides::SampleOverrides,
    separator::{Queries, Released, Resynthesis, Separator},
};
use files::{Input, inputs, read, slug};
use media::audio::{self, Depth, LogMel, Normalise, Sound, level, picture};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

/// What to separate.
#[derive(Clone, Debug)]
pub struct SeparateRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// How the flow is sampled.
    pub overrides: SampleOverrides,
    /// Seed of the noise.
    pub seed: u64,
    /// A recording, or a folder of them.
    pub input: PathBuf,
    /// What should be heard.
    pub queries: Vec<String>,
    /// From pictures to sound.
    pub resynthesis: Resynthesis,
    /// The folder of a vocoder, for [`Resynthesis::Vocoder`].
    pub vocoder: Option<PathBuf>,
    /// Folder for the sounds and their spectrograms.
    pub output: PathBuf,
}

/// What became of one recording.
#[derive(Clone, Debug, Serialize)]
pub struct Separated {
    /// The recording.
    pub input: PathBuf,
    /// Its length.
    pub seconds: f64,
    /// What was heard, a file to a query.
    pub outputs: Vec<PathBuf>,
    /// The spectrograms: the mixture, then each output.
    pub sheet: PathBuf,
    /// Energy of each output over the mixture's, in decibels; none for silence.
    pub decibels: Vec<Option<f64>>,
}

/// What `separate` made.
#[derive(Clone, Debug, Serialize)]
pub struct SeparateReport {
    /// Recording by recording.
    pub files: Vec<Separated>,
    /// Seconds of sound, of all channels and queries together.
    pub heard_seconds: f64,
    /// Seconds it took.
    pub seconds: f64,
    /// `seconds` to a second of sound.
    pub real_time_factor: f64,
}

impl fmt::Display for SeparateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            for (output, decibels) in file.outputs.iter().zip(&file.decibels) {
                let level = decibels.map_or("silent".into(), |d| format!("{d:.1} dB of the mixture"));
                writeln!(f, "{}: {level}", output.display())?;
            }
            writeln!(f, "{}: spectrograms, the mixture first", file.sheet.display())?;
        }
        let Self { heard_seconds, seconds, real_time_factor, .. } = self;
        writeln!(f, "{heard_seconds:.2} s of sound in {seconds:.2} s ({real_time_factor:.2} of real time)")
    }
}

/// Peak that recordings are brought to for the network.
const PEAK: f32 = 0.5;
/// Seconds of each spectrogram on a sheet.
const SHOWN: f64 = 10.0;

/// Separates every recording.
///
/// # Errors
/// [`Error::Usage`] for a query, folder or model that cannot be meant; recordings that cannot be read, before anything is written.
pub fn separate(request: &SeparateRequest, context: &mut Context) -> Result<SeparateReport, Error> {
    output::folder(&request.output)?;
    let which = which(request.ema.as_deref())?;
    if let Some(mut released) = Released::open(&request.checkpoint, context)? {
        let queries = Queries::texts(&request.queries)?;
        let config = request.overrides.apply(&Released::sample_config())?;
        let own = request.resynthesis == Resynthesis::Vocoder && request.vocoder.is_none();
        let vocoder = if own { Some(released.take_vocoder()?) } else { None };
        let separator = Separator::released(&released, config, request.seed)?;
        let separator = match vocoder {
            Some(vocoder) => separator.through(vocoder, "of the checkpoint", context)?,
            None => separator,
        };
        return all(request, separator, &queries, context);
    }
    let model = Model::of_any(&request.checkpoint, which, &context.device)?;
    let config = request.overrides.apply(&model.recipe.sample)?;
    let separator = Separator::new(&model, config, request.seed)?;
    let queries = Queries::parse(&request.queries, &model)?;
    all(request, separator, &queries, context)
}

/// Every recording by `separator`, through the vocoder that was asked for.
fn all(
    request: &SeparateRequest,
    separator: Separator<'_>,
    queries: &Queries,
    context: &mut Context,
) -> Result<SeparateReport, Error> {
    let separator = match &request.vocoder {
        Some(folder) => separator.with_vocoder(folder, context)?,
        None => separator,
    };
    if request.resynthesis == Resynthesis::Vocoder && !separator.ways().contains(&Resynthesis::Vocoder) {
        return Err(Error::Usage(
            "--resynth vocoder: this model has none of its own; give one with --vocoder FOLDER".into(),
        ));
    }
    let found = inputs(&request.input, &request.output, &request.queries)?;
    // Everything is looked at before the first file is written.
    for input in &found {
        for line in read(&input.path)?.1 {
            context.note(format!("{}: {line}", input.path.display()));
        }
    }
    let began = Instant::now();
    let mut report = SeparateReport { files: Vec::new(), heard_seconds: 0.0, seconds: 0.0, real_time_factor: 0.0 };
    for input in &found {
        context.go_on()?;
        let file = one(input, &separator, queries, request, context)?;
        report.heard_seconds += file.1;
        report.files.push(file.0);
    }
    report.seconds = began.elapsed().as_secs_f64();
    report.real_time_factor = report.seconds / report.heard_seconds.max(f64::MIN_POSITIVE);
    Ok(report)
}

/// One recording, and the seconds of sound that were made of it.
fn one(
    input: &Input,
    separator: &Separator,
    queries: &Queries,
    request: &SeparateRequest,
    context: &mut Context,
) -> Result<(Separated, f64), Error> {
    let (sound, _) = read(&input.path)?;
    let rate = separator.analysis().mel().config().rate;
    if sound.rate > rate {
        let (path, half) = (input.path.display(), rate / 2);
        context.note(format!("{path}: the model hears up to {half} Hz; what lies above is not in the outputs"));
    }
    let (heard, made) = each(&sound, separator, queries, request.resynthesis, context)?;
    let mut pictures = vec![shown(separator, &heard.sound)?];
    let (mut outputs, mut decibels) = (Vec::new(), Vec::new());
    for (output, query) in made.into_iter().zip(&request.queries) {
        pictures.push(shown(separator, &output)?);
        decibels.push(loudness(&output, &heard.sound));
        let output = back(output, heard.gain, &sound)?;
        let path = request.output.join(format!("{}-{}.wav", input.name, slug(query)));
        audio::write(&path, &output, depth(&output))?;
        outputs.push(path);
    }
    let sheet = request.output.join(format!("{}.png", input.name));
    let text = format!("mixture, {}; from the top", request.queries.join(", "));
    media::png::save(&sheet, &picture::stack(&pictures, 3), &[("parameters", &text)])?;
    let seconds = sound.seconds();
    let all = seconds * (sound.channels.len() * queries.len()) as f64;
    Ok((Separated { input: input.path.clone(), seconds, outputs, sheet, decibels }, all))
}

/// What each query names in `sound`, at the model's rate and level, beside what the model heard.
fn each(
    sound: &Sound,
    separator: &Separator,
    queries: &Queries,
    how: Resynthesis,
    context: &mut Context,
) -> Result<(Heard, Vec<Sound>), Error> {
    let rate = separator.analysis().mel().config().rate;
    let heard = heard(sound, rate)?;
    // Channels are separated one by one with the same noise, so that what is the same in both stays the same.
    let mut made: Vec<Vec<Vec<f32>>> = vec![Vec::new(); queries.len()];
    for channel in &heard.sound.channels {
        let outputs = separator.separate(channel, queries, how, context)?;
        made.iter_mut().zip(outputs).for_each(|(all, one)| all.push(one));
    }
    Ok((heard, made.into_iter().map(|channels| Sound { rate, channels }).collect()))
}

/// What each query names in `sound`, each at its level, rate and length: what [`separate`] writes.
///
/// # Errors
/// What the separator says.
pub(crate) fn outputs(
    sound: &Sound,
    separator: &Separator,
    queries: &Queries,
    how: Resynthesis,
    context: &mut Context,
) -> Result<Vec<Sound>, Error> {
    let (heard, made) = each(sound, separator, queries, how, context)?;
    made.into_iter().map(|output| back(output, heard.gain, sound)).collect()
}

/// A recording as the model hears it.
struct Heard {
    sound: Sound,
    gain: f32,
}

fn heard(sound: &Sound, rate: u32) -> Result<Heard, Error> {
    let mut heard = audio::resample(sound, rate)?;
    level::remove_offset(&mut heard);
    let gain = Normalise::Peak { peak: PEAK }.gain(&heard);
    level::amplify(&mut heard, gain);
    Ok(Heard { sound: heard, gain })
}

/// An output at the level, rate and length of the recording.
fn back(mut output: Sound, gain: f32, recording: &Sound) -> Result<Sound, Error> {
    level::amplify(&mut output, 1.0 / gain);
    let mut output = audio::resample(&output, recording.rate)?;
    // Rates that do not divide leave a frame more or less.
    output.channels.iter_mut().for_each(|channel| channel.resize(recording.frames(), 0.0));
    Ok(output)
}

/// Integers, which every program plays; floats for what would be clipped by them, as in files of floats that are louder than full scale.
pub(crate) fn depth(sound: &Sound) -> Depth {
    let loud = sound.channels.iter().flatten().any(|v| v.abs() > 1.0);
    if loud { Depth::Float } else { Depth::Int16 }
}

fn shown(separator: &Separator, sound: &Sound) -> Result<LogMel, Error> {
    let mut samples = sound.mixed_down();
    samples.truncate((SHOWN * f64::from(sound.rate)) as usize);
    Ok(separator.analysis().mel().log_mel(&samples)?)
}

fn loudness(output: &Sound, mixture: &Sound) -> Option<f64> {
    let energy = |sound: &Sound| sound.channels.iter().flatten().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let (above, below) = (energy(output), energy(mixture));
    (above > 0.0 && below > 0.0).then(|| 10.0 * (above / below).log10())
}

/// The folder that is written to must not be the one that is read from.
fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
