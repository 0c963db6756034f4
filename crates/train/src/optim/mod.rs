//! The optimiser over the flat parameter list, with clipping by the global norm and the learning-rate schedule.
//!
//! AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2) for everything, or for all but the hidden matrices, which
//! [`MatrixRule`] may give to Muon. The weight decay acts on the weights, not through the gradient; by default on matrices and
//! convolutions only (rank 2 or more), so that biases, gains and norms stay free.

mod muon;

pub use muon::{MUON, SMALLEST_SIDE};

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

/// What moves the hidden matrices: weights of linear layers and convolutions with at least [`SMALLEST_SIDE`] rows and columns, a
/// convolution's window counted with its inputs. Tables, biases, gains and the narrow layers at the ends are always AdamW's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MatrixRule {
    /// As all other parameters.
    Adamw {},
    /// The momentum's nearest orthogonal matrix ([`MUON`]), at the learning rate that AdamW would be given. It keeps one moment
    /// instead of two.
    Muon {
        /// Decay of the momentum, in [0, 1).
        #[serde(default = "momentum")]
        momentum: f64,
    },
}

impl Default for MatrixRule {
    fn default() -> Self {
        Self::Adamw {}
    }
}

fn momentum() -> f64 {
    0.95
}

impl MatrixRule {
    /// Muon as published.
    pub fn muon() -> Self {
        Self::Muon { momentum: momentum() }
    }

    /// As recipes spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adamw {} => "adamw",
            Self::Muon { .. } => "muon",
        }
    }

    /// The papers it rests on.
    pub fn papers(&self) -> Vec<base::Paper> {
        match self {
            Self::Adamw {} => vec![],
            Self::Muon { .. } => vec![MUON],
        }
    }
}

/// The optimiser and its schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// What moves the hidden matrices; AdamW moves the rest.
    pub matrices: MatrixRule,
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
            matrices: MatrixRule::default(),
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
        if let MatrixRule::Muon { momentum } = self.matrices {
            fraction("matrices.momentum", momentum)?;
        }
        self.schedule.check()
    }

    /// Whether there is something for what moves the hidden matrices.
    pub fn check_parameters(&self, infos: &[Info]) -> Result<(), String> {
        match self.matrices {
            MatrixRule::Muon { .. } if !infos.iter().any(|info| muon::matrix(info).is_some()) => Err(format!(
                "optim.matrices.type = muon moves weights of linear layers and convolutions with {SMALLEST_SIDE} rows and columns, and this \
                 run trains none (corrections of low rank are none): set it to adamw"
            )),
            _ => Ok(()),
        }
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

/// What moves one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    AdamW { decays: bool },
    Muon { momentum: f64, matrix: [usize; 2] },
}

impl Rule {
    fn of(config: &OptimConfig, info: &Info) -> Self {
        match config.matrices {
            MatrixRule::Muon { momentum } if let Some(matrix) = muon::matrix(info) => Self::Muon { momentum, matrix },
            _ => Self::AdamW { decays: config.decay == DecayScope::All || info.shape.len() >= 2 },
        }
    }
}

/// The moments of all parameters, in their order.
#[derive(Clone, Debug)]
pub struct Moments {
    /// First moments: AdamW's `m`, Muon's momentum.
    pub m: Vec<Tensor<1>>,
    /// Second moments `v`, of what AdamW moves.
    pub v: Vec<Option<Tensor<1>>>,
    rules: Vec<Rule>,
}

impl Moments {
    /// Moments at zero for `weights`.
    pub fn new(config: &OptimConfig, infos: &[Info], weights: &[Tensor<1>]) -> Self {
        let kept = Self::second(config, infos).into_iter().zip(weights);
        let v = kept.map(|(kept, w)| kept.then(|| w.zeros_like())).collect();
        Self::restore(config, infos, weights.iter().map(|w| w.zeros_like()).collect(), v)
    }

    /// Moments read back from a checkpoint.
    pub fn restore(config: &OptimConfig, infos: &[Info], m: Vec<Tensor<1>>, v: Vec<Option<Tensor<1>>>) -> Self {
        Self { m, v, rules: infos.iter().map(|info| Rule::of(config, info)).collect() }
    }

    /// Which parameters have a second moment.
    pub fn second(config: &OptimConfig, infos: &[Info]) -> Vec<bool> {
        infos.iter().map(|info| matches!(Rule::of(config, info), Rule::AdamW { .. })).collect()
    }

