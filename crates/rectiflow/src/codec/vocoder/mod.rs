//! The vocoder that is trained here: HiFi-GAN's generator (Kong, Kim and Bae, 2020, arXiv:2010.05646) in small, from the mel picture of a
//! segment to the segment. It has no latents: what a run leaves is a folder in the released layout, which `separate --vocoder` reads.

mod measured;
mod task;

pub use measured::{Vocoded, Way};
pub use task::VocoderTask;

use super::{CodecRecipe, Coder, Kind, Learned, Whitening};
use crate::{
    Context, Error,
    recipe::Separate,
    runs::{Stage, TrainReport},
    sound::{Analysis, Part, Segments, check_recordings, libraries},
};
use base::{Device, Shape};
use data::{DataConfig, Dataset, TestPart, mixture::MixtureConfig};
use media::audio::MelConfig;
use nets::{HifiGan, HifiGanConfig, vocoder::HeardWeights};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};
use train::{SampleSource, checkpoint::Checkpoint};

/// Sizes of the generator. Each lengthening halves the channels and has a window of twice its rate, as in its paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VocoderNet {
    /// Channels before the first lengthening.
    pub channels: usize,
    /// By how much each transposed convolution lengthens the signal; their product is the hop.
    pub rates: Vec<usize>,
    /// Windows of the residual blocks after each.
    pub kernels: Vec<usize>,
    /// Dilations within each residual block.
    pub dilations: Vec<usize>,
}

impl Default for VocoderNet {
    fn default() -> Self {
        Self { channels: 64, rates: vec![10, 4, 4], kernels: vec![3, 7], dilations: vec![1, 3] }
    }
}

/// A vocoder: its network, what it learns from, and how it hears. The keys of hearing mean what they mean in task `separate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VocoderConfig {
    /// Sizes of the network.
    pub network: VocoderNet,
    /// What is called alike.
    pub loss: HeardWeights,
    /// Different segments.
    pub segments: usize,
    /// One recording in this many of a label is kept apart to judge with.
    pub held_out: usize,
    /// The network sees of a log-mel value `v` `(v - centre) / spread`.
    pub centre: f32,
    /// See `centre`.
    pub spread: f32,
    /// How sound becomes a mel picture.
    pub mel: MelConfig,
    /// What segments are like.
    pub segment: SegmentConfig,
}

/// What segments are like: single sounds, as the target of a mixture is. The keys mean what they mean in a separation's `mixture`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentConfig {
    /// Samples.
    pub length: usize,
    /// Least and most speed at which a sound runs; 1 is its own.
    pub speed: [f64; 2],
    /// Share of the longer sounds that begin within it; the others are cut from their middle.
    pub onset: f64,
    /// Least and most decibels by which it is then made quieter.
    pub level: [f64; 2],
}

impl Default for SegmentConfig {
    fn default() -> Self {
        let MixtureConfig { speed, onset, level, .. } = MixtureConfig::default();
        Self { length: 5120, speed, onset, level }
    }
}

impl Default for VocoderConfig {
    fn default() -> Self {
        let Separate { held_out, centre, spread, mel, .. } = Separate::default();
        Self {
            network: VocoderNet::default(),
            loss: HeardWeights::default(),
            segments: 20_000,
            held_out,
            centre,
            spread,
            mel,
            segment: SegmentConfig::default(),
        }
    }
}

/// Segments that are kept apart, of other recordings.
const HELD_OUT: usize = 100;

impl VocoderConfig {
    fn hearing(&self) -> Separate {
        let Self { held_out, centre, spread, mel, segment, .. } = self.clone();
        let SegmentConfig { length, speed, onset, level } = segment;
        let alone = MixtureConfig { sources: [1, 1], absent: 0.0, ..MixtureConfig::default() };
        let mixture = MixtureConfig { length, speed, onset, level, ..alone };
        Separate { held_out, centre, spread, mel, mixture, ..Separate::default() }
    }

    /// The network under the names of its published layout.
    fn published(&self) -> HifiGanConfig {
        let VocoderNet { channels, rates, kernels, dilations } = self.network.clone();
        HifiGanConfig {
            model_in_dim: self.mel.bins,
            sampling_rate: self.mel.rate,
            upsample_initial_channel: channels,
            // Of the rate's parity, so that a column becomes a hop and no sample more.
            upsample_kernel_sizes: rates.iter().map(|rate| 2 * rate + rate % 2).collect(),
            upsample_rates: rates,
            resblock_dilation_sizes: vec![dilations; kernels.len()],
            resblock_kernel_sizes: kernels,
            normalize_before: true,
            ..HifiGanConfig::default()
        }
    }

