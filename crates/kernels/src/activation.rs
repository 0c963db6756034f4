//! Pointwise activations: SiLU (Elfwing et al. 2017) and GELU in its tanh form (Hendrycks & Gimpel 2016, eq. 2).
//!
//! Any shape. The gradient recomputes the sigmoid from the input, so the tape holds the input only.

use burn::tensor::Tensor;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::{math, reference};

/// `x * sigmoid(x)`, any shape.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if has_kernels(&x) { apply_anywhere(Inputs::One(x.into_dispatch()), Activation::Silu) } else { reference::silu(x) }
}

/// GELU in its tanh approximation, any shape: `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if has_kernels(&x) { apply_anywhere(Inputs::One(x.into_dispatch()), Activation::Gelu) } else { reference::gelu(x) }
}

/// An activation as a value, for operations that end in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// [`silu`].
    Silu,
    /// [`gelu`].
    Gelu,
}

impl Activation {
    /// Of every value of `y`, by its definition.
    pub fn of<const D: usize>(self, y: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => reference::silu(y),
            Self::Gelu => reference::gelu(y),
        }
    }

    /// Of every value, in place.
    pub(crate) fn update(self, values: &mut [f32]) {
        match self {
            Self::Silu => math::update(values, math::silu),
            Self::Gelu => math::update(values, math::gelu),
        }
    }

    /// `y = f(x)`.
    pub(crate) fn map(self, y: &mut [f32], x: &[f32]) {
        match self {
            Self::Silu => math::map(y, x, math::silu),
            Self::Gelu => math::map(y, x, math::gelu),
        }
    }

    /// `g *= f'(x)`.
    pub(crate) fn slope(self, g: &mut [f32], x: &[f32]) {
        match self {
            Self::Silu => math::zip_in_place(g, x, |g, x| g * math::d_silu(x)),
            Self::Gelu => math::zip_in_place(g, x, |g, x| g * math::d_gelu(x)),
        }
    }
}

impl Kernel for Activation {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let mut x = inputs.pop().expect("one input");
        if !save && let Some(values) = x.data_mut() {
            self.update(values);
            return (x, Vec::new());
        }
        let mut y = scratch(x.len());
        self.map(&mut y, x.data());
        (Array::from_vec(y, x.dims()), if save { vec![x] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, mut grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let x = saved[0].data();
        if let Some(g) = grad.data_mut() {
            self.slope(g, x);
            return vec![Some(grad)];
        }
        let mut dx = scratch(x.len());
        match self {
            Self::Silu => math::zip(&mut dx, x, grad.data(), |x, g| g * math::d_silu(x)),
            Self::Gelu => math::zip(&mut dx, x, grad.data(), |x, g| g * math::d_gelu(x)),
        }
        vec![Some(Array::from_vec(dx, grad.dims()))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::{gelu, silu};
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    #[test]
    fn agrees_with_the_reference() {
        for n in [1, 5, 16, 1000, 40_001] {
            assert_same(&[n], |x| silu(x[0].clone() * 6.0), |x| reference::silu(x[0].clone() * 6.0));
            assert_same(&[n], |x| gelu(x[0].clone() * 6.0), |x| reference::gelu(x[0].clone() * 6.0));
        }
        assert_differences(&[9], |x| silu(x[0].clone() * 3.0));
        assert_differences(&[9], |x| gelu(x[0].clone() * 3.0));
    }

    #[test]
    fn takes_transposed_empty_and_shared_tensors() {
        let x = tensor(3, [7, 5]);
        assert_close(
            "transposed",
            &host(silu(x.clone().transpose())),
            &host(reference::silu(x.clone()).transpose()),
            1e-6,
        );
        assert_close(
            "slice",
            &host(gelu(x.clone().narrow(0, 2, 3))),
            &host(reference::gelu(x.clone().narrow(0, 2, 3))),
            1e-6,
        );
        let before = host(x.clone());
        silu(x.clone());
        assert_eq!(host(x), before, "a shared input must not change");
        assert_eq!(silu(tensor(1, [0, 3])).dims(), [0, 3]);
    }

    #[test]
    fn propagates_nan_and_saturates() {
        let x = Tensor::<1>::from_floats([f32::NAN, 200.0, -200.0, 0.0], &burn::tensor::Device::flex());
        for y in [host(silu(x.clone())), host(gelu(x))] {
            assert!(y[0].is_nan());
            assert_eq!(&y[1..], &[200.0, 0.0, 0.0]);
        }
    }
}
