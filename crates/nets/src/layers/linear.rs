//! `x weight^T + bias` over the last axis.

use super::{InBlocks, LowRank, widen, widened};
use crate::init::{Init, Weights};
use base::Tensor;
use burn::module::{Module, Param};
use kernels::Activation;

/// A linear layer.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[o i]`.
    pub weight: Param<Tensor<2>>,
    /// `[o]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// From `input` to `output` features, with a bias.
    pub fn new(init: &Init, input: usize, output: usize, how: Weights) -> Self {
        let bias = Some(init.bias(output, input, how));
        Self { bias, ..Self::without_bias(init, input, output, how) }
    }

    /// From `input` to `output` features, without a bias.
    pub fn without_bias(init: &Init, input: usize, output: usize, how: Weights) -> Self {
        Self { weight: init.weight([output, input], input, output, how), bias: None }
    }

    /// `[.. i]` to `[.. o]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(|b| b.val());
        if let Some(stored) = self.weight.reparameterization::<InBlocks>() {
            return stored.blocks.linear(x, bias, None);
        }
        match self.weight.reparameterization::<LowRank>() {
            None => kernels::linear(x, widened(&self.weight), bias),
            Some(low) => kernels::linear(x.clone(), widen(self.weight.base()), bias) + low.linear(x),
        }
    }

    /// [`Linear::forward`] and the activation of it, in one operation where there is no correction between them.
    pub fn activated<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        if self.weight.reparameterization::<LowRank>().is_some() {
            return match activation {
                Activation::Silu => kernels::silu(self.forward(x)),
                Activation::Gelu => kernels::gelu(self.forward(x)),
            };
        }
        if let Some(stored) = self.weight.reparameterization::<InBlocks>() {
            return stored.blocks.linear(x, self.bias.as_ref().map(|b| b.val()), Some(activation));
        }
        kernels::linear_activated(x, widened(&self.weight), self.bias.as_ref().map(|b| b.val()), activation)
    }
}
