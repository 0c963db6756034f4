//! `shape`: what files of meshes hold, points and distances of them, a surface from a field, and how near two shapes are.

mod compare;
mod extract;
mod measure;
mod sample;
mod show;
mod views;

pub use compare::{Compared, compare};
pub use extract::{ExtractRequest, Method, extract};
pub use measure::{MeasureRequest, Measured, measure};
pub use sample::{SampleRequest, SdfRequest, Where, sample, sdf};
pub use show::{ShowRequest, show};
pub use views::{are_at, views};

use crate::Error;
pub use crate::shapes::FILL;
pub(crate) use crate::shapes::place;
use media::shape::{Loaded, read, repair};
use std::path::Path;

/// One mesh and where it lies in the cube.
struct Placed {
    loaded: Loaded,
    fitted: repair::Fitted,
}

/// Reads a mesh and fits it into the cube; all notes together.
fn load(path: &Path) -> Result<Placed, Error> {
    let mut loaded = read::read(path)?;
    let flat = || Error::Failure(format!("{} has no extent: all its points are one", path.display()));
    let fitted = repair::fit(&loaded.mesh, FILL).ok_or_else(flat)?;
    loaded.notes.extend(fitted.note.clone());
    Ok(Placed { loaded, fitted })
}

impl Placed {
    /// A point of the cube, where it lies in the file.
    fn back(&self, p: media::shape::Point) -> media::shape::Point {
        [0, 1, 2].map(|k| p[k] / self.fitted.scale + self.fitted.centre[k])
    }
}
