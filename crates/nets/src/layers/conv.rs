//! Square two-dimensional convolution with zero padding.

use super::{LowRank, widen, widened};
use crate::init::{Init, Weights};
use base::Tensor;
use burn::module::{Module, Param};

/// A convolution layer; padding keeps the size (`k / 2`).
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[o i k k]`.
    pub weight: Param<Tensor<4>>,
    /// `[o]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// From `input` to `output` channels with a `kernel` x `kernel` window, `kernel` odd unless [`unpadded`](Self::unpadded).
    pub fn new(init: &Init, input: usize, output: usize, kernel: usize, stride: usize, how: Weights) -> Self {
        let (fan_in, fan_out) = (input * kernel * kernel, output * kernel * kernel);
        Self {
            weight: init.weight([output, input, kernel, kernel], fan_in, fan_out, how),
            bias: Some(init.bias(output, fan_in, how)),
            stride,
            padding: kernel / 2,
        }
    }

    /// The same layer without its padding, for a caller who pads or a window that tiles the image.
    pub fn unpadded(self) -> Self {
        Self { padding: 0, ..self }
    }

    /// `[b i h w]` to `[b o h/stride w/stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, |x, weight, bias| kernels::conv2d(x, weight, bias, self.stride, self.padding))
    }

    /// What the layer says of the image upsampled to its nearest neighbours: `[b i h w]` to `[b o 2h 2w]`, for a 3x3 window of
    /// stride 1.
    pub fn forward_upsampled(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, kernels::upsampled_conv2d)
    }

    /// `convolve(image, weight, bias)`, with the correction of low rank where there is one.
    fn run(&self, x: Tensor<4>, convolve: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(|b| b.val());
        let Some(low) = self.weight.reparameterization::<LowRank>() else {
            return convolve(x, widened(&self.weight), bias);
        };
        let weight = widen(self.weight.base());
        let window = weight.dims()[2];
        convolve(x.clone(), weight, bias) + low.conv2d(window, |a| convolve(x, a, None))
    }
}
