//! The codec of sound: a KL autoencoder over mel pictures (AudioLDM, arXiv:2301.12503; FlowSep, arXiv:2409.07614), trained on
//! the sounds of a library and on their mixtures alike, since a separator sees both.

use super::{CodecRecipe, Coder, Kind, KlConfig};
use crate::{
    Context, Error,
    recipe::Separate,
    runs::{Stage, TrainReport},
    sound::{Analysis, MelPictures, Part, check_recordings, libraries},
};
use base::{Device, Shape};
use data::{DataConfig, Dataset, TestPart, mixture::MixtureConfig};
use media::audio::MelConfig;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use train::{SampleSource, checkpoint::Checkpoint};

/// A codec of mel pictures: its network, and how it hears. The keys of hearing mean what they mean in task `separate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MelCodecConfig {
    /// Sizes of the network and weights of its loss; AudioLDM has `channels = [128, 256, 512]`, `blocks = 2`, `groups = 32`,
    /// `attention = true`, `latent_channels = 8`, `quant = true`.
    pub network: KlConfig,
    /// Pictures to a pass: as many sounds as mixtures, all different.
    pub pictures: usize,
    /// One recording in this many of a label is kept apart to judge with.
    pub held_out: usize,
    /// What the network sees of a log-mel value `v` is `(v - centre) / spread`.
    pub centre: f32,
    /// See `centre`.
    pub spread: f32,
    /// How sound becomes a mel picture.
    pub mel: MelConfig,
    /// What mixtures are like.
    pub mixture: MixtureConfig,
}

impl Default for MelCodecConfig {
    fn default() -> Self {
        let Separate { held_out, centre, spread, mel, mixture, .. } = Separate::default();
        Self { network: KlConfig::default(), pictures: 20_000, held_out, centre, spread, mel, mixture }
    }
}

/// Pictures that are kept apart, of other recordings.
const HELD_OUT: usize = 400;

impl MelCodecConfig {
    fn hearing(&self) -> Separate {
        let Self { held_out, centre, spread, mel, mixture, .. } = self.clone();
        Separate { held_out, centre, spread, mel, mixture, ..Separate::default() }
    }

    fn pictures(&self, data: &DataConfig, part: Part) -> Result<MelPictures, Error> {
        check_recordings(data).map_err(Error::Usage)?;
        let (train, test, left_out) = libraries(data, &self.hearing())?;
        let (library, count) = match part {
            Part::Train => (train, self.pictures),
            Part::Test => (test, HELD_OUT),
        };
        MelPictures::new(library, &self.hearing(), (&crate::sound::place(data)?, part), count, &left_out)
    }
}

impl Kind for MelCodecConfig {
    fn check(&self) -> Result<(), String> {
        self.network.check().map_err(|said| said.replace("codec.", "codec.network."))?;
        if self.network.perceptual > 0.0 {
            return Err("codec.network.perceptual looks at pictures of light; leave it at 0".into());
        }
        if !(2..=1 << 30).contains(&self.pictures) {
            return Err(format!("codec.pictures = {}; give 2 or more", self.pictures));
        }
        let hearing = self.hearing();
        hearing.ranges().map_err(|said| said.replace("task.", "codec."))?;
        let levels = self.network.channels.len();
        let (factor, frames, bins) = (1usize << levels.clamp(1, 16) >> 1, hearing.frames()?, self.mel.bins);
        match frames.is_multiple_of(factor) && bins.is_multiple_of(factor) {
            true => Ok(()),
            false => Err(format!(
                "a picture of {frames} columns and {bins} bands cannot be halved {} times (codec.network.channels has {levels} \
                 levels); make codec.mixture.length / codec.mel.hop and codec.mel.bins multiples of {factor}",
                levels - 1
            )),
        }
    }

    fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        self.network.latent(sample)
    }

    fn open(&self, data: &DataConfig, _: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        Ok(Arc::new(self.pictures(data, Part::Train)?))
    }

    fn open_test(&self, data: &DataConfig, _: &mut Context) -> Result<Option<TestPart>, Error> {
        Ok(Some(TestPart { set: Arc::new(self.pictures(data, Part::Test)?), is_own: false }))
    }

    fn rehearse(&self, recipe: &CodecRecipe) -> Result<(), Error> {
        check_recordings(&recipe.data).map_err(Error::Usage)?;
        let shape = Analysis::new(&self.hearing())?.shape();
        self.network.network(shape, None, &Device::flex())?;
        self.network.check_start(shape)?;
        match recipe.train.micro_batch() <= self.pictures {
            true => Ok(()),
            false => Err(Error::Usage(format!("train.batch is larger than codec.pictures = {}", self.pictures))),
        }
    }

    fn train(
        &self,
        stage: Stage<'_>,
        sample: Shape,
        source: &mut SampleSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        self.network.train(stage, sample, source, context)
    }

    fn load(&self, sample: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error> {
        self.network.load(sample, checkpoint, device)
    }

    fn heard(&self) -> Option<Separate> {
        Some(self.hearing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Tensor;
    use nets::weights::{Stored, TensorSource};
    use std::path::Path;

    /// AudioLDM's layout in small, as diffusers wrote it.
    fn released() -> MelCodecConfig {
        let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny/vae");
        let network = KlConfig {
            channels: vec![8, 16, 16],
            groups: 4,
            attention: true,
            latent_channels: 8,
            quant: true,
            start: Some(start),
            ..KlConfig::default()
        };
        let mut config = MelCodecConfig { network, centre: 0.0, spread: 1.0, ..MelCodecConfig::default() };
        config.mixture.length = 10_240;
        config
    }

    /// Weights that training begins with are the released ones, latents unscaled. Mutants: fresh weights; the scale of the file kept.
    #[test]
    fn training_begins_with_released_weights() {
        let (config, device) = (released(), Device::flex());
        Kind::check(&config).unwrap();
        let shape = Analysis::new(&config.hearing()).unwrap().shape();
        assert_eq!((shape, Kind::latent(&config, shape).unwrap()), ([1, 64, 64].into(), [8, 16, 16].into()));
        let net = config.network.first(shape, 3, &device).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny/golden.safetensors");
        let golden = Stored::open(&file).unwrap();
        let tensor = |name: &str| {
            let data = base::TensorData::new(golden.read(name).unwrap(), golden.shape(name).unwrap());
            Tensor::<4>::from_data(data, &device)
        };
        let far = |got: Tensor<4>, name: &str| (got - tensor(name)).abs().max().into_scalar::<f32>();
        let mean = net.encode(tensor("vae.input")).mean;
        assert!(far(mean.clone(), "vae.mean") < 1e-4);
        assert!(far(net.decode(mean), "vae.output_mel") < 1e-4);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_key() {
        let refuse = |change: fn(&mut MelCodecConfig), part: &str| {
            let mut config = released();
            change(&mut config);
            let shape = [1, 64, 64].into();
            let said = Kind::check(&config).and_then(|()| config.network.check_start(shape).map_err(|e| e.to_string()));
            let said = said.unwrap_err();
            assert!(said.contains(part), "{said}");
        };
        refuse(|c| c.network.channels = vec![8, 16, 32], "set channels = [8, 16, 16]");
        refuse(|c| c.network.quant = false, "quant = true");
        refuse(|c| c.network.start = Some("nowhere".into()), "give the folder of an AutoencoderKL");
        refuse(|c| c.network.perceptual = 1.0, "codec.network.perceptual");
        refuse(|c| c.network.kl = -1.0, "codec.network.kl = -1");
        refuse(|c| c.mixture.length = 160 * 65, "65 columns and 64 bands");
        refuse(|c| c.mixture.length = 10_241, "codec.mixture.length is 10241");
        refuse(|c| c.pictures = 0, "codec.pictures = 0");
        refuse(|c| c.spread = 0.0, "codec.spread");
    }
}
