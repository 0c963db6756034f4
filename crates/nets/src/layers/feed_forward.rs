//! The perceptron of a transformer block: two layers with GELU between, in its tanh form.

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
