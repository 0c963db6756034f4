//! `shape compare`: how near two meshes are.

use super::load;
use crate::{Error, error};
use media::shape::{Mesh, SignedDistance, sample};
use metrics::shape::{Nearness, nearness, volume_iou};
use serde::Serialize;
use std::path::Path;

/// How near two meshes are, in units of the cube that the first is fitted into.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Distances between points of the surfaces.
    #[serde(flatten)]
    pub nearness: Nearness,
    /// Volume of the intersection over that of the union.
    pub volume_iou: f64,
    /// Points drawn from each surface.
    pub points: usize,
    /// What was mended or left out.
    pub notes: Vec<String>,
}

/// Points of the cube at which inside and outside are compared.
const PROBES: usize = 50_000;

/// Compares `second` with `first` on `points` points of each. The first is fitted into the cube and the second moved with it;
/// with `fit` each is fitted by itself, so that size and place do not count.
///
/// # Errors
/// A mesh that cannot be read.
pub fn compare(first: &Path, second: &Path, points: usize, seed: u64, fit: bool) -> Result<Compared, Error> {
    error::within("--points", points, 1..=1_000_000)?;
    let (a, b) = (load(first)?, load(second)?);
    let moved = |p: &media::shape::Point| [0, 1, 2].map(|k| (p[k] - a.fitted.centre[k]) * a.fitted.scale);
    let other = if fit {
        b.fitted.mesh.clone()
    } else {
        Mesh { points: b.loaded.mesh.points.iter().map(moved).collect(), faces: b.loaded.mesh.faces.clone() }
    };
    let clouds = [&a.fitted.mesh, &other].map(|mesh| sample::surface(mesh, points, seed));
    let [p, q] = &clouds;
    let nearness = nearness(&p.points, &p.normals, &q.points, &q.normals)?;
    let probes = sample::volume(PROBES, 1.0, seed);
    let inside = |mesh: &Mesh| SignedDistance::new(mesh).map(|distance| distance.of(&probes)).unwrap_or_default();
    let volume_iou = volume_iou(&inside(&a.fitted.mesh), &inside(&other))?;
    let notes = [(first, &a), (second, &b)]
        .into_iter()
        .flat_map(|(path, placed)| placed.loaded.notes.iter().map(move |note| format!("{}: {note}", path.display())));
    Ok(Compared { nearness, volume_iou, points, notes: notes.collect() })
}
