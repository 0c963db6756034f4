//! `shape sample` and `shape sdf`: points on, near and around a mesh, and its signed distance.

use super::{FILL, load};
use crate::{Error, error};
use media::shape::{Cloud, SignedDistance, sample as draw, write};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On the surface, with normals.
    Surface,
    /// Around the surface.
    Near,
    /// In the cube around the mesh.
    Volume,
}

/// Which points, and where they go.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// The mesh.
    pub path: PathBuf,
    /// Where they are drawn.
    pub place: Where,
    /// How many.
    pub points: usize,
    /// Of them the farthest from one another; all where 0.
    pub farthest: usize,
    /// Near the surface: the standard deviation, in units of the cube [-1, 1]³ that the mesh is fitted into.
    pub spread: f64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Whether the points are given in the cube rather than in the file's own coordinates.
    pub fit: bool,
    /// A .ply or .npy file.
    pub output: PathBuf,
}

/// Draws points of a mesh and writes them.
///
/// # Errors
/// A mesh that cannot be read, an ending other than .ply and .npy, a file that cannot be written.
pub fn sample(request: &SampleRequest) -> Result<Value, Error> {
    error::within("--points", request.points, 1..=50_000_000)?;
    if !(request.spread.is_finite() && request.spread >= 0.0) {
        return Err(Error::Usage(format!("--spread {}: a length of the cube, such as 0.05", request.spread)));
    }
    let npy = is_npy(&request.output)?;
    let placed = load(&request.path)?;
    let mesh = &placed.fitted.mesh;
    let mut cloud = match request.place {
        Where::Surface => draw::surface(mesh, request.points, request.seed),
        Where::Near => {
            Cloud { points: draw::near(mesh, request.points, request.spread, request.seed), normals: vec![] }
        }
        Where::Volume => Cloud { points: draw::volume(request.points, 1.0, request.seed), normals: vec![] },
    };
    if request.farthest > 0 {
        let kept = draw::farthest(&cloud.points, request.farthest, 0);
        let pick = |all: &[media::shape::Point]| kept.iter().filter_map(|&i| all.get(i).copied()).collect();
        cloud = Cloud { points: pick(&cloud.points), normals: pick(&cloud.normals) };
    }
    if !request.fit {
        cloud.points.iter_mut().for_each(|p| *p = placed.back(*p));
    }
    if npy {
        let columns = if cloud.normals.is_empty() { 3 } else { 6 };
        let row = |i: usize| cloud.points[i].into_iter().chain(cloud.normals.get(i).into_iter().flatten().copied());
        let values: Vec<f32> = (0..cloud.points.len()).flat_map(row).map(|v| v as f32).collect();
        media::arrays::save_npy(&request.output, &[cloud.points.len(), columns], &values)?;
    } else {
        write::write_cloud(&request.output, &cloud)?;
    }
    Ok(json!({
        "points": cloud.points.len(),
        "normals": !cloud.normals.is_empty(),
        "centre": placed.fitted.centre,
        "scale": placed.fitted.scale,
        "notes": placed.loaded.notes,
        "output": request.output.display().to_string(),
    }))
}

/// Where the signed distance is asked, and where it goes.
#[derive(Clone, Debug)]
pub struct SdfRequest {
    /// The mesh.
    pub path: PathBuf,
    /// Points `[n 3]` in the file's own coordinates; a lattice over the cube without them.
    pub points: Option<PathBuf>,
    /// Cells to a side of the lattice, which has one point more.
    pub resolution: usize,
    /// An .npy file: `[n]` at points; `[x y z]` on the lattice, in units of the cube.
    pub output: PathBuf,
}

/// Writes the signed distance of a mesh: negative inside, exact, the sign by winding number.
///
/// # Errors
/// A mesh or points that cannot be read; a file that cannot be written.
pub fn sdf(request: &SdfRequest) -> Result<Value, Error> {
    error::within("--resolution", request.resolution, 1..=512)?;
    if !is_npy(&request.output)? {
        return Err(Error::Usage(format!("--output {}: distances are written as .npy", request.output.display())));
    }
    let placed = load(&request.path)?;
    let (mesh, points, shape) = match &request.points {
        Some(path) => {
            let (shape, values) = media::arrays::read_array(path)?;
            let &[count, 3] = &shape[..] else {
                return Err(Error::Failure(format!("{} has shape {shape:?}; points are [n 3]", path.display())));
            };
            let points = values.as_chunks::<3>().0.to_vec();
            if let Some(row) = points.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
                return Err(Error::Failure(format!("{}: row {row} is no point", path.display())));
            }
            (&placed.loaded.mesh, points, vec![count])
        }
        None => {
            let n = request.resolution as u32;
            let lattice = media::shape::Lattice::cube(1.0, n);
            let line = move || 0..=n;
            let all = line().flat_map(|x| line().flat_map(move |y| line().map(move |z| [x, y, z])));
            (&placed.fitted.mesh, all.map(|at| lattice.point(at)).collect(), vec![n as usize + 1; 3])
        }
    };
    let empty = || Error::Failure(format!("{} has no faces", request.path.display()));
    let distance = SignedDistance::new(mesh).ok_or_else(empty)?;
    let values: Vec<f32> = distance.of(&points).into_iter().map(|v| v as f32).collect();
    media::arrays::save_npy(&request.output, &shape, &values)?;
    let inside = values.iter().filter(|&&v| v < 0.0).count();
    Ok(json!({
        "values": values.len(),
        "inside": inside,
        "centre": placed.fitted.centre,
        "scale": placed.fitted.scale,
        "fill": FILL,
        "notes": placed.loaded.notes,
        "output": request.output.display().to_string(),
    }))
}

/// Whether the ending is .npy; .ply is the other one allowed.
fn is_npy(path: &Path) -> Result<bool, Error> {
    match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
        Some("npy") => Ok(true),
        Some("ply") => Ok(false),
        _ => Err(Error::Usage(format!("--output {}: name it .ply or .npy", path.display()))),
    }
}
