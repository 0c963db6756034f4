//! Transformer blocks that take their order from nothing: sets in, sets out.

use crate::init::{Init, Weights};
use crate::layers::FeedForward;
use crate::layers::{Linear, RmsNorm};
use base::Tensor;
use burn::module::{Module, Param};
use burn::tensor::Bool;
use kernels::Activation;

/// Layer normalisation with weights.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d]`.
    pub weight: Param<Tensor<1>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    pub(crate) fn new(init: &Init, d: usize) -> Self {
        Self { weight: init.child("weight").constant([d], 1.0), bias: init.child("bias").constant([d], 0.0) }
    }

    /// `[b n d]` to `[b n d]`.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, _, d] = x.dims();
        let rows = |param: &Param<Tensor<1>>| param.val().unsqueeze::<2>().expand([b, d]);
        kernels::layer_norm_modulate(x, rows(&self.weight) - 1.0, rows(&self.bias), 1e-5)
    }
}

/// Attention of a set to itself.
#[derive(Module, Debug)]
pub struct Within {
    /// Queries, keys and values in one, `[3d d]`.
    pub qkv: Linear,
    /// Heads back to features.
    pub proj: Linear,
    /// Normalises queries.
    pub q_norm: Option<RmsNorm>,
    /// Normalises keys.
    pub k_norm: Option<RmsNorm>,
    heads: usize,
}

impl Within {
    /// Over features `d` in `heads` heads, with or without norms of queries and keys.
    pub(crate) fn new(init: &Init, d: usize, heads: usize, qk_norm: bool) -> Self {
        let norm = |name| qk_norm.then(|| RmsNorm::new(&init.child(name), d / heads));
        Self {
            qkv: Linear::without_bias(&init.child("qkv"), d, 3 * d, Weights::Xavier),
            proj: Linear::new(&init.child("proj"), d, d, Weights::Xavier),
            q_norm: norm("q_norm"),
            k_norm: norm("k_norm"),
            heads,
        }
    }

    /// `[b n d]` to `[b n d]`.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let qkv = self.qkv.forward(x);
        let y = match (&self.q_norm, &self.k_norm) {
            (Some(q_norm), Some(k_norm)) => {
                let [q, k, v] = kernels::split_heads(qkv, self.heads);
                kernels::join_heads(kernels::attention(q_norm.forward(q), k_norm.forward(k), v, None))
            }
            _ => kernels::self_attention(qkv, self.heads),
        };
        self.proj.forward(y)
    }
}

/// Attention from one set to another.
#[derive(Module, Debug)]
pub struct Cross {
    /// Queries.
    pub q: Linear,
    /// Keys and values in one, `[2d c]`.
    pub kv: Linear,
    /// Heads back to features.
    pub proj: Linear,
    /// Normalises queries.
    pub q_norm: Option<RmsNorm>,
    /// Normalises keys.
    pub k_norm: Option<RmsNorm>,
    heads: usize,
}

impl Cross {
    /// From features `d` to a set of features `c`, in `heads` heads, with or without norms of queries and keys.
    pub(crate) fn new(init: &Init, d: usize, c: usize, heads: usize, qk_norm: bool) -> Self {
        let norm = |name| qk_norm.then(|| RmsNorm::new(&init.child(name), d / heads));
        Self {
            q: Linear::without_bias(&init.child("q"), d, d, Weights::Xavier),
            kv: Linear::without_bias(&init.child("kv"), c, 2 * d, Weights::Xavier),
            proj: Linear::new(&init.child("proj"), d, d, Weights::Xavier),
            q_norm: norm("q_norm"),
            k_norm: norm("k_norm"),
            heads,
        }
    }

    /// `x` `[b n d]` asks `context` `[b m c]`, of which `mask` `[b m]` says what is real.
    pub(crate) fn forward(&self, x: Tensor<3>, context: Tensor<3>, mask: Option<Tensor<2, Bool>>) -> Tensor<3> {
        let ([b, n, d], m) = (x.dims(), context.dims()[1]);
        let (heads, size) = (self.heads, d / self.heads);
        let q = self.q.forward(x).reshape([b, n, heads, size]).swap_dims(1, 2); // [b heads n size]
        let kv: Tensor<5> = self.kv.forward(context).reshape([b, m, 2, heads, size]).permute([2, 0, 3, 1, 4]);
        let [k, v] = [0, 1].map(|i| kv.clone().narrow(0, i, 1).reshape([b, heads, m, size]));
        let normed =
            |norm: &Option<RmsNorm>, x| norm.as_ref().map_or_else(|| Tensor::clone(&x), |norm| norm.forward(x.clone()));
        let (q, k) = (normed(&self.q_norm, q), normed(&self.k_norm, k));
        self.proj.forward(kernels::join_heads(kernels::attention(q, k, v, mask)))
    }
}

/// Attention of a set to itself, and a perceptron; both add to what was there.
#[derive(Module, Debug)]
pub struct SelfBlock {
    norm1: LayerNorm,
    attn: Within,
    norm2: LayerNorm,
    ff: FeedForward,
}

/// Attention from one set to another, and a perceptron; both add to what was there.
#[derive(Module, Debug)]
pub struct CrossBlock {
    norm1: LayerNorm,
    norm_cross: LayerNorm,
    attn: Cross,
    norm2: LayerNorm,
    ff: FeedForward,
}

/// Widening of the perceptrons.
const RATIO: usize = 4;

/// The perceptron of a block of features `d`.
pub(crate) fn perceptron(init: &Init, d: usize) -> FeedForward {
    FeedForward {
        fc1: Linear::new(&init.child("fc1"), d, RATIO * d, Weights::Xavier),
        fc2: Linear::new(&init.child("fc2"), RATIO * d, d, Weights::Xavier),
    }
}

/// `x` and what the perceptron says of it, normalised.
pub(crate) fn through(ff: &FeedForward, norm: &LayerNorm, x: Tensor<3>) -> Tensor<3> {
    let y = ff.fc1.activated(norm.forward(x.clone()), Activation::Gelu);
    x + ff.fc2.forward(y)
}

impl SelfBlock {
    pub(crate) fn new(init: &Init, d: usize, heads: usize) -> Self {
        Self {
            norm1: LayerNorm::new(&init.child("norm1"), d),
            attn: Within::new(&init.child("attn"), d, heads, false),
            norm2: LayerNorm::new(&init.child("norm2"), d),
            ff: perceptron(&init.child("ff"), d),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.norm1.forward(x));
        through(&self.ff, &self.norm2, x)
    }
}

impl CrossBlock {
    pub(crate) fn new(init: &Init, d: usize, heads: usize) -> Self {
        Self {
            norm1: LayerNorm::new(&init.child("norm1"), d),
            norm_cross: LayerNorm::new(&init.child("norm_cross"), d),
            attn: Cross::new(&init.child("attn"), d, d, heads, false),
            norm2: LayerNorm::new(&init.child("norm2"), d),
            ff: perceptron(&init.child("ff"), d),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let context = self.norm_cross.forward(context);
        let x = x.clone() + self.attn.forward(self.norm1.forward(x), context, None);
        through(&self.ff, &self.norm2, x)
    }
}
