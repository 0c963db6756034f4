//! A trained flow as a separator of waveforms: pieces of the mixture's picture go in, pieces of the target's come out, are faded
//! into each other, and become sound.
//!
//! Two sizes of pieces. The network hears as many columns as it was trained on; neighbours share a quarter of them, and their
//! pictures are faded into each other before any sound is made, so that a long note is not cut. Sound is made in blocks of many
//! such pieces, which bounds the memory of a long recording.

mod queries;
mod released;

pub use queries::Queries;
pub use released::Released;

use crate::{
    Context, Error, Model,
    recipe::SampleConfig,
    sampling::{Classes, Maps, draw_from, host},
    sound::Analysis,
    start::Start,
};
use base::{Device, Key, Purpose, Tensor, TensorData};
use media::audio::{GriffinLim, LogMel, chunk::Chunks, griffin_lim, mask};
use nets::Vocoder;
use std::{path::Path, sync::Arc};

/// From a picture to sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resynthesis {
    /// The mixture's own spectrum, each cell made quieter: its phase is kept.
    #[default]
    Mask,
    /// A phase that goes with the picture, looked for from the mixture's.
    GriffinLim,
    /// A network that makes a waveform of the picture ([`Separator::with_vocoder`]).
    Vocoder,
}

impl Resynthesis {
    /// Name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::GriffinLim => "griffinlim",
            Self::Vocoder => "vocoder",
        }
    }
}

/// Pieces of the network to a block of sound.
const BLOCK: usize = 20;

/// Who hears.
enum Ear<'a> {
    /// A run of ours.
    Trained(&'a Model),
    /// FlowSep's checkpoint.
    Released(&'a Released),
}

/// Mixtures as an ear sees them.
enum Seen {
    Trained(Arc<Maps>),
    Released(Box<Tensor<4>>),
}

/// A model that hears, and how it is sampled.
pub struct Separator<'a> {
    ear: Ear<'a>,
    config: SampleConfig,
    analysis: Analysis,
    seed: u64,
    /// A network for the way to sound, and where it is.
    vocoder: Option<(Vocoder, Device)>,
}

impl<'a> Separator<'a> {
    /// `model` sampled as `config` says, its noise of `seed`.
    ///
    /// # Errors
    /// A model that was trained on something else.
    pub fn new(model: &'a Model, config: SampleConfig, seed: u64) -> Result<Self, Error> {
        let analysis = Analysis::new(model.recipe.task.separate()?)?;
        Ok(Self { ear: Ear::Trained(model), config, analysis, seed, vocoder: None })
    }

    /// FlowSep's checkpoint sampled as `config` says.
    ///
    /// # Errors
    /// Settings that it does not know.
    pub fn released(released: &'a Released, config: SampleConfig, seed: u64) -> Result<Self, Error> {
        released.check(&config)?;
        let analysis = released.analysis().clone();
        Ok(Self { ear: Ear::Released(released), config, analysis, seed, vocoder: None })
    }

    /// With the vocoder in `folder`, which must have been made for pictures like the model's; what is worth knowing of it is noted.
    ///
    /// # Errors
    /// A folder that is none; pictures of another rate, size or band.
    pub fn with_vocoder(self, folder: &Path, context: &mut Context) -> Result<Self, Error> {
        let (vocoder, unknown) = Vocoder::open(folder, &context.device.device)?;
        if !unknown.is_empty() {
            context.note(format!("{}: keys that this program does not know: {}", folder.display(), unknown.join(", ")));
        }
        self.through(vocoder, &folder.display().to_string(), context)
    }

