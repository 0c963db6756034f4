//! What a codec of shapes loses on the way there and back, on shapes it has not seen.

use crate::{Context, Error, codec::Codec, context::Event, host::host};
use base::{Tensor, TensorData};
use data::{Dataset, Values};
use media::shape::{
    Mesh, Point,
    record::{Counts, Record},
    sample,
};
use metrics::shape::{Nearness, nearness, volume_iou};
use serde::Serialize;
use std::collections::HashMap;

pub use crate::shapes::DEPTH;

/// The way to tokens and back: means over shapes.
#[derive(Clone, Debug, Serialize)]
pub struct RoundTrip {
    /// How many shapes.
    pub shapes: usize,
    /// Of them those whose tokens had no surface: in no mean but that of the volume.
    pub without_surface: usize,
    /// Distances between points of the surfaces.
    #[serde(flatten)]
    pub nearness: Nearness,
    /// Volume of the intersection over that of the union, at points of the cube, those of all shapes together.
    pub volume_iou: f64,
}

/// The first `most` shapes of `set` there and back, with the surfaces that came back.
///
/// # Errors
/// A set of other rows than the codec's; a network that says no numbers.
pub fn round_trip(
    set: &dyn Dataset,
    counts: Counts,
    codec: &Codec,
    most: usize,
    context: &mut Context,
) -> Result<(RoundTrip, Vec<Mesh>), Error> {
    let device = context.device.device.clone();
    let count = set.len().min(most);
    let (mut sum, mut meshes, mut measured) = ([0.0; 5], Vec::new(), 0);
    let (mut truth, mut said) = (Vec::new(), Vec::new());
    context.tell(Event::Begin { what: "shapes", total: count as u64 });
    for i in 0..count {
        context.go_on()?;
        let wrong = || Error::Failure(format!("{}: sample {i} is no row of points", set.name()));
        let Values::Numbers(row) = set.get(i)?.values else { return Err(wrong()) };
        let record = Record::of(&row, counts).ok_or_else(wrong)?;
        let rows = Tensor::<2>::from_data(TensorData::new(row.clone(), [1, row.len()]), &device);
        let tokens = host(codec.raw(codec.encode(rows)?))?;
        let mesh = codec.surface(&tokens, DEPTH, &device)?.mesh;
        let places: Vec<Point> = record.volume.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
        said.extend(codec.field(&tokens, &places, &device)?);
        truth.extend(record.volume.iter().map(|p| f64::from(p[3])));
        let (ours, theirs) = (sample::surface(&mesh, counts.surface, 0), record.cloud());
        if !ours.points.is_empty() {
            let near = nearness(&theirs.points, &theirs.normals, &ours.points, &ours.normals)?;
            let values = [near.chamfer_l1, near.chamfer_l2, near.f_near, near.f_far, near.normal_consistency];
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            measured += 1;
        }
        meshes.push(mesh);
        context.tell(Event::Advance { done: i as u64 + 1 });
    }
    context.tell(Event::End);
    let [chamfer_l1, chamfer_l2, f_near, f_far, normal_consistency] = sum.map(|sum| sum / f64::from(measured.max(1)));
    let nearness = Nearness { chamfer_l1, chamfer_l2, f_near, f_far, normal_consistency };
    let without_surface = count - measured as usize;
    let found = RoundTrip { shapes: count, without_surface, nearness, volume_iou: volume_iou(&truth, &said)? };
    Ok((found, meshes))
}

/// The density at which the surfaces of a codec lie that knows no distances.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// Where it agrees best with the training shapes, and the surface is taken from then on.
    pub density: f64,
    /// How well: as [`RoundTrip::volume_iou`].
    pub volume_iou: f64,
    /// How well at the density 10, which InstantMesh takes.
    pub at_ten: f64,
    /// Shapes that were asked.
    pub shapes: usize,
}

