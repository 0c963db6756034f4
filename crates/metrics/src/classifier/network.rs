//! The classifier's network: five 3x3 convolutions with group normalisation, two of them residual, a mean over the
//! positions, one hidden layer (the features) and a linear head. PyTorch layouts and names.

use super::Layout;
use crate::MetricsError;
use crate::weights::{HostTensor, Weights};
use base::{Device, Key, Purpose, Tensor, TensorData};
use kernels::{conv2d, group_norm, linear, silu};

/// Groups of every normalisation.
const GROUPS: usize = 8;

/// The parameters, one flat leaf each in the order of [`parameters`]; the forward pass reshapes them, so the optimiser
/// handles one rank only.
#[derive(Clone, Debug)]
pub struct SmallCnn {
    pub(super) leaves: Vec<Tensor<1>>,
    layout: Layout,
}

/// Names and shapes, in the order of use.
pub(super) fn parameters(layout: &Layout) -> Vec<(String, Vec<usize>)> {
    let [w0, w1, w2] = layout.widths;
    let mut out = Vec::new();
    let blocks = [(layout.input[0], w0), (w0, w1), (w1, w1), (w1, w2), (w2, w2)];
    for (i, (from, to)) in blocks.into_iter().enumerate() {
        out.push((format!("conv.{i}.weight"), vec![to, from, 3, 3]));
        out.push((format!("norm.{i}.weight"), vec![to]));
        out.push((format!("norm.{i}.bias"), vec![to]));
    }
    for (name, from, to) in [("hidden", w2, layout.features), ("head", layout.features, layout.classes.len())] {
        out.push((format!("{name}.weight"), vec![to, from]));
        out.push((format!("{name}.bias"), vec![to]));
    }
    out
}

impl SmallCnn {
    /// Random weights: He normal for matrices, ones for normalisation weights, zeros for biases.
    pub(super) fn init(layout: &Layout, seed: u64, device: &Device) -> Self {
        let key = Key::new(seed, Purpose::Init);
        let leaf = |(i, (name, shape)): (usize, (String, Vec<usize>))| {
            let len: usize = shape.iter().product();
            let values: Vec<f32> = if shape.len() > 1 {
                let fan_in: usize = shape[1..].iter().product();
                let gain = if name.starts_with("head") { 1.0 } else { 2.0 };
                let std = (gain / fan_in as f32).sqrt();
                key.normals(i as u64, len).map(|v| v * std).collect()
            } else {
                vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; len]
            };
            Tensor::from_data(TensorData::new(values, [len]), device)
        };
        let leaves = parameters(layout).into_iter().enumerate().map(leaf).collect();
        Self { leaves, layout: layout.clone() }
    }

    /// The network with other parameter leaves of the same shapes.
    pub(super) fn with_leaves(&self, leaves: Vec<Tensor<1>>) -> Self {
        Self { leaves, layout: self.layout.clone() }
    }

    pub(super) fn load(layout: &Layout, weights: &mut Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut leaves = Vec::new();
        for (name, shape) in parameters(layout) {
            let tensor = weights.take(&layout.name, &name, &shape)?;
            let len = tensor.data.len();
            leaves.push(Tensor::from_data(TensorData::new(tensor.data, [len]), device));
        }
        Ok(Self { leaves, layout: layout.clone() })
    }

    pub(super) fn weights(&self, layout: &Layout) -> Weights {
        let mut weights = Weights::default();
        for ((name, shape), leaf) in parameters(layout).into_iter().zip(&self.leaves) {
            let data = leaf.clone().into_data().iter::<f32>().collect();
            weights.tensors.insert(name, HostTensor { shape, data });
        }
        weights
    }

    /// Features `[b features]` and class scores `[b classes]` of images `[b c h w]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        let [c, ..] = self.layout.input;
        let [w0, w1, w2] = self.layout.widths;
        let x = self.block(x, 0, [w0, c], 1);
        let x = self.block(x, 1, [w1, w0], 2);
        let x = self.block(x.clone(), 2, [w1, w1], 1) + x;
        let x = self.block(x, 3, [w2, w1], 2);
        let x = self.block(x.clone(), 4, [w2, w2], 1) + x;
        let [b, c, h, w] = x.dims();
        let pooled = x.reshape([b, c, h * w]).mean_dim(2).reshape([b, c]);
        let features = silu(self.linear(pooled, 15, self.layout.features));
        let logits = self.head(features.clone());
        (features, logits)
    }

    /// Class scores `[b classes]` of features `[b features]`.
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear(features, 17, self.layout.classes.len())
    }

    /// Convolution, normalisation and SiLU number `i`.
    fn block(&self, x: Tensor<4>, i: usize, [to, from]: [usize; 2], stride: usize) -> Tensor<4> {
        let leaf = |j: usize| self.leaves[3 * i + j].clone();
        let x = conv2d(x, leaf(0).reshape([to, from, 3, 3]), None, stride, 1);
        group_norm(x, leaf(1), leaf(2), GROUPS, 1e-5, None, true)
    }

    fn linear(&self, x: Tensor<2>, leaf: usize, to: usize) -> Tensor<2> {
        let from = x.dims()[1];
        linear(x, self.leaves[leaf].clone().reshape([to, from]), Some(self.leaves[leaf + 1].clone()))
    }
}
