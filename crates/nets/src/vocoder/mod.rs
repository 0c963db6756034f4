//! Vocoders: from a mel picture to its waveform. Two networks in the layouts of their authors, and the picture with gradients.

mod big_vgan;
mod hifi_gan;
mod layers;
mod losses;
mod snake;
mod spectra;

pub use big_vgan::{BigVgan, BigVganConfig};
pub use hifi_gan::{HifiGan, HifiGanConfig};
pub use losses::{HeardLoss, HeardWeights, distance};
pub use spectra::{MelTransform, SpectrumTransform};

use crate::{NetsError, published, weights::Stored};
use base::{Device, Tensor};
use serde_json::Value;
use std::path::Path;

/// A released vocoder.
#[derive(Debug)]
pub enum Vocoder {
    /// HiFi-GAN as `transformers` keeps it.
    HifiGan(Box<HifiGan>, HifiGanConfig),
    /// BigVGAN as its authors keep it.
    BigVgan(Box<BigVgan>, BigVganConfig),
}

/// The pictures that a vocoder was made for; what it does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reads {
    /// Samples of the waveform to a second.
    pub rate: u32,
    /// Bands.
    pub bands: usize,
    /// Samples to a column.
    pub hop: usize,
    /// Samples of a window.
    pub window: Option<usize>,
    /// Lowest and highest frequency.
    pub band: Option<[f64; 2]>,
}

impl Vocoder {
    /// The vocoder in `folder`: `config.json` with `model.safetensors` (HiFi-GAN), or `bigvgan_generator.safetensors` or `.pt`. Also the keys of
    /// its configuration that this program does not know.
    ///
    /// # Errors
    /// A folder that is neither; sizes that cannot be built; tensors that do not fit them.
    pub fn open(folder: &Path, device: &Device) -> Result<(Self, Vec<String>), NetsError> {
        let file = folder.join("config.json");
        let wrong = |what: String| NetsError::file(&file, what);
        let text = std::fs::read(&file).map_err(|error| {
            wrong(format!("{error}; a vocoder's folder has a config.json and its weights in safetensors"))
        })?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        if json.get("activation").is_some() {
            let (config, unknown) = published::read::<BigVganConfig>(&text).map_err(|e| wrong(e.to_string()))?;
            let pickled = folder.join("bigvgan_generator.pt");
            let stored = match pickled.is_file() {
                true => Stored::open(&pickled)?,
                false => Stored::in_folder(folder, "bigvgan_generator")?,
            };
            return Ok((Self::BigVgan(Box::new(BigVgan::load(&config, &stored, device)?), config), unknown));
        }
        if json.get("model_in_dim").is_some() {
            let config: HifiGanConfig = serde_json::from_value(json).map_err(|error| wrong(error.to_string()))?;
            let stored = Stored::in_folder(folder, "model")?;
            return Ok((Self::HifiGan(Box::new(HifiGan::load(&config, &stored, device)?), config), Vec::new()));
        }
        Err(wrong("is neither SpeechT5HifiGan's (`model_in_dim`) nor BigVGAN's (`activation`)".into()))
    }

    /// The pictures that it reads.
    pub fn reads(&self) -> Reads {
        match self {
            Self::HifiGan(_, config) => Reads {
                rate: config.sampling_rate,
                bands: config.model_in_dim,
                hop: config.stride(),
                window: None,
                band: None,
            },
            Self::BigVgan(_, config) => Reads {
                rate: config.sampling_rate,
                bands: config.num_mels,
                hop: config.stride(),
                window: Some(config.n_fft),
                band: Some([config.fmin, config.fmax.unwrap_or(f64::from(config.sampling_rate) / 2.0)]),
            },
        }
    }

    /// A log-mel picture `[b frames bands]` to its waveform `[b samples]` in [-1, 1], a hop to a column or a few samples more in all.
    pub fn forward(&self, picture: Tensor<3>) -> Tensor<2> {
        match self {
            Self::HifiGan(net, _) => net.forward(picture),
            Self::BigVgan(net, _) => net.forward(picture),
        }
    }
}

#[cfg(test)]
mod tests;
