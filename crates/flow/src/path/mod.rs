//! Paths `x_t = alpha(t) x0 + beta(t) x1 + gamma(t) z`: coefficients and their derivatives in one record.
//!
//! Rectified flow, arXiv 2209.03003, §2.1 (linear) and §2.3 (nonlinear); stochastic interpolants, arXiv 2303.08797, §3 and
//! table 4 (families, latents); diffusions in [`diffusion`]. `alpha` multiplies the **source** (noise), `beta` the
//! **data**, `gamma` a standard normal latent independent of both.

pub mod change;
mod coefficients;
mod curve;
mod custom;
pub mod diffusion;
mod expression;
mod gamma;
mod point;

pub use change::Changed;
pub use coefficients::{Coefficients, Sides};
pub use curve::Curve;
pub use custom::Expressions;
pub use gamma::Gamma;
pub use point::{Ends, Point};

use crate::{FlowError, error::require};
use base::{Paper, Tensor, Times, paper::DDPM};
use serde::{Deserialize, Serialize};

/// Stochastic Interpolants: A Unifying Framework for Flows and Diffusions.
pub const INTERPOLANTS: Paper = Paper::arxiv(
    "albergo2023stochastic",
    "Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric",
    "Stochastic Interpolants: A Unifying Framework for Flows and Diffusions",
    (2023, "2303.08797"),
    "JMLR 2025",
);
/// Score-Based Generative Modeling through Stochastic Differential Equations.
pub const SCORE_SDE: Paper = Paper::arxiv(
    "song2020score",
    "Song, Yang and Sohl-Dickstein, Jascha and Kingma, Diederik P. and Kumar, Abhishek and Ermon, Stefano and Poole, Ben",
    "Score-Based Generative Modeling through Stochastic Differential Equations",
    (2020, "2011.13456"),
    "ICLR 2021",
);
/// Improved Denoising Diffusion Probabilistic Models.
pub const IMPROVED_DDPM: Paper = Paper::arxiv(
    "nichol2021improved",
    "Nichol, Alex and Dhariwal, Prafulla",
    "Improved Denoising Diffusion Probabilistic Models",
    (2021, "2102.09672"),
    "ICML 2021",
);
/// Elucidating the Design Space of Diffusion-Based Generative Models.
pub const EDM: Paper = Paper::arxiv(
    "karras2022elucidating",
    "Karras, Tero and Aittala, Miika and Aila, Timo and Laine, Samuli",
    "Elucidating the Design Space of Diffusion-Based Generative Models",
    (2022, "2206.00364"),
    "NeurIPS 2022",
);

