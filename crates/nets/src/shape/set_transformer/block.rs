//! A block of a set transformer: what it hears of the first half, self-attention, attention to the condition, a perceptron or experts.

use super::{LayerNorm, SetTransformerConfig};
use crate::init::{Init, Weights};
use crate::layers::{FeedForward, Linear};
use crate::shape::blocks::{Cross, Within, perceptron, through};
use crate::shape::experts::{Experts, ExpertsConfig};
use base::{Tensor, Tokens};
use burn::module::Module;

/// What joins a skip to a block's input.
#[derive(Module, Debug)]
pub struct Join {
    pub(super) linear: Linear,
    norm: LayerNorm,
}

/// What a block adds last.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // a few to a network
pub enum Voice {
    /// One perceptron for all tokens.
    Dense(FeedForward),
    /// Several, and who chooses among them.
    Experts(Experts),
}

/// Self-attention, attention to the condition's tokens, perceptron.
#[derive(Module, Debug)]
pub struct SetBlock {
    pub(super) join: Option<Join>,
    norm1: LayerNorm,
    attn: Within,
    norm_cross: Option<LayerNorm>,
    pub(super) cross: Option<Cross>,
    norm2: LayerNorm,
    ff: Voice,
}

impl SetBlock {
    pub(super) fn new(
        init: &Init,
        config: &SetTransformerConfig,
        joined: bool,
        experts: Option<&ExpertsConfig>,
    ) -> Self {
        let (d, heads, tokens) = (config.width, config.heads, config.heard());
        let norm = |name: &str| LayerNorm::new(&init.child(name), d);
        Self {
            join: joined.then(|| Join {
                linear: Linear::new(&init.child("join"), 2 * d, d, Weights::Xavier),
                norm: norm("join_norm"),
            }),
            norm1: norm("norm1"),
            attn: Within::new(&init.child("attn"), d, heads, true),
            norm_cross: (tokens > 0).then(|| norm("norm_cross")),
            cross: (tokens > 0).then(|| Cross::new(&init.child("cross"), d, tokens, heads, true)),
            norm2: norm("norm2"),
            ff: match experts {
                None => Voice::Dense(perceptron(&init.child("ff"), d)),
                Some(experts) => Voice::Experts(Experts::new(&init.child("ff"), experts, d)),
            },
        }
    }

    /// What the block makes of `x`; how uneven its experts were chosen goes to `balance`, where that is asked.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        skip: Option<Tensor<3>>,
        tokens: Option<&Tokens>,
        balance: Option<&mut Vec<Tensor<1>>>,
    ) -> Tensor<3> {
        let mut x = x;
        if let (Some(join), Some(skip)) = (&self.join, skip) {
            x = join.norm.forward(join.linear.forward(Tensor::cat(vec![skip, x], 2)));
        }
        x = x.clone() + self.attn.forward(self.norm1.forward(x));
        if let (Some(norm), Some(cross), Some(tokens)) = (&self.norm_cross, &self.cross, tokens) {
            x = x.clone() + cross.forward(norm.forward(x), tokens.embedding.clone(), Some(tokens.mask.clone()));
        }
        match &self.ff {
            Voice::Dense(ff) => through(ff, &self.norm2, x),
            Voice::Experts(experts) => {
                let (said, uneven) = experts.forward(self.norm2.forward(x.clone()), balance.is_some());
                if let Some(balance) = balance {
                    balance.extend(uneven);
                }
                x + said
            }
        }
    }
}
