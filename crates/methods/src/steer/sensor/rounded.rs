//! Values of an orthonormal transform rounded to a grid: levels of grey, and JPEG's cosines.
//!
//! What was rounded lies in a box around what is known, so that nothing has to stand in for the rounding itself: the cost is half the
//! squared distance to that box, `½ |z - clamp(z, y - s/2, y + s/2)|²` of `z = A x`. It is convex, its gradient `Aᵀ(z - clamp z)` exact,
//! its curvature never above one. A sample inside the box costs nothing, whichever it is; the flow chooses.

use super::check;
use crate::MethodError;
use crate::steer::{
    Cost, Operator,
    operator::{Separable, Whole},
};
use base::{Tensor, TensorData};
use flow::rows;
use std::sync::Arc;

/// `Aᵀ round(A x)` for an orthonormal `A` with a grid for each of its values.
#[derive(Clone)]
pub struct Rounded {
    operator: Arc<dyn Operator>,
    /// Where each grid begins, and its step.
    grid: Arc<[Vec<f32>; 2]>,
}

impl Rounded {
    /// Values in [-1, 1] of images `[c h w]` rounded to `2^bits` levels.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for bits out of range.
    pub fn levels([c, h, w]: [usize; 3], bits: u32) -> Result<Self, MethodError> {
        if !(1..=7).contains(&bits) {
            let remedy = "it must be from 1 to 7; pictures have 8 of their own";
            return Err(MethodError::Setting { setting: "bits", value: bits.to_string(), remedy });
        }
        let (n, step) = (c * h * w, 2.0 / ((1u32 << bits) - 1) as f32);
        Ok(Self { operator: Arc::new(Whole(n)), grid: Arc::new([vec![-1.0; n], vec![step; n]]) })
    }

    /// Images `[c h w]` in [-1, 1] through JPEG's rounding at `quality`: squares of 8 by 8 pixels of every channel under the table of
    /// brightness. No channel is mixed with another or shrunk, and torn squares at the edge have their own transform.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for a quality out of range.
    pub fn jpeg(shape: [usize; 3], quality: u32) -> Result<Self, MethodError> {
        let operator = Separable::cosines(shape, super::jpeg::BLOCK);
        let grid = super::jpeg::grid(shape, quality)?;
        Ok(Self { operator: Arc::new(operator), grid: Arc::new(grid) })
    }

    pub(super) fn sizes(&self) -> (usize, usize) {
        self.operator.sizes()
    }

    pub(super) fn operator(&self) -> &Arc<dyn Operator> {
        &self.operator
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.operator.adjoint(self.nearest(self.operator.forward(x)))
    }

    pub(super) fn cost(&self, measured: Tensor<2>) -> Result<Boxed, MethodError> {
        check("rounding", self.sizes().1, measured.dims()[1])?;
        let middle = self.nearest(self.operator.forward(measured));
        Ok(Boxed { half: self.along(1, &middle) * 0.5, middle, operator: self.operator.clone() })
    }

    fn along(&self, which: usize, like: &Tensor<2>) -> Tensor<2> {
        let values = &self.grid[which];
        Tensor::from_data(TensorData::new(values.clone(), [1, values.len()]), (&like.device(), like.dtype()))
    }

    /// The grid's points nearest to `z`.
    fn nearest(&self, z: Tensor<2>) -> Tensor<2> {
        let (first, step) = (self.along(0, &z), self.along(1, &z));
        ((z - first.clone()) / step.clone()).round() * step + first
    }
}

/// Half the squared distance to a box.
pub(super) struct Boxed {
    operator: Arc<dyn Operator>,
    middle: Tensor<2>,
    half: Tensor<2>,
}

impl Boxed {
    /// How far `A x` lies outside.
    fn outside(&self, data: Tensor<2>) -> Tensor<2> {
        let off = self.operator.forward(data) - self.middle.clone();
        (off.clone() - self.half.clone()).clamp_min(0.0) + (off + self.half.clone()).clamp_max(0.0)
    }
}

impl Cost for Boxed {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        rows::sum(self.outside(data).square()) * 0.5
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        self.operator.adjoint(self.outside(data))
    }

    fn curvature(&self) -> f64 {
        self.operator.bound()
    }
}
