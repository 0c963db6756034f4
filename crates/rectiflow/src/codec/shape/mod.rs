//! The codec of TripoSG (arXiv:2502.06608), sec. 3.2: points of a surface become tokens, and tokens a field of signed distances whose
//! surface is a mesh.

mod field;
mod task;
#[cfg(test)]
mod tests;

pub use task::ShapeTask;

use super::{CodecRecipe, Coder, Kind, Learned, Solid};
use crate::{
    Context, Error,
    host::host,
    runs::{Stage, TrainReport},
    shapes,
};
use base::{Device, Shape, Tensor};
use data::{DataConfig, Dataset, TestPart};
use field::{distances, encode, prepare, surface};
use media::shape::{Extracted, Point, record::Counts};
use nets::{
    Init, ShapeCodec, ShapeCodecConfig,
    shape::losses::{ShapeTarget, ShapeWeights},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use train::{
    SampleSource,
    checkpoint::{Checkpoint, Which, load_weights},
};

/// A codec of shapes: its network, its losses, and what it sees of a shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapeConfig {
    /// Sizes of the network.
    pub network: ShapeCodecConfig,
    /// Weights of the losses.
    pub loss: ShapeWeights,
    /// What the field is held to: `distance` or `occupancy`.
    pub target: ShapeTarget,
    /// Tokens of a shape.
    pub tokens: usize,
    /// Points of the surface that the encoder reads in a training step; it reads all there are when it encodes.
    pub cloud: usize,
    /// Points of the surface at which distance, normal and slope are compared in a step.
    pub on: usize,
    /// Points near the surface, and as many halves of the cube, at which the distance is compared in a step.
    pub near: usize,
    /// Half width of the differences that give the slope.
    pub step: f64,
    /// Points that a shape is kept as.
    pub points: Counts,
}

impl Default for ShapeConfig {
    fn default() -> Self {
        Self {
            network: ShapeCodecConfig::default(),
            loss: ShapeWeights::default(),
            target: ShapeTarget::default(),
            tokens: 32,
            cloud: 512,
            on: 128,
            near: 256,
            step: 0.01,
            points: Counts::default(),
        }
    }
}

impl ShapeConfig {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        self.network.check().map_err(|error| error.to_string())?;
        self.points.check().map_err(|reason| format!("codec.points.{reason}"))?;
        let Counts { surface, near, volume } = self.points;
        for (key, value, most) in [
            ("cloud", self.cloud, surface),
            ("on", self.on, surface),
            ("near", self.near, near.min(2 * volume)),
            ("tokens", self.tokens, self.cloud),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!(
                    "codec.{key} = {value}; give 1 to {most}, as many as there are points to choose from"
                ));
            }
        }
        if !(self.step > 0.0 && self.step < 0.1) {
            return Err(format!("codec.step = {}; give a small length such as 0.01", self.step));
        }
        let ShapeWeights { normal, eikonal, kl } = self.loss;
        if self.target == ShapeTarget::Occupancy && eikonal != 0.0 {
            return Err(format!(
                "codec.loss.eikonal = {eikonal}: it asks for the slope of a distance, and codec.target is occupancy; set it to 0"
            ));
        }
        for (key, value) in [("normal", normal), ("eikonal", eikonal), ("kl", kl)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("codec.loss.{key} = {value}; give a number from 0"));
            }
        }
        Ok(())
    }

    /// The network, its weights drawn from `seed`, or declared only without one.
    ///
    /// # Errors
    /// Sizes that cannot be built.
    pub fn build(&self, seed: Option<u64>, device: &Device) -> Result<ShapeCodec, Error> {
        let init = seed.map_or_else(|| Init::declared(device), |seed| Init::new(seed, device));
        Ok(self.network.build(&init)?)
    }

    /// The shape of a row.
    pub fn sample(&self) -> Shape {
        [self.points.numbers()].into()
    }

    /// The shape of its tokens, `[n d]`.
    pub fn latent(&self) -> Shape {
        [self.tokens, self.network.channels].into()
    }
}

impl Kind for ShapeConfig {
    fn check(&self) -> Result<(), String> {
        self.check()
    }

    fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        match sample == self.sample() {
            true => Ok(self.latent()),
            false => Err(Error::Usage(format!("samples of shape {sample} are not rows of {} numbers", self.sample()))),
        }
    }

    fn open(&self, data: &DataConfig, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        shapes::open(data, self.points, context)
    }

    fn open_test(&self, data: &DataConfig, context: &mut Context) -> Result<Option<TestPart>, Error> {
        shapes::open_test(data, self.points, context)
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
        let task = Learned(ShapeTask { config: self.clone(), seed: stage.seed });
        let net = self.build(Some(stage.seed), &context.device.device)?;
        stage.run(net, &task, source, context)
    }

    fn load(&self, _: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error> {
        let net = load_weights(self.build(None, device)?, checkpoint, Which::Best)?;
        Ok(Box::new(Tokens { net, config: self.clone() }))
    }

    fn points(&self) -> Option<Counts> {
        Some(self.points)
    }
}

/// A trained network of [`ShapeConfig`].
struct Tokens {
    net: ShapeCodec,
    config: ShapeConfig,
}

impl Coder for Tokens {
    fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let (b, device) = (rows.dims()[0], rows.device());
        Ok(encode(&self.net, &self.config, &host(rows)?, &device)?.reshape([b, self.config.latent().numel()]))
    }

    // A shape has no row: its surface is asked for.
    fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
        latents
    }

    fn drawn(&self) -> Shape {
        self.config.latent()
    }

    fn solid(&self) -> Option<&dyn Solid> {
        Some(self)
    }
}

impl Solid for Tokens {
    fn surface(&self, latent: &[f32], offset: f64, depth: u32, device: &Device) -> Result<Extracted, Error> {
        surface(&self.net, &self.config, latent, offset, depth, device)
    }

    fn field(&self, latent: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error> {
        distances(&self.net, &self.config, &prepare(&self.net, &self.config, latent, device), points)
    }
}
