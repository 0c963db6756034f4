//! InceptionV3 (Szegedy et al. 2015, arXiv 1512.00567) as the Fréchet Inception Distance uses it: the TensorFlow
//! 2015-12-05 release, whose average pools leave the padding out and whose last block pools by maximum.
//!
//! Names and layout of the converted weights `pt_inception-2015-12-05`; bring your own file. Shapes and wiring are
//! tested here with random weights only: no weights were at hand, so agreement with published FID is **unverified**.

use super::layers::{Conv, Padding, Source, Spec};
use super::{in_batches, mean_over_positions};
use crate::weights::Weights;
use crate::{Extractor, Matrix, MetricsError};
use base::{Device, Tensor};
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use std::path::Path;

const NETWORK: &str = "InceptionV3";
const EPSILON: f64 = 1e-3;

/// What a block does to its input besides convolving.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pool {
    /// 3x3 mean, stride 1, without the padding, then a convolution.
    Mean,
    /// 3x3 maximum, stride 1, then a convolution.
    Max,
    /// 3x3 maximum, stride 2.
    Halve,
}

/// One path through a block: a chain of convolutions whose last step may fork.
#[derive(Clone, Debug)]
struct Branch {
    chain: Vec<Conv>,
    fork: Option<[Conv; 2]>,
}

/// A mixed block: its branches' outputs one behind the other, the pooled branch last.
#[derive(Clone, Debug)]
struct Mixed {
    branches: Vec<Branch>,
    pool: Pool,
    pooled: Option<Conv>,
}

/// The network. As an [`Extractor`]: the 2048 features of the last pooling for images resized to 299 x 299.
#[derive(Clone, Debug)]
pub struct InceptionV3 {
    stem: Vec<Conv>,
    mixed: Vec<Mixed>,
    device: Device,
}

/// A kernel by name of its suffix, input and output channels, height, width and stride; padding keeps the size at
/// stride 1 and is absent at stride 2.
type Step = (&'static str, usize, usize, usize, usize, usize);

impl InceptionV3 {
    /// Side length of the images the network sees.
    pub const SIZE: usize = 299;
    /// Number of features.
    pub const DIM: usize = 2048;

    /// Reads `path` (`.pth` in the legacy format, or safetensors); see [`convert`](crate::convert).
    pub fn load(path: &Path, device: &Device) -> Result<Self, MetricsError> {
        Self::from_weights(crate::convert::read_any(path)?, device)
    }

    /// Builds the network; the class layer `fc.*` is ignored, other foreign tensors refused.
    pub fn from_weights(mut weights: Weights, device: &Device) -> Result<Self, MetricsError> {
        let mut source = Source {
            weights: &mut weights,
            network: NETWORK,
            device,
            #[cfg(test)]
            make_up: false,
        };
        let network = Self::build(&mut source)?;
        weights.tensors.retain(|name, _| !name.starts_with("fc."));
        weights.finish(NETWORK)?;
        Ok(network)
    }

    fn build(source: &mut Source) -> Result<Self, MetricsError> {
        let mut stem = Vec::new();
        for (name, from, to, kernel, stride, padding) in [
            ("Conv2d_1a_3x3", 3, 32, 3, 2, 0),
            ("Conv2d_2a_3x3", 32, 32, 3, 1, 0),
            ("Conv2d_2b_3x3", 32, 64, 3, 1, 1),
            ("Conv2d_3b_1x1", 64, 80, 1, 1, 0),
            ("Conv2d_4a_3x3", 80, 192, 3, 1, 0),
        ] {
            stem.push(basic(source, name, Spec::square(from, to, kernel, stride, padding))?);
        }
        let mut mixed = Vec::new();
        for (name, from, pooled) in [("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)] {
            mixed.push(block_a(source, name, from, pooled)?);
        }
        let three: &[Step] = &[("branch3x3", 288, 384, 3, 3, 2)];
        let double: &[Step] = &[
            ("branch3x3dbl_1", 288, 64, 1, 1, 1),
            ("branch3x3dbl_2", 64, 96, 3, 3, 1),
            ("branch3x3dbl_3", 96, 96, 3, 3, 2),
        ];
        mixed.push(block(source, "Mixed_6a", &[(three, None), (double, None)], Pool::Halve, None)?);
        for (name, width) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
            mixed.push(block_c(source, name, width)?);
        }
        let three: &[Step] = &[("branch3x3_1", 768, 192, 1, 1, 1), ("branch3x3_2", 192, 320, 3, 3, 2)];
        let seven: &[Step] = &[
            ("branch7x7x3_1", 768, 192, 1, 1, 1),
            ("branch7x7x3_2", 192, 192, 1, 7, 1),
            ("branch7x7x3_3", 192, 192, 7, 1, 1),
            ("branch7x7x3_4", 192, 192, 3, 3, 2),
        ];
        mixed.push(block(source, "Mixed_7a", &[(three, None), (seven, None)], Pool::Halve, None)?);
        for (name, from, pool) in [("Mixed_7b", 1280, Pool::Mean), ("Mixed_7c", 2048, Pool::Max)] {
            mixed.push(block_e(source, name, from, pool)?);
        }
        Ok(Self { stem, mixed, device: source.device.clone() })
    }

    /// Pooled features `[b 2048]` of images `[b 3 299 299]` in [-1, 1].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let halve = |x| max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]));
        let mut x = x;
        for (i, conv) in self.stem.iter().enumerate() {
            if i == 3 {
                x = halve(x);
            }
            x = relu(conv.forward(x));
        }
        x = halve(x);
        for block in &self.mixed {
            x = block.forward(x);
        }
        mean_over_positions(x)
    }
}

