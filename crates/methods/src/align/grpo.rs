//! Flow-GRPO: a flow's own samples, drawn with noise on the way, become more like those that a reward puts above the rest of their group.
//!
//! Liu et al., arXiv 2505.05470. An ODE gives no probability to learn from; the SDE with the same marginals does (eq. 6), here on any
//! one-sided path: `dx = (v + σ²/2 ∇ln p) dt + σ dw` with `σ_t = a √(α/β)`. Each Euler step is a Gaussian, whose mean the network moves.
//! Samples of one prompt are a group; the advantage of one is its reward in the group's standard deviations (eq. 3), and every step of it is
//! made likelier or less so by the clipped ratio of PPO, held to a reference by the divergence of the two Gaussians (eq. 4, 8).
//!
//! Logarithms of densities are means over a sample's numbers, as in the released code: the clip of `1e-4` belongs to that scale.

use crate::MethodError;
use base::{Condition, Tensor, Times};
use flow::{Path, ScoreField};
use serde::{Deserialize, Serialize};

/// Training Flow Matching Models via Online RL.
pub const FLOW_GRPO: base::Paper = base::Paper::arxiv(
    "liu2025flowgrpo",
    "Liu, Jie and Liu, Gongye and Liang, Jiajun and others",
    "Flow-GRPO: Training Flow Matching Models via Online RL",
    (2025, "2505.05470"),
    "NeurIPS 2025",
);

/// Settings of Flow-GRPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Samples of one prompt, compared with each other.
    pub group: usize,
    /// Steps of a trajectory: fewer than samples are drawn with, which costs little and saves much.
    pub steps: usize,
    /// `a`: how much noise on the way. None explores nothing.
    pub noise: f64,
    /// How far the ratio of densities may go from one before a step teaches nothing more.
    pub clip: f64,
    /// `β`: how closely the reference is held.
    pub kl: f64,
    /// Gradient steps on the same trajectories before new ones are drawn.
    pub updates: usize,
    /// Steps of each trajectory that one gradient step looks at.
    pub trained: usize,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self { group: 8, steps: 10, noise: 0.7, clip: 1e-4, kl: 0.04, updates: 2, trained: 4 }
    }
}

/// The Gaussian that a step is drawn from.
#[derive(Clone, Debug)]
pub struct Moments<const D: usize> {
    /// Its mean, `[b ...]`.
    pub mean: Tensor<D>,
    /// Its standard deviation in every direction.
    pub deviation: f64,
}

/// A trajectory from the noise on: its points, one more than steps.
pub type Points<const D: usize> = Vec<Tensor<D>>;

/// Largest advantage, in standard deviations of the group.
const LARGEST: f64 = 5.0;

