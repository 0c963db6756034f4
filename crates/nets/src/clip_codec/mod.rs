//! The causal autoencoder of clips of Wan 2.1 (Wan Team, 2025, arXiv 2503.20314, sec. 4.1): a frame's latent depends on it and on what came
//! before, so that clips are walked piece by piece, in the memory of one piece.
//!
//! Frames are in [-1, 1]. One frame of the latent stands for four of a clip, the first for itself. Tensor names are diffusers'
//! `AutoencoderKLWan`.

mod block;
mod config;
mod past;

pub use block::{ClipBlock, ClipMiddle, FrameAttention, PixelNorm, Resampler};
pub use config::ClipCodecConfig;

use crate::init::Init;
use crate::layers::Conv3d;
use base::{Tensor, TensorData};
use block::conv;
use burn::module::Module;
use past::Past;

/// The blocks of one resolution.
#[derive(Module, Debug)]
pub struct ClipLevel {
    /// Residual blocks.
    pub resnets: Vec<ClipBlock>,
    /// To half the resolution.
    pub downsamplers: Vec<Resampler>,
    /// To twice the resolution.
    pub upsamplers: Vec<Resampler>,
}

impl ClipLevel {
    fn new(init: &Init, [input, output]: [usize; 2], count: usize) -> Self {
        let block =
            |i: usize| ClipBlock::new(&init.child("resnets").child(i), [if i == 0 { input } else { output }, output]);
        Self { resnets: (0..count).map(block).collect(), downsamplers: Vec::new(), upsamplers: Vec::new() }
    }

    fn forward(&self, x: Tensor<5>, past: &mut Past) -> Tensor<5> {
        let x = self.resnets.iter().fold(x, |x, block| block.forward(x, past));
        self.downsamplers.iter().chain(&self.upsamplers).fold(x, |x, resampler| resampler.forward(x, past))
    }
}

/// Clip to the means and logarithmic variances of its latent.
#[derive(Module, Debug)]
pub struct ClipEncoder {
    /// Clip to channels.
    pub conv_in: Conv3d,
    /// From fine to coarse.
    pub down_blocks: Vec<ClipLevel>,
    /// At the coarsest resolution.
    pub mid_block: ClipMiddle,
    /// Before the last convolution.
    pub norm_out: PixelNorm,
    /// Channels to means and logarithmic variances.
    pub conv_out: Conv3d,
}

/// Latent to clip.
#[derive(Module, Debug)]
pub struct ClipDecoder {
    /// Latent to channels.
    pub conv_in: Conv3d,
    /// At the coarsest resolution.
    pub mid_block: ClipMiddle,
    /// From coarse to fine.
    pub up_blocks: Vec<ClipLevel>,
    /// Before the last convolution.
    pub norm_out: PixelNorm,
    /// Channels to clip.
    pub conv_out: Conv3d,
}

/// What the encoder says of a clip.
#[derive(Clone, Debug)]
pub struct ClipLatent {
    /// Means `[b c f h w]`, as the encoder says them.
    pub mean: Tensor<5>,
    /// Logarithms of variances, within [-30, 20].
    pub logvar: Tensor<5>,
}

/// The network of [`ClipCodecConfig`].
#[derive(Module, Debug)]
pub struct ClipCodec {
    /// Clips to latents.
    pub encoder: ClipEncoder,
    /// Latents to clips.
    pub decoder: ClipDecoder,
    /// After the encoder.
    pub quant_conv: Conv3d,
    /// Before the decoder.
    pub post_quant_conv: Conv3d,
    #[module(skip)]
    mean: Vec<f64>,
    #[module(skip)]
    deviation: Vec<f64>,
    frames: usize,
}

