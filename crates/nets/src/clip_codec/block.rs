//! The blocks of the causal autoencoder: convolutions around a shortcut, attention within a frame, changes of resolution and rate.

use super::past::{Past, tail};
use crate::init::{Init, Weights};
use crate::layers::{Conv2d, Conv3d, Linear, widened};
use base::Tensor;
use burn::module::{Module, Param};

pub(super) fn conv(init: &Init, name: &str, size: [usize; 2], window: [usize; 2]) -> Conv3d {
    Conv3d::new(&init.child(name), size, window, [1, 1], Weights::Torch)
}

/// Normalises the channels of every pixel to mean square one, then scales them.
#[derive(Module, Debug)]
pub struct PixelNorm {
    /// `[c 1]`.
    pub gamma: Param<Tensor<2>>,
}

impl PixelNorm {
    pub(super) fn new(init: &Init, channels: usize) -> Self {
        Self { gamma: init.child("gamma").constant([channels, 1], 1.0) }
    }

    /// `[b c f h w]` to the same.
    pub(super) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let c = x.dims()[1];
        let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        x / length * (widened(&self.gamma) * (c as f64).sqrt()).reshape([1, c, 1, 1, 1])
    }
}

/// Normalise, activate, convolve, twice, beside a shortcut.
#[derive(Module, Debug)]
pub struct ClipBlock {
    /// Before the first convolution.
    pub norm1: PixelNorm,
    /// Input to output channels.
    pub conv1: Conv3d,
    /// Before the second convolution.
    pub norm2: PixelNorm,
    /// Output to output channels.
    pub conv2: Conv3d,
    /// One pixel wide, where input and output channels differ.
    pub conv_shortcut: Option<Conv3d>,
}

impl ClipBlock {
    pub(super) fn new(init: &Init, [input, output]: [usize; 2]) -> Self {
        Self {
            norm1: PixelNorm::new(&init.child("norm1"), input),
            conv1: conv(init, "conv1", [input, output], [3, 3]),
            norm2: PixelNorm::new(&init.child("norm2"), output),
            conv2: conv(init, "conv2", [output, output], [3, 3]),
            conv_shortcut: (input != output).then(|| conv(init, "conv_shortcut", [input, output], [1, 1])),
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>, past: &mut Past) -> Tensor<5> {
        let y = past.causal(&self.conv1, kernels::silu(self.norm1.forward(x.clone())));
        let y = past.causal(&self.conv2, kernels::silu(self.norm2.forward(y)));
        match &self.conv_shortcut {
            Some(conv) => conv.forward(x) + y,
            None => x + y,
        }
    }
}

/// Attention of every pixel to all of its frame, in one head, beside a shortcut.
#[derive(Module, Debug)]
pub struct FrameAttention {
    /// Before the projections.
    pub norm: PixelNorm,
    /// Queries, keys and values.
    pub to_qkv: Linear,
    /// After them.
    pub proj: Linear,
}

impl FrameAttention {
    fn new(init: &Init, channels: usize) -> Self {
        Self {
            norm: PixelNorm::new(&init.child("norm"), channels),
            to_qkv: Linear::new(&init.child("to_qkv"), channels, 3 * channels, Weights::Torch),
            proj: Linear::new(&init.child("proj"), channels, channels, Weights::Torch),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [b, c, f, h, w] = x.dims();
        let y = self.norm.forward(x.clone()).permute([0, 2, 3, 4, 1]).reshape([b * f, h * w, c]);
        let all = self.to_qkv.forward(y);
        let [q, k, v] = std::array::from_fn(|i| all.clone().narrow(2, i * c, c).unsqueeze_dim(1)); // [b*f 1 hw c]
        let y = self.proj.forward(kernels::join_heads(kernels::attention(q, k, v, None)));
        x + y.reshape([b, f, h, w, c]).permute([0, 4, 1, 2, 3])
    }
}

/// Block, attention, block, at the coarsest resolution.
#[derive(Module, Debug)]
pub struct ClipMiddle {
    /// Two.
    pub resnets: Vec<ClipBlock>,
    /// One.
    pub attentions: Vec<FrameAttention>,
}

impl ClipMiddle {
    pub(super) fn new(init: &Init, channels: usize) -> Self {
        let block = |i: usize| ClipBlock::new(&init.child("resnets").child(i), [channels; 2]);
        Self {
            resnets: (0..2).map(block).collect(),
            attentions: vec![FrameAttention::new(&init.child("attentions").child(0), channels)],
        }
    }