impl GrpoConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        let positive = |value: f64| value.is_finite() && value > 0.0;
        match self {
            Self { group: 0 | 1, .. } => {
                refuse("grpo.group", self.group.to_string(), "a group of two or more can be compared; 8 is customary")
            }
            Self { steps: 0 | 1, .. } => {
                refuse("grpo.steps", self.steps.to_string(), "a trajectory has two steps or more; 10 is customary")
            }
            Self { updates: 0, .. } => refuse("grpo.updates", "0".into(), "use at least 1"),
            _ if !(1..=self.steps).contains(&self.trained) => {
                refuse("grpo.trained", self.trained.to_string(), "use from 1 to grpo.steps")
            }
            _ if !positive(self.noise) => {
                refuse("grpo.noise", self.noise.to_string(), "it must be positive; 0.7 is customary")
            }
            _ if !positive(self.clip) => {
                refuse("grpo.clip", self.clip.to_string(), "it must be positive; 1e-4 is customary")
            }
            _ if !(self.kl.is_finite() && self.kl >= 0.0) => {
                refuse("grpo.kl", self.kl.to_string(), "it must be zero or more; 0.04 is customary")
            }
            _ => Ok(()),
        }
    }

    /// The times of a trajectory, from the noise to the data.
    pub fn times(&self) -> Vec<f64> {
        (0..=self.steps).map(|step| step as f64 / self.steps as f64).collect()
    }

    /// `σ` of the step from `t` to `next`. Where nothing of the data is in a point yet it would be infinite, and the step's end says it.
    fn strength(&self, path: &Path, t: f64, next: f64) -> f64 {
        let (here, there) = (path.at(t), path.at(next));
        let beta = if here.beta > 1e-6 { here.beta } else { there.beta };
        self.noise * (here.alpha / beta.max(1e-6)).max(0.0).sqrt()
    }

    /// The Gaussian of the step from `t` to `next` at points `x` `[b ...]`.
    pub fn moments<const D: usize>(
        &self,
        field: &dyn ScoreField<D>,
        path: &Path,
        x: Tensor<D>,
        (t, next): (f64, f64),
        condition: &Condition,
    ) -> Moments<D> {
        let (span, strength) = (next - t, self.strength(path, t, next));
        let times = Times::all(t, x.dims()[0]);
        let (velocity, score) = field.velocity_and_score(x.clone(), &times, condition);
        let drift = velocity + score * (0.5 * strength * strength);
        Moments { mean: x + drift * span, deviation: strength * span.sqrt() }
    }

    /// A trajectory from `start` `[b ...]`, with what `noise` draws for each step, and the logarithm of each step's density, `[b]`.
    pub fn trajectory<const D: usize>(
        &self,
        field: &dyn ScoreField<D>,
        path: &Path,
        start: Tensor<D>,
        noise: impl Fn(usize) -> Tensor<D>,
        condition: &Condition,
    ) -> (Points<D>, Vec<Tensor<1>>) {
        let (times, mut points, mut densities) = (self.times(), vec![start.clone()], Vec::new());
        let mut x = start;
        for step in 0..self.steps {
            let moments = self.moments(field, path, x, (times[step], times[step + 1]), condition);
            x = moments.mean.clone() + noise(step) * moments.deviation;
            densities.push(moments.log_density(x.clone()));
            points.push(x.clone());
        }
        (points, densities)
    }

    /// What each sample of a row of groups is worth beside the others of its group; zero where a group is all alike.
    pub fn advantages(&self, rewards: &[f64]) -> Vec<f64> {
        let of = |group: &[f64]| -> Vec<f64> {
            let count = group.len() as f64;
            let mean = group.iter().sum::<f64>() / count;
            let deviation = (group.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt();
            let one = |r: &f64| if deviation > 1e-8 { ((r - mean) / deviation).clamp(-LARGEST, LARGEST) } else { 0.0 };
            group.iter().map(one).collect()
        };
        rewards.chunks(self.group).flat_map(of).collect()
    }

    /// Loss of each sample at one step, `[b]`, from the logarithms of its density now and when it was drawn, its advantage, and the divergence
    /// from the reference.
    pub fn loss(&self, [now, then]: [Tensor<1>; 2], advantages: Tensor<1>, divergence: Tensor<1>) -> Tensor<1> {
        let ratio = (now - then).exp();
        let clipped = ratio.clone().clamp(1.0 - self.clip, 1.0 + self.clip);
        // The lesser gain of the two: the clip takes away what would be gained too far, and never what must be undone.
        let gain = (ratio * advantages.clone()).min_pair(clipped * advantages);
        divergence * self.kl - gain
    }
}

impl<const D: usize> Moments<D> {
    /// Logarithm of the density at `x`, mean over its numbers, without the constant, `[b]`.
    pub fn log_density(&self, x: Tensor<D>) -> Tensor<1> {
        mean_square(x - self.mean.clone()) * (-0.5 / (self.deviation * self.deviation))
    }

    /// Kullback–Leibler divergence from the Gaussian of the same step with another mean, mean over numbers, `[b]`.
    pub fn divergence(&self, from: Tensor<D>) -> Tensor<1> {
        mean_square(self.mean.clone() - from) * (0.5 / (self.deviation * self.deviation))
    }
}

fn mean_square<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let rows = x.dims()[0] as i32;
    x.square().reshape([rows, -1]).mean_dim(1).squeeze_dim::<1>(1)
}
