//! Points on paths: what training sees of a pair.

use super::Path;
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
        let k = if z.is_some() { 3 } else { 2 };
        let of = |&t: &f64| {
            let c = path.at(t);
            let (point, speed) = ([c.alpha, c.beta, c.gamma], [c.d_alpha, c.d_beta, c.d_gamma]);
            point.into_iter().take(k).chain(speed.into_iter().take(k))
        };
        let weights = times.values().iter().flat_map(of).collect();
        let [xt, dxt] = kernels::blend([x0.clone(), x1.clone()].into_iter().chain(z.clone()).collect(), weights);
        Ok(Self { t: times.clone(), xt, dxt, x0, x1, z })
    }
}