/// A curve between a source point and a data point, and the latent mixed in between them.
///
/// Only [`Path::Linear`] is straightened by reflow (2209.03003, theorem 3.7); the others are for comparison, for networks
/// trained elsewhere, and for sampling with noise between any two data sets.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Path {
    /// `x_t = (1-t) x0 + t x1`: rectified flow.
    #[serde(alias = "one_sided_linear")]
    Linear {},
    /// `x_t = cos(πt/2) x0 + sin(πt/2) x1`: keeps unit variance when both ends have it. SiT's "GVP".
    #[serde(alias = "gvp", alias = "one_sided_trigonometric")]
    Trigonometric {},
    /// `x_t = (1-t^n) x0 + t^n x1`: the linear path at another pace, slower at the noise.
    Polynomial {
        /// `n` in [1, 16]; 1 is the linear path.
        power: f64,
    },
    /// The variance-preserving diffusion: `log beta = -(1-t)² (beta_max - beta_min)/4 - (1-t) beta_min/2`,
    /// `alpha = √(1 - beta²)`. At t = 0 a trace of data is left (`beta(0)` = 0.0066 with the customary values).
    Vp {
        /// Noise rate at the data end, 0.1 in the literature.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// Noise rate at the noise end, 20 in the literature (`a` = 19.9 and `b` = 0.1 of 2209.03003).
        #[serde(default = "beta_max")]
        beta_max: f64,
    },
    /// The sub-VP diffusion: `beta` as VP, `alpha = 1 - beta²`.
    SubVp {
        /// As VP's.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// As VP's.
        #[serde(default = "beta_max")]
        beta_max: f64,
    },
    /// `x_t = √(1-t²) x0 + t x1`: VP at the pace of rectified flow; the one-sided VP of interpolants (`t = e^{-τ}`).
    #[serde(alias = "one_sided_vp")]
    ConstantSpeedVp {},
    /// The cosine schedule of improved DDPM.
    Cosine {
        /// In [0, 0.1]; 0.008 in the paper, 0 is trigonometric.
        #[serde(default = "offset")]
        offset: f64,
    },
    /// The discrete schedule of DDPM and Stable Diffusion, interpolated.
    Ddpm(diffusion::Discrete),
    /// The variance-exploding diffusion: `x_t = x1 + alpha x0`, `alpha = sigma_min √((sigma_max/sigma_min)^{2(1-t)} - 1)`.
    /// Samples start at [`Path::start_scale`] times the noise.
    Ve {
        /// Noise next to the data, positive; 0.01 in the literature.
        #[serde(default = "ve_min")]
        sigma_min: f64,
        /// Noise at the start, above `sigma_min`; 50 in the literature.
        #[serde(default = "ve_max")]
        sigma_max: f64,
    },
    /// EDM: `x_t = x1 + sigma_max (1-t)^rho x0`, so that equal steps in t are EDM's steps in sigma.
    /// Samples start at [`Path::start_scale`] times the noise.
    Edm {
        /// Noise at the start, positive; 80 in the paper.
        #[serde(default = "edm_max")]
        sigma_max: f64,
        /// In [1, 20]; 7 in the paper.
        #[serde(default = "edm_rho")]
        rho: f64,
    },
    /// A two-sided stochastic interpolant: any two ends, and a latent between them that makes the score known.
    Interpolant {
        /// What multiplies the ends.
        #[serde(default)]
        curve: Curve,
        /// What multiplies the latent.
        #[serde(default)]
        latent: Gamma,
    },
    /// `x_t = x1 + gamma z`: from the data to the data. The ODE ends where it starts; the SDE resamples.
    Mirror {
        /// What multiplies the latent; not zero.
        #[serde(default)]
        latent: Gamma,
    },
    /// `x_t = (1-t) x0 + t x1 + √(2a t(1-t)) z`: for sources that are a single point (forecasting), where the SDE with
    /// constant diffusion `a` has a finite drift (parameterization `drift` with `diffusion = a`).
    Diffusive {
        /// `a`, positive.
        #[serde(default = "one")]
        diffusion: f64,
    },
    /// `alpha`, `beta` and `gamma` as expressions in `t`.
    Custom(Expressions),
}

fn beta_min() -> f64 {
    0.1
}

fn beta_max() -> f64 {
    20.0
}

fn offset() -> f64 {
    0.008
}

fn ve_min() -> f64 {
    0.01
}

fn ve_max() -> f64 {
    50.0
}

fn edm_max() -> f64 {
    80.0
}

fn edm_rho() -> f64 {
    7.0
}

fn one() -> f64 {
    1.0
}

impl Default for Path {
    fn default() -> Self {
        Self::Linear {}
    }
}

/// Derivatives that diverge at an end of the path are evaluated this far inside it.
pub(crate) const END: f64 = 1e-5;

fn positive(setting: &'static str, value: f64, remedy: &'static str) -> Result<(), FlowError> {
    require(value.is_finite() && value > 0.0, setting, value, remedy)
}

