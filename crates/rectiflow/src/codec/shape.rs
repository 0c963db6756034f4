//! How a codec of shapes learns, and what it does once trained: points of a surface to tokens, tokens to a field, a field to a mesh.
//! TripoSG (arXiv:2502.06608), sec. 3.2: eq. 5 to 8 on points drawn anew in every step from each shape's row.

use super::{CodecRecipe, Coder, Kind, Solid};
use crate::{
    Context, Error,
    host::host,
    runs::{Stage, TrainReport},
    shapes,
};
use base::{Device, Key, Purpose, Shape, Tensor, TensorData, Times};
use data::{DataConfig, Dataset, TestPart};
use media::shape::{
    Extracted, Octree, Point, extract,
    record::{Counts, OFF, ON, Record},
    sample,
};
use nets::{
    Init, ShapeCodec, ShapeCodecConfig,
    shape::{Moments, losses, losses::ShapeWeights},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use train::{
    Batch, ImageSource, Live, Task, TrainError,
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
        source: &mut ImageSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let task = ShapeTask { config: self.clone(), seed: stage.seed };
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
    fn surface(&self, latent: &[f32], depth: u32, device: &Device) -> Result<Extracted, Error> {
        surface(&self.net, &self.config, latent, depth, device)
    }

    fn field(&self, latent: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error> {
        distances(&self.net, &self.config, &prepare(&self.net, &self.config, latent, device), points)
    }
}

/// The losses of [`ShapeConfig`] over rows of points.
pub struct ShapeTask {
    /// Sizes and weights.
    pub config: ShapeConfig,
    /// Seed of the points' choice and the tokens' noise.
    pub seed: u64,
}

/// `count` of `all`, one after another from a random place on, and from the front again: the points of a row are drawn
/// independently, so any so many of them are as good as others.
fn some<T: Copy>(all: &[T], count: usize, place: f64) -> impl Iterator<Item = T> + '_ {
    let first = (place * all.len() as f64) as usize;
    (0..count).map(move |i| all[(first + i) % all.len()])
}

/// Numbers `[b n d]` as a tensor.
fn tensor(values: Vec<f32>, [b, d]: [usize; 2], device: &Device) -> Tensor<3> {
    let n = values.len() / (b * d).max(1);
    Tensor::from_data(TensorData::new(values, [b, n, d]), device)
}

/// Of `cloud`, `[p 6]`, the `count` points farthest from one another, the first of them first.
fn anchors(cloud: &[[f32; ON]], count: usize) -> impl Iterator<Item = [f32; ON]> + '_ {
    let places: Vec<Point> = cloud.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
    sample::farthest(&places, count, 0).into_iter().map(|i| cloud[i])
}

impl ShapeTask {
    fn of(&self, net: &ShapeCodec, batch: &Batch, device: &Device, draws: bool) -> Result<Tensor<1>, TrainError> {
        let config = &self.config;
        let b = batch.len();
        let (mut cloud, mut seeds, mut on, mut off) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (row, &index) in batch.x1.chunks_exact(batch.shape.numel()).zip(&batch.indices) {
            let record = Record::of(row, config.points).ok_or_else(|| {
                TrainError::Objective(format!("a row of {} numbers is not one of {:?}", row.len(), config.points))
            })?;
            let place = |lane: u64| Key::new(self.seed, Purpose::Augment).fold(lane).uniform(index);
            let seen: Vec<[f32; ON]> = some(record.surface, config.cloud, place(0)).collect();
            seeds.extend(anchors(&seen, config.tokens).flatten());
            cloud.extend(seen.into_iter().flatten());
            on.extend(some(record.surface, config.on, place(1)).flatten());
            let near = some(record.near, config.near, place(2));
            off.extend(near.chain(some(record.volume, config.near.div_ceil(2), place(3))).flatten());
        }
        let [cloud, seeds, on] = [cloud, seeds, on].map(|values| tensor(values, [b, ON], device));
        let off = tensor(off, [b, OFF], device);
        let moments = net.encoder.forward(cloud, seeds);
        let tokens = match draws {
            true => {
                let noise = Key::new(self.seed, Purpose::Latent);
                moments.draw(noise.normal_tensor(&batch.indices, moments.mean.dims(), device))
            }
            false => moments.mean.clone(),
        };
        let prepared = net.decoder.prepare(tokens);
        let (places, normals) = (on.clone().narrow(2, 0, 3), on.narrow(2, 3, 3));
        let truth: Tensor<2> = off.clone().narrow(2, 3, 1).squeeze_dim::<2>(2);
        let truth = (truth / config.network.truncation).clamp(-1.0, 1.0);
        let apart = net.decoder.field(&prepared, off.narrow(2, 0, 3));
        let ShapeWeights { normal, eikonal, kl } = config.loss;
        if !draws || (normal == 0.0 && eikonal == 0.0) {
            let at = net.decoder.field(&prepared, places);
            let zeros = at.zeros_like();
            let distance = losses::distance(Tensor::cat(vec![at, apart], 1), Tensor::cat(vec![zeros, truth], 1));
            return Ok(if draws { distance + losses::kl(&moments) * kl } else { distance });
        }
        let (at, slope) = net.decoder.field_and_gradient(&prepared, places, config.step);
        let zeros = at.zeros_like();
        let distance = losses::distance(Tensor::cat(vec![at, apart], 1), Tensor::cat(vec![zeros.clone(), truth], 1));
        Ok(distance
            + losses::normal(slope.clone(), normals) * normal
            + losses::eikonal(slope, zeros, config.network.truncation) * eikonal
            + losses::kl(&moments) * kl)
    }
}

