//! One-dimensional convolutions, dilated and transposed, with PyTorch's tensor layouts and names.

use crate::init::{Init, Weights};
use base::Tensor;
use burn::module::{Module, Param};
use burn::tensor::module::{conv_transpose1d, conv1d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

/// A convolution of odd window that keeps the length.
#[derive(Module, Debug)]
pub(super) struct Conv1d {
    /// `[o i k]`.
    weight: Param<Tensor<3>>,
    /// `[o]`, or none.
    bias: Option<Param<Tensor<1>>>,
    padding: usize,
    dilation: usize,
}

impl Conv1d {
    pub(super) fn new(init: &Init, input: usize, output: usize, window: usize, dilation: usize) -> Self {
        let (fan_in, fan_out) = (input * window, output * window);
        Self {
            weight: init.weight([output, input, window], fan_in, fan_out, Weights::Torch),
            bias: Some(init.bias(output, fan_in, Weights::Torch)),
            padding: dilation * (window - 1) / 2,
            dilation,
        }
    }

    /// The same without a bias.
    pub(super) fn unbiased(self) -> Self {
        Self { bias: None, ..self }
    }

    /// `[b i l]` to `[b o l]`.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let options = ConvOptions::new([1], [self.padding], [self.dilation], 1);
        conv1d(x, self.weight.val(), self.bias.as_ref().map(Param::val), options)
    }
}

/// A transposed convolution: the length becomes `(l - 1) stride - 2 ((window - stride) / 2) + window`.
#[derive(Module, Debug)]
pub(super) struct ConvTranspose1d {
    /// `[i o k]`.
    weight: Param<Tensor<3>>,
    /// `[o]`.
    bias: Param<Tensor<1>>,
    stride: usize,
    padding: usize,
}

impl ConvTranspose1d {
    pub(super) fn new(init: &Init, input: usize, output: usize, window: usize, stride: usize) -> Self {
        let (fan_in, fan_out) = (output * window, input * window);
        Self {
            weight: init.weight([input, output, window], fan_in, fan_out, Weights::Torch),
            bias: init.bias(output, fan_in, Weights::Torch),
            stride,
            padding: (window - stride) / 2,
        }
    }

    /// `[b i l]` to `[b o l']`.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let options = ConvTransposeOptions::new([self.stride], [self.padding], [0], [1], 1);
        conv_transpose1d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}
