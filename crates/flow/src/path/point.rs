//! Points on paths: what training sees of a pair.

use super::{Coefficients, Path};
use crate::{FlowError, error::require, rows};
use base::{Tensor, Times};

/// The two ends of every pair, coupled, and the latent between them.
#[derive(Clone, Debug)]
pub struct Ends<const D: usize> {
    /// Source points (noise) `[b ...]`.
    pub x0: Tensor<D>,
    /// Data points `[b ...]`.
    pub x1: Tensor<D>,
    /// Standard normal latents `[b ...]`; needed on paths that have one, ignored on others.
    pub z: Option<Tensor<D>>,
}

impl<const D: usize> From<(Tensor<D>, Tensor<D>)> for Ends<D> {
    /// Source and data without latent.
    fn from((x0, x1): (Tensor<D>, Tensor<D>)) -> Self {
        Self { x0, x1, z: None }
    }
}

/// A batch of points on their paths.
#[derive(Clone, Debug)]
pub struct Point<const D: usize> {
    /// Times, one per sample.
    pub t: Times,
    /// Points `[b ...]`.
    pub xt: Tensor<D>,
    /// Their time derivative `[b ...]`, with the latent's share `gamma' z`: the velocity target.
    pub dxt: Tensor<D>,
    /// Source points (noise) `[b ...]`.
    pub x0: Tensor<D>,
    /// Data points `[b ...]`.
    pub x1: Tensor<D>,
    /// Latents `[b ...]` on paths that have one.
    pub z: Option<Tensor<D>>,
}

impl<const D: usize> Point<D> {
    pub(super) fn on(path: &Path, ends: Ends<D>, times: &Times) -> Result<Self, FlowError> {
        let Ends { x0, x1, z } = ends;
        rows::same_shape("x0", &x0, "x1", &x1)?;
        if times.len() != x0.dims()[0] {
            let (left_shape, right_shape) = (x0.dims().to_vec(), vec![times.len()]);
            return Err(FlowError::Shape { left: "x0", left_shape, right: "times", right_shape });
        }
        let z = z.filter(|_| path.has_latent());
        if path.has_latent() {
            let remedy = "this path mixes in a latent: give one beside the two ends (`Path::point_of`)";
            require(z.is_some(), "path", path.name(), remedy)?;
        }
        if let Some(z) = &z {
            rows::same_shape("x0", &x0, "z", z)?;
        }
        let at = |f: fn(&Coefficients) -> f64| -> Vec<f64> { times.values().iter().map(|&t| f(&path.at(t))).collect() };
        let (xt, dxt) = match path {
            // Three passes over the batch instead of five, and the difference is the target itself. Time zero (one-step
            // distillation) needs no pass at all beyond it.
            Path::Linear {} => {
                let dxt = x1.clone() - x0.clone();
                let xt = match times.values().iter().all(|&t| t == 0.0) {
                    true => x0.clone(),
                    false => x0.clone() + rows::scale(dxt.clone(), at(|c| c.beta)),
                };
                (xt, dxt)
            }
            _ => {
                let mix = |a, b| rows::scale(x0.clone(), a) + rows::scale(x1.clone(), b);
                (mix(at(|c| c.alpha), at(|c| c.beta)), mix(at(|c| c.d_alpha), at(|c| c.d_beta)))
            }
        };
        let (xt, dxt) = match &z {
            None => (xt, dxt),
            Some(z) => (xt + rows::scale(z.clone(), at(|c| c.gamma)), dxt + rows::scale(z.clone(), at(|c| c.d_gamma))),
        };
        Ok(Self { t: times.clone(), xt, dxt, x0, x1, z })
    }
}
