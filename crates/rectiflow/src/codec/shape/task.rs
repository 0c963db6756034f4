//! How a codec of shapes learns: TripoSG (arXiv:2502.06608), sec. 3.2, eq. 5 to 8, on points drawn anew in every step from each shape's row.

use super::{
    super::Loses,
    ShapeConfig,
    field::{anchors, tensor},
};
use base::{Device, Key, Purpose, Tensor};
use media::shape::record::{OFF, ON, Record};
use nets::{
    ShapeCodec,
    shape::{
        losses,
        losses::{ShapeTarget, ShapeWeights},
    },
};
use train::{Batch, TrainError};

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

impl Loses<ShapeCodec> for ShapeTask {
    type Config = ShapeConfig;

    fn config(&self) -> &ShapeConfig {
        &self.config
    }

    fn lost(&self, net: &ShapeCodec, batch: &Batch, device: &Device, draws: bool) -> Result<Tensor<1>, TrainError> {
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
        // On the surface there is a distance, and neither inside nor outside.
        let held = |at: Tensor<2>, apart: Tensor<2>, truth: Tensor<2>| match config.target {
            ShapeTarget::Occupancy => losses::occupancy(apart, truth),
            ShapeTarget::Distance => {
                let zeros = at.zeros_like();
                losses::distance(Tensor::cat(vec![at, apart], 1), Tensor::cat(vec![zeros, truth], 1))
            }
        };
        if !draws || (normal == 0.0 && eikonal == 0.0) {
            let at = net.decoder.field(&prepared, places);
            let held = held(at, apart, truth);
            return Ok(if draws { held + losses::kl(&moments) * kl } else { held });
        }
        let (at, slope) = net.decoder.field_and_gradient(&prepared, places, config.step);
        let zeros = at.zeros_like();
        Ok(held(at, apart, truth)
            + losses::normal(slope.clone(), normals) * normal
            + losses::eikonal(slope, zeros, config.network.truncation) * eikonal
            + losses::kl(&moments) * kl)
    }
}
