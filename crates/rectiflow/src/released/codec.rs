//! The autoencoder of a released model before its weights are read: of pictures, or of clips.

use crate::{
    Error,
    release::{Family, Release, part::Part},
};
use nets::{AutoencoderConfig, ClipCodecConfig, PatchedConfig};

/// Frames of a clip where nobody says, and how many of them a second shows: those of Wan's own pipeline.
const FRAMES: usize = 81;
const RATE: f64 = 16.0;

/// Which autoencoder, in what sizes.
#[derive(Clone, Debug)]
pub(super) enum Codec {
    Picture(AutoencoderConfig),
    Clip(ClipCodecConfig),
    /// One of clips that draws pictures: clips of one frame.
    Still(ClipCodecConfig),
}

/// How long a clip is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Length {
    /// Its frames.
    pub frames: usize,
    /// Those of its latent.
    pub latent: usize,
    /// How many are shown in a second.
    pub rate: f64,
}

impl Codec {
    /// The model's, and its part.
    ///
    /// # Errors
    /// A part that is missing, of another class, or asks for what is not built here.
    pub fn of(model: &Release, note: &mut dyn FnMut(String)) -> Result<(Part, Self), Error> {
        if model.family() == Family::Wan {
            let part = model.part("vae", &["AutoencoderKLWan"])?;
            let codec = Self::Clip(part.config(note)?);
            return Ok((part, codec));
        }
        if model.family() == Family::QwenImage {
            let part = model.part("vae", &["AutoencoderKLQwenImage"])?;
            let codec = Self::Still(part.config(note)?);
            return Ok((part, codec));
        }
        if matches!(model.family(), Family::Flux2 { .. }) {
            let part = model.part("vae", &["AutoencoderKLFlux2"])?;
            let codec = Self::Picture(part.config::<PatchedConfig>(note)?.network());
            return Ok((part, codec));
        }
        let part = model.part("vae", &["AutoencoderKL"])?;
        let codec = Self::Picture(part.config(note)?);
        Ok((part, codec))
    }

    /// Channels of a latent.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Picture(config) => config.channels(),
            Self::Clip(config) | Self::Still(config) => config.z_dim,
        }
    }

    /// Channels of a decoded picture or frame.
    pub fn out_channels(&self) -> usize {
        match self {
            Self::Picture(config) => config.out_channels,
            Self::Clip(config) | Self::Still(config) => config.out_channels,
        }
    }

    /// Pixels along a side for one of the latent.
    pub fn factor(&self) -> usize {
        match self {
            Self::Picture(config) => config.factor(),
            Self::Clip(config) | Self::Still(config) => config.factor(),
        }
    }

    /// Channels of the two finest levels; of clips those of all frames that one of the latent stands for.
    pub fn finest(&self) -> [usize; 2] {
        let (widths, frames) = match self {
            Self::Picture(config) => (config.block_out_channels.clone(), 1),
            Self::Clip(config) => (config.widths(), config.frames_factor()),
            Self::Still(config) => (config.widths(), 1),
        };
        let finest = widths.first().copied().unwrap_or(0);
        [finest * frames, widths.get(1).copied().unwrap_or(finest) * frames]
    }

    /// Bytes that decoding a picture leaves on a tape; nothing is differentiated through clips.
    pub fn tape_bytes(&self, size: [usize; 2]) -> u64 {
        match self {
            Self::Picture(config) => config.tape_bytes(size),
            Self::Clip(_) | Self::Still(_) => 0,
        }
    }

    /// How long a clip of so many frames is, `rate` of them a second; nothing for pictures.
    ///
    /// # Errors
    /// [`Error::Usage`] for a length that does not fit, with the nearest; a rate that is none.
    pub fn length(&self, frames: Option<usize>, rate: Option<f64>) -> Result<Option<Length>, Error> {
        let Self::Clip(config) = self else { return Ok(None) };
        let (frames, rate) = (frames.unwrap_or(FRAMES), rate.unwrap_or(RATE));
        let latent =
            config.latent_frames(frames).map_err(|error| Error::Usage(format!("--frames {frames}: {error}")))?;
        if !(0.1..=240.0).contains(&rate) {
            return Err(Error::Usage(format!("--fps {rate}: use 0.1 to 240 frames a second")));
        }
        Ok(Some(Length { frames, latent, rate }))
    }
}
