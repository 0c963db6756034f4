//! The transformer block: self-attention, optional cross-attention to condition tokens, perceptron; adaLN-zero.

use super::DitConfig;
use crate::init::{Init, Weights};
use crate::layers::{Dropout, FeedForward, Linear, RmsNorm, apart, layer_norm};
use crate::recompute;
use base::{Pass, Tensor, condition::Tokens};
use burn::module::Module;

/// Self-attention over the tokens of an image.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values in one, `[3d d]`.
    pub qkv: Linear,
    /// Heads back to features.
    pub proj: Linear,
    /// Normalises queries.
    pub q_norm: Option<RmsNorm>,
    /// Normalises keys.
    pub k_norm: Option<RmsNorm>,
    heads: usize,
    /// Its place among the attention layers, for taps.
    number: usize,
}

impl Attention {
    fn new(init: &Init, config: &DitConfig, number: usize) -> Self {
        let d = config.width;
        let norm = |name| config.qk_norm.then(|| RmsNorm::new(&init.child(name), d / config.heads));
        Self {
            qkv: Linear::new(&init.child("qkv"), d, 3 * d, Weights::Xavier),
            proj: Linear::new(&init.child("proj"), d, d, Weights::Xavier),
            q_norm: norm("q_norm"),
            k_norm: norm("k_norm"),
            heads: config.heads,
            number,
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let qkv = self.qkv.forward(x);
        let qkv = match pass.taps() {
            None => qkv,
            Some(taps) => taps.through(self.number, qkv),
        };
        let y = match (&self.q_norm, &self.k_norm) {
            (Some(q_norm), Some(k_norm)) => {
                let [q, k, v] = kernels::split_heads(qkv, self.heads);
                kernels::join_heads(kernels::attention(q_norm.forward(q), k_norm.forward(k), v, None))
            }
            _ => kernels::self_attention(qkv, self.heads),
        };
        self.proj.forward(y) // [b n d]
    }
}

/// Cross-attention from image tokens to condition tokens (Chen et al., 2024, "PixArt-alpha", sec. 2.3); its last layer
/// starts at zero and has no bias, so that a sample without tokens passes unchanged.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// Queries from the image.
    pub q: Linear,
    /// Keys and values from the condition, `[2d t]`.
    pub kv: Linear,
    /// Heads back to features.
    pub proj: Linear,
    heads: usize,
}

impl CrossAttention {
    fn new(init: &Init, config: &DitConfig) -> Self {
        let d = config.width;
        Self {
            q: Linear::new(&init.child("q"), d, d, Weights::Xavier),
            kv: Linear::new(&init.child("kv"), config.condition.tokens, 2 * d, Weights::Xavier),
            proj: Linear::without_bias(&init.child("proj"), d, d, Weights::Zero),
            heads: config.heads,
        }
    }

    fn forward(&self, x: Tensor<3>, tokens: &Tokens) -> Tensor<3> {
        let [b, _, d] = x.dims();
        let m = tokens.embedding.dims()[1];
        let (heads, size) = (self.heads, d / self.heads);
        let q = apart(self.q.forward(x), heads); // [b heads n size]
        let kv = self.kv.forward(tokens.embedding.clone()).reshape([b, m, 2, heads, size]);
        let kv: Tensor<5> = kv.permute([2, 0, 3, 1, 4]); // [2 b heads m size]
        let [k, v] = [0, 1].map(|i| kv.clone().narrow(0, i, 1).reshape([b, heads, m, size]));
        let y = kernels::attention(q, k, v, Some(tokens.mask.clone()));
        self.proj.forward(kernels::join_heads(y))
    }
}

/// One block. The gates start at zero, so at first the block is the identity (adaLN-zero; Peebles and Xie, 2023, fig. 3).
#[derive(Module, Debug)]
pub struct Block {
    /// Self-attention.
    pub attn: Attention,
    /// Attention to condition tokens, where the network takes any.
    pub cross_attn: Option<CrossAttention>,
    /// Perceptron.
    pub mlp: FeedForward,
    /// Embedding to shift, scale and gate of the attention and of the perceptron, `[6d d]`; starts at zero.
    pub modulation: Linear,
    #[module(skip)]
    dropout: [Dropout; 2],
}

impl Block {
    pub(super) fn new(init: &Init, config: &DitConfig, number: usize) -> Self {
        let d = config.width;
        Self {
            attn: Attention::new(&init.child("attn"), config, number),
            cross_attn: (config.condition.tokens > 0).then(|| CrossAttention::new(&init.child("cross_attn"), config)),
            mlp: FeedForward::new(&init.child("mlp"), d, config.mlp_ratio * d),
            modulation: Linear::new(&init.child("modulation"), d, 6 * d, Weights::Zero),
            dropout: ["attn_dropout", "mlp_dropout"].map(|name| Dropout::new(&init.child(name), config.dropout)),
        }
    }

    /// Tokens `[b n d]` and the activated embedding `[b d]` to tokens.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        embedding: &Tensor<2>,
        tokens: Option<&Tokens>,
        pass: &Pass,
    ) -> Tensor<3> {
        if !pass.recomputes() {
            return self.once(x, embedding.clone(), tokens, pass);
        }
        let tokens = tokens.cloned();
        recompute::run(self, x, embedding, pass, move |block, x, embedding, pass| {
            let tokens = tokens.as_ref().map(|tokens| recompute::beside(tokens, &x));
            block.once(x, embedding, tokens.as_ref(), pass)
        })
    }

    fn once(&self, x: Tensor<3>, embedding: Tensor<2>, tokens: Option<&Tokens>, pass: &Pass) -> Tensor<3> {
        let d = x.dims()[2];
        let all = self.modulation.forward(embedding.clone()); // [b 6d]
        let [shift1, scale1, gate1, shift2, scale2, gate2] = std::array::from_fn(|i| all.clone().narrow(1, i * d, d)); // [b d] each

        let y = self.attn.forward(layer_norm(x.clone(), scale1, shift1), pass);
        let mut x = kernels::gated(x, self.dropout[0].forward(y, pass), gate1);
        if let (Some(cross), Some(tokens)) = (&self.cross_attn, tokens) {
            let zero = embedding.detach().zeros_like();
            x = x.clone() + cross.forward(layer_norm(x, zero.clone(), zero), tokens);
        }
        let y = self.mlp.forward(layer_norm(x.clone(), scale2, shift2));
        kernels::gated(x, self.dropout[1].forward(y, pass), gate2)
    }
}
