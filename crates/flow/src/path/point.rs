//! Points on paths: what training sees of a pair.

use super::Path;
use crate::{FlowError, rows};
use base::{Tensor, Times};

/// A batch of points on their paths.
#[derive(Clone, Debug)]
pub struct Point<const D: usize> {
    /// Times, one per sample.
    pub t: Times,
    /// Points `[b ...]`.
    pub xt: Tensor<D>,
    /// Their time derivative `[b ...]`: the velocity target.
    pub dxt: Tensor<D>,
    /// Source points (noise) `[b ...]`.
    pub x0: Tensor<D>,
    /// Data points `[b ...]`.
    pub x1: Tensor<D>,
}

impl<const D: usize> Point<D> {
    pub(super) fn on(path: &Path, x0: Tensor<D>, x1: Tensor<D>, times: &Times) -> Result<Self, FlowError> {
        rows::same_shape("x0", &x0, "x1", &x1)?;
        if times.len() != x0.dims()[0] {
            let (left_shape, right_shape) = (x0.dims().to_vec(), vec![times.len()]);
            return Err(FlowError::Shape { left: "x0", left_shape, right: "times", right_shape });
        }
        let at = |f: fn(&super::Coefficients) -> f64| -> Vec<f64> {
            times.values().iter().map(|&t| f(&path.at(t))).collect()
        };
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
        Ok(Self { t: times.clone(), xt, dxt, x0, x1 })
    }
}
