//! What a trained codec of shapes does: points of a surface to tokens, tokens to a field, a field to a mesh.

use super::ShapeConfig;
use crate::{Error, host::host};
use base::{Device, Tensor, TensorData};
use media::shape::{
    Extracted, Octree, Point, extract,
    record::{ON, Record},
    sample,
};
use nets::{
    ShapeCodec,
    shape::{Moments, losses::ShapeTarget},
};

/// Numbers `[b n d]` as a tensor.
pub(super) fn tensor(values: Vec<f32>, [b, d]: [usize; 2], device: &Device) -> Tensor<3> {
    let n = values.len() / (b * d).max(1);
    Tensor::from_data(TensorData::new(values, [b, n, d]), device)
}

/// Of `cloud`, `[p 6]`, the `count` points farthest from one another, the first of them first.
pub(super) fn anchors(cloud: &[[f32; ON]], count: usize) -> impl Iterator<Item = [f32; ON]> + '_ {
    let places: Vec<Point> = cloud.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
    sample::farthest(&places, count, 0).into_iter().map(|i| cloud[i])
}

/// Rows of points `[b n]` to rows of tokens `[b n d]`: the means, of anchors far from one another.
///
/// # Errors
/// Rows of another length.
pub(super) fn encode(
    net: &ShapeCodec,
    config: &ShapeConfig,
    rows: &[f32],
    device: &Device,
) -> Result<Tensor<3>, Error> {
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
pub(super) fn prepare(net: &ShapeCodec, config: &ShapeConfig, tokens: &[f32], device: &Device) -> Tensor<3> {
    net.decoder.prepare(tensor(tokens.to_vec(), [1, config.network.channels], device))
}

/// Points asked of the network at once.
const ASKED: usize = 1 << 13;

/// The signed distance, cut at the truncation, that `prepared` tokens of one shape say at `points`.
///
/// # Errors
/// A tensor that cannot be read back.
pub(super) fn distances(
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
        // A logit has no length: what stands for a distance is how sure it is, cut off as one.
        let length = |said: f32| match config.target {
            ShapeTarget::Distance => f64::from(said),
            ShapeTarget::Occupancy => (f64::from(said) / 2.0).tanh(),
        };
        all.extend(said.into_iter().map(|said| length(said) * config.network.truncation));
    }
    Ok(all)
}

/// Where the distance that `tokens` `[n d]` say is `offset`: the surface of their shape, at `2^depth` cells to a side of the cube.
///
/// # Errors
/// A field that is no number.
pub(super) fn surface(
    net: &ShapeCodec,
    config: &ShapeConfig,
    tokens: &[f32],
    offset: f64,
    depth: u32,
    device: &Device,
) -> Result<Extracted, Error> {
    let prepared = prepare(net, config, tokens, device);
    let mut field = |points: &[Point]| -> Result<Vec<f64>, Error> {
        Ok(distances(net, config, &prepared, points)?.into_iter().map(|said| said - offset).collect())
    };
    // What a network says is a distance only nearly: half as much again is kept.
    // Nor does how sure it is say how near the surface is: more cells are asked.
    let first = if config.target == ShapeTarget::Occupancy { 6 } else { 4 };
    let plan = Octree { margin: 1.5, ..Octree::new(first, depth) };
    extract::octree([[-1.0; 3], [1.0; 3]], plan, &mut field).map_err(|error| match error {
        extract::ExtractError::Field(error) => error,
        other => Error::Failure(format!("{other}: the network that decodes is broken; train it anew")),
    })
}
