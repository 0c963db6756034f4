//! Views with their cameras to planes of features by a transformer: learned queries, one for each patch of the planes, read what the
//! views' patches say. A reconstruction model in small (LRM, Hong et al. 2023, arXiv:2311.04400, sec. 3; InstantMesh, arXiv:2404.07191).

use super::planes::{PLANES, PlaneField};
use crate::dit::{patches, places};
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::shape::{CrossBlock, LayerNorm, SelfBlock};
use crate::unet::unfold;
use crate::{NetsError, net::positive};
use base::{Device, Tensor};
use burn::module::{Module, Param};
use serde::{Deserialize, Serialize};

/// Pixels of a plane's patch to a side: what one query becomes.
const CELL: usize = 2;
/// Numbers of a camera: the directions right, up and towards the viewer.
const CAMERA: usize = 9;

/// Configuration of an [`Lrm`]. The default is small enough to train on a core; InstantMesh has 16 blocks of width 1024, planes of
/// 80 x 64 x 64 and an encoder trained before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LrmConfig {
    /// Pixels of a view's patch to a side.
    pub patch: usize,
    /// Features of a token.
    pub width: usize,
    /// Blocks, each of which asks the views and lets the planes' tokens speak with one another.
    pub depth: usize,
    /// Heads; must divide the width.
    pub heads: usize,
    /// Features of a plane's pixel.
    pub channels: usize,
    /// Pixels of a plane to a side, an even number.
    pub side: usize,
    /// Hidden numbers of the perceptron that answers for a point.
    pub hidden: usize,
}

impl Default for LrmConfig {
    fn default() -> Self {
        Self { patch: 8, width: 96, depth: 2, heads: 4, channels: 12, side: 16, hidden: 32 }
    }
}

impl LrmConfig {
    /// Ranges: sizes positive, heads divide the width, the width has room for sinusoids, planes are even.
    ///
    /// # Errors
    /// Names the key that is out of range.
    pub fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("patch", self.patch),
            ("width", self.width),
            ("heads", self.heads),
            ("channels", self.channels),
            ("side", self.side),
            ("hidden", self.hidden),
        ] {
            positive(&format!("lrm.{name}"), value)?;
        }
        let wrong = |what: String| Err(NetsError::config(what));
        if !self.width.is_multiple_of(self.heads) || !self.width.is_multiple_of(4) {
            let (width, heads) = (self.width, self.heads);
            return wrong(format!("lrm.width is {width}; it must be a multiple of 4 and of lrm.heads, {heads}"));
        }
        if !self.side.is_multiple_of(CELL) || self.side > 512 {
            return wrong(format!("lrm.side is {}; planes have an even side, 512 at most", self.side));
        }
        if self.depth > 1 << 10 {
            return wrong(format!("lrm.depth is {}; use at most 1024 blocks", self.depth));
        }
        Ok(())
    }

    /// The lengths of the planes, `[3 channels side side]`.
    pub fn planes(&self) -> [usize; 4] {
        [PLANES, self.channels, self.side, self.side]
    }

    /// The model with weights as `root` makes them, for views of `view` channels.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn build(&self, root: &Init, view: usize) -> Result<Lrm, NetsError> {
        self.check()?;
        let (d, heads) = (self.width, self.heads);
        let linear = |name: &str, from, to| Linear::new(&root.child(name), from, to, Weights::Xavier);
        let cells = self.side / CELL;
        let block = |i: usize| {
            let init = root.child("blocks").child(i);
            LrmBlock {
                ask: CrossBlock::new(&init.child("ask"), d, heads),
                speak: SelfBlock::new(&init.child("speak"), d, heads),
            }
        };
        Ok(Lrm {
            input: linear("input", view * self.patch * self.patch, d),
            camera: linear("camera", CAMERA, d),
            read: SelfBlock::new(&root.child("read"), d, heads),
            queries: root.child("queries").normal([PLANES * cells * cells, d], 1.0),
            blocks: (0..self.depth).map(block).collect(),
            norm: LayerNorm::new(&root.child("norm"), d),
            output: linear("output", d, self.channels * CELL * CELL),
            field: PlaneField::new(&root.child("field"), self.channels, self.hidden),
            patch: self.patch,
        })
    }

    /// The model with weights from `seed`.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn init(&self, seed: u64, view: usize, device: &Device) -> Result<Lrm, NetsError> {
        self.build(&Init::new(seed, device), view)
    }
}

/// Planes ask the views, then one another.
#[derive(Module, Debug)]
pub struct LrmBlock {
    ask: CrossBlock,
    speak: SelfBlock,
}

