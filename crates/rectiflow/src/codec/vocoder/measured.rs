//! What a trained vocoder leaves: its folder in the layout of `SpeechT5HifiGan`, and what held-out sounds become of their own pictures, by it
//! and by Griffin and Lim's search.

use super::{Part, VocoderConfig};
use crate::{Context, Error, codec::CodecRecipe, host::host};
use base::{Key, Purpose, Shape, Tensor, TensorData};
use data::{Dataset, Values};
use media::audio::{Depth, GriffinLim, LogMel, Mel, Sound, griffin_lim, picture, write};
use metrics::{
    Extractor, Matrix, frechet_distance_of,
    sound::{MelMoments, log_mel_l1, log_spectral_distance},
};
use nets::{HifiGan, weights::named_tensors};
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde::Serialize;
use std::{
    f32::consts::PI,
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};
use train::{
    RunDir,
    checkpoint::{Checkpoint, Which, load_weights},
};

/// The folder of a run that holds its vocoder.
const FOLDER: &str = "vocoder";
/// Sounds of the sheet, and of them those written as files.
const SHOWN: usize = 8;

/// One way from a sound's own picture back to sound.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// What it is.
    pub name: String,
    /// Mean absolute difference of the log-mel pictures, in natural logarithms.
    pub log_mel: f64,
    /// Log-spectral distance, dB.
    pub spectral: f64,
    /// Fréchet distance in moments of mel bands; `None` for fewer than two sounds.
    pub moments: Option<f64>,
    /// Seconds to a second of sound.
    pub real_time_factor: f64,
}

/// A vocoder that was handed over.
#[derive(Clone, Debug, Serialize)]
pub struct Vocoded {
    /// Its folder: `config.json` and `model.safetensors`.
    pub folder: PathBuf,
    /// Numbers it has learned.
    pub parameters: usize,
    /// Shape of the picture of a segment.
    pub picture: Shape,
    /// Held-out segments that were measured.
    pub sounds: usize,
    /// The vocoder, and Griffin and Lim's search.
    pub ways: Vec<Way>,
    /// Spectrograms: the recordings, what the vocoder made of their pictures, what the search did.
    pub sheet: PathBuf,
}

/// Writes the vocoder of `checkpoint` beside the checkpoints of the run in `folder`, and measures it.
pub(super) fn hand_over(
    config: &VocoderConfig,
    recipe: &CodecRecipe,
    checkpoint: &Checkpoint,
    folder: &Path,
    context: &mut Context,
) -> Result<Vocoded, Error> {
    let net = load_weights(config.network(0, &context.device.device)?, checkpoint, Which::Best)?;
    let place = folder.join(FOLDER);
    let parameters = keep(config, &net, &place)?;
    let analysis = config.analysis()?;
    let mel = analysis.mel();
    let set = config.segments(&recipe.data, Part::Test)?;
    let run = RunDir::at(folder);
    let mut heard = [Heard::default(), Heard::default()];
    let (mut real, mut shown) = (Vec::new(), Vec::new());
    for index in 0..set.len() {
        context.go_on()?;
        let Values::Numbers(wave) = set.get(index)?.values else { continue };
        let spectrum = mel.stft().forward(&wave);
        let (own, magnitude) = (mel.log_mel_of(&spectrum), spectrum.magnitude());
        let began = Instant::now();
        let data = TensorData::new(own.values.clone(), [1, own.frames, own.bins]);
        let mut made = host(net.forward(Tensor::from_data(data, &context.device.device)))?;
        made.resize(wave.len(), 0.0);
        let first = began.elapsed();
        let phases = Key::new(0, Purpose::Noise).uniforms(index as u64, magnitude.len());
        let phases: Vec<f32> = phases.map(|u| PI * (2.0 * u - 1.0)).collect();
        let began = Instant::now();
        let found = griffin_lim(&mel.stft(), &mel.magnitude(&own), wave.len(), &phases, &GriffinLim::default())?;
        let took = [first, began.elapsed()];
        for ((heard, sound), took) in heard.iter_mut().zip([&made, &found]).zip(took) {
            heard.add(sound, (&own, &magnitude), mel, config.loss.floor)?;
            heard.seconds += took.as_secs_f64();
        }
        if index < SHOWN {
            for (name, sound) in [("recording", &wave), (NAMES[0], &made), (NAMES[1], &found)] {
                let file = run.samples().join(format!("{index:02}-{name}.wav"));
                write(&file, &Sound::mono(config.mel.rate, sound.clone()), Depth::Float)?;
            }
            shown.push([own.clone(), heard[0].last(), heard[1].last()]);
        }
        real.push(own);
    }
    let sheet = run.samples().join("round-trip.png");
    let all: Vec<LogMel> = (0..3).flat_map(|row| shown.iter().map(move |column| column[row].clone())).collect();
    let drawn = picture::sheet(&all, analysis.frames() + 1, shown.len().max(1), 2);
    let rows = "held-out sounds, what the vocoder makes of their pictures, what griffinlim does";
    media::png::save(&sheet, &drawn, &[("parameters", rows)])?;
    let seconds = (real.len() * config.segment.length) as f64 / f64::from(config.mel.rate);
    let truth = moments(&real)?;
    let ways = heard.into_iter().zip(NAMES).map(|(heard, name)| heard.way(name, truth.as_ref(), seconds));
    Ok(Vocoded {
        folder: place,
        parameters,
        picture: analysis.shape(),
        sounds: real.len(),
        ways: ways.collect::<Result<_, Error>>()?,
        sheet,
    })
}

