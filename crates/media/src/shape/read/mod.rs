//! Meshes from files: OBJ, PLY, STL, GLB and LDraw, told apart by the name's ending.

mod glb;
pub mod ldraw;
mod obj;
mod ply;
mod stl;

use super::{Mesh, repair};
use crate::MediaError;
use std::path::Path;

/// A mesh as its file has it, made sound.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The mesh, cleaned by [`repair::clean`].
    pub mesh: Mesh,
    /// What the file says it shows.
    pub caption: Option<String>,
    /// What was left out or mended, a line each.
    pub notes: Vec<String>,
}

/// Endings of the formats that can be read.
pub const ENDINGS: [&str; 6] = ["obj", "ply", "stl", "glb", "dat", "ldr"];

/// Reads the mesh at `path` and cleans it. Sub-files of LDraw parts are looked for beside the file and in the library around it.
///
/// # Errors
/// A file that cannot be read, of another kind, damaged, or without a single face of finite size.
pub fn read(path: &Path) -> Result<Loaded, MediaError> {
    let library = ldraw::Library::around(path);
    decode(&bytes_of(path)?, path, &library)
}

/// Reads `bytes`, whose kind the ending of `path` tells; LDraw's sub-files come from `library`.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8], path: &Path, library: &ldraw::Library) -> Result<Loaded, MediaError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let loaded = match ending.as_str() {
        "obj" => obj::decode(bytes, path),
        "ply" => ply::decode(bytes, path),
        "stl" => stl::decode(bytes, path),
        "glb" => glb::decode(bytes, path),
        "dat" | "ldr" => library.decode(bytes, path),
        _ => {
            let what = format!("its ending is none of {}; convert it", ENDINGS.join(", "));
            Err(broken("mesh", path, what))
        }
    }?;
    let (mesh, mended) = repair::clean(loaded.mesh);
    if mesh.faces.is_empty() {
        let why = if mended.is_empty() { "it is empty".to_string() } else { mended.join("; ") };
        return Err(broken("mesh", path, format!("no face is left to show a surface ({why})")));
    }
    let notes = loaded.notes.into_iter().chain(mended).collect();
    Ok(Loaded { mesh, notes, ..loaded })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, MediaError> {
    std::fs::read(path).map_err(MediaError::io("read", path))
}

fn broken(kind: &'static str, path: &Path, reason: String) -> MediaError {
    MediaError::Format { kind, path: path.into(), reason }
}
