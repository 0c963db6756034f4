//! AdamW over the flat parameter list, with clipping by the global norm and the learning-rate schedule.
//!
//! Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2: the weight decay acts on the weights, not through the
//! gradient. By default it acts on matrices and convolutions only (rank 2 or more); biases, gains and norms stay free.

use crate::params::Info;
use crate::schedule::{Decay, warmup_factor};
use burn::tensor::Tensor;
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
        let decay = if self.decays[index] { 1.0 - lr * config.weight_decay } else { 1.0 };
        let (b1, b2) = (config.beta1, config.beta2);
        let gradient = gradient * scale;
        let m = self.m[index].clone() * b1 + gradient.clone() * (1.0 - b1);
        let v = self.v[index].clone() * b2 + gradient.square() * (1.0 - b2);
        let correction1 = 1.0 - b1.powf(step as f64);
        let correction2 = 1.0 - b2.powf(step as f64);
        let direction = m.clone() / ((v.clone() / correction2).sqrt() + config.eps);
        (self.m[index], self.v[index]) = (m, v);
        weight * decay - direction * (lr / correction1)
    }
}
