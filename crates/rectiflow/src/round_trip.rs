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