impl ClipCodec {
    pub(crate) fn new(config: &ClipCodecConfig, init: &Init) -> Self {
        let widths = config.widths();
        let (last, count, z) = (widths.len() - 1, config.num_res_blocks, config.z_dim);
        let coarse = widths[last];
        let place = init.child("encoder");
        let level = |i: usize| {
            let here = place.child("down_blocks").child(i);
            let mut level = ClipLevel::new(&here, [widths[i.saturating_sub(1)], widths[i]], count);
            if i < last {
                let there = here.child("downsamplers").child(0);
                level.downsamplers.push(Resampler::down(&there, widths[i], config.temperal_downsample[i]));
            }
            level
        };
        let encoder = ClipEncoder {
            conv_in: conv(&place, "conv_in", [config.in_channels, widths[0]], [3, 3]),
            down_blocks: (0..=last).map(level).collect(),
            mid_block: ClipMiddle::new(&place.child("mid_block"), coarse),
            norm_out: PixelNorm::new(&place.child("norm_out"), coarse),
            conv_out: conv(&place, "conv_out", [coarse, 2 * z], [3, 3]),
        };
        let place = init.child("decoder");
        let level = |i: usize| {
            let here = place.child("up_blocks").child(i);
            let width = widths[last - i];
            // Doubling has halved the channels of the level before.
            let input = if i == 0 { coarse } else { widths[last + 1 - i] / 2 };
            let mut level = ClipLevel::new(&here, [input, width], count + 1);
            if i < last {
                let there = here.child("upsamplers").child(0);
                level.upsamplers.push(Resampler::up(&there, width, config.temperal_downsample[last - 1 - i]));
            }
            level
        };
        let decoder = ClipDecoder {
            conv_in: conv(&place, "conv_in", [z, coarse], [3, 3]),
            mid_block: ClipMiddle::new(&place.child("mid_block"), coarse),
            up_blocks: (0..=last).map(level).collect(),
            norm_out: PixelNorm::new(&place.child("norm_out"), widths[0]),
            conv_out: conv(&place, "conv_out", [widths[0], config.out_channels], [3, 3]),
        };
        Self {
            encoder,
            decoder,
            quant_conv: conv(init, "quant_conv", [2 * z, 2 * z], [1, 1]),
            post_quant_conv: conv(init, "post_quant_conv", [z, z], [1, 1]),
            mean: config.latents_mean.clone(),
            deviation: config.latents_std.clone(),
            frames: config.frames_factor(),
        }
    }

    /// Clips `[b 3 f h w]` in [-1, 1], one frame more than a multiple of the codec's, to what stands for them: the first frame, then as
    /// many at a time as a frame of the latent stands for.
    pub fn encode(&self, clips: Tensor<5>) -> ClipLatent {
        let frames = clips.dims()[2];
        let encoder = &self.encoder;
        let mut past = Past::default();
        let starts = std::iter::once(0).chain((1..frames).step_by(self.frames));
        let piece = |start: usize| {
            past.begin();
            let length = if start == 0 { 1 } else { self.frames.min(frames - start) };
            let mut x = past.causal(&encoder.conv_in, clips.clone().narrow(2, start, length));
            for level in &encoder.down_blocks {
                x = level.forward(x, &mut past);
            }
            let x = encoder.mid_block.forward(x, &mut past);
            past.causal(&encoder.conv_out, kernels::silu(encoder.norm_out.forward(x)))
        };
        let x = self.quant_conv.forward(Tensor::cat(starts.map(piece).collect(), 2));
        let c = x.dims()[1] / 2;
        ClipLatent { mean: x.clone().narrow(1, 0, c), logvar: x.narrow(1, c, c).clamp(-30.0, 20.0) }
    }

    /// A latent as flows see it: every channel with its mean taken off, in its deviations.
    pub fn scaled(&self, latent: Tensor<5>) -> Tensor<5> {
        let device = latent.device();
        (latent - channels(&self.mean, &device)) / channels(&self.deviation, &device)
    }

    /// Latents `[b c f h w]` as flows see them to clips `[b 3 f' h' w']` in [-1, 1].
    pub fn decode(&self, latents: Tensor<5>) -> Tensor<5> {
        self.decode_in(latents, 1)
    }

    /// The same, `frames` of the latent at a time. The clip is the same to rounding, memory is that of so many.
    pub fn decode_in(&self, latents: Tensor<5>, frames: usize) -> Tensor<5> {
        self.decode_by(latents, frames, &mut |_| true).expect("nobody stops it")
    }

    /// The same; after each piece `go_on` is told how many frames of the latent are done, and says whether to go on. `None` where it did not.
    pub fn decode_by(
        &self,
        latents: Tensor<5>,
        frames: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Tensor<5>> {
        let device = latents.device();
        let z = latents * channels(&self.deviation, &device) + channels(&self.mean, &device);
        let z = self.post_quant_conv.forward(z);
        let (all, frames) = (z.dims()[2], frames.max(1));
        let decoder = &self.decoder;
        let mut past = Past::default();
        let mut piece = |start: usize| {
            past.begin();
            let end = all.min(start + frames);
            let mut x = past.causal(&decoder.conv_in, z.clone().narrow(2, start, end - start));
            x = decoder.mid_block.forward(x, &mut past);
            for level in &decoder.up_blocks {
                x = level.forward(x, &mut past);
            }
            let x = past.causal(&decoder.conv_out, kernels::silu(decoder.norm_out.forward(x))).clamp(-1.0, 1.0);
            go_on(end).then_some(x)
        };
        let pieces: Option<Vec<_>> = (0..all).step_by(frames).map(&mut piece).collect();
        Some(Tensor::cat(pieces?, 2))
    }
}

/// One number for each channel, `[1 c 1 1 1]`.
fn channels(values: &[f64], device: &base::Device) -> Tensor<5> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [1, count, 1, 1, 1]), device)
}
