//! LDraw parts (.dat, .ldr): triangles, quadrilaterals and references to other files, down to primitives.
//! File format: ldraw.org/article/218, winding ("BFC", back-face culling): ldraw.org/article/415.
//!
//! Lengths are in LDraw units of 0.4 mm and y points down in the file; the mesh has y up. Lines (type 2) and conditional lines
//! (type 5) are drawing aids and no surface.

mod library;
mod lines;

use super::{Loaded, broken};
use crate::MediaError;
use crate::shape::{
    Mesh, repair,
    vector::{Affine, Point},
};
pub use library::Library;
use lines::{Line, Source, Winding};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Parts refer to sub-parts to primitives, some ten deep; a ring of references would never end.
const DEPTH: usize = 32;
/// The largest official part has some 50 000 triangles; references can unfold a short file to any size.
const FACES: usize = 5_000_000;
/// Files that refer to each other twice double with every level, faces or not.
const VISITS: usize = 1_000_000;
/// Points nearer than this, in LDraw units, are one: primitives meet only up to their rounded coordinates.
const WELD: f64 = 1e-3;

/// What is collected over the tree of references.
struct Unfolding<'a> {
    library: &'a Library,
    path: &'a Path,
    mesh: Mesh,
    visits: usize,
    missing: BTreeMap<String, usize>,
    unwound: BTreeMap<String, usize>,
}

impl Library {
    /// The mesh of the part whose text is `bytes`, its sub-files taken from this library.
    pub(super) fn decode(&self, bytes: &[u8], path: &Path) -> Result<Loaded, MediaError> {
        let source = lines::parse(&String::from_utf8_lossy(bytes)).map_err(|what| broken("LDraw", path, what))?;
        let mut all = Unfolding {
            library: self,
            path,
            mesh: Mesh::default(),
            visits: 0,
            missing: BTreeMap::new(),
            unwound: BTreeMap::new(),
        };
        let down_to_up = Affine { rows: [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]], shift: [0.0; 3] };
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        all.file(&source, &name, &down_to_up, false, 0)?;
        let mut notes = Vec::new();
        let list = |names: &BTreeMap<String, usize>| names.keys().take(5).cloned().collect::<Vec<_>>().join(", ");
        if !all.missing.is_empty() {
            let (uses, names) = (all.missing.values().sum::<usize>(), list(&all.missing));
            let what = format!("left out: {uses} references to files that are not in the library ({names})");
            notes.push(what + "; keep the part in the LDraw folder beside `p`, or fetch it: rectiflow data get ldraw");
        }
        if !all.unwound.is_empty() {
            let names = list(&all.unwound);
            notes.push(format!("which side is outside is not certified in {} files ({names})", all.unwound.len()));
        }
        Ok(Loaded { mesh: repair::weld(&all.mesh, WELD), caption: source.caption.clone(), notes })
    }
}

impl Unfolding<'_> {
    /// Adds what `source` draws under `place`; `turned` says that the faces of its frame are seen from behind.
    fn file(
        &mut self,
        source: &Source,
        name: &str,
        place: &Affine,
        turned: bool,
        depth: usize,
    ) -> Result<(), MediaError> {
        if depth > DEPTH {
            let what = format!("references lie more than {DEPTH} deep, or in a ring through {name}");
            return Err(broken("LDraw", self.path, what));
        }
        self.visits += 1;
        if self.visits > VISITS {
            return Err(broken("LDraw", self.path, format!("its references unfold to more than {VISITS} files")));
        }
        let mirrored = place.determinant() < 0.0;
        for line in &source.lines {
            match line {
                Line::Face { corners, count, winding } => {
                    if *winding == Winding::Unknown {
                        *self.unwound.entry(name.to_string()).or_default() += 1;
                    }
                    let back = (*winding == Winding::Clockwise) != (turned != mirrored);
                    self.face(&corners[..*count], place, back)?;
                }
                Line::Part { place: inner, name: part, inverted } => match self.library.find(part)? {
                    Some(found) => self.file(&found, part, &place.after(inner), turned != *inverted, depth + 1)?,
                    None => *self.missing.entry(part.clone()).or_default() += 1,
                },
            }
        }
        Ok(())
    }

    fn face(&mut self, corners: &[Point], place: &Affine, back: bool) -> Result<(), MediaError> {
        if self.mesh.faces.len() > FACES {
            return Err(broken("LDraw", self.path, format!("its references unfold to more than {FACES} faces")));
        }
        let base = self.mesh.points.len() as u32;
        self.mesh.points.extend(corners.iter().map(|&p| place.apply(p)));
        let order: &[[u32; 3]] = match (corners.len(), back) {
            (3, false) => &[[0, 1, 2]],
            (3, true) => &[[0, 2, 1]],
            (_, false) => &[[0, 1, 2], [0, 2, 3]],
            (_, true) => &[[0, 2, 1], [0, 3, 2]],
        };
        self.mesh.faces.extend(order.iter().map(|face| face.map(|at| at + base)));
        Ok(())
    }
}

/// What the library has under a name, parsed.
type Found = Option<Arc<Source>>;

#[cfg(test)]
mod tests;