impl Mixed {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut out = Vec::new();
        for branch in &self.branches {
            let mut y = x.clone();
            for conv in &branch.chain {
                y = relu(conv.forward(y));
            }
            match &branch.fork {
                None => out.push(y),
                Some([a, b]) => out.extend([relu(a.forward(y.clone())), relu(b.forward(y))]),
            }
        }
        let one = [(1, 1), (1, 1)];
        let pooled = match self.pool {
            Pool::Mean => {
                let mut options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]);
                options.padding = one;
                options.count_include_pad = false;
                avg_pool2d(x, options)
            }
            Pool::Max => {
                let mut options = MaxPoolOptions::new([3, 3]).with_stride([1, 1]);
                options.padding = one;
                max_pool2d(x, options)
            }
            Pool::Halve => max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2])),
        };
        out.push(match &self.pooled {
            Some(conv) => relu(conv.forward(pooled)),
            None => pooled,
        });
        Tensor::cat(out, 1)
    }
}

/// `name.conv` and `name.bn`.
fn basic(source: &mut Source, name: &str, spec: Spec) -> Result<Conv, MetricsError> {
    source.conv_bn(&format!("{name}.conv"), &format!("{name}.bn"), EPSILON, spec)
}

/// A block of chains, each perhaps with a forked end, and a pooled branch `(from, to)`.
fn block(
    source: &mut Source,
    name: &str,
    branches: &[(&[Step], Option<[Step; 2]>)],
    pool: Pool,
    pooled: Option<(usize, usize)>,
) -> Result<Mixed, MetricsError> {
    let mut conv = |(suffix, from, to, h, w, stride): Step| {
        let padding = Padding::Each(if stride == 1 { [h / 2, w / 2] } else { [0, 0] });
        let spec = Spec { from, to, kernel: [h, w], stride, padding, groups: 1 };
        basic(source, &format!("{name}.{suffix}"), spec)
    };
    let mut out = Vec::new();
    for (chain, fork) in branches {
        let chain = chain.iter().map(|&step| conv(step)).collect::<Result<_, _>>()?;
        let fork = match *fork {
            Some([a, b]) => Some([conv(a)?, conv(b)?]),
            None => None,
        };
        out.push(Branch { chain, fork });
    }
    let pooled = pooled.map(|(from, to)| conv(("branch_pool", from, to, 1, 1, 1))).transpose()?;
    Ok(Mixed { branches: out, pool, pooled })
}

