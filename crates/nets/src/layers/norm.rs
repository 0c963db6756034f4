//! Normalisations: over groups of channels, over features with adaptive scale and shift, by root mean square.

use crate::init::Init;
use base::Tensor;
use burn::module::{Module, Param};
use burn::tensor::module;

/// Group normalisation (Wu and He, 2018) of `[b c h w]`, fused with modulation and SiLU.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[c]`.
    pub weight: Param<Tensor<1>>,
    /// `[c]`.
    pub bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Over `channels` in the largest number of equal groups that is at most `groups`.
    pub fn new(init: &Init, channels: usize, groups: usize) -> Self {
        let groups = (1..=groups.min(channels)).rev().find(|g| channels.is_multiple_of(*g)).unwrap_or(1);
        Self {
            weight: init.child("weight").constant([channels], 1.0),
            bias: init.child("bias").constant([channels], 0.0),
            groups,
            epsilon: 1e-5,
        }
    }

    /// The same layer with another number added to variances than 1e-5.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Normalise, then `y (1 + scale) + shift` with `[b c]` each if given, then SiLU if `activate`.
    pub fn forward(&self, x: Tensor<4>, modulation: Option<(Tensor<2>, Tensor<2>)>, activate: bool) -> Tensor<4> {
        kernels::group_norm(x, self.weight.val(), self.bias.val(), self.groups, self.epsilon, modulation, activate)
    }
}

/// Root-mean-square normalisation over the last axis (Zhang and Sennrich, 2019), eq. 4.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[d]`.
    pub weight: Param<Tensor<1>>,
    epsilon: f64,
}

impl RmsNorm {
    /// Over `features`.
    pub fn new(init: &Init, features: usize) -> Self {
        Self { weight: init.child("weight").constant([features], 1.0), epsilon: 1e-6 }
    }

    /// The same layer with another number added to mean squares than 1e-6.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Same shape as `x` `[.. d]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::rms_norm(x, self.weight.val(), self.epsilon)
    }
}

/// Layer normalisation with weights (Ba et al., 2016), as text encoders have it.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d]`.
    pub weight: Param<Tensor<1>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// Over `features`, `epsilon` added to variances.
    pub fn new(init: &Init, features: usize, epsilon: f64) -> Self {
        let (weight, bias) =
            (init.child("weight").constant([features], 1.0), init.child("bias").constant([features], 0.0));
        Self { weight, bias, epsilon }
    }

    /// Same shape as `x` `[b n d]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        module::layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon)
    }
}

/// Layer normalisation of `[b n d]` without weights, then `y (1 + scale) + shift` per sample, each `[b d]`.
pub fn layer_norm(x: Tensor<3>, scale: Tensor<2>, shift: Tensor<2>) -> Tensor<3> {
    kernels::layer_norm_modulate(x, scale, shift, 1e-6)
}
