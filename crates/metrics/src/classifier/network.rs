//! The classifier's network: five 3x3 convolutions with group normalisation, two of them residual, means over
//! the cells of a coarse grid, one hidden layer (the features) and a linear head. PyTorch layouts and names.

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
    let pooled = w2 * layout.pool * layout.pool;
    for (name, from, to) in [("hidden", pooled, layout.features), ("head", layout.features, layout.classes.len())] {
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

    /// The network with a second head behind the features, which training has and a saved classifier has not.
    pub(super) fn with_second_head(mut self, outputs: usize, key: Key, device: &Device) -> Self {
        let inputs = self.layout.features;
        let values = key.normals(0, outputs * inputs).map(|v| v / (inputs as f32).sqrt()).collect::<Vec<_>>();
        self.leaves.push(Tensor::from_data(TensorData::new(values, [outputs * inputs]), device));
        self.leaves.push(Tensor::zeros([outputs], device));
        self
    }

    /// The network without it.
    pub(super) fn without_second_head(mut self) -> Self {
        self.leaves.truncate(parameters(&self.layout).len());
        self
    }

    /// What the second head says of features `[b features]`; `None` without one.
    pub(super) fn second_head(&self, features: Tensor<2>) -> Option<Tensor<2>> {
        let first = parameters(&self.layout).len();
        let outputs = self.leaves.get(first + 1)?.dims()[0];
        Some(self.linear(features, first, outputs))
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
        let features = silu(self.linear(self.pooled(x), 15, self.layout.features));
        let logits = self.head(features.clone());
        (features, logits)
    }

    /// `[b c h w]` to `[b c pool^2]`: means over cells, which share a row or column of positions where sides do not divide.
    fn pooled(&self, x: Tensor<4>) -> Tensor<2> {
        let ([b, c, h, w], p) = (x.dims(), self.layout.pool);
        let x = x.reshape([b * c, h * w]);
        if p == 1 {
            return x.mean_dim(1).reshape([b, c]);
        }
        let span = |cell: usize, size: usize| (cell * size / p, ((cell + 1) * size).div_ceil(p));
        let mut means = vec![0.0f32; h * w * p * p];
        for cell in 0..p * p {
            let ((top, bottom), (left, right)) = (span(cell / p, h), span(cell % p, w));
            for y in top..bottom {
                for x in left..right {
                    means[(y * w + x) * p * p + cell] = 1.0 / ((bottom - top) * (right - left)) as f32;
                }
            }
        }
        let means = Tensor::<2>::from_data(TensorData::new(means, [h * w, p * p]), &x.device());
        x.matmul(means).reshape([b, c * p * p])
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3 x 3 image in four cells of 2 x 2 that share the middle. Mutant: rows and columns exchanged.
    #[test]
    fn cells_are_means_over_their_positions() {
        let layout = |pool| Layout {
            name: "t".into(),
            input: [1, 12, 12],
            widths: [8; 3],
            pool,
            features: 2,
            classes: vec!["a".into(), "b".into()],
        };
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &device).reshape([1, 1, 3, 3]);
        let pooled = |pool| -> Vec<f32> {
            SmallCnn::init(&layout(pool), 0, &device).pooled(x.clone()).into_data().iter::<f32>().collect()
        };
        assert_eq!(pooled(1), [4.0]);
        assert_eq!(pooled(2), [2.0, 3.0, 5.0, 6.0]);
    }
}
