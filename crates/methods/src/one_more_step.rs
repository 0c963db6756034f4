//! One More Step: a step from pure noise to where a schedule with signal left at its noisy end really starts.
//!
//! Hu et al., arXiv 2311.15744. A diffusion whose first state still holds `beta x1` of the data (`beta` = 0.068 in Stable
//! Diffusion) reads the mean of pure noise as information, so samples drift to mid brightness. A small network without
//! time is trained at the noise of a schedule that begins in pure noise, where v-prediction is `-x1`; its best answer is
//! the conditional mean of the data, whatever the noise. The step mixes that mean into the start:
//! `x = beta E[x1|c] + √(alpha² - s²) x_S + s z`. The released program multiplies the fresh noise by `alpha²` in place of
//! `alpha`; the root is right.

use crate::{Init, MethodError, Stage, Target};
use base::Tensor;
use flow::{Coupling, Loss, Objective, Parameterization, Path, TimeConfig, TimeLaw, Weighting};
use serde::{Deserialize, Serialize};

/// One More Step: A Versatile Plug-and-Play Module for Rectifying Diffusion Schedule Flaws and Enhancing Low-Frequency Controls.
pub const ONE_MORE_STEP: base::Paper = base::Paper::arxiv(
    "hu2023one",
    "Hu, Minghui and Zheng, Jianbin and Zheng, Chuanxia and Wang, Chaoyue and Tao, Dacheng and Cham, Tat-Jen",
    "One More Step: A Versatile Plug-and-Play Module for Rectifying Diffusion Schedule Flaws and Enhancing Low-Frequency Controls",
    (2023, "2311.15744"),
    "CVPR 2024",
);

/// Settings of the step.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct OneMoreStep {
    /// `s` in units of `alpha`, in [0, 1]: 0 keeps the sample's own noise, 1 replaces it (the released program's step).
    pub fresh: f64,
    /// Guidance of the step's own network: 1 is its conditional mean.
    pub guidance: f64,
}

impl Default for OneMoreStep {
    fn default() -> Self {
        Self { fresh: 0.0, guidance: 1.0 }
    }
}