    /// With `vocoder`, which is called `name` where it was made for other pictures.
    ///
    /// # Errors
    /// Pictures of another rate, size or band.
    pub fn through(self, vocoder: Vocoder, name: &str, context: &Context) -> Result<Self, Error> {
        let (reads, ours) = (vocoder.reads(), self.analysis.mel().config());
        let band = |[low, high]: [f64; 2]| format!("{low} to {high} Hz");
        let keys = [
            ("rate", reads.rate.to_string(), ours.rate.to_string()),
            ("bands", reads.bands.to_string(), ours.bins.to_string()),
            ("samples to a column", reads.hop.to_string(), ours.hop.to_string()),
            ("window", reads.window.unwrap_or(ours.window).to_string(), ours.window.to_string()),
            ("band", band(reads.band.unwrap_or([ours.low, ours.high])), band([ours.low, ours.high])),
        ];
        if let Some((key, theirs, ours)) = keys.into_iter().find(|(_, theirs, ours)| theirs != ours) {
            return Err(Error::Usage(format!(
                "--vocoder {name}: it reads pictures of {key} {theirs}, and this model's are of {ours}"
            )));
        }
        Ok(Self { vocoder: Some((vocoder, context.device.device.clone())), ..self })
    }

    /// The ways from a picture to sound that it has.
    pub fn ways(&self) -> Vec<Resynthesis> {
        let vocoder = self.vocoder.as_ref().map(|_| Resynthesis::Vocoder);
        [Resynthesis::Mask, Resynthesis::GriffinLim].into_iter().chain(vocoder).collect()
    }

    /// Its pictures.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// How many times [`Separator::separate`] draws for each query in `frames` frames.
    ///
    /// # Errors
    /// None that a model could have been trained with.
    pub fn blocks(&self, frames: usize) -> Result<usize, Error> {
        let piece = self.analysis.frames() * self.analysis.mel().config().hop;
        Ok(Chunks::new(BLOCK * piece, piece / 2)?.ranges(frames).len())
    }

    /// What each of `queries` names in a mixture `samples` at the model's rate, all as long as it. `queries` has one entry to a
    /// query: a class or a prompt.
    ///
    /// # Errors
    /// What sampling may say, and [`Error::Interrupted`].
    pub fn separate(
        &self,
        samples: &[f32],
        queries: &Queries,
        how: Resynthesis,
        context: &mut Context,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut whole = vec![vec![0.0; samples.len()]; queries.len()];
        if samples.iter().all(|v| *v == 0.0) {
            return Ok(whole); // nothing sounds in silence
        }
        let piece = self.analysis.frames() * self.analysis.mel().config().hop;
        let blocks = Chunks::new(BLOCK * piece, piece / 2)?;
        for (number, range) in blocks.ranges(samples.len()).into_iter().enumerate() {
            let block = &samples[range.clone()];
            let heard = self.analysis.mel().log_mel(block)?;
            let pictures = self.pictures(&heard, queries, number as u64, context)?;
            for (whole, picture) in whole.iter_mut().zip(&pictures) {
                blocks.lay(whole, 1, &range, &self.sound(block, picture, how)?);
            }
        }
        Ok(whole)
    }

    /// The pictures of what each query names, of the mixture's picture `heard`; `block` numbers its noise.
    ///
    /// # Errors
    /// As [`Separator::separate`].
    pub fn pictures(
        &self,
        heard: &LogMel,
        queries: &Queries,
        block: u64,
        context: &mut Context,
    ) -> Result<Vec<LogMel>, Error> {
        let (frames, bands) = (self.analysis.frames(), heard.bins);
        // The last column begins where the sound ends: no network has seen one, and its neighbour stands for it.
        let known = heard.frames.saturating_sub(1).max(1);
        let pieces = Chunks::new(frames, frames / 4)?;
        let ranges = pieces.ranges(known);
        let row =
            |range: &std::ops::Range<usize>| self.analysis.row(&heard.values[range.start * bands..range.end * bands]);
        let maps: Vec<f32> = ranges.iter().flat_map(row).collect();
        let seen = match &self.ear {
            Ear::Released(released) => Seen::Released(Box::new(released.encode(maps))),
            Ear::Trained(model) => {
                let rows = if model.codec.is_some() { self.through_codec(maps, false, context)? } else { maps };
                Seen::Trained(Arc::new(Maps { rows, shape: model.subject.shape }))
            }
        };
        let seed = Key::new(self.seed, Purpose::Noise).fold(block).bits(0) >> 1;
        let size = self.analysis.shape().numel();
        let picture = |query: usize| -> Result<LogMel, Error> {
            let drawn = self.drawn(&seen, queries, query, seed, ranges.len() as u64, context)?;
            let mut values = vec![0.0; known * bands];
            for (range, row) in ranges.iter().zip(drawn.chunks_exact(size)) {
                pieces.lay(&mut values, bands, range, &self.analysis.columns(row)[..range.len() * bands]);
            }
            let last = values[(known - 1) * bands..].to_vec();
            let missing = heard.frames - known;
            values.extend(last.repeat(missing));
            Ok(LogMel { frames: heard.frames, bins: bands, values })
        };
        (0..queries.len()).map(picture).collect()
    }

