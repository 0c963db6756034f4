//! Measurements that act on rows and columns apart, `R x Cᵀ` of every channel: average pooling and Gaussian blur here, bicubic pixels
//! and cosines in files of their own.
//!
//! The adjoint is `Rᵀ r C`, exactly, and `A Aᵀ` has the products of the eigenvalues of `R Rᵀ` and `C Cᵀ`.

use super::{Operator, norm};
use crate::MethodError;
use base::{Tensor, TensorData};

/// A matrix in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    values: Vec<f64>,
    rows: usize,
    columns: usize,
}

/// `R x Cᵀ` of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Separable {
    name: &'static str,
    channels: usize,
    down: Matrix,
    across: Matrix,
    bound: f64,
    flat: bool,
}

impl Separable {
    /// From the matrices of the rows and columns of `channels`; `flat` is the bound of orthogonal ones, which is found out otherwise.
    pub(super) fn of(name: &'static str, channels: usize, [down, across]: [Matrix; 2], flat: Option<f64>) -> Self {
        let bound = flat.unwrap_or_else(|| down.bound() * across.bound());
        Self { name, channels, down, across, bound, flat: flat.is_some() }
    }

    /// Averages of squares of `factor` by `factor` pixels of images `[c h w]`: super-resolution.
    ///
    /// # Errors
    /// [`MethodError::Steering`] where the squares do not divide the image, or are single pixels.
    pub fn pooling([c, h, w]: [usize; 3], factor: usize) -> Result<Self, MethodError> {
        if factor < 2 || !h.is_multiple_of(factor) || !w.is_multiple_of(factor) {
            return Err(MethodError::Steering(format!(
                "images of {h} x {w} do not shrink by {factor}: choose a factor of 2 or more that divides both sides"
            )));
        }
        let pool =
            |n: usize| Matrix::new(n / factor, n, |i, j| if j / factor == i { 1.0 / factor as f64 } else { 0.0 });
        let bound = (factor as f64).powi(-2);
        Ok(Self::of("pooling", c, [pool(h), pool(w)], Some(bound)))
    }

    /// A Gaussian of deviation `sigma` pixels over `taps` by `taps` pixels, its sum one, zeros outside the image `[c h w]`. It is
    /// centred for every size (the published code's is half a pixel off for odd ones).
    ///
    /// # Errors
    /// [`MethodError::Steering`] for a deviation or a number of taps out of range.
    pub fn blur([c, h, w]: [usize; 3], taps: usize, sigma: f64) -> Result<Self, MethodError> {
        if taps < 2 || taps.is_multiple_of(2) || !(sigma.is_finite() && sigma > 0.0) {
            return Err(MethodError::Steering(format!(
                "a blur of {taps} taps and deviation {sigma}: give an odd number of taps from 3 on and a positive deviation"
            )));
        }
        let middle = (taps / 2) as isize;
        let weight = |d: isize| (-(d * d) as f64 / (2.0 * sigma * sigma)).exp();
        let total: f64 = (-middle..=middle).map(weight).sum();
        let band = |n: usize| {
            Matrix::new(n, n, |i, j| {
                let d = i as isize - j as isize;
                if d.abs() <= middle { weight(d) / total } else { 0.0 }
            })
        };
        Ok(Self::of("blur", c, [band(h), band(w)], None))
    }

    /// Shape of what is measured, `[c h w]`.
    pub fn measured(&self) -> [usize; 3] {
        [self.channels, self.down.rows, self.across.rows]
    }

    /// `R x Cᵀ` of rows of `channels` matrices.
    fn apply(&self, x: Tensor<2>, down: &Matrix, across: &Matrix) -> Tensor<2> {
        let (b, c) = (x.dims()[0], self.channels);
        let (rt, ct) = (down.transposed(&x), across.transposed(&x));
        let x: Tensor<2> = x.reshape([b * c * down.columns, across.columns]).matmul(ct); // [bch w']
        let x: Tensor<3> = x.reshape([b * c, down.columns, across.rows]).swap_dims(1, 2); // [bc w' h]
        let x: Tensor<2> = x.reshape([b * c * across.rows, down.columns]).matmul(rt); // [bcw' h']
        let x: Tensor<3> = x.reshape([b * c, across.rows, down.rows]).swap_dims(1, 2); // [bc h' w']
        x.reshape([b, c * down.rows * across.rows])
    }
}

impl Matrix {
    pub(super) fn new(rows: usize, columns: usize, at: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|k| at(k / columns, k % columns)).collect();
        Self { values, rows, columns }
    }

    fn flip(&self) -> Self {
        Self::new(self.columns, self.rows, |i, j| self.values[j * self.columns + i])
    }

    /// Its transpose as a tensor beside `like`.
    fn transposed(&self, like: &Tensor<2>) -> Tensor<2> {
        let data = TensorData::new(self.flip().values, [self.columns, self.rows]);
        Tensor::from_data(data, (&like.device(), like.dtype()))
    }

    /// The largest eigenvalue of `M Mᵀ`.
    fn bound(&self) -> f64 {
        let times = |m: &Self, v: &[f64]| -> Vec<f64> {
            m.values.chunks(m.columns).map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
        };
        let flipped = self.flip();
        norm::largest(self.rows, norm::rounds(self.rows), |v| times(self, &times(&flipped, v)))
    }
}

impl Operator for Separable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn sizes(&self) -> (usize, usize) {
        let n = |a: usize, b: usize| self.channels * a * b;
        (n(self.down.columns, self.across.columns), n(self.down.rows, self.across.rows))
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.apply(x, &self.down, &self.across)
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        self.apply(r, &self.down.flip(), &self.across.flip())
    }

    fn bound(&self) -> f64 {
        self.bound
    }

    fn is_flat(&self) -> bool {
        self.flat
    }
}
