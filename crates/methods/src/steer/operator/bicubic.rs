//! Fewer pixels by cubic convolution (Keys, IEEE Trans. ASSP 29(6), 1981, a = -1/2), its support stretched by the factor so that nothing
//! finer than the new pixels is left: what programs call bicubic.

use super::separable::{Matrix, Separable};
use crate::MethodError;

/// Keys' kernel with `a = -1/2`.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// From `n` pixels to `n/factor`. What would lie outside is left out, and the rest sums to one.
fn fewer(n: usize, factor: usize) -> Matrix {
    let f = factor as f64;
    let weight = |i: usize, j: usize| cubic((j as f64 + 0.5) / f - (i as f64 + 0.5));
    let totals: Vec<f64> = (0..n / factor).map(|i| (0..n).map(|j| weight(i, j)).sum()).collect();
    Matrix::new(n / factor, n, |i, j| weight(i, j) / totals[i])
}

impl Separable {
    /// Bicubic pixels of images `[c h w]`, `factor` times fewer on both sides.
    ///
    /// # Errors
    /// [`MethodError::Steering`] where the factor does not divide the image, or is one.
    pub fn bicubic([c, h, w]: [usize; 3], factor: usize) -> Result<Self, MethodError> {
        if factor < 2 || !h.is_multiple_of(factor) || !w.is_multiple_of(factor) {
            return Err(MethodError::Steering(format!(
                "images of {h} x {w} do not shrink by {factor}: choose a factor of 2 or more that divides both sides"
            )));
        }
        Ok(Self::of("bicubic pixels", c, [fewer(h, factor), fewer(w, factor)], None))
    }
}
