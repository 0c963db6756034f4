//! A small vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929, without a class token) that is trained with its flow: a picture's
//! patches become the tokens that every block of the flow attends to. TripoSG (arXiv:2502.06608) has a frozen DINOv2 in its place.
//!
//! A patch comes with its place in the picture, as the sinusoids that points of a shape are told by. The null of a picture is
//! patches that nobody hears, as that of a caption is.

use super::blocks::{LayerNorm, SelfBlock};
use super::embedding::{FEATURES, embed};
use crate::cost::Tally;
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::{NetsError, net::positive};
use base::{Tensor, TensorData, Tokens};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Configuration of an [`Eye`]; it is as wide as its flow, in as many heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EyeConfig {
    /// Blocks.
    pub depth: usize,
}

impl Default for EyeConfig {
    fn default() -> Self {
        Self { depth: 2 }
    }
}

impl EyeConfig {
    /// Ranges: at least one block, and patches to read.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self, patch: usize) -> Result<(), NetsError> {
        positive("set_transformer.eye.depth", self.depth)?;
        match patch {
            0 => Err(NetsError::config(
                "set_transformer.eye reads a picture's patches, and condition.tokens is 0: set it to the numbers of a patch",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn tally(&self, tally: &mut Tally, [n, patch, d]: [usize; 3], heads: usize) {
        tally.linear(n, patch + FEATURES, d, true);
        let norm = |tally: &mut Tally| {
            tally.table(2, d);
            tally.kept(n * d);
        };
        for _ in 0..self.depth {
            norm(tally);
            tally.linear(n, d, 3 * d, false);
            tally.attention(heads, n, n, d);
            tally.linear(n, d, d, true);
            norm(tally);
            tally.linear(n, d, 4 * d, true);
            tally.kept(n * 4 * d);
            tally.linear(n, 4 * d, d, true);
        }
        norm(tally);
    }
}

/// The network of [`EyeConfig`].
#[derive(Module, Debug)]
pub struct Eye {
    input: Linear,
    blocks: Vec<SelfBlock>,
    norm: LayerNorm,
}

impl Eye {
    pub(super) fn new(init: &Init, config: &EyeConfig, [patch, d]: [usize; 2], heads: usize) -> Self {
        Self {
            input: Linear::new(&init.child("input"), patch + FEATURES, d, Weights::Xavier),
            blocks: (0..config.depth).map(|i| SelfBlock::new(&init.child("blocks").child(i), d, heads)).collect(),
            norm: LayerNorm::new(&init.child("norm"), d),
        }
    }

    /// Patches `[b n patch]`, row by row of a square picture, to tokens `[b n d]`.
    pub(super) fn forward(&self, patches: &Tokens) -> Tokens {
        let ([b, n, _], device) = (patches.embedding.dims(), patches.embedding.device());
        let side = (1..).find(|side| side * side >= n).unwrap_or(1);
        let middle = |i: usize| (2 * i + 1) as f32 / side as f32 - 1.0;
        let places: Vec<f32> = (0..n).flat_map(|i| [middle(i % side), -middle(i / side), 0.0]).collect();
        let places = embed(Tensor::from_data(TensorData::new(places, [1, n, 3]), &device)).expand([b, n, FEATURES]);
        let x = self.input.forward(Tensor::cat(vec![patches.embedding.clone(), places], 2));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        Tokens { embedding: self.norm.forward(x), mask: patches.mask.clone() }
    }
}
