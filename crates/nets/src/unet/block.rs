//! The blocks of the U-Net: residual block with conditioning, self-attention over pixels, resampling.

use super::{Resampling, UnetConfig};
use crate::init::{Init, Weights};
use crate::layers::{Conv2d, Dropout, GroupNorm, Linear};
use crate::recompute;
use base::{Pass, Taps, Tensor};
use burn::module::Module;
use burn::tensor::ops::AvgPoolOptions;
use std::f64::consts::FRAC_1_SQRT_2;

/// What a residual block does to the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Halves it.
    Down,
    /// Keeps it.
    Level,
    /// Doubles it.
    Up,
}

impl Direction {
    fn apply(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Down => average2(x),
            Self::Level => x,
            Self::Up => kernels::upsample2(x),
        }
    }

    /// What a 3x3 convolution says of the image at its new resolution.
    fn convolve(self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        match self {
            Self::Up => conv.forward_upsampled(x),
            _ => conv.forward(self.apply(x)),
        }
    }
}

/// Mean over 2x2 squares: `[b c h w]` to `[b c h/2 w/2]`.
fn average2(x: Tensor<4>) -> Tensor<4> {
    burn::tensor::module::avg_pool2d(x, AvgPoolOptions::new([2; 2]))
}

/// Normalise, activate, convolve, twice; the embedding enters at the second normalisation (Dhariwal and Nichol, 2021).
/// The second convolution starts at zero, so at first the block is its shortcut.
#[derive(Module, Debug)]
pub struct ResBlock {
    /// Before the first convolution.
    pub norm1: GroupNorm,
    /// Input to output channels.
    pub conv1: Conv2d,
    /// Embedding to scale and shift, or to a shift.
    pub time_emb_proj: Linear,
    /// Before the second convolution.
    pub norm2: GroupNorm,
    /// Output to output channels.
    pub conv2: Conv2d,
    /// 1x1, where input and output channels differ.
    pub conv_shortcut: Option<Conv2d>,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    direction: Direction,
    scale_shift: bool,
    skip_rescale: bool,
}

impl ResBlock {
    /// From `input` to `output` channels.
    pub fn new(init: &Init, config: &UnetConfig, input: usize, output: usize, direction: Direction) -> Self {
        let projected = if config.scale_shift { 2 * output } else { output };
        Self {
            norm1: GroupNorm::new(&init.child("norm1"), input, config.groups),
            conv1: Conv2d::new(&init.child("conv1"), input, output, 3, 1, Weights::Torch),
            time_emb_proj: Linear::new(&init.child("time_emb_proj"), config.embedding(), projected, Weights::Torch),
            norm2: GroupNorm::new(&init.child("norm2"), output, config.groups),
            conv2: Conv2d::new(&init.child("conv2"), output, output, 3, 1, Weights::Zero),
            conv_shortcut: (input != output)
                .then(|| Conv2d::new(&init.child("conv_shortcut"), input, output, 1, 1, Weights::Torch)),
            dropout: Dropout::new(&init.child("dropout"), config.dropout),
            direction,
            scale_shift: config.scale_shift,
            skip_rescale: config.skip_rescale,
        }
    }

    /// `x` `[b i h w]` and the activated embedding `[b e]` to `[b o h' w']`.
    pub fn forward(&self, x: Tensor<4>, embedding: &Tensor<2>, pass: &Pass) -> Tensor<4> {
        recompute::run(self, x, embedding, pass, Self::once)
    }

    fn once(&self, x: Tensor<4>, embedding: Tensor<2>, pass: &Pass) -> Tensor<4> {
        let h = self.direction.convolve(self.norm1.forward(x.clone(), None, true), &self.conv1);
        let x = self.direction.apply(x);
        let [b, c, _, _] = h.dims();
        let e = self.time_emb_proj.forward(embedding); // [b 2c] or [b c]
        let h = if self.scale_shift {
            let (scale, shift) = (e.clone().narrow(1, 0, c), e.narrow(1, c, c));
            self.norm2.forward(h, Some((scale, shift)), true)
        } else {
            self.norm2.forward(h + e.reshape([b, c, 1, 1]), None, true)
        };
        let h = self.conv2.forward(self.dropout.forward(h, pass));
        let x = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        let y = x + h;
        if self.skip_rescale { y * FRAC_1_SQRT_2 } else { y }
    }
}