    /// How many numbers of `infos` have one moment alone.
    pub fn of_one(config: &OptimConfig, infos: &[Info]) -> usize {
        let second = Self::second(config, infos);
        infos.iter().zip(second).filter(|(_, second)| !second).map(|(info, _)| info.len()).sum()
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
        // The moments are taken out, not cloned, so that they may be written in place.
        let m = std::mem::replace(&mut self.m[index], gradient.clone());
        match (self.rules[index], self.v[index].take()) {
            (Rule::Muon { momentum, matrix }, _) => {
                let (update, m) = muon::update(m, gradient * scale, momentum, matrix);
                self.m[index] = m;
                weight * (1.0 - lr * config.weight_decay) - update * lr
            }
            (Rule::AdamW { decays }, v) => {
                let weight_decay = if decays { config.weight_decay } else { 0.0 };
                let settings = AdamW { beta1: config.beta1, beta2: config.beta2, epsilon: config.eps, weight_decay };
                let v = v.expect("what AdamW moves has a second moment, `second` says so");
                let (weight, m, v) = kernels::adamw::step(&settings, lr, step, scale, weight, gradient, m, v);
                (self.m[index], self.v[index]) = (m, Some(v));
                weight
            }
        }
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
        let infos = [Info::new("weight", [7, 5])];
        let mut weight = start.clone().reshape([35]);
        let mut moments = Moments::new(&config, &infos, &[weight.clone()]);

        let peer = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-8).with_weight_decay(0.1);
        let mut peer = peer.init();
        let mut theirs = Matrix { weight: Param::from_tensor(start.autodiff()) };
        for step in 1..=50u64 {
            let gradient = Key::new(step, Purpose::Noise).normal_tensor(&rows, [7, 5], &device);
            let lr = 0.01 / step as f64;
            weight = moments.step(&config, 0, weight, gradient.clone().reshape([35]), step, lr, 1.0);
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
        let infos = [Info::new("w", [2, 2]), Info::new("b", [4])];
        let ones = || vec![Tensor::<1>::ones([4], &device), Tensor::ones([4], &device)];
        for (decay, expected) in [(DecayScope::Matrices, [0.95, 1.0]), (DecayScope::All, [0.95, 0.95])] {
            let config = OptimConfig { weight_decay: 0.5, decay, ..OptimConfig::default() };
            let mut moments = Moments::new(&config, &infos, &ones());
            for (i, expected) in expected.into_iter().enumerate() {
                let weight = moments.step(&config, i, ones()[i].clone(), ones()[i].zeros_like(), 1, 0.1, 1.0);
                assert_eq!(weight.into_data().try_to_vec::<f32>().unwrap(), [expected; 4]);
            }
        }
    }

    /// Mutants: tables moved by momentum too; the momentum that is asked for not read; decay left out.
    #[test]
    fn momentum_is_muons_alone() {
        let device = Device::flex();
        let infos = [Info { is_map: true, ..Info::new("map", [16, 16]) }, Info::new("table", [16, 16])];
        let rows: Vec<u64> = (0..16).collect();
        let gradient = |step| Key::new(step, Purpose::Noise).normal_tensor(&rows, [16, 16], &device).reshape([256]);
        let run = |matrices, weight_decay| {
            let config = OptimConfig { matrices, weight_decay, ..OptimConfig::default() };
            config.check_parameters(&infos).unwrap();
            let mut weights = vec![Tensor::<1>::ones([256], &device); 2];
            let mut moments = Moments::new(&config, &infos, &weights);
            for step in 1..=3 {
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = moments.step(&config, at, weight.clone(), gradient(step), step, 0.01, 1.0);
                }
            }
            assert_eq!(moments.v.iter().map(Option::is_some).collect::<Vec<_>>(), Moments::second(&config, &infos));
            weights.into_iter().map(|weight| weight.into_data().try_to_vec::<f32>().unwrap()).collect::<Vec<_>>()
        };
        let muon = |momentum| MatrixRule::Muon { momentum };
        let [adamw, usual, other] = [MatrixRule::default(), MatrixRule::muon(), muon(0.5)].map(|rule| run(rule, 0.0));
        assert!(adamw[0] != usual[0] && usual[0] != other[0]);
        assert!(adamw[1] == usual[1] && usual[1] == other[1]);
        let decayed = run(MatrixRule::muon(), 0.5);
        let shrunk = |at: usize| usual[0][at] - decayed[0][at];
        assert!((0..256).all(|at| (0.01..0.02).contains(&shrunk(at))), "{}", shrunk(0)); // 1 - 0.995^3
        let narrow = [Info { is_map: true, ..Info::new("end", [4, 288]) }, Info::new("table", [64, 64])];
        let config = OptimConfig { matrices: MatrixRule::muon(), ..OptimConfig::default() };
        assert!(config.check_parameters(&narrow).unwrap_err().contains("set it to adamw"));
        assert!(OptimConfig { matrices: muon(1.0), ..config }.check().unwrap_err().contains("matrices.momentum"));
    }

    #[test]
    fn clipping_brings_a_large_norm_down_to_the_limit() {
        let config = OptimConfig { clip: 2.0, ..OptimConfig::default() };
        assert_eq!(config.clip_factor(1.0), 1.0);
        assert_eq!(config.clip_factor(8.0) * 8.0, 2.0);
        assert_eq!(OptimConfig { clip: 0.0, ..config }.clip_factor(1e9), 1.0);
    }
}
