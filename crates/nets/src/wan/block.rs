//! One block of Wan (Wan Team, 2025, arXiv 2503.20314, fig. 10): attention among the tokens of a clip, attention to the text, a perceptron.

use super::{WanConfig, parts};
use crate::init::{Init, Weights};
use crate::layers::{FeedForward, LayerNorm, Linear, RmsNorm, apart, layer_norm, widened};
use crate::mmdit::joint::turned;
use crate::rotary::Rotation;
use base::Tensor;
use burn::module::{Module, Param};

/// Attention whose queries and keys are normalised over all heads together.
#[derive(Module, Debug)]
pub struct WanAttention {
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// Heads back to features.
    pub to_out: Linear,
    /// Normalises queries.
    pub norm_q: RmsNorm,
    /// Normalises keys.
    pub norm_k: RmsNorm,
    heads: usize,
}

impl WanAttention {
    fn new(init: &Init, d: usize, heads: usize) -> Self {
        let linear = |name: &str| Linear::new(&init.child(name), d, d, Weights::Xavier);
        Self {
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out"),
            norm_q: RmsNorm::new(&init.child("norm_q"), d),
            norm_k: RmsNorm::new(&init.child("norm_k"), d),
            heads,
        }
    }

    /// What tokens `[b n d]` hear of `said` `[b m d]`; places turn both where they are tokens of one clip.
    fn forward(&self, x: Tensor<3>, said: Tensor<3>, turn: Option<&Rotation>) -> Tensor<3> {
        let q = apart(self.norm_q.forward(self.to_q.forward(x)), self.heads);
        let k = apart(self.norm_k.forward(self.to_k.forward(said.clone())), self.heads);
        let v = apart(self.to_v.forward(said), self.heads);
        self.to_out.forward(kernels::join_heads(kernels::attention(turned(q, turn), turned(k, turn), v, None)))
    }
}

/// One block.
#[derive(Module, Debug)]
pub struct WanBlock {
    /// Added to what all blocks share: shift, scale and gate of the attention and of the perceptron, `[1 6 d]`.
    pub scale_shift_table: Param<Tensor<3>>,
    /// Attention among the clip's tokens.
    pub attn1: WanAttention,
    /// Before the text is asked.
    pub norm2: Option<LayerNorm>,
    /// Attention to the text.
    pub attn2: WanAttention,
    /// Perceptron.
    pub ffn: FeedForward,
}

impl WanBlock {
    pub(super) fn new(config: &WanConfig, init: &Init) -> Self {
        let (d, heads) = (config.width(), config.num_attention_heads);
        Self {
            scale_shift_table: init.child("scale_shift_table").normal([1, 6, d], (d as f64).powf(-0.5)),
            attn1: WanAttention::new(&init.child("attn1"), d, heads),
            norm2: config.cross_attn_norm.then(|| LayerNorm::new(&init.child("norm2"), d, 1e-6)),
            attn2: WanAttention::new(&init.child("attn2"), d, heads),
            ffn: FeedForward::new(&init.child("ffn"), d, config.ffn_dim),
        }
    }

    /// Tokens `[b n d]` beside text `[b m d]` and what the time says to all blocks, `[b 6 d]`.
    pub(super) fn forward(&self, x: Tensor<3>, text: &Tensor<3>, shared: &Tensor<3>, turn: &Rotation) -> Tensor<3> {
        let [shift, scale, gate, shift2, scale2, gate2] = parts(widened(&self.scale_shift_table) + shared.clone());
        let y = layer_norm(x.clone(), scale, shift);
        let x = kernels::gated(x, self.attn1.forward(y.clone(), y, Some(turn)), gate);
        let y = match &self.norm2 {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = x + self.attn2.forward(y, text.clone(), None);
        let y = self.ffn.forward(layer_norm(x.clone(), scale2, shift2));
        kernels::gated(x, y, gate2)
    }
}
