//! The orthonormal cosine transform (DCT-II) of squares of pixels, or of whole images: what JPEG rounds, and what random measurements choose
//! from.

use super::separable::{Matrix, Separable};
use std::f64::consts::PI;

/// Of runs of `block` values; a torn run at the end has its own, shorter transform, so that all of it stays orthonormal.
fn transform(n: usize, block: usize) -> Matrix {
    Matrix::new(n, n, |i, j| {
        if i / block != j / block {
            return 0.0;
        }
        let first = i / block * block;
        let (length, k, x) = (block.min(n - first) as f64, (i - first) as f64, (j - first) as f64);
        let scale = if i == first { 1.0 } else { 2.0 };
        (scale / length).sqrt() * (PI * (x + 0.5) * k / length).cos()
    })
}

impl Separable {
    /// Cosines of squares of `block` by `block` pixels of every channel of images `[c h w]`, at the places of the pixels.
    pub fn cosines([c, h, w]: [usize; 3], block: usize) -> Self {
        let block = block.max(1);
        Self::of("cosines", c, [transform(h, block), transform(w, block)], Some(1.0))
    }
}
