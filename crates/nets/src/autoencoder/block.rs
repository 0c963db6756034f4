//! The blocks of the autoencoder: two convolutions around a shortcut, attention over pixels, and changes of resolution.

use crate::init::{Init, Weights};
use crate::layers::{Conv2d, GroupNorm, Linear};
use base::Tensor;
use burn::module::Module;

/// Added to variances everywhere in the autoencoder.
const EPSILON: f64 = 1e-6;

pub(super) fn group_norm(init: &Init, name: &str, channels: usize, groups: usize) -> GroupNorm {
    GroupNorm::new(&init.child(name), channels, groups).with_epsilon(EPSILON)
}

pub(super) fn conv(init: &Init, name: &str, input: usize, output: usize, kernel: usize) -> Conv2d {
    Conv2d::new(&init.child(name), input, output, kernel, 1, Weights::Torch)
}

/// Normalise, activate, convolve, twice, beside a shortcut; an embedding, where there is one, is added between.
#[derive(Module, Debug)]
pub struct PlainBlock {
    /// Before the first convolution.
    pub norm1: GroupNorm,
    /// Input to output channels.
    pub conv1: Conv2d,
    /// Embedding to output channels, in networks that hear the time.
    pub time_emb_proj: Option<Linear>,
    /// Before the second convolution.
    pub norm2: GroupNorm,
    /// Output to output channels.
    pub conv2: Conv2d,
    /// 1x1, where input and output channels differ.
    pub conv_shortcut: Option<Conv2d>,
}

impl PlainBlock {
    /// From `input` to `output` channels, `epsilon` added to variances; `embedding` is the width of what it hears.
    pub(crate) fn new(
        init: &Init,
        [input, output]: [usize; 2],
        groups: usize,
        epsilon: f64,
        embedding: Option<usize>,
    ) -> Self {
        let norm = |name: &str, channels| GroupNorm::new(&init.child(name), channels, groups).with_epsilon(epsilon);
        let hear = |width| Linear::new(&init.child("time_emb_proj"), width, output, Weights::Torch);
        Self {
            norm1: norm("norm1", input),
            conv1: conv(init, "conv1", input, output, 3),
            time_emb_proj: embedding.map(hear),
            norm2: norm("norm2", output),
            conv2: conv(init, "conv2", output, output, 3),
            conv_shortcut: (input != output).then(|| conv(init, "conv_shortcut", input, output, 1)),
        }
    }

    /// `[b i h w]` and the activated embedding `[b e]` to `[b o h w]`.
    pub(crate) fn forward(&self, x: Tensor<4>, embedding: Option<&Tensor<2>>) -> Tensor<4> {
        let mut h = self.conv1.forward(self.norm1.forward(x.clone(), None, true));
        if let (Some(layer), Some(embedding)) = (&self.time_emb_proj, embedding) {
            let [b, c, _, _] = h.dims();
            h = h + layer.forward(embedding.clone()).reshape([b, c, 1, 1]);
        }
        let h = self.conv2.forward(self.norm2.forward(h, None, true));
        match &self.conv_shortcut {
            Some(conv) => conv.forward(x) + h,
            None => x + h,
        }
    }
}

/// Attention of every pixel to all, in one head, beside a shortcut.
#[derive(Module, Debug)]
pub struct PixelAttention {
    /// Before the projections.
    pub group_norm: GroupNorm,
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// After them.
    pub to_out: Linear,
}

impl PixelAttention {
    fn new(init: &Init, channels: usize, groups: usize) -> Self {
        let linear = |name: &str| Linear::new(&init.child(name), channels, channels, Weights::Torch);
        Self {
            group_norm: group_norm(init, "group_norm", channels, groups),
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out"),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let y = self.group_norm.forward(x.clone(), None, false).reshape([b, c, h * w]).swap_dims(1, 2); // [b hw c]
        let [q, k, v] = [&self.to_q, &self.to_k, &self.to_v].map(|layer| layer.forward(y.clone()).unsqueeze_dim(1));
        let y = self.to_out.forward(kernels::join_heads(kernels::attention(q, k, v, None)));
        x + y.swap_dims(1, 2).reshape([b, c, h, w])
    }
}

/// A convolution that changes the resolution.
#[derive(Module, Debug)]
pub struct Sampler {
    /// 3x3.
    pub conv: Conv2d,
}

/// The blocks of one resolution.
#[derive(Module, Debug)]
pub struct PlainLevel {
    /// Residual blocks.
    pub resnets: Vec<PlainBlock>,
    /// To half the resolution: a row and a column of zeros at the far ends, then stride two.
    pub downsamplers: Vec<Sampler>,
    /// To twice the resolution: nearest neighbours, then a convolution.
    pub upsamplers: Vec<Sampler>,
}

impl PlainLevel {
    /// `count` blocks from `input` to `output` channels.
    pub(super) fn new(init: &Init, input: usize, output: usize, count: usize, groups: usize) -> Self {
        let block = |i: usize| {
            let input = if i == 0 { input } else { output };
            PlainBlock::new(&init.child("resnets").child(i), [input, output], groups, EPSILON, None)
        };
        Self { resnets: (0..count).map(block).collect(), downsamplers: Vec::new(), upsamplers: Vec::new() }
    }

    /// With the way to half the resolution.
    pub(super) fn down(self, init: &Init, channels: usize) -> Self {
        let place = init.child("downsamplers").child(0).child("conv");
        let conv = Conv2d::new(&place, channels, channels, 3, 2, Weights::Torch).unpadded();
        Self { downsamplers: vec![Sampler { conv }], ..self }
    }

    /// With the way to twice the resolution.
    pub(super) fn up(self, init: &Init, channels: usize) -> Self {
        let place = init.child("upsamplers").child(0).child("conv");
        let conv = Conv2d::new(&place, channels, channels, 3, 1, Weights::Torch);
        Self { upsamplers: vec![Sampler { conv }], ..self }
    }

    pub(super) fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for block in &self.resnets {
            x = block.forward(x, None);
        }
        for sampler in &self.downsamplers {
            let [b, c, h, w] = x.dims();
            let column = Tensor::zeros([b, c, h, 1], &x.device());
            let row = Tensor::zeros([b, c, 1, w + 1], &x.device());
            x = sampler.conv.forward(Tensor::cat(vec![Tensor::cat(vec![x, column], 3), row], 2));
        }
        for sampler in &self.upsamplers {
            x = sampler.conv.forward_upsampled(x);
        }
        x
    }
}

/// The blocks of the coarsest level: residual, attention, residual.
#[derive(Module, Debug)]
pub struct Middle {
    /// Two.
    pub resnets: Vec<PlainBlock>,
    /// Between them, or none.
    pub attentions: Vec<PixelAttention>,
}

impl Middle {
    pub(super) fn new(init: &Init, channels: usize, groups: usize, attends: bool) -> Self {
        let block = |i: usize| PlainBlock::new(&init.child("resnets").child(i), [channels; 2], groups, EPSILON, None);
        let attention = || PixelAttention::new(&init.child("attentions").child(0), channels, groups);
        Self { resnets: (0..2).map(block).collect(), attentions: attends.then(attention).into_iter().collect() }
    }

    pub(super) fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (i, block) in self.resnets.iter().enumerate() {
            x = block.forward(x, None);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x);
            }
        }
        x
    }
}
