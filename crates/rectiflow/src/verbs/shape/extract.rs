//! `shape extract`: the surface of a lattice of distances, or of a mesh's own distance, which closes what was open.

use super::load;
use crate::{Error, error};
use media::shape::{Extracted, Lattice, Mesh, Octree, Point, SignedDistance, extract as cubes, repair, write};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// Where the field is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// At every point of the lattice.
    Dense,
    /// Near the surface alone.
    Octree,
}

/// What becomes a surface, how finely, and where it goes.
#[derive(Clone, Debug)]
pub struct ExtractRequest {
    /// A mesh, or an .npy lattice `[x y z]` of signed distances over the cube [-1, 1]³.
    pub path: PathBuf,
    /// Cells to a side; of a lattice that of the file.
    pub resolution: usize,
    /// Where a mesh's distance is asked.
    pub method: Method,
    /// A .obj, .ply, .stl or .glb file.
    pub output: PathBuf,
}

/// Extracts a surface and writes it.
///
/// # Errors
/// A file that cannot be read or is no lattice, a field without a surface, a file that cannot be written.
pub fn extract(request: &ExtractRequest) -> Result<Value, Error> {
    error::within("--resolution", request.resolution, 2..=1024)?;
    write::Format::of(&request.output).map_err(|error| Error::Usage(error.to_string()))?;
    if request.method == Method::Octree && !request.resolution.is_power_of_two() {
        let value = request.resolution;
        return Err(Error::Usage(format!("--resolution {value}: an octree halves its cells; take 64, 128 or 256")));
    }
    let is_lattice = request.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    let (extracted, notes) = if is_lattice { (of_lattice(&request.path)?, vec![]) } else { of_mesh(request)? };
    let mesh = &extracted.mesh;
    if mesh.faces.is_empty() {
        let why = "its distances have the same sign everywhere, so there is no surface between";
        return Err(Error::Failure(format!("{}: {why}", request.path.display())));
    }
    write::write(&request.output, mesh)?;
    let found = repair::condition(mesh);
    Ok(json!({
        "points": found.points,
        "faces": found.faces,
        "watertight": found.watertight,
        "euler": found.euler,
        "volume": found.volume,
        "queries": extracted.queries,
        "notes": notes,
        "output": request.output.display().to_string(),
    }))
}

fn of_lattice(path: &Path) -> Result<Extracted, Error> {
    let (shape, values) = media::arrays::read_array(path)?;
    let &[n, m, o] = &shape[..] else {
        return Err(Error::Failure(format!("{} has shape {shape:?}; a lattice is [x y z]", path.display())));
    };
    if n != m || n != o || !(3..=1025).contains(&n) {
        return Err(Error::Failure(format!(
            "{} has shape {shape:?}; a lattice has 3 to 1025 points on every side",
            path.display()
        )));
    }
    let lattice = Lattice::cube(1.0, n as u32 - 1);
    // The lattice is asked layer by layer along z, each point once.
    let mut asked = 0;
    let mut field = |points: &[Point]| -> Result<Vec<f64>, Infallible> {
        let at = |i: usize| values[(i % n * n + i / n % n) * n + i / (n * n)];
        let answer = (asked..asked + points.len()).map(at).collect();
        asked += points.len();
        Ok(answer)
    };
    cubes::dense(lattice, &mut field).map_err(|error| Error::Failure(format!("{}: {error}", path.display())))
}

fn of_mesh(request: &ExtractRequest) -> Result<(Extracted, Vec<String>), Error> {
    let placed = load(&request.path)?;
    let empty = || Error::Failure(format!("{} has no faces", request.path.display()));
    let distance = SignedDistance::new(&placed.fitted.mesh).ok_or_else(empty)?;
    let mut field = |points: &[Point]| -> Result<Vec<f64>, Infallible> { Ok(distance.of(points)) };
    let extracted = match request.method {
        Method::Dense => cubes::dense(Lattice::cube(1.0, request.resolution as u32), &mut field),
        Method::Octree => {
            let depth = request.resolution.ilog2();
            cubes::octree([[-1.0; 3], [1.0; 3]], Octree::new(4, depth), &mut field)
        }
    };
    let Extracted { mesh, queries } = extracted.map_err(|error| Error::Failure(error.to_string()))?;
    let points = mesh.points.iter().map(|&p| placed.back(p)).collect();
    Ok((Extracted { mesh: Mesh { points, ..mesh }, queries }, placed.loaded.notes))
}
