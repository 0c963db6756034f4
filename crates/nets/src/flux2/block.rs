//! FLUX.2's two kinds of blocks: those of FLUX without biases, with gated perceptrons, told their shifts, scales and gates from outside.

use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, SwiGlu, layer_norm};
use crate::mmdit::JointAttention;
use crate::mmdit::joint::{Sizes, Told, in_heads, shown, turned};
use crate::rotary::Rotation;
use base::{Taps, Tensor};
use burn::module::Module;
use kernels::Activation;

/// A block of two streams.
#[derive(Module, Debug)]
pub struct Flux2Double {
    /// Attention over both.
    pub attn: JointAttention,
    /// Perceptron of the image.
    pub ff: SwiGlu,
    /// Perceptron of the text.
    pub ff_context: SwiGlu,
}

impl Flux2Double {
    pub(super) fn new(init: &Init, [d, heads, hidden]: [usize; 3]) -> Self {
        let sizes = Sizes { width: d, heads, qk_norm: true, dual: false, last: false, asks: true, biased: false };
        Self {
            attn: JointAttention::new(&init.child("attn"), sizes),
            ff: SwiGlu::new(&init.child("ff"), d, hidden),
            ff_context: SwiGlu::new(&init.child("ff_context"), d, hidden),
        }
    }

    /// Image `[b n d]` and text `[b m d]`, each with shift, scale and gate of the attention and of the perceptron, `[b d]` each.
    pub(super) fn forward(
        &self,
        [image, text]: [Tensor<3>; 2],
        [of_image, of_text]: &[[Tensor<2>; 6]; 2],
        told: Told,
    ) -> [Tensor<3>; 2] {
        let read = |x: &Tensor<3>, of: &[Tensor<2>; 6]| layer_norm(x.clone(), of[1].clone(), of[0].clone());
        let (heard, text_heard) = self.attn.forward(read(&image, of_image), read(&text, of_text), told);
        let after = |x: Tensor<3>, heard: Tensor<3>, of: &[Tensor<2>; 6], perceptron: &SwiGlu| {
            let x = kernels::gated(x, heard, of[2].clone());
            let y = perceptron.forward(layer_norm(x.clone(), of[4].clone(), of[3].clone()));
            kernels::gated(x, y, of[5].clone())
        };
        let text = match text_heard {
            Some(heard) => after(text, heard, of_text, &self.ff_context),
            None => text,
        };
        [after(image, heard, of_image, &self.ff), text]
    }
}

/// Attention of all tokens to all, and the perceptron beside it.
#[derive(Module, Debug)]
pub struct ParallelAttention {
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// Normalises queries.
    pub norm_q: RmsNorm,
    /// Normalises keys.
    pub norm_k: RmsNorm,
    /// The perceptron's gate.
    pub gate: Linear,
    /// What it gates.
    pub up: Linear,
    /// Heads and what was gated, in this order, back to features.
    pub to_out: Linear,
    heads: usize,
}

/// A block of one stream.
#[derive(Module, Debug)]
pub struct Flux2Single {
    /// All of it.
    pub attn: ParallelAttention,
}

impl Flux2Single {
    pub(super) fn new(init: &Init, [d, heads, hidden]: [usize; 3]) -> Self {
        let init = init.child("attn");
        let linear =
            |name: &str, input, output| Linear::without_bias(&init.child(name), input, output, Weights::Xavier);
        let attn = ParallelAttention {
            to_q: linear("to_q", d, d),
            to_k: linear("to_k", d, d),
            to_v: linear("to_v", d, d),
            norm_q: RmsNorm::new(&init.child("norm_q"), d / heads),
            norm_k: RmsNorm::new(&init.child("norm_k"), d / heads),
            gate: linear("gate", d, hidden),
            up: linear("up", d, hidden),
            to_out: linear("to_out", d + hidden, d),
            heads,
        };
        Self { attn }
    }

    /// Tokens `[b n d]` with shift, scale and gate, `[b d]` each; `taps` are shown the features of all tokens.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        [shift, scale, gate]: &[Tensor<2>; 3],
        turn: &Rotation,
        taps: Option<(usize, &Taps)>,
    ) -> Tensor<3> {
        let net = &self.attn;
        let y = layer_norm(x.clone(), scale.clone(), shift.clone());
        let [q, k, v] = shown([&net.to_q, &net.to_k, &net.to_v].map(|layer| layer.forward(y.clone())), taps);
        let q = turned(in_heads(q, Some(&net.norm_q), net.heads), Some(turn));
        let k = turned(in_heads(k, Some(&net.norm_k), net.heads), Some(turn));
        let heard = kernels::join_heads(kernels::attention(q, k, in_heads(v, None, net.heads), None));
        let hidden = net.gate.activated(y.clone(), Activation::Silu) * net.up.forward(y);
        kernels::gated(x, net.to_out.forward(Tensor::cat(vec![heard, hidden], 2)), gate.clone())
    }
}