    /// The rows of pictures of query number `query` in each of `count` mixtures.
    fn drawn(
        &self,
        seen: &Seen,
        queries: &Queries,
        query: usize,
        seed: u64,
        count: u64,
        context: &mut Context,
    ) -> Result<Vec<f32>, Error> {
        match (&self.ear, seen, queries) {
            (Ear::Trained(model), Seen::Trained(maps), _) => {
                let start = Start::Noise { shape: model.subject.shape };
                let asked = Classes::Beside(Box::new(queries.one(query)), maps.clone());
                Ok(draw_from(model, &start, &self.config, &asked, seed, 0..count, context)?.rows)
            }
            (Ear::Released(released), Seen::Released(latents), Queries::Texts(texts)) => {
                released.draw(latents, &texts[query], &self.config, seed, context)
            }
            _ => Err(Error::Usage("this model is asked in words, not by the number of a class".into())),
        }
    }

    /// Rows of pictures as latents of the model's codec, and back to pictures where `back`.
    fn through_codec(&self, rows: Vec<f32>, back: bool, context: &Context) -> Result<Vec<f32>, Error> {
        let Ear::Trained(Model { codec: Some(codec), .. }) = self.ear else { return Ok(rows) };
        let size = self.analysis.shape().numel();
        let rows = TensorData::new(rows.clone(), [rows.len() / size, size]);
        let latents = codec.encode(Tensor::from_data(rows, &context.device.device))?;
        host(if back { codec.decode(latents) } else { latents })
    }

    /// What comes back of the first columns of `picture`, as many as the network hears, from the model's codec; `None` for one
    /// without.
    ///
    /// # Errors
    /// Latents that cannot be read back from their device.
    pub fn round_trip(&self, picture: &LogMel, context: &Context) -> Result<Option<LogMel>, Error> {
        if !matches!(self.ear, Ear::Trained(Model { codec: Some(_), .. })) {
            return Ok(None);
        }
        let bands = picture.bins;
        let row = self.through_codec(self.analysis.row(&picture.values), true, context)?;
        let known = picture.frames.min(self.analysis.frames());
        let mut values = self.analysis.columns(&row)[..known * bands].to_vec();
        values.extend_from_slice(&picture.values[known * bands..]);
        Ok(Some(LogMel { frames: picture.frames, bins: bands, values }))
    }

    /// The sound of a picture of something in `mixture`.
    ///
    /// # Errors
    /// A picture of another length; a vocoder that was not given.
    pub fn sound(&self, mixture: &[f32], picture: &LogMel, how: Resynthesis) -> Result<Vec<f32>, Error> {
        let mel = self.analysis.mel();
        Ok(match how {
            Resynthesis::Mask => mask::resynthesise(mel, mixture, picture)?,
            Resynthesis::GriffinLim => {
                let stft = mel.stft();
                let phases: Vec<f32> = stft.forward(mixture).values.iter().map(|v| v.arg() as f32).collect();
                griffin_lim(&stft, &mel.magnitude(picture), mixture.len(), &phases, &GriffinLim::default())?
            }
            Resynthesis::Vocoder => {
                let vocoder = self.vocoder.as_ref();
                let (vocoder, device) =
                    vocoder.ok_or_else(|| Error::Usage("--vocoder is missing: give its folder".into()))?;
                let data = TensorData::new(picture.values.clone(), [1, picture.frames, picture.bins]);
                let mut wave = host(vocoder.forward(Tensor::from_data(data, device)))?;
                wave.resize(mixture.len(), 0.0);
                wave
            }
        })
    }
}
