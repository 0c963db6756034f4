//! One stream asks another, or itself, and a perceptron follows: shift, scale and gate of both come from time and class, and the
//! gates start at zero (adaLN-zero; Peebles and Xie 2023), so that nothing is written before training.

use crate::cost::Tally;
use crate::init::Init;
use crate::layers::{FeedForward, layer_norm};
use crate::mmdit::joint::Modulation;
use crate::shape::{Cross, LayerNorm};
use base::{Bool, Tensor};
use burn::module::Module;

/// Widening of the perceptron.
const RATIO: usize = 4;

/// Attention from a stream to another, and a perceptron.
#[derive(Module, Debug)]
pub struct Fuse {
    /// Shift, scale and gate of the attention and of the perceptron.
    pub modulation: Modulation,
    /// Normalises what is asked.
    pub norm: LayerNorm,
    /// The attention.
    pub attn: Cross,
    /// The perceptron.
    pub ff: FeedForward,
}

impl Fuse {
    pub(super) fn new(init: &Init, d: usize, heads: usize) -> Self {
        Self {
            modulation: Modulation::new(&init.child("modulation"), d, 6),
            norm: LayerNorm::new(&init.child("norm"), d),
            attn: Cross::new(&init.child("attn"), d, d, heads, true),
            ff: FeedForward::new(&init.child("ff"), d, RATIO * d),
        }
    }

    /// `x` `[b n d]` asks `context` `[b m d]`, of which `mask` `[b m]` says what is real, under the activated embedding `[b d]`.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: Tensor<3>,
        mask: Option<&Tensor<2, Bool>>,
        embedding: &Tensor<2>,
    ) -> Tensor<3> {
        let [shift, scale, gate, shift2, scale2, gate2] = self.modulation.parts(embedding);
        let asked = layer_norm(x.clone(), scale, shift);
        let said = self.attn.forward(asked, self.norm.forward(context), mask.cloned());
        let x = kernels::gated(x, said, gate);
        let said = self.ff.forward(layer_norm(x.clone(), scale2, shift2));
        kernels::gated(x, said, gate2)
    }

    /// `x` asks itself.
    pub(super) fn within(&self, x: Tensor<3>, mask: Option<&Tensor<2, Bool>>, embedding: &Tensor<2>) -> Tensor<3> {
        self.forward(x.clone(), x, mask, embedding)
    }

    /// What `n` tokens that ask `m` others cost.
    pub(super) fn tally(tally: &mut Tally, d: usize, heads: usize, n: usize, m: usize) {
        tally.linear(1, d, 6 * d, true);
        tally.table(2, d); // normalises the context
        tally.kept((n + m) * d);
        tally.linear(n, d, d, false);
        tally.linear(m, d, 2 * d, false);
        tally.table(2, d / heads);
        tally.kept((n + m) * d); // normalised queries and keys
        tally.attention(heads, n, m, d);
        tally.linear(n, d, d, true);
        tally.kept(2 * n * d); // gated sum, second normalisation
        tally.linear(n, d, RATIO * d, true);
        tally.kept(n * RATIO * d);
        tally.linear(n, RATIO * d, d, true);
        tally.kept(n * d); // gated sum
    }
}
