//! FLUX's block of one stream: attention and perceptron side by side from one normalisation, into one last layer
//! (Dehghani et al., 2023, arXiv 2302.05442, sec. 2).

use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, layer_norm};
use crate::mmdit::Modulation;
use crate::mmdit::joint::{in_heads, shown, turned};
use crate::recompute;
use crate::rotary::Rotation;
use base::{Pass, Taps, Tensor};
use burn::module::Module;
use kernels::Activation;

/// Attention of all tokens to all; its heads end in the block's last layer.
#[derive(Module, Debug)]
pub struct SingleAttention {
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
    heads: usize,
}

/// One block.
#[derive(Module, Debug)]
pub struct SingleBlock {
    /// Attention.
    pub attn: SingleAttention,
    /// Shift, scale and gate.
    pub norm: Modulation,
    /// Features to the perceptron's hidden ones.
    pub proj_mlp: Linear,
    /// Heads and hidden features, in this order, back to features.
    pub proj_out: Linear,
}

impl SingleBlock {
    pub(super) fn new(init: &Init, d: usize, heads: usize) -> Self {
        let attn = init.child("attn");
        let linear =
            |init: &Init, name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Xavier);
        Self {
            attn: SingleAttention {
                to_q: linear(&attn, "to_q", d, d),
                to_k: linear(&attn, "to_k", d, d),
                to_v: linear(&attn, "to_v", d, d),
                norm_q: RmsNorm::new(&attn.child("norm_q"), d / heads),
                norm_k: RmsNorm::new(&attn.child("norm_k"), d / heads),
                heads,
            },
            norm: Modulation::new(&init.child("norm"), d, 3),
            proj_mlp: linear(init, "proj_mlp", d, 4 * d),
            proj_out: linear(init, "proj_out", 5 * d, d),
        }
    }

    /// [`forward`](Self::forward), run again for the gradient where the pass says so.
    pub(super) fn pass(
        &self,
        x: Tensor<3>,
        embedding: &Tensor<2>,
        turn: &Rotation,
        pass: &Pass,
        taps: Option<(usize, &Taps)>,
    ) -> Tensor<3> {
        if !pass.recomputes() {
            return self.forward(x, embedding, turn, taps);
        }
        let turn = turn.clone();
        recompute::run(self, x, embedding, pass, move |block, x, embedding, _| {
            let turn = (recompute::on(&turn.0, &x), recompute::on(&turn.1, &x));
            block.forward(x, &embedding, &turn, None)
        })
    }

    /// Tokens `[b n d]` and the activated embedding `[b d]` to tokens; `taps` are shown the features of all of them.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        embedding: &Tensor<2>,
        turn: &Rotation,
        taps: Option<(usize, &Taps)>,
    ) -> Tensor<3> {
        let [shift, scale, gate] = self.norm.parts(embedding);
        let y = layer_norm(x.clone(), scale, shift);
        let SingleAttention { to_q, to_k, to_v, norm_q, norm_k, heads } = &self.attn;
        let [q, k, v] = shown([to_q, to_k, to_v].map(|layer| layer.forward(y.clone())), taps); // [b n d] each
        let q = turned(in_heads(q, Some(norm_q), *heads), Some(turn));
        let k = turned(in_heads(k, Some(norm_k), *heads), Some(turn));
        let v = in_heads(v, None, *heads);
        let told = kernels::join_heads(kernels::attention(q, k, v, None));
        let hidden = self.proj_mlp.activated(y, Activation::Gelu);
        kernels::gated(x, self.proj_out.forward(Tensor::cat(vec![told, hidden], 2)), gate)
    }
}
