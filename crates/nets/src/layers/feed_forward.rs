//! The perceptrons of transformer blocks: two layers with GELU between, in its tanh form; and gated ones (Shazeer, 2020, arXiv 2002.05202).

use super::Linear;
use crate::init::{Init, Weights};
use base::Tensor;
use burn::module::Module;
use kernels::Activation;

/// Two layers with GELU between.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Features to hidden.
    pub fc1: Linear,
    /// Hidden to features.
    pub fc2: Linear,
}

impl FeedForward {
    /// From `features` through `hidden` and back.
    pub fn new(init: &Init, features: usize, hidden: usize) -> Self {
        Self {
            fc1: Linear::new(&init.child("fc1"), features, hidden, Weights::Xavier),
            fc2: Linear::new(&init.child("fc2"), hidden, features, Weights::Xavier),
        }
    }

    /// `[.. d]` to `[.. d]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.fc2.forward(self.fc1.activated(x, Activation::Gelu))
    }
}

/// `down (silu(gate x) up x)`, without biases.
#[derive(Module, Debug)]
pub struct SwiGlu {
    /// The gate.
    pub gate: Linear,
    /// What is gated.
    pub up: Linear,
    /// Back to features.
    pub down: Linear,
}

impl SwiGlu {
    /// From `features` through `hidden` and back.
    pub fn new(init: &Init, features: usize, hidden: usize) -> Self {
        let linear =
            |name: &str, input, output| Linear::without_bias(&init.child(name), input, output, Weights::Xavier);
        Self {
            gate: linear("gate", features, hidden),
            up: linear("up", features, hidden),
            down: linear("down", hidden, features),
        }
    }

    /// `[.. d]` to `[.. d]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let gate = self.gate.activated(x.clone(), Activation::Silu);
        self.down.forward(gate * self.up.forward(x))
    }
}
