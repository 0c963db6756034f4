//! Exponential moving averages of the weights, several decays at once, with a warm-up.
//!
//! After optimiser step `n` (counted from 1) every average becomes `d avg + (1 - d) weights` with
//! `d = min(decay, (1 + n) / (10 + n))`, so that the first averages follow the quickly changing weights instead of
//! remembering the initial ones (the warm-up of the TensorFlow and EDM code bases; Karras et al. 2022, arXiv:2206.00364, app. F
//! use the same idea with a half-life).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which averages to keep. An empty list keeps none and samples come from the raw weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmaConfig {
    /// Decays per optimiser step, each in (0, 1); the first is the one samples and validation use.
    pub decays: Vec<f64>,
    /// Whether early steps use a smaller decay.
    pub warmup: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decays: vec![0.999], warmup: true }
    }
}

impl EmaConfig {
    /// Refuses decays outside (0, 1) and duplicates.
    pub fn check(&self) -> Result<(), String> {
        for (i, decay) in self.decays.iter().enumerate() {
            if !(*decay > 0.0 && *decay < 1.0) {
                return Err(format!("ema.decays[{i}] = {decay} must lie strictly between 0 and 1, for instance 0.999"));
            }
            if self.decays[..i].contains(decay) {
                return Err(format!("ema.decays lists {decay} twice; name each decay once"));
            }
        }
        Ok(())
    }

    /// The decay that applies at optimiser step `step`, counted from 1.
    pub fn decay_at(&self, decay: f64, step: u64) -> f64 {
        let n = step as f64;
        if self.warmup { decay.min((1.0 + n) / (10.0 + n)) } else { decay }
    }
}

/// The averages of a run.
#[derive(Clone, Debug)]
pub struct Ema {
    config: EmaConfig,
    /// One list of flat tensors per decay, in parameter order.
    averages: Vec<Vec<Tensor<1>>>,
}

impl Ema {
    /// Averages that all start at `weights`.
    pub fn new(config: &EmaConfig, weights: &[Tensor<1>]) -> Self {
        Self { config: config.clone(), averages: vec![weights.to_vec(); config.decays.len()] }
    }

    /// Averages read back from a checkpoint, in the order of `config.decays`.
    pub fn restore(config: &EmaConfig, averages: Vec<Vec<Tensor<1>>>) -> Self {
        debug_assert_eq!(config.decays.len(), averages.len());
        Self { config: config.clone(), averages }
    }

    /// Moves the averages of parameter `index` towards `weight`; `step` counts optimiser steps from 1. Called right
    /// after the optimiser's update of the same parameter, while its values are still in the cache.
    pub fn update(&mut self, step: u64, index: usize, weight: &Tensor<1>) {
        for (decay, averages) in self.config.decays.iter().zip(&mut self.averages) {
            let keep = self.config.decay_at(*decay, step);
            // Taken out rather than cloned, so that the kernel may write in place.
            let old = std::mem::replace(&mut averages[index], weight.clone());
            averages[index] = kernels::lerp(old, weight.clone(), 1.0 - keep);
        }
    }

    /// `(decay, average)` pairs.
    pub fn averages(&self) -> impl Iterator<Item = (f64, &[Tensor<1>])> {
        self.config.decays.iter().copied().zip(self.averages.iter().map(Vec::as_slice))
    }

    /// The average that samples and validation use: that of the first decay.
    pub fn primary(&self) -> Option<&[Tensor<1>]> {
        self.averages.first().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, TensorData};

    fn scalar(v: f32) -> Tensor<1> {
        Tensor::from_data(TensorData::new(vec![v], [1]), &Device::flex())
    }

    fn value(v: &[Tensor<1>]) -> f32 {
        v[0].clone().into_scalar()
    }

    #[test]
    fn constant_weights_approach_geometrically() {
        // Start at 0, weights constantly 1: after n steps the average is 1 - d^n.
        let config = EmaConfig { decays: vec![0.9, 0.99], warmup: false };
        let mut ema = Ema::new(&config, &[scalar(0.0)]);
        for step in 1..=50 {
            ema.update(step, 0, &scalar(1.0));
        }
        for (decay, average) in ema.averages() {
            let expected = 1.0 - decay.powi(50);
            // 50 roundings of relative size 6e-8.
            assert!((value(average) as f64 - expected).abs() < 5e-6, "decay {decay}: {} {expected}", value(average));
        }
    }

    #[test]
    fn warmup_follows_its_formula() {
        let config = EmaConfig { decays: vec![0.999], warmup: true };
        assert_eq!(config.decay_at(0.999, 1), 2.0 / 11.0);
        assert_eq!(config.decay_at(0.999, 90), 91.0 / 100.0);
        assert_eq!(config.decay_at(0.999, 100_000), 0.999);
        // The product of (1+n)/(10+n) telescopes: prod_{n=1..N} = 10!/1! * (N+1)!/(N+10)!.
        let steps = 20u64;
        let mut ema = Ema::new(&config, &[scalar(1.0)]);
        for step in 1..=steps {
            ema.update(step, 0, &scalar(0.0));
        }
        let expected: f64 = (1..=steps).map(|n| (1.0 + n as f64) / (10.0 + n as f64)).product();
        let found = value(ema.primary().unwrap()) as f64;
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn bad_decays_are_refused() {
        for decays in [vec![1.0], vec![0.0], vec![f64::NAN], vec![0.9, 0.9]] {
            assert!(EmaConfig { decays, warmup: true }.check().is_err());
        }
        assert!(EmaConfig::default().check().is_ok());
    }
}
