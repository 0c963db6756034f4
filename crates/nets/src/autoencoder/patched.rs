//! FLUX.2's autoencoder: that of latent diffusion, whose latents flows see in squares of 2x2 pixels, laid side by side in channels and
//! normalised by the means and variances of a batch normalisation. Its configuration has the names of diffusers' `AutoencoderKLFlux2`.

use super::AutoencoderConfig;
use crate::NetsError;
use crate::init::Init;
use crate::published::{Published, only};
use base::Tensor;
use burn::module::{Module, Param};
use serde::{Deserialize, Serialize};

/// Latent pixels along a side of a square.
pub(super) const SIDE: usize = 2;

/// Sizes of FLUX.2's [`Autoencoder`](super::Autoencoder); the defaults are diffusers', those of its release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PatchedConfig {
    /// Channels of an image.
    pub in_channels: usize,
    /// Channels of a decoded image.
    pub out_channels: usize,
    /// Channels of a latent before its squares are laid side by side.
    pub latent_channels: usize,
    /// Channels of each level, fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// The decoder's, where they are others: not built here.
    pub decoder_block_out_channels: Option<Vec<usize>>,
    /// Residual blocks of a level; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of a normalisation.
    pub norm_num_groups: usize,
    /// Activation; SiLU.
    pub act_fn: String,
    /// A 1x1 convolution after the encoder.
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the coarsest level attends.
    pub mid_block_add_attention: bool,
    /// Added to the variances of a square's channels.
    pub batch_norm_eps: f64,
    /// Sides of a square: 2 and 2.
    pub patch_size: [usize; 2],
}

impl Default for PatchedConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 32,
            block_out_channels: vec![128, 256, 512, 512],
            decoder_block_out_channels: None,
            layers_per_block: 2,
            norm_num_groups: 32,
            act_fn: "silu".into(),
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
            batch_norm_eps: 1e-4,
            patch_size: [SIDE; 2],
        }
    }
}

impl Published for PatchedConfig {
    const IDLE: &'static [&'static str] =
        &["sample_size", "force_upcast", "down_block_types", "up_block_types", "batch_norm_momentum"];

    fn check(&self) -> Result<(), NetsError> {
        only("patch_size", &self.patch_size, &[[SIDE; 2]])?;
        if self.decoder_block_out_channels.as_ref().is_some_and(|widths| *widths != self.block_out_channels) {
            return Err(NetsError::config(format!(
                "decoder_block_out_channels is {:?}; this program builds decoders as wide as the encoder ({:?}) alone",
                self.decoder_block_out_channels, self.block_out_channels
            )));
        }
        if !(self.batch_norm_eps.is_finite() && self.batch_norm_eps > 0.0) {
            let given = self.batch_norm_eps;
            return Err(NetsError::config(format!("batch_norm_eps is {given}; it must be a positive number")));
        }
        self.network().check()
    }
}

impl PatchedConfig {
    /// The same in the words of its kin.
    pub fn network(&self) -> AutoencoderConfig {
        AutoencoderConfig {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            latent_channels: self.latent_channels,
            block_out_channels: self.block_out_channels.clone(),
            layers_per_block: self.layers_per_block,
            norm_num_groups: self.norm_num_groups,
            act_fn: self.act_fn.clone(),
            scaling_factor: 1.0,
            shift_factor: None,
            use_quant_conv: self.use_quant_conv,
            use_post_quant_conv: self.use_post_quant_conv,
            mid_block_add_attention: self.mid_block_add_attention,
            normalised_patches: Some(self.batch_norm_eps),
        }
    }
}

/// Means and variances of the channels of squares of latent pixels, as training left them.
#[derive(Module, Debug)]
pub struct PatchStatistics {
    /// `[4c]`.
    pub running_mean: Param<Tensor<1>>,
    /// `[4c]`.
    pub running_var: Param<Tensor<1>>,
    epsilon: f64,
}

impl PatchStatistics {
    pub(super) fn new(init: &Init, channels: usize, epsilon: f64) -> Self {
        Self {
            running_mean: init.child("running_mean").constant([channels], 0.0),
            running_var: init.child("running_var").constant([channels], 1.0),
            epsilon,
        }
    }

    /// Mean and deviation of each channel, `[1 4c 1 1]`.
    fn each(&self) -> [Tensor<4>; 2] {
        let [mean, variance] = [&self.running_mean, &self.running_var].map(|of| {
            let of = crate::layers::widen(of.val());
            let channels = of.dims()[0];
            of.reshape([1, channels, 1, 1])
        });
        [mean, (variance + self.epsilon).sqrt()]
    }

    /// Latents `[b c h w]`, sides even, to normalised squares `[b 4c h/2 w/2]`: channel, row, column; column fastest.
    pub(super) fn normalised(&self, latent: Tensor<4>) -> Tensor<4> {
        let ([b, c, h, w], [mean, deviation]) = (latent.dims(), self.each());
        let squares: Tensor<6> = latent.reshape([b, c, h / SIDE, SIDE, w / SIDE, SIDE]).permute([0, 1, 3, 5, 2, 4]);
        (squares.reshape([b, c * SIDE * SIDE, h / SIDE, w / SIDE]) - mean) / deviation
    }

    /// [`normalised`](Self::normalised) undone.
    pub(super) fn undone(&self, squares: Tensor<4>) -> Tensor<4> {
        let ([b, channels, h, w], [mean, deviation]) = (squares.dims(), self.each());
        let c = channels / (SIDE * SIDE);
        let pixels: Tensor<6> =
            (squares * deviation + mean).reshape([b, c, SIDE, SIDE, h, w]).permute([0, 1, 4, 2, 5, 3]);
        pixels.reshape([b, c, h * SIDE, w * SIDE])
    }
}
