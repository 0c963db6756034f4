//! The autoencoder of latent diffusion (Rombach et al., 2022, arXiv 2112.10752, sec. 3.1): images to latents and back.
//!
//! Images are in [-1, 1]. The encoder gives a Gaussian for every latent number; latents are its mean (or a draw), shifted and
//! scaled so that their deviation is about one. Tensor names are diffusers' `AutoencoderKL`.

mod block;
mod config;
mod patched;
mod tiled;

pub use block::{Middle, PixelAttention, PlainBlock, PlainLevel, Sampler};
pub use config::AutoencoderConfig;
pub use patched::{PatchStatistics, PatchedConfig};
pub use tiled::Tiles;

use crate::init::Init;
use crate::layers::{Conv2d, GroupNorm};
use base::Tensor;
use block::{conv, group_norm};
use burn::module::Module;

/// Image to the means and logarithmic variances of its latent.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Image to channels.
    pub conv_in: Conv2d,
    /// From fine to coarse.
    pub down_blocks: Vec<PlainLevel>,
    /// At the coarsest resolution.
    pub mid_block: Middle,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Channels to means and logarithmic variances.
    pub conv_out: Conv2d,
}

/// Latent to image.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Latent to channels.
    pub conv_in: Conv2d,
    /// At the coarsest resolution.
    pub mid_block: Middle,
    /// From coarse to fine.
    pub up_blocks: Vec<PlainLevel>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Channels to image.
    pub conv_out: Conv2d,
}

/// What the encoder says of an image.
#[derive(Clone, Debug)]
pub struct Latent {
    /// Means `[b c h w]`, before shift and scale.
    pub mean: Tensor<4>,
    /// Logarithms of variances, within [-30, 20].
    pub logvar: Tensor<4>,
}

/// The network of [`AutoencoderConfig`].
#[derive(Module, Debug)]
pub struct Autoencoder {
    /// Images to latents.
    pub encoder: Encoder,
    /// Latents to images.
    pub decoder: Decoder,
    /// After the encoder.
    pub quant_conv: Option<Conv2d>,
    /// Before the decoder.
    pub post_quant_conv: Option<Conv2d>,
    /// Statistics by which squares of latent pixels are normalised (FLUX.2).
    pub bn: Option<PatchStatistics>,
    scale: f64,
    shift: f64,
}

impl Autoencoder {
    pub(crate) fn new(config: &AutoencoderConfig, init: &Init) -> Self {
        let (widths, groups) = (&config.block_out_channels, config.norm_num_groups);
        let (first, coarse, last) = (widths[0], widths[widths.len() - 1], widths.len() - 1);
        let (latent, attends) = (config.latent_channels, config.mid_block_add_attention);
        let place = init.child("encoder");
        let level = |i: usize| {
            let here = place.child("down_blocks").child(i);
            let input = widths[i.saturating_sub(1)];
            let level = PlainLevel::new(&here, input, widths[i], config.layers_per_block, groups);
            if i < last { level.down(&here, widths[i]) } else { level }
        };
        let encoder = Encoder {
            conv_in: conv(&place, "conv_in", config.in_channels, first, 3),
            down_blocks: (0..widths.len()).map(level).collect(),
            mid_block: Middle::new(&place.child("mid_block"), coarse, groups, attends),
            conv_norm_out: group_norm(&place, "conv_norm_out", coarse, groups),
            conv_out: conv(&place, "conv_out", coarse, 2 * latent, 3),
        };
        let place = init.child("decoder");
        let level = |i: usize| {
            let here = place.child("up_blocks").child(i);
            let width = widths[last - i];
            let input = widths[(last + 1 - i).min(last)];
            let level = PlainLevel::new(&here, input, width, config.layers_per_block + 1, groups);
            if i < last { level.up(&here, width) } else { level }
        };
        let decoder = Decoder {
            conv_in: conv(&place, "conv_in", latent, coarse, 3),
            mid_block: Middle::new(&place.child("mid_block"), coarse, groups, attends),
            up_blocks: (0..widths.len()).map(level).collect(),
            conv_norm_out: group_norm(&place, "conv_norm_out", first, groups),
            conv_out: conv(&place, "conv_out", first, config.out_channels, 3),
        };
        Self {
            encoder,
            decoder,
            quant_conv: config.use_quant_conv.then(|| conv(init, "quant_conv", 2 * latent, 2 * latent, 1)),
            post_quant_conv: config.use_post_quant_conv.then(|| conv(init, "post_quant_conv", latent, latent, 1)),
            bn: config
                .normalised_patches
                .map(|epsilon| PatchStatistics::new(&init.child("bn"), config.channels(), epsilon)),
            scale: config.scaling_factor,
            shift: config.shift_factor.unwrap_or(0.0),
        }
    }

    /// Images `[b 3 h w]` in [-1, 1], sides divisible by the factor, to what stands for them.
    pub fn encode(&self, images: Tensor<4>) -> Latent {
        let encoder = &self.encoder;
        let mut x = encoder.conv_in.forward(images);
        for level in &encoder.down_blocks {
            x = level.forward(x);
        }
        let x = encoder.conv_norm_out.forward(encoder.mid_block.forward(x), None, true);
        let mut x = encoder.conv_out.forward(x);
        if let Some(conv) = &self.quant_conv {
            x = conv.forward(x);
        }
        let c = x.dims()[1] / 2;
        Latent { mean: x.clone().narrow(1, 0, c), logvar: x.narrow(1, c, c).clamp(-30.0, 20.0) }
    }

    /// A latent as flows see it: shifted and scaled, or its squares normalised.
    pub fn scaled(&self, latent: Tensor<4>) -> Tensor<4> {
        match &self.bn {
            None => (latent - self.shift) * self.scale,
            Some(statistics) => statistics.normalised(latent),
        }
    }

    /// Latents `[b c h w]` as flows see them to images `[b 3 h' w']`, about [-1, 1], not clamped.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let decoder = &self.decoder;
        let mut x = match &self.bn {
            None => latents / self.scale + self.shift,
            Some(statistics) => statistics.undone(latents),
        };
        if let Some(conv) = &self.post_quant_conv {
            x = conv.forward(x);
        }
        let mut x = decoder.mid_block.forward(decoder.conv_in.forward(x));
        for level in &decoder.up_blocks {
            x = level.forward(x);
        }
        decoder.conv_out.forward(decoder.conv_norm_out.forward(x, None, true))
    }
}