    pub(super) fn forward(&self, mut x: Tensor<5>, past: &mut Past) -> Tensor<5> {
        for (i, block) in self.resnets.iter().enumerate() {
            x = block.forward(x, past);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x);
            }
        }
        x
    }
}

/// To half or twice the resolution, and the rate where it has a convolution in time. The first frame of a clip stays single.
#[derive(Module, Debug)]
pub struct Resampler {
    /// 3x3: down with stride two, or after nearest neighbours up to half of the channels.
    pub resample: Conv2d,
    /// In time: three frames to one, or to two that follow each other.
    pub time_conv: Option<Conv3d>,
    up: bool,
}

impl Resampler {
    /// To half the resolution, and the rate with `frames`.
    pub(super) fn down(init: &Init, channels: usize, frames: bool) -> Self {
        let place = init.child("resample");
        let time = || Conv3d::new(&init.child("time_conv"), [channels; 2], [3, 1], [2, 1], Weights::Torch);
        Self {
            resample: Conv2d::new(&place, channels, channels, 3, 2, Weights::Torch).unpadded(),
            time_conv: frames.then(time),
            up: false,
        }
    }

    /// To twice the resolution, and the rate with `frames`, and half of the channels.
    pub(super) fn up(init: &Init, channels: usize, frames: bool) -> Self {
        Self {
            resample: Conv2d::new(&init.child("resample"), channels, channels / 2, 3, 1, Weights::Torch),
            time_conv: frames.then(|| conv(init, "time_conv", [channels, 2 * channels], [3, 1])),
            up: true,
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>, past: &mut Past) -> Tensor<5> {
        if self.up {
            let x = match &self.time_conv {
                Some(conv) => doubled(conv, x, past),
                None => x,
            };
            return by_frame(x, |frames| self.resample.forward_upsampled(frames));
        }
        let x = by_frame(x, |frames| {
            // A row and a column of zeros at the far ends, then stride two.
            let [b, c, h, w] = frames.dims();
            let device = frames.device();
            let wide = Tensor::cat(vec![frames, Tensor::zeros([b, c, h, 1], &device)], 3);
            self.resample.forward(Tensor::cat(vec![wide, Tensor::zeros([b, c, 1, w + 1], &device)], 2))
        });
        match &self.time_conv {
            Some(conv) => halved(conv, x, past),
            None => x,
        }
    }
}

/// A clip `[b c f h w]` as images and back.
fn by_frame(x: Tensor<5>, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<5> {
    let [b, c, f, h, w] = x.dims();
    let images = change(x.swap_dims(1, 2).reshape([b * f, c, h, w]));
    let [_, c, h, w] = images.dims();
    images.reshape([b, f, c, h, w]).swap_dims(1, 2)
}

/// Two frames for each, but for the clip's first, which the convolution does not see either.
fn doubled(conv: &Conv3d, x: Tensor<5>, past: &mut Past) -> Tensor<5> {
    let [b, c, f, h, w] = x.dims();
    let single = usize::from(!past.began());
    let first = (single == 1).then(|| x.clone().narrow(2, 0, 1));
    if f == single {
        past.place(); // asked nothing, and its place is kept
        return x;
    }
    let n = f - single;
    let y = past.causal(conv, x.narrow(2, single, n));
    let pairs: Tensor<6> = y.reshape([b, 2, c, n, h, w]).permute([0, 2, 3, 1, 4, 5]); // [b c n 2 h w]
    let pairs: Tensor<5> = pairs.reshape([b, c, 2 * n, h, w]);
    Tensor::cat(first.into_iter().chain([pairs]).collect(), 2)
}

/// One frame for two, each of them and the one before; the clip's first stays.
fn halved(conv: &Conv3d, x: Tensor<5>, past: &mut Past) -> Tensor<5> {
    let began = past.began();
    let place = past.place();
    let first = (!began).then(|| x.clone().narrow(2, 0, 1));
    let all = match place.take() {
        Some(last) => Tensor::cat(vec![last, x], 2),
        None => x,
    };
    let frames = all.dims()[2];
    *place = Some(tail(&all, frames - 1, 1));
    let rest = (frames > conv.reach()).then(|| conv.forward(all));
    Tensor::cat(first.into_iter().chain(rest).collect(), 2)
}
