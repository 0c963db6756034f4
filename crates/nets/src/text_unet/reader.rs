//! Where the U-Net reads text: a transformer over the pixels of a level (Rombach et al., 2022, arXiv 2112.10752, sec. 3.3).

use crate::init::{Init, Weights};
use crate::layers::{GroupNorm, LayerNorm, Linear, apart};
use crate::mmdit::joint::shown;
use base::{Taps, Tensor};
use burn::module::Module;
use burn::tensor::activation;

/// Attention of pixels to pixels or to text tokens.
#[derive(Module, Debug)]
pub struct Reading {
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// Heads back to channels.
    pub to_out: Linear,
    heads: usize,
}

impl Reading {
    fn new(init: &Init, channels: usize, from: usize, heads: usize) -> Self {
        let linear = |name: &str, input| Linear::without_bias(&init.child(name), input, channels, Weights::Torch);
        Self {
            to_q: linear("to_q", channels),
            to_k: linear("to_k", from),
            to_v: linear("to_v", from),
            to_out: Linear::new(&init.child("to_out"), channels, channels, Weights::Torch),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>, from: Tensor<3>, taps: Option<(usize, &Taps)>) -> Tensor<3> {
        let all = [self.to_q.forward(x), self.to_k.forward(from.clone()), self.to_v.forward(from)];
        let [q, k, v] = shown(all, taps).map(|part| apart(part, self.heads));
        self.to_out.forward(kernels::join_heads(kernels::attention(q, k, v, None)))
    }
}

/// A perceptron whose hidden features are gated by GELU in its exact form (Shazeer, 2020, arXiv 2002.05202).
#[derive(Module, Debug)]
pub struct GatedForward {
    /// Channels to hidden features, then their gates.
    pub fc1: Linear,
    /// Hidden features to channels.
    pub fc2: Linear,
}

impl GatedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let both = self.fc1.forward(x);
        let d = both.dims()[2] / 2;
        self.fc2.forward(both.clone().narrow(2, 0, d) * activation::gelu(both.narrow(2, d, d)))
    }
}

/// Pixels to pixels, pixels to text (or to pixels again, where there is none), perceptron; normalised before each.
#[derive(Module, Debug)]
pub struct ReaderBlock {
    /// Before the attention to pixels.
    pub norm1: LayerNorm,
    /// Attention to pixels.
    pub attn1: Reading,
    /// Before the attention to text.
    pub norm2: LayerNorm,
    /// Attention to text.
    pub attn2: Reading,
    /// Before the perceptron.
    pub norm3: LayerNorm,
    /// Perceptron.
    pub ff: GatedForward,
}

/// A transformer over a level's pixels, beside a shortcut.
#[derive(Module, Debug)]
pub struct Reader {
    /// Before everything.
    pub norm: GroupNorm,
    /// Channels to channels.
    pub proj_in: Linear,
    /// The blocks.
    pub transformer_blocks: Vec<ReaderBlock>,
    /// Channels to channels.
    pub proj_out: Linear,
}

/// Sizes of a [`Reader`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub heads: usize,
    /// Features of a text token; `None` for a reader of pixels alone.
    pub text: Option<usize>,
    pub groups: usize,
    pub blocks: usize,
}

impl Reader {
    pub(super) fn new(init: &Init, channels: usize, sizes: Sizes) -> Self {
        let linear =
            |init: &Init, name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Torch);
        let block = |i: usize| {
            let init = init.child("transformer_blocks").child(i);
            let norm = |name: &str| LayerNorm::new(&init.child(name), channels, 1e-5);
            let ff = init.child("ff");
            ReaderBlock {
                norm1: norm("norm1"),
                attn1: Reading::new(&init.child("attn1"), channels, channels, sizes.heads),
                norm2: norm("norm2"),
                attn2: Reading::new(&init.child("attn2"), channels, sizes.text.unwrap_or(channels), sizes.heads),
                norm3: norm("norm3"),
                ff: GatedForward {
                    fc1: linear(&ff, "fc1", channels, 8 * channels),
                    fc2: linear(&ff, "fc2", 4 * channels, channels),
                },
            }
        };
        Self {
            norm: GroupNorm::new(&init.child("norm"), channels, sizes.groups).with_epsilon(1e-6),
            proj_in: linear(init, "proj_in", channels, channels),
            transformer_blocks: (0..sizes.blocks).map(block).collect(),
            proj_out: linear(init, "proj_out", channels, channels),
        }
    }

    /// `[b c h w]` and text tokens `[b m e]`, if it reads them, to `[b c h w]`; `taps` are shown what pixels ask of pixels, from layer `first` on.
    pub(super) fn forward(
        &self,
        x: Tensor<4>,
        text: Option<&Tensor<3>>,
        first: usize,
        taps: Option<&Taps>,
    ) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let pixels = self.norm.forward(x.clone(), None, false).reshape([b, c, h * w]).swap_dims(1, 2); // [b hw c]
        let mut y = self.proj_in.forward(pixels);
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            let read = block.norm1.forward(y.clone());
            y = y + block.attn1.forward(read.clone(), read, taps.map(|taps| (first + i, taps)));
            let read = block.norm2.forward(y.clone());
            y = y + block.attn2.forward(read.clone(), text.cloned().unwrap_or(read), None);
            y = y.clone() + block.ff.forward(block.norm3.forward(y));
        }
        x + self.proj_out.forward(y).swap_dims(1, 2).reshape([b, c, h, w])
    }
}