impl OneMoreStep {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |setting, value: f64, remedy| Err(MethodError::Setting { setting, value: value.to_string(), remedy });
        if !(0.0..=1.0).contains(&self.fresh) {
            return refuse(
                "one_more_step.fresh",
                self.fresh,
                "it is a share of the noise, in [0, 1]; 0 keeps all of it",
            );
        }
        if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            return refuse("one_more_step.guidance", self.guidance, "it must be zero or more; 1 means none");
        }
        Ok(())
    }

    /// What the step's network is trained as: v-prediction at pure noise, against real data and fresh noise.
    pub fn stage() -> Stage {
        let objective = Objective {
            path: Path::Trigonometric {},
            parameterization: Parameterization::VPrediction {},
            time: TimeConfig::new(TimeLaw::Constant { t: 0.0 }),
            loss: Loss::L2 {},
            weighting: Weighting::Uniform {},
            ..Objective::default()
        };
        Stage { objective, coupling: Coupling::Independent {}, init: Init::Fresh, target: Target::Path }
    }

    /// Whether `path` leaves signal at time `t` that the step could bring: elsewhere it is the identity.
    pub fn applies(path: &Path, t: f64) -> bool {
        path.at(t).beta > 0.0
    }

    /// The start of a sample on `path` at time `t` from its noise `[b ...]`, the network's data estimate (minus its
    /// v-prediction) and fresh noise, which is not looked at where [`OneMoreStep::fresh`] is zero.
    pub fn start<const D: usize>(
        &self,
        path: &Path,
        t: f64,
        noise: Tensor<D>,
        estimate: Tensor<D>,
        fresh: impl FnOnce() -> Tensor<D>,
    ) -> Tensor<D> {
        let c = path.at(t);
        let own = noise * (c.alpha * (1.0 - self.fresh * self.fresh).max(0.0).sqrt());
        let own = if self.fresh > 0.0 { own + fresh() * (c.alpha * self.fresh) } else { own };
        if c.beta == 0.0 { own } else { own + estimate * c.beta }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Condition, Device, Key, Purpose};
    use flow::exact::{Gaussian, Mixture, MixtureField};
    use flow::path::diffusion::Discrete;
    use flow::{Field, ScheduleConfig, Solver, rows, solve};

    fn noise(n: u64, d: usize, stream: u64) -> Tensor<2> {
        Key::new(17, Purpose::Noise).fold(stream).normal_tensor(&(0..n).collect::<Vec<_>>(), [0, d], &Device::flex())
    }

    fn mean_and_std(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    fn stable_diffusion() -> Path {
        Path::Ddpm(Discrete::default())
    }

    #[test]
    fn without_signal_it_is_the_identity_and_half_signal_keeps_half_the_variance() {
        let x = noise(5, 3, 0);
        let step = OneMoreStep::default();
        let same = step.start(&Path::Trigonometric {}, 0.0, x.clone(), x.zeros_like() + 7.0, || x.clone());
        assert_eq!(rows::host(same).unwrap(), rows::host(x.clone()).unwrap());
        assert!(!OneMoreStep::applies(&Path::Linear {}, 0.0) && OneMoreStep::applies(&stable_diffusion(), 0.0));
        // abar = 1/2 (t = 1/2 on the trigonometric path): all fresh, variance 1 - abar = 1/2, not (1 - abar)² = 1/4.
        let step = OneMoreStep { fresh: 1.0, ..OneMoreStep::default() };
        let x = noise(20_000, 1, 0);
        let y = step.start(&Path::Trigonometric {}, 0.5, x.clone(), x.zeros_like(), || noise(20_000, 1, 1));
        let (_, std) = mean_and_std(&rows::host(y).unwrap());
        assert!((std * std - 0.5).abs() < 0.02, "{}", std * std);
    }

    /// Spec row: 784 pixels, mean 0.6 with spread 0.3, pixel noise 0.3: mean brightness 0.301 from noise, 0.600 with the step.
    /// In the eigenbasis of brightness one coordinate carries it all: `sqrt(784) N(0.6, ...)`.
    #[test]
    fn the_mean_brightness_comes_back_in_the_gaussian_case() {
        let (d, m, tau, pixel) = (784.0f64, 0.6, 0.3, 0.3);
        let spread = (d * tau * tau + pixel * pixel).sqrt();
        let (path, none) = (stable_diffusion(), Condition::none());
        let exact = Gaussian::new(path.clone(), vec![d.sqrt() * m], vec![spread]).unwrap();
        let grid = ScheduleConfig::Uniform {}.build(200).unwrap();
        let n = 10_000;
        let x = noise(n, 1, 0);
        let end = |start| solve(&exact, start, &none, &Solver::Ddim { eta: 0.0 }, &grid, None).unwrap().x;
        let brightness =
            |x: Tensor<2>| mean_and_std(&rows::host(x).unwrap().iter().map(|v| v / d.sqrt()).collect::<Vec<_>>());
        let c = path.at(0.0);
        let sigma = (c.beta * c.beta * spread * spread + c.alpha * c.alpha).sqrt();
        let without = brightness(end(x.clone()));
        let bias = c.beta * spread / sigma;
        assert!((without.0 - m * (1.0 - bias)).abs() < 0.01, "{without:?}, formula {}", m * (1.0 - bias));
        assert!((without.0 - 0.301).abs() < 0.012 && (without.1 - 0.261).abs() < 0.01, "{without:?}");
        let estimate = x.zeros_like() + d.sqrt() * m;
        let with = brightness(end(OneMoreStep::default().start(&path, 0.0, x.clone(), estimate.clone(), || x.clone())));
        assert!((with.0 - m).abs() < 0.01 && (with.1 - 0.260).abs() < 0.01, "{with:?}");
        assert!((without.0 / m - 1.0).abs() > 0.4);
        // The step of another time than the sampler starts at is wrong by the difference of the signals.
        let later = 0.02;
        let half = ScheduleConfig::Uniform {}.between(later, 1.0, 200).unwrap();
        let from = |t: f64| {
            let start = OneMoreStep::default().start(&path, t, x.clone(), estimate.clone(), || x.clone());
            brightness(solve(&exact, start, &none, &Solver::Ddim { eta: 0.0 }, &half, None).unwrap().x).0
        };
        assert!((from(later) - m).abs() < 0.01 && (from(0.0) - m).abs() > 0.02, "{} {}", from(later), from(0.0));
    }

    /// Spec row: two prompts at brightness -0.6 and 0.6; the backbone knows no prompt. Noise lands half and half, the step of
    /// "bright" pushes 88 % (87.4 % by the formula) into the bright mode.
    #[test]
    fn a_prompted_step_chooses_the_mode() {
        let d = 784.0f64;
        let spread = (d * 0.05f64 * 0.05 + 0.3 * 0.3).sqrt();
        let modes = Mixture::new(
            vec![0.5, 0.5],
            vec![vec![-0.6 * d.sqrt()], vec![0.6 * d.sqrt()]],
            vec![vec![spread * spread], vec![spread * spread]],
        );
        let path = stable_diffusion();
        let field = MixtureField::new(path.clone(), modes.unwrap()).unwrap();
        let (n, none) = (4000, Condition::none());
        let grid = ScheduleConfig::Uniform {}.build(100).unwrap();
        let x = noise(n, 1, 0);
        let bright = |start: Tensor<2>| {
            let end = solve(&field as &dyn Field<2>, start, &none, &Solver::Ddim { eta: 0.0 }, &grid, None).unwrap().x;
            rows::host(end).unwrap().iter().filter(|v| **v > 0.0).count() as f64 / n as f64
        };
        assert!((bright(x.clone()) - 0.5).abs() < 0.03);
        let estimate = x.zeros_like() + 0.6 * d.sqrt();
        let pushed = bright(OneMoreStep::default().start(&path, 0.0, x.clone(), estimate, || x.clone()));
        assert!((pushed - 0.874).abs() < 0.025, "{pushed}");
    }
}
