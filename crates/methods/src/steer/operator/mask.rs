//! Some values of a sample are known, the others are not: inpainting, with a box or any mask.

use super::Operator;
use crate::MethodError;
use base::{Tensor, TensorData};

/// Keeps the known values and puts zero for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    known: Vec<bool>,
}

impl Mask {
    /// Knows the values where `known` is true, in the order of a sample's values.
    ///
    /// # Errors
    /// [`MethodError::Steering`] where nothing is known, or everything.
    pub fn new(known: Vec<bool>) -> Result<Self, MethodError> {
        let count = known.iter().filter(|k| **k).count();
        let refuse = |why: &str| Err(MethodError::Steering(format!("the mask {why}")));
        match count {
            0 => refuse("knows no value: every sample would fit; mark the known part, or draw samples with `sample`"),
            n if n == known.len() => refuse("knows every value: nothing is left to restore"),
            _ => Ok(Self { known }),
        }
    }

    /// Of images `[c h w]`: unknown inside the box from row `top`, column `left`, `height` by `width`.
    ///
    /// # Errors
    /// [`MethodError::Steering`] for a box that leaves the image, and as [`Mask::new`].
    pub fn hole(
        [c, h, w]: [usize; 3],
        [top, left]: [usize; 2],
        [height, width]: [usize; 2],
    ) -> Result<Self, MethodError> {
        let ends = |from: usize, length: usize, all: usize| from.checked_add(length).is_some_and(|end| end <= all);
        if !ends(top, height, h) || !ends(left, width, w) {
            return Err(MethodError::Steering(format!(
                "the box of {height} x {width} pixels at row {top}, column {left} leaves an image of {h} x {w}"
            )));
        }
        let inside = |i: usize| (top..top + height).contains(&(i / w % h)) && (left..left + width).contains(&(i % w));
        Self::new((0..c * h * w).map(|i| !inside(i)).collect())
    }

    /// Which values are known.
    pub fn known(&self) -> &[bool] {
        &self.known
    }
}

impl Operator for Mask {
    fn name(&self) -> &'static str {
        "the mask"
    }

    fn sizes(&self) -> (usize, usize) {
        (self.known.len(), self.known.len())
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let keep: Vec<f32> = self.known.iter().map(|k| f32::from(u8::from(*k))).collect();
        let keep = Tensor::<2>::from_data(TensorData::new(keep, [1, self.known.len()]), (&x.device(), x.dtype()));
        x * keep
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        self.forward(r)
    }

    fn bound(&self) -> f64 {
        1.0
    }

    fn is_flat(&self) -> bool {
        true
    }
}