impl Path {
    /// The papers it is from; rectified flow's own says nothing.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Linear {} | Self::Polynomial { .. } | Self::Custom(_) => Vec::new(),
            Self::Trigonometric {} | Self::Interpolant { .. } | Self::Mirror { .. } | Self::Diffusive { .. } => {
                vec![INTERPOLANTS]
            }
            Self::Vp { .. } | Self::SubVp { .. } | Self::Ve { .. } | Self::ConstantSpeedVp {} => vec![SCORE_SDE],
            Self::Cosine { .. } => vec![IMPROVED_DDPM],
            Self::Ddpm(_) => vec![DDPM],
            Self::Edm { .. } => vec![EDM],
        }
    }

    /// The variance-preserving path with the customary rates 0.1 and 20.
    pub fn vp() -> Self {
        Self::Vp { beta_min: beta_min(), beta_max: beta_max() }
    }

    /// The linear interpolant with latent `√(scale t(1-t)) z`.
    pub fn brownian(scale: f64) -> Self {
        Self::Interpolant { curve: Curve::Linear {}, latent: Gamma::Brownian { scale } }
    }

    /// Refuses settings out of range and latents that a curve cannot carry.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting, [`FlowError::Expression`] for text that is no function of `t`.
    pub fn check(&self) -> Result<(), FlowError> {
        match self {
            Self::Linear {} | Self::Trigonometric {} | Self::ConstantSpeedVp {} => Ok(()),
            Self::Vp { beta_min, beta_max } | Self::SubVp { beta_min, beta_max } => {
                positive("path.beta_min", *beta_min, "it must be positive; 0.1 is customary")?;
                let holds = beta_max.is_finite() && beta_max >= beta_min;
                require(holds, "path.beta_max", beta_max, "it must be at least beta_min; 20 is customary")
            }
            Self::Polynomial { power } => curve::check_power(*power),
            Self::Cosine { offset } => require(
                (0.0..=0.1).contains(offset),
                "path.offset",
                offset,
                "it must be in [0, 0.1]; 0.008 is customary",
            ),
            Self::Ddpm(schedule) => schedule.check(),
            Self::Ve { sigma_min, sigma_max } => {
                positive("path.sigma_min", *sigma_min, "it must be positive; 0.01 is customary")?;
                let holds = sigma_max.is_finite() && sigma_max > sigma_min;
                require(holds, "path.sigma_max", sigma_max, "it must be above sigma_min; 50 is customary")
            }
            Self::Edm { sigma_max, rho } => {
                positive("path.sigma_max", *sigma_max, "it must be positive; 80 is customary")?;
                require((1.0..=20.0).contains(rho), "path.rho", rho, "it must be in [1, 20]; 7 is customary")
            }
            Self::Interpolant { curve, latent } => curve.check(latent),
            Self::Mirror { latent } => {
                let remedy = "a mirror without latent stands still; use brownian";
                require(!latent.is_zero(), "path.latent", latent.name(), remedy)?;
                latent.check()
            }
            Self::Diffusive { diffusion } => positive("path.diffusion", *diffusion, "it must be positive"),
            Self::Custom(expressions) => expressions.check(),
        }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear {} => "linear",
            Self::Trigonometric {} => "trigonometric",
            Self::Polynomial { .. } => "polynomial",
            Self::Vp { .. } => "vp",
            Self::SubVp { .. } => "sub_vp",
            Self::ConstantSpeedVp {} => "constant_speed_vp",
            Self::Cosine { .. } => "cosine",
            Self::Ddpm(_) => "ddpm",
            Self::Ve { .. } => "ve",
            Self::Edm { .. } => "edm",
            Self::Interpolant { .. } => "interpolant",
            Self::Mirror { .. } => "mirror",
            Self::Diffusive { .. } => "diffusive",
            Self::Custom(_) => "custom",
        }
    }

    /// Coefficients and derivatives at `t`, which is held to [0, 1].
    ///
    /// Everything is finite: where a derivative diverges (`alpha'` of VP at the data, `gamma'` of a Brownian latent at both
    /// ends) it is taken `1e-5` inside, while its product with the coefficient, which has a limit, is exact there.
    pub fn at(&self, t: f64) -> Coefficients {
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Linear {} => Coefficients::source_data((1.0 - t, -1.0), (t, 1.0)),
            Self::Trigonometric {} => {
                let (cos, sin) = curve::quarter_turn(t);
                let half = std::f64::consts::FRAC_PI_2;
                Coefficients::source_data((cos, -half * sin), (sin, half * cos))
            }
            Self::Polynomial { power } => curve::polynomial(*power, t),
            Self::Vp { beta_min, beta_max } => diffusion::vp(*beta_min, *beta_max, t),
            Self::SubVp { beta_min, beta_max } => diffusion::sub_vp(*beta_min, *beta_max, t),
            Self::ConstantSpeedVp {} => diffusion::constant_speed_vp(t),
            Self::Cosine { offset } => diffusion::cosine(*offset, t),
            Self::Ddpm(schedule) => schedule.at(t),
            Self::Ve { sigma_min, sigma_max } => diffusion::ve(*sigma_min, *sigma_max, t),
            Self::Edm { sigma_max, rho } => diffusion::edm(*sigma_max, *rho, t),
            Self::Interpolant { curve, latent } => {
                let c = curve.at(t, latent.at(t));
                Coefficients { sides: self.sides(), ..c }
            }
            Self::Mirror { latent } => {
                let still = Coefficients::source_data((0.0, 0.0), (1.0, 0.0));
                Coefficients { sides: Sides::Mirror, ..still.with_latent(latent.at(t)) }
            }
            Self::Diffusive { diffusion } => Curve::Linear {}.at(t, Gamma::Brownian { scale: 2.0 * diffusion }.at(t)),
            Self::Custom(expressions) => expressions.at(t),
        }
    }

    /// What a point of this path mixes.
    pub fn sides(&self) -> Sides {
        match self {
            Self::Mirror { .. } => Sides::Mirror,
            Self::Interpolant { latent, .. } if !latent.is_zero() => Sides::Two,
            Self::Diffusive { .. } => Sides::Two,
            Self::Custom(expressions) if expressions.has_latent() => Sides::Two,
            _ => Sides::One,
        }
    }

    /// Whether a latent is drawn beside source and data.
    pub fn has_latent(&self) -> bool {
        self.sides() != Sides::One
    }

    /// What standard normal noise is multiplied by to start a sample at t = 0: `alpha(0)` where the source is wider than
    /// the data by far (VE, EDM), otherwise one.
    pub fn start_scale(&self) -> f64 {
        if self.explodes() { self.at(0.0).alpha } else { 1.0 }
    }

    /// What a point is multiplied by before a network sees it, so that the network's input has about unit variance:
    /// `1/√(alpha² + beta²)` on VE and EDM (the latter's `c_in`), otherwise one.
    pub fn input_scale(&self, t: f64) -> f64 {
        if !self.explodes() {
            return 1.0;
        }
        let c = self.at(t);
        1.0 / c.alpha.hypot(c.beta)
    }

    fn explodes(&self) -> bool {
        matches!(self, Self::Ve { .. } | Self::Edm { .. })
    }

    /// The point of every pair at its time, on a path without latent.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if `x0`, `x1` and `times` disagree, [`FlowError::Setting`] if the path has a latent.
    pub fn point<const D: usize>(&self, x0: Tensor<D>, x1: Tensor<D>, times: &Times) -> Result<Point<D>, FlowError> {
        self.point_of((x0, x1).into(), times)
    }

    /// The point of every pair and its latent at its time.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if the ends and `times` disagree, [`FlowError::Setting`] if the path has a latent and `ends`
    /// has none.
    pub fn point_of<const D: usize>(&self, ends: Ends<D>, times: &Times) -> Result<Point<D>, FlowError> {
        Point::on(self, ends, times)
    }
}