impl Task<ShapeCodec> for ShapeTask {
    fn loss(&self, live: &Live<'_, ShapeCodec>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        live.within(|net| self.of(net, batch, device, true))
    }

    fn loss_at(
        &self,
        live: &Live<'_, ShapeCodec>,
        batch: &Batch,
        _: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        live.within(|net| self.of(net, batch, device, false))
    }

    fn identity(&self) -> (String, String) {
        (serde_json::to_string(&self.config).expect("sizes and weights are JSON"), "codec".into())
    }
}

/// Rows of points `[b n]` to rows of tokens `[b n d]`: the means, of anchors far from one another.
///
/// # Errors
/// Rows of another length.
fn encode(net: &ShapeCodec, config: &ShapeConfig, rows: &[f32], device: &Device) -> Result<Tensor<3>, Error> {
    let b = rows.len() / config.points.numbers();
    let (mut cloud, mut seeds) = (Vec::new(), Vec::new());
    for row in rows.chunks(config.points.numbers()) {
        let wrong = || Error::Failure(format!("a row of {} numbers is not one of {:?}", row.len(), config.points));
        let record = Record::of(row, config.points).ok_or_else(wrong)?;
        seeds.extend(anchors(record.surface, config.tokens).flatten());
        cloud.extend(record.surface.iter().flatten());
    }
    let [cloud, seeds] = [cloud, seeds].map(|values| tensor(values, [b, ON], device));
    let Moments { mean, .. } = net.encoder.forward(cloud, seeds);
    Ok(mean)
}

/// What `tokens` `[n d]` of one shape have to say, once for all points.
fn prepare(net: &ShapeCodec, config: &ShapeConfig, tokens: &[f32], device: &Device) -> Tensor<3> {
    net.decoder.prepare(tensor(tokens.to_vec(), [1, config.network.channels], device))
}

/// Points asked of the network at once.
const ASKED: usize = 1 << 13;

/// The signed distance, cut at the truncation, that `prepared` tokens of one shape say at `points`.
///
/// # Errors
/// A tensor that cannot be read back.
fn distances(
    net: &ShapeCodec,
    config: &ShapeConfig,
    prepared: &Tensor<3>,
    points: &[Point],
) -> Result<Vec<f64>, Error> {
    let device = prepared.device();
    let mut all = Vec::with_capacity(points.len());
    for points in points.chunks(ASKED) {
        let values: Vec<f32> = points.iter().flatten().map(|v| *v as f32).collect();
        let asked = tensor(values, [1, 3], &device);
        let said = host(net.decoder.field(prepared, asked))?;
        all.extend(said.into_iter().map(|v| f64::from(v) * config.network.truncation));
    }
    Ok(all)
}

