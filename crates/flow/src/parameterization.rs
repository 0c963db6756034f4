//! What a network's output means, and the one 2x2 solve that turns any meaning into any other.
//!
//! At a given time a point and an output are two linear equations in the (posterior means of the) source point `x0` and the
//! data point `x1`: `alpha x0 + beta x1 = x` and `p x0 + q x1 = scale · output`. Solving them once and reading off the row
//! of another parameterization converts any to any on any path. Score: 2303.08797, §2.3 (`s = -E[x0|x]/alpha`).

use crate::{Coefficients, Path, Point, rows};
use base::{Tensor, Times};
use serde::{Deserialize, Serialize};

/// What the network outputs at a point of the path.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameterization {
    /// `E[dx_t/dt | x_t]`, towards the data: finite at both ends of every path.
    Velocity {},
    /// `E[x0 | x_t]`.
    Noise {},
    /// `E[x1 | x_t]`.
    Data {},
    /// `grad log density = -E[x0 | x_t] / alpha`, for a standard normal source.
    Score {},
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

/// `p x0 + q x1 = scale · output`.
struct Row {
    p: f64,
    q: f64,
    scale: f64,
}

/// How far a singular end of a path is kept away from (the customary 1e-3 of 2209.03003's code).
const MARGIN: f64 = 1e-3;

impl Parameterization {
    /// Name as in a recipe: `velocity`, `noise`, `data`, `score`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Velocity {} => "velocity",
            Self::Noise {} => "noise",
            Self::Data {} => "data",
            Self::Score {} => "score",
        }
    }

    fn row(&self, c: &Coefficients) -> Row {
        match self {
            Self::Velocity {} => Row { p: c.d_alpha, q: c.d_beta, scale: 1.0 },
            Self::Noise {} => Row { p: 1.0, q: 0.0, scale: 1.0 },
            Self::Data {} => Row { p: 0.0, q: 1.0, scale: 1.0 },
            Self::Score {} => Row { p: -1.0, q: 0.0, scale: c.alpha },
        }
    }

    /// The conversion of this parameterization's output into `wanted` at coefficients `c`.
    ///
    /// Not finite at a singular end (noise or score where `beta = 0`, data where `alpha = 0`, any score wanted where
    /// `alpha = 0`): keep times inside [`Parameterization::domain`].
    pub fn convert(&self, wanted: Parameterization, c: &Coefficients) -> Affine {
        if *self == wanted {
            return Affine { of_x: 0.0, of_output: 1.0 };
        }
        let (known, want) = (self.row(c), wanted.row(c));
        // Cramer's rule: x0 = (q x - beta y)/det, x1 = (alpha y - p x)/det with y = scale · output.
        let det = c.alpha * known.q - c.beta * known.p;
        let of_x = (want.p * known.q - want.q * known.p) / (det * want.scale);
        let of_output = known.scale * (want.q * c.alpha - want.p * c.beta) / (det * want.scale);
        Affine { of_x, of_output }
    }

    /// Times at which a network with this output can be turned into a velocity.
    ///
    /// [0, 1] when nothing is singular; otherwise the singular end is kept `1e-3` away: a noise or score network says
    /// nothing about the data where `beta = 0`, a data network nothing about the velocity where `alpha = 0`, and a score
    /// diverges where `alpha = 0`. Training and sampling both hold their times to it, so the network sees the same times.
    pub fn domain(&self, path: &Path) -> (f64, f64) {
        let (no_data, no_noise) = (path.at(0.0).beta == 0.0, path.at(1.0).alpha == 0.0);
        let (low, high) = match self {
            Self::Velocity {} => (false, false),
            Self::Noise {} => (no_data, false),
            Self::Data {} => (false, no_noise),
            Self::Score {} => (no_data, no_noise),
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
        match self {
            Self::Velocity {} => point.dxt.clone(),
            Self::Noise {} => point.x0.clone(),
            Self::Data {} => point.x1.clone(),
            Self::Score {} => {
                rows::scale(point.x0.clone(), point.t.values().iter().map(|&t| -1.0 / path.at(t).alpha).collect())
            }
        }
    }
}