/// Where in the fields of `codec`, whose raw `latents` are those of the shapes called `names`, the surface lies; the shapes are those of
/// `set`, rows of points.
///
/// # Errors
/// A set of other rows; a network that says no numbers.
pub fn level(
    codec: &mut Codec,
    latents: &[f32],
    names: &HashMap<&str, usize>,
    (set, counts): (&dyn Dataset, Counts),
    context: &mut Context,
) -> Result<Level, Error> {
    let (device, size) = (context.device.device.clone(), codec.latent.numel());
    let (mut truth, mut said, mut shapes) = (Vec::new(), Vec::new(), 0);
    for i in 0..set.len() {
        context.go_on()?;
        let known = set.key(i).and_then(|name| names.get(name)).and_then(|at| latents.get(at * size..(at + 1) * size));
        let Some(latent) = known else { continue };
        let wrong = || Error::Failure(format!("{}: sample {i} is no row of points", set.name()));
        let Values::Numbers(row) = set.get(i)?.values else { return Err(wrong()) };
        let record = Record::of(&row, counts).ok_or_else(wrong)?;
        let places: Vec<Point> = record.volume.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
        said.extend(codec.field(latent, &places, &device)?);
        truth.extend(record.volume.iter().map(|p| f64::from(p[3])));
        shapes += 1;
    }
    if shapes == 0 {
        return Err(Error::Failure(format!("{}: none of its shapes has a latent to find a surface in", set.name())));
    }
    let (offset, volume_iou) = agreeing(&truth, &said);
    let ten: Vec<f64> = said.iter().map(|said| said + 10f64.ln()).collect();
    let at_ten = metrics::shape::volume_iou(&truth, &ten)?;
    codec.moments.offset = offset;
    Ok(Level { density: (-offset).exp(), volume_iou, at_ten, shapes })
}

/// The value below which `said` is negative where `truth` is, as well as any value can say, and the intersection over the union there.
fn agreeing(truth: &[f64], said: &[f64]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..said.len()).filter(|i| said[*i].is_finite()).collect();
    order.sort_by(|a, b| said[*a].total_cmp(&said[*b]));
    let inside = truth.iter().filter(|d| **d < 0.0).count();
    let (mut hits, mut best) = (0, (0.0, 0.0));
    for (k, &i) in order.iter().enumerate() {
        hits += usize::from(truth[i] < 0.0);
        let Some(&next) = order.get(k + 1).filter(|next| said[**next] > said[i]) else { continue };
        let share = hits as f64 / (inside + k + 1 - hits).max(1) as f64;
        if share > best.1 {
            best = ((said[i] + said[next]) / 2.0, share);
        }
    }
    best
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { density, volume_iou, at_ten, shapes } = self;
        write!(
            f,
            "surfaces lie at the density {density:.3}: volume IoU {volume_iou:.3} over {shapes} training shapes; {at_ten:.3} at 10"
        )
    }
}

impl std::fmt::Display for RoundTrip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Nearness { chamfer_l1, f_near, f_far, normal_consistency, .. } = self.nearness;
        write!(
            f,
            "{} held-out shapes come back: Chamfer-L1 {chamfer_l1:.4}, F@0.02 {f_near:.3}, F@0.05 {f_far:.3}, normal consistency \
             {normal_consistency:.3}, volume IoU {:.3}",
            self.shapes, self.volume_iou
        )?;
        match self.without_surface {
            0 => Ok(()),
            none => write!(f, "; {none} without a surface"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the threshold at a value in place of between two; what is missed left out of the union; equal values cut apart.
    #[test]
    fn the_level_is_where_inside_and_outside_agree_best() {
        let truth = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0];
        // Below 5: three of three inside, and one that is not.
        let (offset, share) = agreeing(&truth, &[1.0, 2.0, 3.0, 4.0, 6.0, 7.0]);
        assert_eq!((offset, share), (5.0, 0.75));
        // Below 2.5: two of three, nothing else.
        let (offset, share) = agreeing(&[-1.0, -1.0, 1.0, 1.0, -1.0], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((offset, share), (2.5, 2.0 / 3.0));
        // Those that are alike lie on one side.
        assert_eq!(agreeing(&[-1.0, 1.0, 1.0], &[1.0, 1.0, 2.0]), (1.5, 0.5));
        assert_eq!(agreeing(&[], &[]), (0.0, 0.0));
    }
}
