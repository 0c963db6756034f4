//! Sheets of rendered meshes.

use crate::Error;
use media::shape::{Mesh, View};
use media::{Grid, Images};
use std::path::Path;

/// A sheet of meshes that lie in the cube, all seen from one side above and at one scale; an empty place for one without faces.
pub(crate) fn sheet(path: &Path, meshes: &[Mesh], size: usize, columns: usize) -> Result<(), Error> {
    save(path, meshes.iter().map(|mesh| picture(mesh, size)).collect(), size, columns)
}

/// Such a picture of one mesh, `[3 size size]`.
pub(crate) fn picture(mesh: &Mesh, size: usize) -> Vec<f32> {
    // Small enough for the cube's corners.
    let points = mesh.points.iter().map(|p| p.map(|v| v * 0.62)).collect();
    coloured(View { azimuth: 30.0, elevation: 25.0 }.picture(&Mesh { points, faces: mesh.faces.clone() }, size))
}

/// Grey as three equal planes.
pub(crate) fn coloured(grey: Vec<f32>) -> Vec<f32> {
    [grey.as_slice(); 3].concat()
}

/// Pictures `[3 size size]` in so many columns.
///
/// # Errors
/// A place that cannot be written.
pub(crate) fn save(sheet: &Path, pictures: Vec<Vec<f32>>, size: usize, columns: usize) -> Result<(), Error> {
    let images = Images::new(pictures.concat(), pictures.len(), [3, size, size])?;
    let grid = Grid { columns, upscale: 1, ..Grid::default() };
    Ok(media::png::save(sheet, &grid.draw(&images), &[])?)
}
