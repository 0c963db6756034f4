//! AdamW over the flat parameter list, with clipping by the global norm and the learning-rate schedule.
//!
//! Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2: the weight decay acts on the weights, not through the
//! gradient. By default it acts on matrices and convolutions only (rank 2 or more); biases, gains and norms stay free.

use crate::params::Info;
use crate::schedule::{Decay, warmup_factor};
use burn::tensor::Tensor;
use kernels::adamw::AdamW;
use serde::{Deserialize, Serialize};

/// Which parameters decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayScope {
    /// Parameters of rank 2 or more.
    Matrices,
    /// All parameters.
    All,
}

/// Decoupled Weight Decay Regularization.
pub const ADAMW: base::Paper = base::Paper::arxiv(
    "loshchilov2017decoupled",
    "Loshchilov, Ilya and Hutter, Frank",
    "Decoupled Weight Decay Regularization",
    (2017, "1711.05101"),
    "ICLR 2019",
);

/// AdamW and its schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay; each step multiplies decaying weights by `1 - lr weight_decay`.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: DecayScope,
    /// Largest global norm of the gradient; larger ones are scaled down to it. 0 never clips.
    pub clip: f64,
    /// Images seen until the rate reaches its peak, linearly; 0 for none.
    pub warmup: u64,
    /// How the rate falls until the end of the run.
    pub schedule: Decay,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            decay: DecayScope::Matrices,
            clip: 1.0,
            warmup: 0,
            schedule: Decay::Cosine { end: 0.0 },
        }
    }
}

impl OptimConfig {
    /// Refuses values out of range.
    pub fn check(&self) -> Result<(), String> {
        let positive = |key: &str, v: f64| match v.is_finite() && v > 0.0 {
            true => Ok(()),
            false => Err(format!("optim.{key} = {v} must be a positive number")),
        };
        let not_negative = |key: &str, v: f64| match v.is_finite() && v >= 0.0 {
            true => Ok(()),
            false => Err(format!("optim.{key} = {v} must be zero or a positive number")),
        };
        let fraction = |key: &str, v: f64| match (0.0..1.0).contains(&v) {
            true => Ok(()),
            false => Err(format!("optim.{key} = {v} must be at least 0 and less than 1")),
        };
        positive("lr", self.lr)?;
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("clip", self.clip)?;
        fraction("beta1", self.beta1)?;
        fraction("beta2", self.beta2)?;
        self.schedule.check()
    }

    /// The learning rate of the step that ends at `images` images seen, with `progress` in [0, 1] at its start.
    pub fn rate(&self, images: u64, progress: f64) -> f64 {
        self.lr * warmup_factor(images, self.warmup) * self.schedule.factor(progress)
    }

    /// The factor that brings a gradient of global norm `norm` down to the clip.
    pub fn clip_factor(&self, norm: f64) -> f64 {
        if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 }
    }
}

/// AdamW's moments, in parameter order.
#[derive(Clone, Debug)]
pub struct Adam {
    /// First moments `m`.
    pub m: Vec<Tensor<1>>,
    /// Second moments `v`.
    pub v: Vec<Tensor<1>>,
    decays: Vec<bool>,
}

impl Adam {
    /// Moments at zero for `weights`.
    pub fn new(config: &OptimConfig, infos: &[Info], weights: &[Tensor<1>]) -> Self {
        let zeros = || weights.iter().map(|w| w.zeros_like()).collect();
        Self::restore(config, infos, zeros(), zeros())
    }

    /// Moments read back from a checkpoint.
    pub fn restore(config: &OptimConfig, infos: &[Info], m: Vec<Tensor<1>>, v: Vec<Tensor<1>>) -> Self {
        let decays = infos.iter().map(|i| config.decay == DecayScope::All || i.shape.len() >= 2).collect();
        Self { m, v, decays }
    }

