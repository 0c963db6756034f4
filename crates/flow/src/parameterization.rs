//! What a network's output means, and the one 2x2 solve that turns any meaning into any other.
//!
//! At a given time a point and an output are two linear equations in the (posterior means of the) two unknowns of a path:
//! source `x0` and data `x1` on one-sided paths, latent `z` and data on mirrors. Solving them once and reading off the row
//! of another parameterization converts any to any. With source, data **and** latent two equations do not suffice; what
//! takes two networks there is [`JointField`](crate::JointField). Names: 2303.08797, §2.2 (`b`, `v`, `s`, `η_z`) and
//! definition 2.12 (`η_0`, `η_1`); v-prediction: 2202.00512, §4. The sign of `η_z` is the paper's, `s = -η_z/gamma`; the
//! authors' program has the opposite one.

use crate::{
    Coefficients, FlowError, Path, Point,
    path::{EDM, INTERPOLANTS, SCORE_SDE, Sides},
    rows,
};
use base::{Paper, Tensor, Times, paper::DDPM};
use serde::{Deserialize, Serialize};

/// Progressive Distillation for Fast Sampling of Diffusion Models.
pub const PROGRESSIVE: Paper = Paper::arxiv(
    "salimans2022progressive",
    "Salimans, Tim and Ho, Jonathan",
    "Progressive Distillation for Fast Sampling of Diffusion Models",
    (2022, "2202.00512"),
    "ICLR 2022",
);

/// What the network outputs at a point of the path.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameterization {
    /// `b = E[dx_t/dt | x_t]`, towards the data, the latent's share included: finite at both ends of every path.
    Velocity {},
    /// `v = E[alpha' x0 + beta' x1 | x_t]`, the velocity without the latent's share; `b = v - gamma gamma' s`.
    InterpolantVelocity {},
    /// `η_0 = E[x0 | x_t]`.
    Noise {},
    /// `η_1 = E[x1 | x_t]`.
    Data {},
    /// `s = grad log density`: `-E[z | x_t]/gamma` with a latent, `-E[x0 | x_t]/alpha` for a standard normal source.
    Score {},
    /// `η_z = E[z | x_t]`, the denoiser; the source itself on one-sided paths.
    Latent {},
    /// `E[beta x0 - alpha x1 | x_t]`, one-sided paths only: v-prediction of diffusion models, towards the **noise**.
    VPrediction {},
    /// EDM's preconditioned output `F` (arXiv 2206.00364, table 1), one-sided paths only:
    /// `E[(alpha x1 - sigma_data² beta x0) | x_t] / (sigma_data √(alpha² + sigma_data² beta²))`, of unit variance at every time
    /// for data of standard deviation `sigma_data`. The network's input is divided by `√(alpha² + sigma_data² beta²)`. On
    /// EDM's path that is `D = c_skip x + c_out F(c_in x)`.
    Preconditioned {
        /// Standard deviation of the data, positive; 0.5 in EDM.
        #[serde(default = "half")]
        sigma_data: f64,
    },
    /// `b + diffusion · s`, the drift of the forward SDE with that constant diffusion.
    Drift {
        /// `ε`, positive; noise increments are `√(2ε dt)`. On the path `diffusive` its own `diffusion` keeps the drift
        /// finite at the source.
        diffusion: f64,
    },
}

fn half() -> f64 {
    0.5
}

impl Default for Parameterization {
    fn default() -> Self {
        Self::Velocity {}
    }
}

/// `wanted = of_x · x + of_output · output` at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Factor of the point.
    pub of_x: f64,
    /// Factor of the network's output.
    pub of_output: f64,
}

/// `p first + q second = scale · output`, the first unknown being the source (or a mirror's latent), the second the data.
struct Row {
    p: f64,
    q: f64,
    scale: f64,
}

/// How far a singular end of a path is kept away from (the customary 1e-3 of 2209.03003's code).
const MARGIN: f64 = 1e-3;

/// The same where the singular factor is `1/gamma` (2e-4 in 2303.08797's experiments).
const CAP: f64 = 2e-4;

