//! Convolutions of published networks, with their batch normalisation folded into the weights.

use crate::MetricsError;
use crate::weights::{HostTensor, Weights};
use base::{Device, Tensor, TensorData};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use serde::{Deserialize, Serialize};

/// How a network shrinks its planes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The largest value of each window, as the networks were trained.
    #[default]
    Max,
    /// The mean of each window: smoother gradients.
    Average,
}

impl Pooling {
    /// Windows of `size` every `stride`, none over the border.
    pub(super) fn forward(self, x: Tensor<4>, size: usize, stride: usize) -> Tensor<4> {
        let size = [size; 2];
        match self {
            Self::Max => max_pool2d(x, MaxPoolOptions::new(size).with_stride([stride; 2])),
            Self::Average => avg_pool2d(x, AvgPoolOptions::new(size).with_stride([stride; 2])),
        }
    }
}

/// Where a network's tensors come from.
pub(super) struct Source<'a> {
    pub weights: &'a mut Weights,
    pub network: &'static str,
    pub device: &'a Device,
    /// In tests, missing tensors are made up instead of refused.
    #[cfg(test)]
    pub make_up: bool,
}

/// How a convolution treats the border.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Padding {
    /// Zeros on both sides of each axis.
    Each([usize; 2]),
    /// TensorFlow's "SAME": as many zeros as make the output `ceil(input / stride)`, the odd one at the end.
    Same,
}

/// A convolution with bias.
#[derive(Clone, Debug)]
pub(super) struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: Padding,
    groups: usize,
}

/// Shape and placement of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub from: usize,
    pub to: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: Padding,
    pub groups: usize,
}

impl Source<'_> {
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<HostTensor, MetricsError> {
        #[cfg(test)]
        if self.make_up && !self.weights.tensors.contains_key(name) {
            return Ok(made_up(name, shape));
        }
        self.weights.take(self.network, name, shape)
    }

    /// A convolution `name.weight`, `name.bias`.
    pub fn conv(&mut self, name: &str, spec: Spec) -> Result<Conv, MetricsError> {
        let weight = self.take(&format!("{name}.weight"), &spec.weight_shape())?;
        let bias = self.take(&format!("{name}.bias"), &[spec.to])?;
        Ok(Conv::new(weight.data, bias.data, spec, self.device))
    }

    /// A convolution `conv.weight` without bias, followed by the batch normalisation `bn.*` with its running moments.
    pub fn conv_bn(&mut self, conv: &str, bn: &str, epsilon: f64, spec: Spec) -> Result<Conv, MetricsError> {
        let mut weight = self.take(&format!("{conv}.weight"), &spec.weight_shape())?.data;
        let mut part = |part: &str| self.take(&format!("{bn}.{part}"), &[spec.to]).map(|t| t.data);
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let mut bias = Vec::with_capacity(spec.to);
        let per_output = weight.len() / spec.to;
        for (o, filter) in weight.chunks_exact_mut(per_output).enumerate() {
            let scale = f64::from(gamma[o]) / (f64::from(variance[o]) + epsilon).sqrt();
            filter.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
            bias.push((f64::from(beta[o]) - f64::from(mean[o]) * scale) as f32);
        }
        Ok(Conv::new(weight, bias, spec, self.device))
    }
}

impl Spec {
    /// A square kernel without stride or groups.
    pub fn square(from: usize, to: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self { from, to, kernel: [kernel; 2], stride, padding: Padding::Each([padding; 2]), groups: 1 }
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.to, self.from / self.groups, self.kernel[0], self.kernel[1]]
    }
}

impl Conv {
    fn new(weight: Vec<f32>, bias: Vec<f32>, spec: Spec, device: &Device) -> Self {
        Self {
            weight: Tensor::from_data(TensorData::new(weight, spec.weight_shape()), device),
            bias: Tensor::from_data(TensorData::new(bias, [spec.to]), device),
            stride: spec.stride,
            padding: spec.padding,
            groups: spec.groups,
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let [_, _, kh, kw] = self.weight.dims();
        let (x, [ph, pw]) = match self.padding {
            Padding::Each(padding) => (x, padding),
            Padding::Same => {
                let total =
                    |size: usize, k: usize| ((size.div_ceil(self.stride) - 1) * self.stride + k).saturating_sub(size);
                let (th, tw) = (total(h, kh), total(w, kw));
                if th % 2 == 0 && tw % 2 == 0 {
                    (x, [th / 2, tw / 2])
                } else {
                    let pads = (tw / 2, tw - tw / 2, th / 2, th - th / 2);
                    (x.pad(pads, PadMode::Constant(0.0)), [0, 0])
                }
            }
        };
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        if self.groups == 1 && ph == pw {
            return kernels::conv2d(x, weight, bias, self.stride, ph);
        }
        let options = ConvOptions::new([self.stride; 2], [ph, pw], [1; 2], self.groups);
        burn::tensor::module::conv2d(x, weight, bias, options)
    }
}

/// Small random numbers (ones for variances), so that a network of the right shape runs.
#[cfg(test)]
fn made_up(name: &str, shape: &[usize]) -> HostTensor {
    let len = shape.iter().product();
    let index = name.bytes().fold(0u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(b)));
    let fan_in: usize = shape.iter().skip(1).product();
    let data = match name.ends_with("running_var") {
        true => vec![1.0; len],
        false => base::Key::new(0, base::Purpose::Init)
            .normals(index, len)
            .map(|v| v * (2.0 / fan_in.max(1) as f32).sqrt())
            .collect(),
    };
    HostTensor { shape: shape.to_vec(), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel, one 1x1 filter: `gamma (w x - mean) / sqrt(var + eps) + beta`.
    #[test]
    fn folded_normalisation_is_the_definition() {
        let mut weights = Weights::default();
        let mut put = |name: &str, shape: &[usize], value: f32| {
            weights.tensors.insert(name.into(), HostTensor { shape: shape.to_vec(), data: vec![value] });
        };
        put("c.weight", &[1, 1, 1, 1], 3.0);
        for (part, value) in [("weight", 2.0), ("bias", 0.5), ("running_mean", 1.0), ("running_var", 4.0)] {
            put(&format!("b.{part}"), &[1], value);
        }
        let device = Device::flex();
        let mut source = Source { weights: &mut weights, network: "test", device: &device, make_up: false };
        let conv = source.conv_bn("c", "b", 0.5, Spec::square(1, 1, 1, 1, 0)).unwrap();
        let y = conv.forward(Tensor::from_data([[[[5.0f32]]]], &device)).into_scalar::<f32>();
        let expected = 2.0 * (3.0 * 5.0 - 1.0) / 4.5f32.sqrt() + 0.5;
        assert!((y - expected).abs() < 1e-5, "{y} {expected}");
    }

    /// A 3-tap filter of (1, 10, 100) with stride 2 on 4 pixels: "SAME" pads one zero at the end only.
    #[test]
    fn same_padding_puts_the_odd_zero_at_the_end() {
        let device = Device::flex();
        let spec = Spec { padding: Padding::Same, ..Spec::square(1, 1, 3, 2, 0) };
        let weight = vec![0.0, 0.0, 0.0, 1.0, 10.0, 100.0, 0.0, 0.0, 0.0];
        let conv = Conv::new(weight, vec![0.0], spec, &device);
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0], &device).reshape([1, 1, 1, 4]).repeat_dim(2, 4);
        let y: Vec<f32> = conv.forward(x).into_data().iter::<f32>().collect();
        assert_eq!(y, [321.0, 43.0, 321.0, 43.0]);
    }
}