/// The surface of the shape that `tokens` `[n d]` stand for, at `2^depth` cells to a side of the cube.
///
/// # Errors
/// A field that is no number.
fn surface(
    net: &ShapeCodec,
    config: &ShapeConfig,
    tokens: &[f32],
    depth: u32,
    device: &Device,
) -> Result<Extracted, Error> {
    let prepared = prepare(net, config, tokens, device);
    let mut field = |points: &[Point]| distances(net, config, &prepared, points);
    // What a network says is a distance only nearly: half as much again is kept.
    let plan = Octree { margin: 1.5, ..Octree::new(4, depth) };
    extract::octree([[-1.0; 3], [1.0; 3]], plan, &mut field).map_err(|error| match error {
        extract::ExtractError::Field(error) => error,
        other => Error::Failure(format!("{other}: the network that decodes is broken; train it anew")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::shape::{record::of_solid, solid::Kind};
    use train::{OptimConfig, Rows, Setup, TrainConfig};

    fn config() -> ShapeConfig {
        let network = ShapeCodecConfig {
            encoder_width: 32,
            encoder_depth: 1,
            decoder_width: 32,
            decoder_depth: 1,
            heads: 2,
            channels: 4,
            truncation: 0.25,
        };
        let points = Counts { surface: 256, near: 256, volume: 128 };
        ShapeConfig { network, tokens: 4, cloud: 64, on: 8, near: 32, points, ..ShapeConfig::default() }
    }

    fn batch(config: &ShapeConfig, kinds: &[Kind], indices: Vec<u64>) -> Batch {
        let rows = kinds.iter().flat_map(|kind| of_solid(&kind.draw(1, 0), config.points, 7)).collect();
        Batch::new(rows, config.sample(), indices)
    }

    /// Mutants: one place, or one noise, for the whole batch.
    #[test]
    fn a_samples_loss_does_not_depend_on_its_batch() {
        let (config, device) = (config(), Device::flex());
        let net = config.build(Some(3), &device).unwrap();
        let task = ShapeTask { config: config.clone(), seed: 5 };
        let losses = |kinds: &[Kind], indices: Vec<u64>| -> Vec<f32> {
            let loss = task.loss(&Live::plain(&net), &batch(&config, kinds, indices), &device).unwrap();
            loss.into_data().try_to_vec().unwrap()
        };
        let both = losses(&[Kind::Box, Kind::Torus], vec![3, 4]);
        let apart = [losses(&[Kind::Box], vec![3]), losses(&[Kind::Torus], vec![4])].concat();
        assert!(both.iter().zip(&apart).all(|(a, b)| (a - b).abs() < 1e-4), "{both:?} {apart:?}");
        let twice = losses(&[Kind::Box, Kind::Box], vec![3, 4]);
        assert!((twice[0] - twice[1]).abs() > 1e-4, "{twice:?}");
        let short = Batch::new(vec![0.0; 5], [5].into(), vec![0]);
        assert!(task.loss(&Live::plain(&net), &short, &device).is_err());
    }

    /// Mutants: a field positive inside; distances not divided by the truncation, or not multiplied back.
    #[test]
    fn a_ball_is_learned_and_its_surface_comes_back() {
        let (config, device) = (config(), Device::flex().autodiff());
        let ball = Kind::Sphere.draw(1, 0);
        let row = of_solid(&ball, config.points, 7);
        let task = ShapeTask { config: config.clone(), seed: 5 };
        let optim = OptimConfig { lr: 4e-3, warmup: 160, ..OptimConfig::default() };
        let training = TrainConfig { images: 1600, batch: 8, validate_every: 0, optim, ..TrainConfig::default() };
        let mut source = Rows::data(row.clone(), config.sample(), 8, 1);
        let net = config.build(Some(3), &device).unwrap();
        let outcome = train::train(net, Setup::new(&training, &task, &mut source), &mut ()).unwrap();
        let (net, device) = (outcome.state.sampler(), Device::flex());
        let tokens = host(encode(&net, &config, &row, &device).unwrap()).unwrap();
        assert_eq!(tokens.len(), config.latent().numel());
        let record = Record::of(&row, config.points).unwrap();
        let places: Vec<Point> = record.volume.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
        let said = distances(&net, &config, &prepare(&net, &config, &tokens, &device), &places).unwrap();
        let wanted = record.volume.iter().map(|p| f64::from(p[3]).clamp(-0.25, 0.25));
        let error = said.iter().zip(wanted).map(|(a, b)| (a - b).abs()).sum::<f64>() / said.len() as f64;
        assert!(error < 0.1, "{error}");
        let found = surface(&net, &config, &tokens, 5, &device).unwrap().mesh;
        assert!(found.volume() > 0.0, "{}", found.volume());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (wrong, key) in [
            (ShapeConfig { tokens: 65, ..config() }, "codec.tokens"),
            (ShapeConfig { cloud: 257, ..config() }, "codec.cloud"),
            (ShapeConfig { near: 0, ..config() }, "codec.near"),
            (ShapeConfig { step: 0.5, ..config() }, "codec.step"),
            (ShapeConfig { loss: ShapeWeights { kl: -1.0, ..ShapeWeights::default() }, ..config() }, "codec.loss.kl"),
        ] {
            assert!(wrong.check().unwrap_err().contains(key));
        }
        assert!(config().check().is_ok() && ShapeConfig::default().check().is_ok());
    }
}
