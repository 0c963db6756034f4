//! The classifier's network: five 3x3 convolutions with group normalisation, two of them residual, means over
//! the cells of a coarse grid, one hidden layer (the features) and a linear head. PyTorch layouts and names.

use super::Layout;
use base::{Tensor, TensorData};
use burn::module::Module;
use nets::{
    Init,
    init::Weights,
    layers::{Conv2d, GroupNorm, Linear},
};

/// Groups of every normalisation.
const GROUPS: usize = 8;

/// The network of a [`Layout`].
#[derive(Module, Debug)]
pub struct SmallCnn {
    conv: Vec<Conv2d>,
    norm: Vec<GroupNorm>,
    hidden: Linear,
    head: Linear,
    pool: usize,
}

impl SmallCnn {
    /// Below `init`: He normal weights (arXiv 1502.01852, eq. 10), biases at zero.
    pub fn new(layout: &Layout, init: &Init) -> Self {
        let [w0, w1, w2] = layout.widths;
        let he = |gain: f64, fan_in: usize| Weights::Normal((gain / fan_in as f64).sqrt());
        let blocks = [(layout.input[0], w0, 1), (w0, w1, 2), (w1, w1, 1), (w1, w2, 2), (w2, w2, 1)];
        let (convs, norms) = (init.child("conv"), init.child("norm"));
        let conv = |(i, (from, to, stride)): (usize, (usize, usize, usize))| {
            let mut conv = Conv2d::new(&convs.child(i), from, to, 3, stride, he(2.0, from * 9));
            conv.bias = None;
            conv
        };
        let pooled = w2 * layout.pool * layout.pool;
        let (features, classes) = (layout.features, layout.classes.len());
        Self {
            conv: blocks.into_iter().enumerate().map(conv).collect(),
            norm: (0..blocks.len()).map(|i| GroupNorm::new(&norms.child(i), blocks[i].1, GROUPS)).collect(),
            hidden: Linear::new(&init.child("hidden"), pooled, features, he(2.0, pooled)),
            head: Linear::new(&init.child("head"), features, classes, he(1.0, features)),
            pool: layout.pool,
        }
    }

    /// Features `[b features]` and class scores `[b classes]` of images `[b c h w]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        let x = self.block(x, 0);
        let x = self.block(x, 1);
        let x = self.block(x.clone(), 2) + x;
        let x = self.block(x, 3);
        let x = self.block(x.clone(), 4) + x;
        let features = kernels::silu(self.hidden.forward(self.pooled(x)));
        let scores = self.scores(features.clone());
        (features, scores)
    }

    /// Class scores `[b classes]` of features `[b features]`.
    pub fn scores(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// All numbers, in the order of use.
    pub(super) fn numbers(&self) -> Vec<f32> {
        let convs = self.conv.iter().zip(&self.norm).flat_map(|(conv, norm)| {
            let weight = conv.weight.val();
            let len = weight.shape().num_elements();
            [weight.reshape([len]), norm.weight.val(), norm.bias.val()]
        });
        let linears = [&self.hidden, &self.head].into_iter().flat_map(|linear| {
            let weight = linear.weight.val();
            let len = weight.shape().num_elements();
            std::iter::once(weight.reshape([len])).chain(linear.bias.as_ref().map(|bias| bias.val()))
        });
        convs.chain(linears).flat_map(|values| values.into_data().iter::<f32>().collect::<Vec<_>>()).collect()
    }

    /// `[b c h w]` to `[b c pool^2]`: means over cells, which share a row or column of positions where sides do not divide.
    fn pooled(&self, x: Tensor<4>) -> Tensor<2> {
        let ([b, c, h, w], p) = (x.dims(), self.pool);
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

    /// Convolution, normalisation and SiLU number `i`.
    fn block(&self, x: Tensor<4>, i: usize) -> Tensor<4> {
        self.norm[i].forward(self.conv[i].forward(x), None, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

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
            SmallCnn::new(&layout(pool), &Init::new(0, &device)).pooled(x.clone()).into_data().iter::<f32>().collect()
        };
        assert_eq!(pooled(1), [4.0]);
        assert_eq!(pooled(2), [2.0, 3.0, 5.0, 6.0]);
    }
}