/// The model of [`LrmConfig`].
#[derive(Module, Debug)]
pub struct Lrm {
    input: Linear,
    camera: Linear,
    read: SelfBlock,
    queries: Param<Tensor<2>>,
    blocks: Vec<LrmBlock>,
    norm: LayerNorm,
    output: Linear,
    /// What planes say of a point.
    pub field: PlaneField,
    patch: usize,
}

impl Lrm {
    /// Views `[b k c h w]` from `cameras` `[k 9]` to planes `[b 3 channels side side]`.
    pub fn planes(&self, views: Tensor<5>, cameras: Tensor<2>) -> Tensor<5> {
        let [b, k, c, h, w] = views.dims();
        let (folded, grid) = patches(views.reshape([b * k, c, h, w]), self.patch);
        let x = self.input.forward(folded); // [bk n d]
        let [_, n, d] = x.dims();
        let x = (x + places(grid, d, &cameras.device())).reshape([b, k, n, d]);
        let camera: Tensor<4> = self.camera.forward(cameras).reshape([1, k, 1, d]);
        let seen = self.read.forward((x + camera).reshape([b, k * n, d]));
        let queries = self.queries.val();
        let m = queries.dims()[0];
        let mut y = queries.unsqueeze::<3>().expand([b, m, d]);
        for block in &self.blocks {
            y = block.speak.forward(block.ask.forward(y, seen.clone()));
        }
        let y = self.output.forward(self.norm.forward(y)); // [b 3qq 4c]
        let (four, cells) = (y.dims()[2], (m / PLANES).isqrt());
        let y = y.reshape([b * PLANES, cells * cells, four]).swap_dims(1, 2).reshape([b * PLANES, four, cells, cells]);
        let planes = unfold(y, CELL); // [3b c side side]
        let [_, c, side, _] = planes.dims();
        planes.reshape([b, PLANES, c, side, side])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Places, sample};
    use super::*;
    use base::{Key, Purpose};

    fn small() -> LrmConfig {
        LrmConfig { patch: 4, width: 16, depth: 1, heads: 2, channels: 3, side: 4, hidden: 8 }
    }

    fn noise(fold: u64, shape: [usize; 5], device: &Device) -> Tensor<5> {
        let rows: Vec<u64> = (0..shape[0] as u64).collect();
        Key::new(2, Purpose::Noise).fold(fold).normal_tensor(&rows, shape, device)
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Views in another order with their cameras are the same object; with another's camera they are not. Mutants: cameras left
    /// out; positions that count through all views.
    #[test]
    fn views_are_a_set_with_cameras() {
        let device = Device::flex();
        let net = small().init(3, 4, &device).unwrap();
        let views = noise(0, [2, 3, 4, 8, 8], &device);
        let cameras: Tensor<2> = noise(1, [3, 1, 1, 1, 9], &device).reshape([3, 9]);
        let plain = net.planes(views.clone(), cameras.clone());
        assert_eq!(plain.dims(), [2, 3, 3, 4, 4]);
        let plain = values(plain);
        let turned = values(net.planes(views.clone().flip([1]), cameras.clone().flip([0])));
        assert!(apart(&plain, &turned) < 1e-4);
        let exchanged = values(net.planes(views, cameras.flip([0])));
        assert!(apart(&plain, &exchanged) > 1e-3);
    }

    #[test]
    fn an_object_does_not_depend_on_its_batch_and_every_weight_learns() {
        let device = Device::flex().autodiff();
        let net = small().init(3, 4, &device).unwrap();
        let views = noise(0, [2, 2, 4, 8, 8], &device);
        let cameras: Tensor<2> = noise(1, [2, 1, 1, 1, 9], &device).reshape([2, 9]);
        let both = net.planes(views.clone(), cameras.clone());
        let first = net.planes(views.narrow(0, 0, 1), cameras);
        assert!(apart(&values(both.clone().narrow(0, 0, 1)), &values(first)) < 1e-5);
        let points: Vec<[f32; 3]> = (0..8).map(|i| [0.2 * i as f32 - 0.7, 0.1 * i as f32 - 0.4, 0.3]).collect();
        let said = net.field.forward(sample(both, &Places::of(&points, 2, [4, 4])));
        assert_eq!((said.density.dims(), said.colour.dims()), ([2, 4], [2, 4, 3]));
        let grads = (said.density.sum() + said.colour.sum()).backward();
        for (name, weight) in [("queries", net.queries.val()), ("input", net.input.weight.val())] {
            let largest = values(weight.grad(&grads).unwrap()).into_iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.0, "{name}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (config, key) in [
            (LrmConfig { heads: 5, ..small() }, "lrm.width"),
            (LrmConfig { side: 5, ..small() }, "lrm.side"),
            (LrmConfig { hidden: 0, ..small() }, "lrm.hidden"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(key));
        }
        assert!(LrmConfig::default().check().is_ok());
    }
}
