//! The blocks of both released networks.
//!
//! `to_q`, `to_k` and `to_v` are names of storage alone. Within a set, what they say is put side by side, `[q | k | v]` of 3d numbers, and cut
//! into heads of 3d/h numbers, in each of which the head's query, key and value follow one another; across sets the same is true of
//! `[k | v]`. Who takes `to_q` for the queries gets something plausible and wrong.

use crate::init::{Init, Weights};
use crate::layers::{FeedForward, LayerNorm, Linear, RmsNorm};
use base::Tensor;
use burn::module::Module;
use burn::tensor::activation;

/// Added to variances by layer norms.
pub(super) const EPSILON: f64 = 1e-5;

/// Attention within a set or from one set to another.
#[derive(Module, Debug)]
pub struct Attention {
    /// The first rows of what is said together.
    pub to_q: Linear,
    /// Those after them.
    pub to_k: Linear,
    /// The last.
    pub to_v: Linear,
    /// Heads back to features.
    pub to_out: Linear,
    /// Normalises queries, head by head.
    pub norm_q: Option<RmsNorm>,
    /// Normalises keys.
    pub norm_k: Option<RmsNorm>,
    /// Normalises the set that is looked at.
    pub norm_cross: Option<LayerNorm>,
    heads: usize,
}

/// How an attention is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    /// Features.
    pub width: usize,
    /// Features of what is looked at.
    pub context: usize,
    /// Heads.
    pub heads: usize,
    /// Whether queries and keys are normalised.
    pub normed: bool,
    /// Whether what is looked at is.
    pub norm_cross: bool,
}

impl Attention {
    fn new(init: &Init, looks: Looks) -> Self {
        let Looks { width, context, heads, normed, norm_cross } = looks;
        let plain = |name, input| Linear::without_bias(&init.child(name), input, width, Weights::Xavier);
        let norm = |name| normed.then(|| RmsNorm::new(&init.child(name), width / heads));
        Self {
            to_q: plain("to_q", width),
            to_k: plain("to_k", context),
            to_v: plain("to_v", context),
            to_out: Linear::new(&init.child("to_out"), width, width, Weights::Xavier),
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            norm_cross: norm_cross.then(|| LayerNorm::new(&init.child("norm_cross"), context, EPSILON)),
            heads,
        }
    }

    /// `N` kinds of vectors that stand head by head in `said` `[b n N*d]`: `[b heads n d/heads]` each.
    fn apart<const N: usize>(&self, said: Tensor<3>) -> [Tensor<4>; N] {
        let [b, n, width] = said.dims();
        let size = width / (N * self.heads);
        let said = said.reshape([b, n, self.heads, N * size]).swap_dims(1, 2); // [b heads n N*size]
        std::array::from_fn(|i| said.clone().narrow(3, i * size, size))
    }

    fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        let normed = |norm: &Option<RmsNorm>, x: Tensor<4>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let (q, k) = (normed(&self.norm_q, q), normed(&self.norm_k, k));
        self.to_out.forward(kernels::join_heads(kernels::attention(q, k, v, None)))
    }

    fn within(&self, x: Tensor<3>) -> Tensor<3> {
        let said = [&self.to_q, &self.to_k, &self.to_v].map(|linear| linear.forward(x.clone()));
        let [q, k, v] = self.apart(Tensor::cat(said.into(), 2));
        self.attend(q, k, v)
    }

    /// Keys and values of what is looked at, which are the same for all who look: `[b heads m size]` each.
    pub(super) fn seen(&self, context: Tensor<3>) -> [Tensor<4>; 2] {
        let context = match &self.norm_cross {
            Some(norm) => norm.forward(context),
            None => context,
        };
        self.apart(Tensor::cat([&self.to_k, &self.to_v].map(|linear| linear.forward(context.clone())).into(), 2))
    }

    fn across(&self, x: Tensor<3>, [k, v]: [Tensor<4>; 2]) -> Tensor<3> {
        let [q] = self.apart(self.to_q.forward(x));
        self.attend(q, k, v)
    }
}

/// Attention within, attention across, perceptron; each where the block has it, each adds to what was there.
#[derive(Module, Debug)]
pub struct Block {
    /// What joins an earlier block's answer, which stands first.
    pub skip_linear: Option<Linear>,
    /// After it.
    pub skip_norm: Option<LayerNorm>,
    /// Before the attention within.
    pub norm1: Option<LayerNorm>,
    /// Within the set.
    pub attn1: Option<Attention>,
    /// Before the attention across.
    pub norm2: Option<LayerNorm>,
    /// To another set.
    pub attn2: Option<Attention>,
    /// Before the perceptron.
    pub norm3: LayerNorm,
    /// Perceptron.
    pub ff: FeedForward,
}

impl Block {
    pub(super) fn new(init: &Init, within: Option<Looks>, across: Option<Looks>, width: usize, joined: bool) -> Self {
        let norm = |name: &str| LayerNorm::new(&init.child(name), width, EPSILON);
        Self {
            skip_linear: joined.then(|| Linear::new(&init.child("skip_linear"), 2 * width, width, Weights::Xavier)),
            skip_norm: joined.then(|| norm("skip_norm")),
            norm1: within.map(|_| norm("norm1")),
            attn1: within.map(|looks| Attention::new(&init.child("attn1"), looks)),
            norm2: across.map(|_| norm("norm2")),
            attn2: across.map(|looks| Attention::new(&init.child("attn2"), looks)),
            norm3: norm("norm3"),
            ff: FeedForward::new(&init.child("ff"), width, 4 * width),
        }
    }

    /// `x` `[b n d]`, an earlier block's answer where the block joins one, and what [`seen`](Self::seen) made of the other set.
    pub(super) fn forward(&self, x: Tensor<3>, skip: Option<Tensor<3>>, seen: Option<[Tensor<4>; 2]>) -> Tensor<3> {
        let mut x = x;
        if let (Some(linear), Some(norm), Some(skip)) = (&self.skip_linear, &self.skip_norm, skip) {
            x = norm.forward(linear.forward(Tensor::cat(vec![skip, x], 2)));
        }
        if let (Some(norm), Some(attention)) = (&self.norm1, &self.attn1) {
            x = x.clone() + attention.within(norm.forward(x));
        }
        if let (Some(norm), Some(attention), Some(seen)) = (&self.norm2, &self.attn2, seen) {
            x = x.clone() + attention.across(norm.forward(x), seen);
        }
        let hidden = activation::gelu(self.ff.fc1.forward(self.norm3.forward(x.clone())));
        x + self.ff.fc2.forward(hidden)
    }

    /// Keys and values of the other set `[b m c]`, where the block looks at one.
    pub(super) fn seen(&self, context: Tensor<3>) -> Option<[Tensor<4>; 2]> {
        self.attn2.as_ref().map(|attention| attention.seen(context))
    }
}