impl Parameterization {
    /// The papers it is from; the velocity's says nothing.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Velocity {} => Vec::new(),
            Self::InterpolantVelocity {} | Self::Latent {} | Self::Drift { .. } => vec![INTERPOLANTS],
            Self::Noise {} | Self::Data {} => vec![DDPM],
            Self::Score {} => vec![SCORE_SDE],
            Self::VPrediction {} => vec![PROGRESSIVE],
            Self::Preconditioned { .. } => vec![EDM],
        }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Velocity {} => "velocity",
            Self::InterpolantVelocity {} => "interpolant_velocity",
            Self::Noise {} => "noise",
            Self::Data {} => "data",
            Self::Score {} => "score",
            Self::Latent {} => "latent",
            Self::VPrediction {} => "v_prediction",
            Self::Preconditioned { .. } => "preconditioned",
            Self::Drift { .. } => "drift",
        }
    }

    /// Refuses settings out of range and outputs that have no meaning on `path`.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for a diffusion that is not positive, [`FlowError::Unreadable`] for what the path lacks.
    pub fn check(&self, path: &Path) -> Result<(), FlowError> {
        if let Self::Drift { diffusion } = *self {
            let holds = diffusion.is_finite() && diffusion > 0.0;
            crate::error::require(holds, "parameterization.diffusion", diffusion, "it must be positive")?;
        }
        if let Self::Preconditioned { sigma_data } = *self {
            let holds = sigma_data.is_finite() && sigma_data > 0.0;
            crate::error::require(
                holds,
                "parameterization.sigma_data",
                sigma_data,
                "it must be positive; 0.5 is EDM's",
            )?;
        }
        let lacks =
            |wanted, remedy| Err(FlowError::Unreadable { output: self.name(), path: path.name(), wanted, remedy });
        match (path.sides(), self) {
            (Sides::Two | Sides::Mirror, Self::VPrediction {} | Self::Preconditioned { .. }) => {
                lacks("mixture of noise and data it stands for", "it belongs to paths without latent; use velocity")
            }
            (Sides::Mirror, Self::Noise {} | Self::InterpolantVelocity {}) => {
                lacks("source, which a mirror has not got", "use latent, velocity, data or score")
            }
            _ => Ok(()),
        }
    }

    /// Whether `wanted` can be read off this output at the points of `path`.
    ///
    /// Everything off everything on one-sided paths. On a mirror everything off latent, score or data, but nothing off the
    /// velocity, which vanishes with `gamma'` in the middle. With two sides and a latent only the score and the latent off
    /// each other.
    pub fn reads(&self, wanted: Parameterization, path: &Path) -> bool {
        let known = self.check(path).is_ok() && wanted.check(path).is_ok();
        let latent = |p: &Self| matches!(p, Self::Score {} | Self::Latent {});
        let both = match path.sides() {
            Sides::One => true,
            Sides::Mirror => latent(self) || *self == Self::Data {},
            Sides::Two => latent(self) && latent(&wanted),
        };
        known && (*self == wanted || both)
    }

    /// Refuses to read `wanted` where [`Parameterization::reads`] says no.
    ///
    /// # Errors
    /// [`FlowError::Unreadable`].
    pub fn check_reads(&self, wanted: Parameterization, path: &Path) -> Result<(), FlowError> {
        if self.reads(wanted, path) {
            return Ok(());
        }
        let remedy = match path.sides() {
            Sides::Mirror => {
                "train one with parameterization = { type = \"latent\" }, which says everything of a mirror"
            }
            _ => {
                "a path with two sides and a latent needs two networks for velocity and score (`JointField`), or one \
                  with parameterization = { type = \"velocity\" } for the velocity alone"
            }
        };
        Err(FlowError::Unreadable { output: self.name(), path: path.name(), wanted: wanted.name(), remedy })
    }

    fn row(&self, c: &Coefficients) -> Row {
        if c.sides == Sides::Mirror {
            return match self {
                Self::Velocity {} => Row { p: c.d_gamma, q: 0.0, scale: 1.0 },
                Self::Latent {} => Row { p: 1.0, q: 0.0, scale: 1.0 },
                Self::Data {} => Row { p: 0.0, q: 1.0, scale: 1.0 },
                Self::Score {} => Row { p: -1.0, q: 0.0, scale: c.gamma },
                Self::Drift { diffusion } => Row { p: c.d_gamma - diffusion / c.gamma, q: 0.0, scale: 1.0 },
                Self::Noise {} | Self::InterpolantVelocity {} | Self::VPrediction {} | Self::Preconditioned { .. } => {
                    Row { p: f64::NAN, q: f64::NAN, scale: 1.0 }
                }
            };
        }
        match self {
            Self::Velocity {} | Self::InterpolantVelocity {} => Row { p: c.d_alpha, q: c.d_beta, scale: 1.0 },
            Self::Noise {} | Self::Latent {} => Row { p: 1.0, q: 0.0, scale: 1.0 },
            Self::Data {} => Row { p: 0.0, q: 1.0, scale: 1.0 },
            Self::Score {} => Row { p: -1.0, q: 0.0, scale: c.alpha },
            Self::VPrediction {} => Row { p: c.beta, q: -c.alpha, scale: 1.0 },
            Self::Preconditioned { sigma_data: s } => {
                Row { p: -s * s * c.beta, q: c.alpha, scale: s * c.alpha.hypot(s * c.beta) }
            }
            Self::Drift { diffusion } => Row { p: c.d_alpha - diffusion / c.alpha, q: c.d_beta, scale: 1.0 },
        }
    }

    /// `output = p x0 + q x1` on a one-sided path: the factors of source and data.
    pub(crate) fn weights(&self, c: &Coefficients) -> (f64, f64) {
        let Row { p, q, scale } = self.row(c);
        (p / scale, q / scale)
    }

    /// The conversion of this parameterization's output into `wanted` at coefficients `c`.
    ///
    /// Not finite at a singular end (noise or score where `beta = 0`, data where `alpha = 0`, any score wanted where
    /// `alpha = 0` or `gamma = 0`): keep times inside [`Parameterization::domain`]. Not a number where there is nothing to
    /// read ([`Parameterization::reads`]).
    pub fn convert(&self, wanted: Parameterization, c: &Coefficients) -> Affine {
        let of_output_alone = |of_output| Affine { of_x: 0.0, of_output };
        if *self == wanted {
            return of_output_alone(1.0);
        }
        let one = match c.sides {
            Sides::One => c.alpha,
            Sides::Mirror => c.gamma,
            Sides::Two => {
                return match (self, wanted) {
                    (Self::Latent {}, Self::Score {}) => of_output_alone(-1.0 / c.gamma),
                    (Self::Score {}, Self::Latent {}) => of_output_alone(-c.gamma),
                    _ => Affine { of_x: f64::NAN, of_output: f64::NAN },
                };
            }
        };
        // b = -gamma gamma' s: the product is finite where gamma' is not.
        if c.sides == Sides::Mirror && (*self, wanted) == (Self::Score {}, Self::Velocity {}) {
            return of_output_alone(-c.gamma_d_gamma);
        }
        let (known, want) = (self.row(c), wanted.row(c));
        // Cramer's rule: x0 = (q x - beta y)/det, x1 = (alpha y - p x)/det with y = scale · output.
        let det = one * known.q - c.beta * known.p;
        let of_x = (want.p * known.q - want.q * known.p) / (det * want.scale);
        let of_output = known.scale * (want.q * one - want.p * c.beta) / (det * want.scale);
        Affine { of_x, of_output }
    }

    /// Times at which a network with this output has a finite target and can be turned into what it can be turned into.
    ///
    /// [0, 1] when nothing is singular. On one-sided paths a singular end is kept `1e-3` away: a noise or score network
    /// says nothing about the data where `beta = 0`, a data network nothing about the velocity where `alpha = 0`, and
    /// score and drift diverge where `alpha = 0`. With a latent the score diverges as `1/gamma` at both ends and is kept
    /// `2e-4` away, and so is a mirror's data network; velocity and latent need no cap. Training and sampling both hold
    /// their times to it, so the network sees the same times.
    pub fn domain(&self, path: &Path) -> (f64, f64) {
        if path.has_latent() {
            let mirror = path.sides() == Sides::Mirror;
            let (low, high) = match self {
                Self::Score {} => (true, true),
                Self::Data {} => (mirror, mirror),
                // γ' - ε/γ = -(ε + a t - a/2)/γ is finite at the source where ε = a/2.
                Self::Drift { diffusion } => (path.at(0.0).gamma_d_gamma != *diffusion, true),
                _ => (false, false),
            };
            return (if low { CAP } else { 0.0 }, if high { 1.0 - CAP } else { 1.0 });
        }
        let (no_data, no_noise) = (path.at(0.0).beta == 0.0, path.at(1.0).alpha == 0.0);
        let (low, high) = match self {
            Self::Velocity {} | Self::InterpolantVelocity {} | Self::VPrediction {} | Self::Preconditioned { .. } => {
                (false, false)
            }
            Self::Noise {} | Self::Latent {} => (no_data, false),
            Self::Data {} => (false, no_noise),
            Self::Score {} => (no_data, no_noise),
            Self::Drift { .. } => (false, no_noise),
        };
        (if low { MARGIN } else { 0.0 }, if high { 1.0 - MARGIN } else { 1.0 })
    }

    /// `times` held to [`Parameterization::domain`].
    pub fn clamp(&self, path: &Path, times: &Times) -> Times {
        let (low, high) = self.domain(path);
        Times::new(times.values().iter().map(|t| t.clamp(low, high)).collect())
    }

    /// Reads `wanted` off an output `[b ...]` at points `x` `[b ...]`.
    pub fn read<const D: usize>(
        &self,
        wanted: Parameterization,
        path: &Path,
        x: Tensor<D>,
        output: Tensor<D>,
        times: &Times,
    ) -> Tensor<D> {
        if *self == wanted {
            return output;
        }
        let affine: Vec<Affine> = times.values().iter().map(|&t| self.convert(wanted, &path.at(t))).collect();
        rows::scale(x, affine.iter().map(|a| a.of_x).collect())
            + rows::scale(output, affine.iter().map(|a| a.of_output).collect())
    }

    /// The velocity that an output `[b ...]` at points `x` `[b ...]` stands for.
    pub fn to_velocity<const D: usize>(
        &self,
        path: &Path,
        x: Tensor<D>,
        output: Tensor<D>,
        times: &Times,
    ) -> Tensor<D> {
        self.read(Self::Velocity {}, path, x, output, times)
    }

    /// What the network should output at a point, `[b ...]`; its times must lie in [`Parameterization::domain`].
    pub fn target<const D: usize>(&self, path: &Path, point: &Point<D>) -> Tensor<D> {
        let at = |f: &dyn Fn(&Coefficients) -> f64| -> Vec<f64> {
            point.t.values().iter().map(|&t| f(&path.at(t))).collect()
        };
        // The standard normal part of the point and its coefficient: the latent where there is one, else the source.
        let normal = point.z.as_ref().unwrap_or(&point.x0);
        let width = |c: &Coefficients| if c.sides == Sides::One { c.alpha } else { c.gamma };
        let mix = |a, b| rows::scale(point.x0.clone(), a) + rows::scale(point.x1.clone(), b);
        match *self {
            Self::Velocity {} => point.dxt.clone(),
            Self::InterpolantVelocity {} if point.z.is_none() => point.dxt.clone(),
            Self::InterpolantVelocity {} => mix(at(&|c| c.d_alpha), at(&|c| c.d_beta)),
            Self::Noise {} => point.x0.clone(),
            Self::Data {} => point.x1.clone(),
            Self::Score {} => rows::scale(normal.clone(), at(&|c| -1.0 / width(c))),
            Self::Latent {} => normal.clone(),
            Self::VPrediction {} => mix(at(&|c| c.beta), at(&|c| -c.alpha)),
            Self::Preconditioned { .. } => mix(at(&|c| self.weights(c).0), at(&|c| self.weights(c).1)),
            Self::Drift { diffusion } => self.drift(diffusion, path, point),
        }
    }

    /// `dI/dt + (gamma' - ε/gamma) z`, or `dx/dt - (ε/alpha) x0` on a one-sided path.
    fn drift<const D: usize>(&self, diffusion: f64, path: &Path, point: &Point<D>) -> Tensor<D> {
        let at = |f: &dyn Fn(&Coefficients) -> f64| -> Vec<f64> {
            point.t.values().iter().map(|&t| f(&path.at(t))).collect()
        };
        let Some(z) = &point.z else {
            return point.dxt.clone() + rows::scale(point.x0.clone(), at(&|c| -diffusion / c.alpha));
        };
        let still =
            rows::scale(point.x0.clone(), at(&|c| c.d_alpha)) + rows::scale(point.x1.clone(), at(&|c| c.d_beta));
        // (γγ' - ε)/γ, with its limit zero where both vanish (the source of a matched Brownian latent).
        let share = |c: &Coefficients| match c.gamma_d_gamma - diffusion {
            0.0 => 0.0,
            rest => rest / c.gamma,
        };
        still + rows::scale(z.clone(), at(&share))
    }
}
