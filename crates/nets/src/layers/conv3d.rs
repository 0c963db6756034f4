//! Convolution of clips `[b c f h w]`: zeros around images, none in time, where whoever calls says what came before.

use super::widened;
use crate::init::{Init, Weights};
use base::Tensor;
use burn::module::{Module, Param};
use kernels::Sweep;

/// A convolution layer over frames and pixels.
#[derive(Module, Debug)]
pub struct Conv3d {
    /// `[o i frames k k]`.
    pub weight: Param<Tensor<5>>,
    /// `[o]`.
    pub bias: Param<Tensor<1>>,
    frames: usize,
    space: usize,
    padding: usize,
}

impl Conv3d {
    /// From `input` to `output` channels with a window of `[frames k]`, moved by a stride for each; images keep their size where `k` is
    /// odd and its stride one.
    pub fn new(
        init: &Init,
        [input, output]: [usize; 2],
        [frames, kernel]: [usize; 2],
        stride: [usize; 2],
        how: Weights,
    ) -> Self {
        let window = frames * kernel * kernel;
        let padding = if stride[1] == 1 { kernel / 2 } else { 0 };
        Self {
            weight: init.weight([output, input, frames, kernel, kernel], input * window, output * window, how),
            bias: init.bias(output, input * window, how),
            frames: stride[0],
            space: stride[1],
            padding,
        }
    }

    /// Frames of its window beside the newest.
    pub fn reach(&self) -> usize {
        self.weight.lazy_shape()[2] - 1
    }

    /// `[b i f h w]` to `[b o (f - reach - 1)/stride + 1 h' w']`.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let frames = Sweep { stride: self.frames, padding: 0 };
        let space = Sweep { stride: self.space, padding: self.padding };
        kernels::conv3d(x, widened(&self.weight), Some(widened(&self.bias)), frames, space)
    }
}