    /// Updates parameter `index`: `step` counts from 1, `scale` multiplies the gradient (accumulation and clipping).
    #[allow(clippy::too_many_arguments)]
    pub fn step(
        &mut self,
        config: &OptimConfig,
        index: usize,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        step: u64,
        lr: f64,
        scale: f64,
    ) -> Tensor<1> {
        let weight_decay = if self.decays[index] { config.weight_decay } else { 0.0 };
        let settings = AdamW { beta1: config.beta1, beta2: config.beta2, epsilon: config.eps, weight_decay };
        // The moments are taken out, not cloned, so that the kernel may write in place.
        let m = std::mem::replace(&mut self.m[index], gradient.clone());
        let v = std::mem::replace(&mut self.v[index], gradient.clone());
        let (weight, m, v) = kernels::adamw::step(&settings, lr, step, scale, weight, gradient, m, v);
        (self.m[index], self.v[index]) = (m, v);
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, Key, Purpose};
    use burn::module::{Module, Param};
    use burn::optim::{AdamWConfig, GradientsParams};

    #[derive(Module, Debug)]
    struct Matrix {
        weight: Param<Tensor<2>>,
    }

    #[test]
    fn steps_agree_with_burns_adamw() {
        let device = Device::flex();
        let rows: Vec<u64> = (0..7).collect();
        let start = Key::new(1, Purpose::Init).normal_tensor(&rows, [7, 5], &device);
        let config = OptimConfig { beta2: 0.999, weight_decay: 0.1, ..OptimConfig::default() };
        let infos = [Info { name: "weight".into(), shape: vec![7, 5] }];
        let mut weight = start.clone().reshape([35]);
        let mut adam = Adam::new(&config, &infos, &[weight.clone()]);

        let peer = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-8).with_weight_decay(0.1);
        let mut peer = peer.init();
        let mut theirs = Matrix { weight: Param::from_tensor(start.autodiff()) };
        for step in 1..=50u64 {
            let gradient = Key::new(step, Purpose::Noise).normal_tensor(&rows, [7, 5], &device);
            let lr = 0.01 / step as f64;
            weight = adam.step(&config, 0, weight, gradient.clone().reshape([35]), step, lr, 1.0);
            let mut gradients = GradientsParams::new();
            gradients.register(theirs.weight.id, gradient);
            theirs = peer.step(lr, theirs, gradients);
        }
        let difference = theirs.weight.val().inner().reshape([35]) - weight;
        // Weights are of order 1; fifty steps round at 6e-8 each in two different orders of operations.
        let largest: f32 = difference.abs().max().into_scalar();
        assert!(largest < 1e-6, "largest difference {largest}");
    }

    #[test]
    fn only_matrices_decay_unless_all_shall() {
        let device = Device::flex();
        let infos = [Info { name: "w".into(), shape: vec![2, 2] }, Info { name: "b".into(), shape: vec![4] }];
        let ones = || vec![Tensor::<1>::ones([4], &device), Tensor::ones([4], &device)];
        for (decay, expected) in [(DecayScope::Matrices, [0.95, 1.0]), (DecayScope::All, [0.95, 0.95])] {
            let config = OptimConfig { weight_decay: 0.5, decay, ..OptimConfig::default() };
            let mut adam = Adam::new(&config, &infos, &ones());
            for (i, expected) in expected.into_iter().enumerate() {
                let weight = adam.step(&config, i, ones()[i].clone(), ones()[i].zeros_like(), 1, 0.1, 1.0);
                assert_eq!(weight.into_data().try_to_vec::<f32>().unwrap(), [expected; 4]);
            }
        }
    }

    #[test]
    fn clipping_brings_a_large_norm_down_to_the_limit() {
        let config = OptimConfig { clip: 2.0, ..OptimConfig::default() };
        assert_eq!(config.clip_factor(1.0), 1.0);
        assert_eq!(config.clip_factor(8.0) * 8.0, 2.0);
        assert_eq!(OptimConfig { clip: 0.0, ..config }.clip_factor(1e9), 1.0);
    }
}
