//! The codec of TriFlow (arXiv:2501.00651): a reconstruction model turns views of a shape into three planes of features, which stand
//! for it from then on; what is decoded are views again, and a density whose surface is a mesh.
//!
//! There is no divergence in its loss: the planes are as training leaves them, and `whitening = "zca"` is what makes a flow of them
//! possible.

mod draw;
mod task;

pub use task::TriplaneTask;

use super::{CodecRecipe, Coder, Kind, Learned, Solid, Views, Window};
use crate::{
    Context, Error,
    runs::{Stage, TrainReport},
    shapes,
};
use base::{Device, Shape, Tensor, TensorData};
use burn::module::Module;
use data::{DataConfig, Dataset, TestPart};
use draw::{NOTHING, drawn, field, object, surface, through};
use media::shape::{
    Cameras, Extracted, Point,
    views::{CHANNELS, Ray},
};
use nets::{Init, Lrm, LrmConfig};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use train::{
    SampleSource,
    checkpoint::{Checkpoint, Which, load_weights},
};

/// A codec of planes: its network, what it sees of a shape, and how it is compared with that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriplaneConfig {
    /// Sizes of the network.
    pub network: LrmConfig,
    /// From where shapes are seen; a row has all of these views.
    pub cameras: Cameras,
    /// How many of the views, the first ones, the network reads; the others are there to be compared with. 0 for all.
    pub inputs: usize,
    /// Rays of a training step, for each shape.
    pub rays: usize,
    /// Places along a ray.
    pub samples: usize,
    /// Weight of the error of what is covered beside that of the colours.
    pub mask: f64,
    /// The density at which the surface of a mesh lies; InstantMesh takes 10. Without it that at which inside and outside agree best with
    /// the training shapes, found when training ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
}

impl Default for TriplaneConfig {
    fn default() -> Self {
        Self {
            network: LrmConfig::default(),
            cameras: Cameras::default(),
            inputs: 0,
            rays: 128,
            samples: 32,
            mask: 1.0,
            level: None,
        }
    }
}

impl TriplaneConfig {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        self.network.check().map_err(|error| error.to_string())?;
        self.cameras.check().map_err(|reason| format!("codec.cameras.{reason}"))?;
        let (views, size, patch) = (self.cameras.views.len(), self.cameras.size, self.network.patch);
        if !size.is_multiple_of(patch) {
            return Err(format!("codec.cameras.size = {size}; it must be a multiple of codec.network.patch, {patch}"));
        }
        for (key, value, range) in [
            ("inputs", self.inputs, 0..=views),
            ("rays", self.rays, 1..=1 << 16),
            ("samples", self.samples, 2..=1 << 10),
        ] {
            if !range.contains(&value) {
                return Err(format!("codec.{key} = {value}; give {} to {}", range.start(), range.end()));
            }
        }
        if !(self.mask.is_finite() && self.mask >= 0.0) {
            return Err(format!("codec.mask = {}; give a number from 0", self.mask));
        }
        if let Some(level) = self.level.filter(|level| !(level.is_finite() && *level > NOTHING)) {
            return Err(format!("codec.level = {level}; give a density above {NOTHING}, such as 10, or leave it out"));
        }
        Ok(())
    }

    /// The network, its weights drawn from `seed`, or declared only without one.
    ///
    /// # Errors
    /// Sizes that cannot be built.
    pub fn build(&self, seed: Option<u64>, device: &Device) -> Result<Lrm, Error> {
        let init = seed.map_or_else(|| Init::declared(device), |seed| Init::new(seed, device));
        Ok(self.network.build(&init, self.cameras.shape()[1])?)
    }

    /// The shape of a row, `[views 4 size size]`.
    pub fn sample(&self) -> Shape {
        self.cameras.shape().into()
    }

    /// The shape of the planes, `[3 c h w]`.
    pub fn latent(&self) -> Shape {
        self.network.planes().into()
    }

    /// How many views the network reads.
    fn read(&self) -> usize {
        if self.inputs == 0 { self.cameras.views.len() } else { self.inputs }
    }

    /// Rows `[b n]` of views to planes `[b 3 c h w]`.
    fn planes(&self, net: &Lrm, rows: Tensor<2>) -> Tensor<5> {
        let ([k, c, h, w], b, read) = (self.cameras.shape(), rows.dims()[0], self.read());
        let frames: Vec<f32> = self.cameras.frames()[..read].concat();
        let frames = Tensor::<2>::from_data(TensorData::new(frames, [read, 9]), &rows.device());
        net.planes(rows.reshape([b, k, c, h, w]).narrow(1, 0, read), frames)
    }
}

impl Kind for TriplaneConfig {
    fn check(&self) -> Result<(), String> {
        self.check()
    }

    fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        match sample == self.sample() {
            true => Ok(self.latent()),
            false => Err(Error::Usage(format!("samples of shape {sample} are not views of shape {}", self.sample()))),
        }
    }

    fn open(&self, data: &DataConfig, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        shapes::open(data, self.cameras.clone(), context)
    }

    fn open_test(&self, data: &DataConfig, context: &mut Context) -> Result<Option<TestPart>, Error> {
        shapes::open_test(data, self.cameras.clone(), context)
    }

    fn seeks_level(&self) -> bool {
        self.level.is_none()
    }

    fn rehearse(&self, recipe: &CodecRecipe) -> Result<(), Error> {
        self.build(None, &Device::flex())?;
        shapes::check_batch(&recipe.data, recipe.train.micro_batch())
    }

    fn train(
        &self,
        stage: Stage<'_>,
        _: Shape,
        source: &mut SampleSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let task = Learned(TriplaneTask::new(self.clone(), stage.seed));
        let net = self.build(Some(stage.seed), &context.device.device)?;
        stage.run(net, &task, source, context)
    }

    fn load(&self, _: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error> {
        let net = load_weights(self.build(None, device)?, checkpoint, Which::Best)?;
        // Frozen, also where a loss is led through it.
        Ok(Box::new(Planes { net: net.no_grad(), config: self.clone(), rays: OnceLock::new() }))
    }
}

/// A trained network of [`TriplaneConfig`].
struct Planes {
    net: Lrm,
    config: TriplaneConfig,
    /// What the pixels of its views look along, once somebody asks.
    rays: OnceLock<Vec<Ray>>,
}

impl Planes {
    /// Rows `[b m]` as planes.
    fn shaped(&self, latents: Tensor<2>) -> Tensor<5> {
        let (b, [p, c, h, w]) = (latents.dims()[0], self.config.network.planes());
        latents.reshape([b, p, c, h, w])
    }

    fn single(&self, latent: &[f32], device: &Device) -> Tensor<5> {
        let length = [1, latent.len()];
        self.shaped(Tensor::from_data(TensorData::new(latent.to_vec(), length), device))
    }
}

impl Coder for Planes {
    fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let b = rows.dims()[0];
        Ok(self.config.planes(&self.net, rows).reshape([b, self.config.latent().numel()]))
    }

    fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
        drawn(&self.net, &self.config, self.shaped(latents))
    }

    fn drawn(&self) -> Shape {
        self.config.sample()
    }

    fn solid(&self) -> Option<&dyn Solid> {
        Some(self)
    }

    fn views(&self) -> Option<&dyn Views> {
        Some(self)
    }

    fn object(&self, latents: Tensor<2>) -> Option<Result<Tensor<2>, Error>> {
        Some(object(&self.net, self.shaped(latents)))
    }
}

impl Views for Planes {
    fn sizes(&self) -> [usize; 2] {
        [self.config.cameras.views.len(), self.config.cameras.size]
    }

    fn rendered(&self, latents: Tensor<2>, windows: &[Window], side: usize) -> Tensor<4> {
        let rays = self.rays.get_or_init(|| self.config.cameras.rays());
        through(&self.net, (&self.config, rays), self.shaped(latents), windows, side)
    }

    fn tape_bytes(&self, side: usize) -> u64 {
        // For each point: features of four corners of three planes, read, weighed and added up; hidden numbers before and after their
        // activations; density, colour, and what light makes of both.
        let LrmConfig { channels, hidden, .. } = self.config.network;
        let (corners, rest) = (12, 32);
        let numbers = 2 * corners * channels + 3 * channels + 2 * corners + 4 * hidden + rest;
        4 * (side * side * self.config.samples * numbers) as u64
    }

    fn shown(&self, row: &[f32], window: &Window, side: usize) -> Vec<f32> {
        crop(&self.config, row, window, side)
    }
}

/// The colours of a row of views in a window of `side` pixels, `[3 side side]`.
fn crop(config: &TriplaneConfig, row: &[f32], window: &Window, side: usize) -> Vec<f32> {
    let (size, [top, left]) = (config.cameras.size, window.corner);
    let line = |i: usize| {
        let (colour, y) = (i / side, i % side);
        let at = ((window.view * CHANNELS + colour) * size + top + y) * size + left;
        &row[at..at + side]
    };
    (0..3 * side).flat_map(line).copied().collect()
}

impl Solid for Planes {
    fn surface(&self, latent: &[f32], offset: f64, depth: u32, device: &Device) -> Result<Extracted, Error> {
        surface(&self.net, &self.config, &self.single(latent, device), offset, depth)
    }

    fn field(&self, latent: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error> {
        field(&self.net, &self.config, &self.single(latent, device), points)
    }
}
