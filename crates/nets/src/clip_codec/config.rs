//! Configuration of Wan's autoencoder under the names of diffusers' `AutoencoderKLWan`, and `AutoencoderKLQwenImage`, which is the same network.

use super::ClipCodec;
use crate::NetsError;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use base::Device;
use serde::{Deserialize, Serialize};

/// Halvings of an image are counted in bits.
const LEVELS: usize = 8;

/// Sizes of a [`ClipCodec`]; the defaults are diffusers', those of Wan 2.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipCodecConfig {
    /// Channels of the finest level.
    pub base_dim: usize,
    /// The decoder's, where they are others.
    pub decoder_base_dim: Option<usize>,
    /// Channels of a latent.
    pub z_dim: usize,
    /// Channels of each level in multiples of the finest's, fine to coarse; one halving of images between two.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub num_res_blocks: usize,
    /// Resolutions that attend beside the coarsest: none.
    pub attn_scales: Vec<f64>,
    /// Whether frames are halved together with images, from fine to coarse. (Spelled as in released files.)
    pub temperal_downsample: Vec<bool>,
    /// Channels of a frame; Qwen-Image's files call it `input_channels`.
    #[serde(alias = "input_channels")]
    pub in_channels: usize,
    /// Channels of a decoded frame.
    pub out_channels: usize,
    /// Means of the latent's channels over Wan's data.
    pub latents_mean: Vec<f64>,
    /// Their deviations.
    pub latents_std: Vec<f64>,
    /// Wan 2.2's blocks: not built here.
    pub is_residual: bool,
    /// Wan 2.2's patches: not built here.
    pub patch_size: Option<usize>,
}

impl Default for ClipCodecConfig {
    fn default() -> Self {
        Self {
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            in_channels: 3,
            out_channels: 3,
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
                -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
                1.1253, 2.8251, 1.9160,
            ],
            is_residual: false,
            patch_size: None,
        }
    }
}

impl Published for ClipCodecConfig {
    // Both factors follow from the levels; `input_channels` is another name.
    const IDLE: &'static [&'static str] =
        &["dropout", "input_channels", "scale_factor_spatial", "scale_factor_temporal"];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("base_dim", self.base_dim),
            ("z_dim", self.z_dim),
            ("num_res_blocks", self.num_res_blocks),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("dim_mult's length", self.dim_mult.len()),
        ] {
            positive(name, value)?;
        }
        only("attn_scales", &self.attn_scales, &[Vec::new()])?;
        only("is_residual", &self.is_residual, &[false])?;
        only("patch_size", &self.patch_size, &[None])?;
        only("decoder_base_dim", &self.decoder_base_dim.unwrap_or(self.base_dim), &[self.base_dim])?;
        if self.dim_mult.len() > LEVELS {
            let levels = self.dim_mult.len();
            return Err(NetsError::config(format!("dim_mult has {levels} levels; {LEVELS} at most are built here")));
        }
        only("dim_mult's first", &self.dim_mult[0], &[1])?;
        only("out_channels", &self.out_channels, &[3])?;
        only("temperal_downsample's length", &self.temperal_downsample.len(), &[self.dim_mult.len() - 1])?;
        only("latents_mean's length", &self.latents_mean.len(), &[self.z_dim])?;
        only("latents_std's length", &self.latents_std.len(), &[self.z_dim])?;
        for (i, multiple) in self.dim_mult.iter().enumerate() {
            positive("dim_mult", *multiple)?;
            // Doubling an image halves its channels.
            if i > 0 && !(self.base_dim * multiple).is_multiple_of(2) {
                let odd = self.base_dim * multiple;
                return Err(NetsError::config(format!("base_dim and dim_mult make {odd} channels; they must be even")));
            }
        }
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if !finite(&self.latents_mean) || !finite(&self.latents_std) || self.latents_std.contains(&0.0) {
            return Err(NetsError::config(
                "latents_mean and latents_std must be finite, and no deviation may be 0".to_owned(),
            ));
        }
        Ok(())
    }
}

impl ClipCodecConfig {
    /// How many pixels of a frame one of the latent stands for, along each side.
    pub fn factor(&self) -> usize {
        1 << (self.dim_mult.len() - 1)
    }

    /// How many frames one of the latent stands for, but for the first, which stands for itself.
    pub fn frames_factor(&self) -> usize {
        1 << self.temperal_downsample.iter().filter(|halves| **halves).count()
    }

    /// Frames of the latent of a clip of `frames`.
    ///
    /// # Errors
    /// [`NetsError::Config`] where that is not one more than a multiple of [`frames_factor`](Self::frames_factor), with the nearest.
    pub fn latent_frames(&self, frames: usize) -> Result<usize, NetsError> {
        let factor = self.frames_factor();
        if frames % factor == 1 % factor && frames > 0 {
            return Ok((frames - 1) / factor + 1);
        }
        let below = frames.saturating_sub(1) / factor * factor + 1;
        Err(NetsError::config(format!(
            "clips of {frames} frames do not fit: one more than a multiple of {factor}, such as {below} or {}",
            below.saturating_add(factor)
        )))
    }

    /// Channels of each level, fine to coarse.
    pub fn widths(&self) -> Vec<usize> {
        self.dim_mult.iter().map(|multiple| self.base_dim * multiple).collect()
    }

    /// The network with parameters from `init`, to fill or to try.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn build(&self, init: &Init) -> Result<ClipCodec, NetsError> {
        self.check()?;
        Ok(ClipCodec::new(self, init))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<ClipCodec, NetsError> {
        let renamed = Renamed::new(source, |theirs| {
            let name = self.ours(theirs);
            let small = name.ends_with(".gamma") || name.contains(".attentions.");
            vec![(name, if small { Part::Matrix } else { Part::Whole })]
        })?;
        load(self.build(&Init::declared(device))?, &renamed, Strict::Exact)
    }

    /// A tensor's name in diffusers under ours: the encoder counts blocks and halvings in one list.
    fn ours(&self, theirs: &str) -> String {
        let name = theirs.replacen(".resample.1.", ".resample.", 1);
        let Some(rest) = name.strip_prefix("encoder.down_blocks.") else { return name };
        let Some((number, rest)) = rest.split_once('.') else { return name };
        let Ok(number) = number.parse::<usize>() else { return name };
        let each = self.num_res_blocks + 1;
        let (level, place) = (number / each, number % each);
        match place < self.num_res_blocks {
            true => format!("encoder.down_blocks.{level}.resnets.{place}.{rest}"),
            false => format!("encoder.down_blocks.{level}.downsamplers.0.{rest}"),
        }
    }
}