/// The ways, in this order.
const NAMES: [&str; 2] = ["vocoder", "griffinlim"];

/// Sounds of one way.
#[derive(Default)]
struct Heard {
    log_mel: f64,
    spectral: f64,
    seconds: f64,
    pictures: Vec<LogMel>,
}

impl Heard {
    fn add(&mut self, sound: &[f32], (own, real): (&LogMel, &[f32]), mel: &Mel, floor: f64) -> Result<(), Error> {
        let spectrum = mel.stft().forward(sound);
        let picture = mel.log_mel_of(&spectrum);
        self.log_mel += log_mel_l1(&picture.values, &own.values)?;
        self.spectral += log_spectral_distance(&spectrum.magnitude(), real, spectrum.bins, floor)?;
        self.pictures.push(picture);
        Ok(())
    }

    fn last(&self) -> LogMel {
        self.pictures.last().cloned().unwrap_or(LogMel { frames: 0, bins: 0, values: Vec::new() })
    }

    fn way(self, name: &str, truth: Option<&Matrix>, seconds: f64) -> Result<Way, Error> {
        let count = self.pictures.len() as f64;
        let own = moments(&self.pictures)?;
        let distance = own.as_ref().zip(truth).map(|(own, truth)| frechet_distance_of(own, truth)).transpose()?;
        Ok(Way {
            name: name.into(),
            log_mel: self.log_mel / count,
            spectral: self.spectral / count,
            moments: distance,
            real_time_factor: self.seconds / seconds,
        })
    }
}

/// [`MelMoments`] of pictures of one size; `None` for fewer than two.
fn moments(pictures: &[LogMel]) -> Result<Option<Matrix>, Error> {
    let Some(LogMel { frames, bins, .. }) = pictures.get(1) else { return Ok(None) };
    let values: Vec<f32> = pictures.iter().flat_map(|picture| picture.values.iter().copied()).collect();
    Ok(Some(MelMoments::new(*bins).features(&values, [pictures.len(), 1, *frames, *bins])?))
}

/// Writes `net` into the folder `place` as `transformers` keeps it; how many numbers it has learned.
fn keep(config: &VocoderConfig, net: &HifiGan, place: &Path) -> Result<usize, Error> {
    let failed = |error: &dyn fmt::Display| Error::Failure(format!("cannot write {}: {error}", place.display()));
    std::fs::create_dir_all(place).map_err(|error| failed(&error))?;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = named_tensors(net)
        .into_iter()
        .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    let bytes = serialize(views, None).map_err(|error| failed(&error))?;
    let mut json = serde_json::to_value(config.published()).map_err(|error| failed(&error))?;
    json["architectures"] = serde_json::json!(["SpeechT5HifiGan"]);
    json["model_type"] = "hifigan".into();
    let text = serde_json::to_string_pretty(&json).map_err(|error| failed(&error))?;
    for (name, bytes) in [("model.safetensors", bytes), ("config.json", text.into_bytes())] {
        media::atomic::write(&place.join(name), &bytes).map_err(|error| failed(&error))?;
    }
    // What every picture is centred by is no learned number.
    Ok(tensors.iter().filter(|(name, ..)| name != "mean" && name != "scale").map(|(_, _, bytes)| bytes.len() / 4).sum())
}

impl fmt::Display for Vocoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a vocoder of {} parameters in {}", self.parameters, self.folder.display())?;
        writeln!(f, "{} held-out sounds of their own pictures:", self.sounds)?;
        writeln!(f, "{:<12} {:>11} {:>11} {:>11} {:>11}", "", "log-mel L1", "LSD, dB", "moments", "real time")?;
        for Way { name, log_mel, spectral, moments, real_time_factor } in &self.ways {
            let moments = moments.map_or("-".into(), |v| format!("{v:.2}"));
            writeln!(f, "{name:<12} {log_mel:11.4} {spectral:11.2} {moments:>11} {real_time_factor:11.3}")?;
        }
        writeln!(f, "moments: Fréchet distance by mel-moments; real time: seconds to a second of sound")?;
        writeln!(f, "{}", self.sheet.display())
    }
}
