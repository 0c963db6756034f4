//! Samples of a flow over shapes: tokens to surfaces, surfaces to files and a sheet of pictures.

use super::SampleRequest;
use crate::{
    Error,
    codec::Codec,
    context::{Context, Event},
    output::Output,
    sampling::Drawn,
    shapes::sheet::sheet,
};
use media::shape::{Mesh, write as files};
use std::path::{Path, PathBuf};

/// Pixels of a picture on the sheet.
const SIZE: usize = 128;

/// Writes the surfaces of `drawn`: one file, or for several a file each, numbered, with a sheet beside them.
///
/// # Errors
/// Samples none of which has a surface; a place that cannot be written.
pub(super) fn write(
    output: &Output,
    drawn: &Drawn,
    codec: &Codec,
    request: &SampleRequest,
    context: &mut Context,
) -> Result<(), Error> {
    if let Output::Npy(_) | Output::Safetensors(_) = output {
        return Ok(()); // tokens are asked for, not surfaces
    }
    let (count, size) = (drawn.len(), drawn.shape.numel());
    let (depth, device) = (request.resolution.ilog2(), context.device.device.clone());
    let mut meshes: Vec<Mesh> = Vec::with_capacity(count);
    context.tell(Event::Begin { what: "surfaces", total: count as u64 });
    for tokens in drawn.rows.chunks_exact(size) {
        context.go_on()?;
        meshes.push(codec.surface(tokens, depth, &device)?.mesh);
        context.tell(Event::Advance { done: meshes.len() as u64 });
    }
    context.tell(Event::End);
    let empty: Vec<String> = (0..count).filter(|i| meshes[*i].faces.is_empty()).map(|i| i.to_string()).collect();
    if empty.len() == count {
        let why = "none of the samples has a surface: train the flow longer, or ask for more steps";
        return Err(Error::Failure(why.into()));
    }
    if !empty.is_empty() {
        context.note(format!(
            "no file for {} of {count} samples, which have no surface: {}",
            empty.len(),
            empty.join(", ")
        ));
    }
    let full = |mesh: &&(usize, &Mesh)| !mesh.1.faces.is_empty();
    let numbered: Vec<(usize, &Mesh)> = meshes.iter().enumerate().collect();
    match output {
        Output::Mesh(path) if count == 1 => files::write(path, &meshes[0])?,
        Output::Mesh(path) => {
            for (i, mesh) in numbered.iter().filter(full) {
                files::write(&beside(path, &format!("-{i:04}")), mesh)?;
            }
            sheet(&path.with_extension("png"), &meshes, SIZE, request.columns)?;
        }
        Output::Folder(folder) => {
            for (i, mesh) in numbered.iter().filter(full) {
                files::write(&folder.join(format!("{i:06}.glb")), mesh)?;
            }
            sheet(&folder.join("sheet.png"), &meshes, SIZE, request.columns)?;
        }
        Output::Png(path) => sheet(path, &meshes, SIZE, request.columns)?,
        Output::Npy(_) | Output::Safetensors(_) => {}
    }
    Ok(())
}

/// `part.glb` and `-0003` to `part-0003.glb`.
fn beside(path: &Path, mark: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{mark}.{ending}"))
}