fn block_a(source: &mut Source, name: &str, from: usize, pooled: usize) -> Result<Mixed, MetricsError> {
    let branches: [(&[Step], _); 3] = [
        (&[("branch1x1", from, 64, 1, 1, 1)], None),
        (&[("branch5x5_1", from, 48, 1, 1, 1), ("branch5x5_2", 48, 64, 5, 5, 1)], None),
        (
            &[
                ("branch3x3dbl_1", from, 64, 1, 1, 1),
                ("branch3x3dbl_2", 64, 96, 3, 3, 1),
                ("branch3x3dbl_3", 96, 96, 3, 3, 1),
            ],
            None,
        ),
    ];
    block(source, name, &branches, Pool::Mean, Some((from, pooled)))
}

fn block_c(source: &mut Source, name: &str, c: usize) -> Result<Mixed, MetricsError> {
    let branches: [(&[Step], _); 3] = [
        (&[("branch1x1", 768, 192, 1, 1, 1)], None),
        (&[("branch7x7_1", 768, c, 1, 1, 1), ("branch7x7_2", c, c, 1, 7, 1), ("branch7x7_3", c, 192, 7, 1, 1)], None),
        (
            &[
                ("branch7x7dbl_1", 768, c, 1, 1, 1),
                ("branch7x7dbl_2", c, c, 7, 1, 1),
                ("branch7x7dbl_3", c, c, 1, 7, 1),
                ("branch7x7dbl_4", c, c, 7, 1, 1),
                ("branch7x7dbl_5", c, 192, 1, 7, 1),
            ],
            None,
        ),
    ];
    block(source, name, &branches, Pool::Mean, Some((768, 192)))
}

fn block_e(source: &mut Source, name: &str, from: usize, pool: Pool) -> Result<Mixed, MetricsError> {
    let branches: [(&[Step], _); 3] = [
        (&[("branch1x1", from, 320, 1, 1, 1)], None),
        (
            &[("branch3x3_1", from, 384, 1, 1, 1)],
            Some([("branch3x3_2a", 384, 384, 1, 3, 1), ("branch3x3_2b", 384, 384, 3, 1, 1)]),
        ),
        (
            &[("branch3x3dbl_1", from, 448, 1, 1, 1), ("branch3x3dbl_2", 448, 384, 3, 3, 1)],
            Some([("branch3x3dbl_3a", 384, 384, 1, 3, 1), ("branch3x3dbl_3b", 384, 384, 3, 1, 1)]),
        ),
    ];
    block(source, name, &branches, pool, Some((from, 192)))
}

impl Extractor for InceptionV3 {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        in_batches(NETWORK, images, shape, Self::SIZE, Self::DIM, &self.device, |x| self.forward(x))
    }

    fn name(&self) -> &str {
        "inception-v3"
    }

    fn dim(&self) -> usize {
        Self::DIM
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::waves;
    use super::*;

    /// Channel counts only fit if every branch is wired as published; 2048 features come out finite.
    #[test]
    fn random_weights_of_the_published_shapes_give_2048_features() {
        let device = Device::flex();
        let mut weights = Weights::default();
        let mut source = Source { weights: &mut weights, network: NETWORK, device: &device, make_up: true };
        let network = InceptionV3::build(&mut source).unwrap();
        let features = network.features(&waves(32), [1, 3, 32, 32]).unwrap();
        assert_eq!((features.rows(), features.columns()), (1, 2048));
        assert!(features.data().iter().all(|v| v.is_finite()) && features.data().iter().any(|&v| v > 0.0));
    }

    #[test]
    fn missing_tensors_are_named() {
        let error = InceptionV3::from_weights(Weights::default(), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("Conv2d_1a_3x3.conv.weight"), "{error}");
    }
}