    fn network(&self, seed: u64, device: &Device) -> Result<HifiGan, Error> {
        Ok(HifiGan::new(&self.published(), seed, device)?.centred(self.centre, self.spread))
    }

    fn segments(&self, data: &DataConfig, part: Part) -> Result<Segments, Error> {
        check_recordings(data).map_err(Error::Usage)?;
        let (train, test, left_out) = libraries(data, &self.hearing())?;
        let (library, count) = match part {
            Part::Train => (train, self.segments),
            Part::Test => (test, HELD_OUT),
        };
        Segments::new(library, &self.hearing(), (&crate::sound::place(data)?, part), count, &left_out)
    }
}

impl Kind for VocoderConfig {
    fn check(&self) -> Result<(), String> {
        let hearing = self.hearing();
        hearing.ranges().map_err(|said| said.replace("task.", "codec.").replace("mixture.", "segment."))?;
        if !(2..=1 << 30).contains(&self.segments) {
            return Err(format!("codec.segments = {}; give 2 or more", self.segments));
        }
        let (samples, window) = (self.segment.length, self.mel.window);
        if samples < window {
            return Err(format!(
                "codec.segment.length = {samples} is shorter than a window of codec.mel.window = {window}"
            ));
        }
        let published = self.published();
        published.check().map_err(|error| error.to_string().replace("vocoder.", "codec.network: "))?;
        if published.stride() != self.mel.hop {
            return Err(format!(
                "codec.network.rates = {:?} make {} samples of a column, and codec.mel.hop is {}; their product must be the hop",
                self.network.rates,
                published.stride(),
                self.mel.hop
            ));
        }
        self.loss.check(samples).map_err(|error| error.to_string().replace("loss.", "codec.loss."))
    }

    fn latent(&self, _: Shape) -> Result<Shape, Error> {
        Err(no_latents())
    }

    fn open(&self, data: &DataConfig, _: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        Ok(Arc::new(self.segments(data, Part::Train)?))
    }

    fn open_test(&self, data: &DataConfig, _: &mut Context) -> Result<Option<TestPart>, Error> {
        Ok(Some(TestPart { set: Arc::new(self.segments(data, Part::Test)?), is_own: false }))
    }

    fn rehearse(&self, recipe: &CodecRecipe) -> Result<(), Error> {
        check_recordings(&recipe.data).map_err(Error::Usage)?;
        self.network(0, &Device::flex())?;
        if recipe.whitening != Whitening::default() {
            return Err(Error::Usage("whitening is of latents, and a vocoder has none; leave it out".into()));
        }
        match recipe.train.micro_batch() <= self.segments {
            true => Ok(()),
            false => Err(Error::Usage(format!("train.batch is larger than codec.segments = {}", self.segments))),
        }
    }

    fn train(
        &self,
        stage: Stage<'_>,
        _: Shape,
        source: &mut SampleSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let device = &context.device.device;
        // On the tape's side, where what is made comes from.
        let task = Learned(VocoderTask::new(self, &device.clone().autodiff())?);
        let net = self.network(stage.seed, device)?;
        stage.run(net, &task, source, context)
    }

    fn load(&self, _: Shape, _: &Checkpoint, _: &Device) -> Result<Box<dyn Coder>, Error> {
        Err(no_latents())
    }

    fn hand_over(
        &self,
        recipe: &CodecRecipe,
        checkpoint: &Checkpoint,
        folder: &Path,
        context: &mut Context,
    ) -> Result<Option<Vocoded>, Error> {
        measured::hand_over(self, recipe, checkpoint, folder, context).map(Some)
    }
}

/// What is said to who looks for its latents.
fn no_latents() -> Error {
    Error::Usage(
        "this codec is a vocoder: it makes sounds of mel pictures and has no latents for a flow. Give the folder `vocoder` of its run to \
         `separate --vocoder`, and name a codec of type \"mel\" here"
            .into(),
    )
}

impl VocoderConfig {
    fn analysis(&self) -> Result<Analysis, Error> {
        Analysis::new(&self.hearing())
    }
}

#[cfg(test)]
mod tests;
