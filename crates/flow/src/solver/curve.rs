//! One time of a path as curve-following solvers see it, and the straight-in-`(x0, x1)` step between two of them.
//!
//! A point `x` with velocity `u` on a path `alpha x0 + beta x1` names its source and data estimates; holding both and
//! moving the coefficients is exact for every trajectory on which they stay put, whatever the path's shape (DDIM, Song,
//! Meng & Ermon, arXiv 2010.02502, eq. 12; the "curved Euler" of 2209.03003's library; the denoising integrator of
//! 2303.08797, §3). `lambda = log(beta/alpha)` is half the log signal-to-noise ratio.

use crate::{Coefficients, Field, FlowError, Frame, Path};
use base::Tensor;

/// Coefficients of a path at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub c: Coefficients,
    /// `log(beta/alpha)`; infinite at an end where one of them is zero.
    pub lambda: f64,
}

/// The path of `field`, for the solver called `solver`.
pub(super) fn frame_of<'a, const D: usize>(
    field: &'a dyn Field<D>,
    solver: &'static str,
) -> Result<Frame<'a>, FlowError> {
    let remedy = "give it a network's field (PathField) or an oracle, or use a solver that follows the velocity alone, \
                  for instance heun";
    let frame = field.frame().ok_or(FlowError::Needs { solver, what: "a field that knows its path", remedy })?;
    let remedy = "a point and its velocity do not name three unknowns; use a solver that follows the velocity alone, for \
                  instance heun";
    if frame.path.has_latent() {
        return Err(FlowError::Needs { solver, what: "a path of two points, without a latent", remedy });
    }
    Ok(frame)
}

impl Node {
    pub fn at(path: &Path, t: f64) -> Self {
        let c = path.at(t);
        Self { c, lambda: (c.beta / c.alpha).ln() }
    }

    /// `E[x1 | x]` from a point and its velocity.
    pub fn data<const D: usize>(&self, x: &Tensor<D>, velocity: &Tensor<D>) -> Tensor<D> {
        let det = self.c.determinant();
        velocity.clone() * (self.c.alpha / det) - x.clone() * (self.c.d_alpha / det)
    }

    /// `E[x0 | x]` from a point and its velocity.
    pub fn source<const D: usize>(&self, x: &Tensor<D>, velocity: &Tensor<D>) -> Tensor<D> {
        let det = self.c.determinant();
        x.clone() * (self.c.d_beta / det) - velocity.clone() * (self.c.beta / det)
    }

    /// `keep alpha_to E[x0|x] + beta_to E[x1|x]` from a point and its velocity: with `keep = 1` the curved Euler step.
    pub fn step<const D: usize>(&self, x: Tensor<D>, velocity: Tensor<D>, to: &Node, keep: f64) -> Tensor<D> {
        let (c, det) = (&self.c, self.c.determinant());
        let (alpha, beta) = (keep * to.c.alpha, to.c.beta);
        x * ((alpha * c.d_beta - beta * c.d_alpha) / det) + velocity * ((beta * c.alpha - alpha * c.beta) / det)
    }

    /// `e^-h` with `h` the growth of `lambda` to `to`: zero from pure noise, zero to pure data.
    pub fn decay(&self, to: &Node) -> f64 {
        (to.c.alpha * self.c.beta) / (to.c.beta * self.c.alpha)
    }
}
