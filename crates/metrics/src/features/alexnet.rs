//! AlexNet's convolutions (Krizhevsky, "One weird trick", 2014, arXiv 1404.5997; one tower, as torchvision has it).
//!
//! Weights: torchvision's names (`features.0.weight` ...).

use super::layers::{Conv, Source, Spec};
use super::{Pooling, image_net};
use crate::MetricsError;
use crate::weights::Weights;
use base::{Device, Tensor};

/// Input and output channels, kernel, stride and padding of each convolution.
const CONVS: [[usize; 5]; 5] =
    [[3, 64, 11, 4, 2], [64, 192, 5, 1, 2], [192, 384, 3, 1, 1], [384, 256, 3, 1, 1], [256, 256, 3, 1, 1]];
/// Position of each convolution in torchvision's list of layers.
pub(super) const POSITIONS: [usize; 5] = [0, 3, 6, 8, 10];
/// Channels of each stage.
pub(super) const CHANNELS: [usize; 5] = [64, 192, 384, 256, 256];

/// AlexNet without its fully connected layers.
#[derive(Clone, Debug)]
pub struct AlexNet {
    convs: Vec<Conv>,
}

impl AlexNet {
    /// Side of the smallest images whose planes never vanish.
    pub const LEAST: usize = 31;

    pub(super) fn take(weights: &mut Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut source = Source {
            weights,
            network: "AlexNet",
            device,
            #[cfg(test)]
            make_up: false,
        };
        let mut convs = Vec::new();
        for ([from, to, kernel, stride, padding], position) in CONVS.into_iter().zip(POSITIONS) {
            let spec = Spec::square(from, to, kernel, stride, padding);
            convs.push(source.conv(&format!("features.{position}"), spec)?);
        }
        Ok(Self { convs })
    }

    /// The activation after each of the five convolutions for images `[b 3 h w]` in [-1, 1] of at least
    /// [`AlexNet::LEAST`] on each side; differentiable.
    pub fn stages(&self, x: Tensor<4>, pooling: Pooling) -> Vec<Tensor<4>> {
        let mut x = image_net(x);
        let mut out = Vec::new();
        for (i, conv) in self.convs.iter().enumerate() {
            if i == 1 || i == 2 {
                x = pooling.forward(x, 3, 2);
            }
            x = burn::tensor::activation::relu(conv.forward(x));
            out.push(x.clone());
        }
        out
    }
}
