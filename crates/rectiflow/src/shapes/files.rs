//! Meshes that were drawn, as files: one, or for several a file each, numbered, with a sheet of pictures beside them.

use super::sheet::sheet;
use crate::{Context, Error, error, output::Output};
use media::shape::{Mesh, write as files};
use std::path::{Path, PathBuf};

/// Pixels of a picture on the sheet.
const SIZE: usize = 128;

/// How often the cube is halved for `resolution` cells to a side.
///
/// # Errors
/// [`Error::Usage`] for one that is no power of two from 16 to 1024.
pub(crate) fn depth(resolution: usize) -> Result<u32, Error> {
    error::within("--resolution", resolution, 16..=1024)?;
    match resolution.is_power_of_two() {
        true => Ok(resolution.ilog2()),
        false => Err(Error::Usage(format!("--resolution {resolution}: cells are halved; take 64, 128 or 256"))),
    }
}

/// Writes `meshes`, on a sheet in so many `columns`; nothing where numbers are asked for.
///
/// # Errors
/// Meshes none of which has a surface; a place that cannot be written.
pub(crate) fn write(output: &Output, meshes: &[Mesh], columns: usize, context: &mut Context) -> Result<(), Error> {
    for (i, mesh) in meshes.iter().enumerate() {
        one(output, (i, meshes.len()), mesh)?;
    }
    finish(output, meshes, columns, context)
}

/// Writes the file of mesh `i` of `count` where it has one of its own and a surface.
///
/// # Errors
/// A place that cannot be written.
pub(crate) fn one(output: &Output, (i, count): (usize, usize), mesh: &Mesh) -> Result<(), Error> {
    let path = match output {
        _ if mesh.faces.is_empty() => return Ok(()),
        Output::Mesh(path) if count == 1 => path.clone(),
        Output::Mesh(path) => beside(path, &format!("-{i:04}")),
        Output::Folder(folder) => folder.join(format!("{i:06}.glb")),
        Output::Png(_) | Output::Npy(_) | Output::Safetensors(_) => return Ok(()),
    };
    Ok(files::write(&path, mesh)?)
}

/// After the last: the sheet, and what has no surface.
///
/// # Errors
/// Meshes none of which has a surface; a place that cannot be written.
pub(crate) fn finish(output: &Output, meshes: &[Mesh], columns: usize, context: &mut Context) -> Result<(), Error> {
    let count = meshes.len();
    let empty: Vec<String> = (0..count).filter(|i| meshes[*i].faces.is_empty()).map(|i| i.to_string()).collect();
    if empty.len() == count {
        let why = "none of the samples has a surface: ask for more steps, or train the flow longer";
        return Err(Error::Failure(why.into()));
    }
    if !empty.is_empty() {
        context.note(format!(
            "no file for {} of {count} samples, which have no surface: {}",
            empty.len(),
            empty.join(", ")
        ));
    }
    match output {
        Output::Mesh(path) if count > 1 => sheet(&path.with_extension("png"), meshes, SIZE, columns),
        Output::Folder(folder) => sheet(&folder.join("sheet.png"), meshes, SIZE, columns),
        Output::Png(path) => sheet(path, meshes, SIZE, columns),
        Output::Mesh(_) | Output::Npy(_) | Output::Safetensors(_) => Ok(()),
    }
}

/// `part.glb` and `-0003` to `part-0003.glb`.
fn beside(path: &Path, mark: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{mark}.{ending}"))
}