/// Self-attention over the pixels of a level, with a shortcut; its last layer starts at zero.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Before the projections.
    pub group_norm: GroupNorm,
    /// Queries, keys and values in one, `[3c c]`.
    pub qkv: Linear,
    /// Heads back to channels.
    pub proj: Linear,
    heads: usize,
    /// Its place among the attention layers, for taps.
    number: usize,
    skip_rescale: bool,
}

impl SelfAttention {
    /// Over `channels` in `config.heads` heads, the attention layer `number` of the network.
    pub fn new(init: &Init, config: &UnetConfig, channels: usize, number: usize) -> Self {
        Self {
            group_norm: GroupNorm::new(&init.child("group_norm"), channels, config.groups),
            qkv: Linear::new(&init.child("qkv"), channels, 3 * channels, Weights::Torch),
            proj: Linear::new(&init.child("proj"), channels, channels, Weights::Zero),
            heads: config.heads,
            number,
            skip_rescale: config.skip_rescale,
        }
    }

    /// Same shape as `x` `[b c h w]`.
    pub fn forward(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match pass.taps() {
            Some(taps) => self.tapped(x, Some(taps)),
            None => recompute::alone(self, x, pass, |layer, x| layer.tapped(x, None)),
        }
    }

    fn tapped(&self, x: Tensor<4>, taps: Option<&Taps>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let n = h * w;
        let y = self.group_norm.forward(x.clone(), None, false).reshape([b, c, n]).swap_dims(1, 2); // [b n c]
        let qkv = self.qkv.forward(y);
        let qkv = match taps {
            None => qkv,
            Some(taps) => taps.through(self.number, qkv),
        };
        let y = self.proj.forward(kernels::self_attention(qkv, self.heads)); // [b n c]
        let y = x + y.swap_dims(1, 2).reshape([b, c, h, w]);
        if self.skip_rescale { y * FRAC_1_SQRT_2 } else { y }
    }
}

/// A change of resolution between levels, by one of two means.
#[derive(Module, Debug)]
pub struct Resample {
    /// A convolution.
    pub conv: Option<Conv2d>,
    /// A residual block.
    pub resnet: Option<ResBlock>,
    #[module(skip)]
    direction: Direction,
}

impl Resample {
    /// Keeps the number of channels.
    pub fn new(init: &Init, config: &UnetConfig, channels: usize, direction: Direction) -> Self {
        let stride = if direction == Direction::Down { 2 } else { 1 };
        let conv = || Conv2d::new(&init.child("conv"), channels, channels, 3, stride, Weights::Torch);
        let resnet = || ResBlock::new(&init.child("resnet"), config, channels, channels, direction);
        match config.resampling {
            Resampling::Conv {} => Self { conv: Some(conv()), resnet: None, direction },
            Resampling::Residual {} => Self { conv: None, resnet: Some(resnet()), direction },
        }
    }

    /// `[b c h w]` to half or double the resolution.
    pub fn forward(&self, x: Tensor<4>, embedding: &Tensor<2>, pass: &Pass) -> Tensor<4> {
        match (&self.resnet, &self.conv) {
            (Some(block), _) => block.forward(x, embedding, pass),
            (None, Some(conv)) if self.direction == Direction::Up => conv.forward_upsampled(x),
            (None, Some(conv)) => conv.forward(x), // its stride halves the resolution
            (None, None) => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    #[test]
    fn averaging_undoes_repeating() {
        let device = Device::flex();
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 5.0]]]], &device);
        let back: Vec<f32> = average2(kernels::upsample2(x)).into_data().try_to_vec().unwrap();
        assert_eq!(back, [1.0, 2.0, 3.0, 5.0]);
    }
}
