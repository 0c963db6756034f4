//! STL, text and binary, through the `stl_io` crate.

use super::{Loaded, broken};
use crate::MediaError;
use crate::shape::Mesh;
use std::io::Cursor;
use std::path::Path;

/// Reads an STL file.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Loaded, MediaError> {
    let mut bytes = bytes.to_vec();
    if is_binary(&bytes) {
        // Some programs begin a binary file with "solid", by which the crate knows a text.
        bytes[..5].fill(b' ');
    }
    let stl = stl_io::read_stl(&mut Cursor::new(bytes)).map_err(|error| broken("STL", path, error.to_string()))?;
    let points = stl.vertices.iter().map(|v| [f64::from(v[0]), f64::from(v[1]), f64::from(v[2])]).collect();
    let faces = stl.faces.iter().map(|face| face.vertices.map(|at| at as u32)).collect();
    Ok(Loaded { mesh: Mesh { points, faces }, caption: None, notes: vec![] })
}

/// A header of 80 bytes, the number of triangles, 50 bytes for each.
fn is_binary(bytes: &[u8]) -> bool {
    let count = bytes.get(80..84).and_then(|count| count.try_into().ok()).map(u32::from_le_bytes);
    count.is_some_and(|count| bytes.len() as u64 == 84 + 50 * u64::from(count))
}
