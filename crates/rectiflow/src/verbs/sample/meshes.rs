//! Samples of a flow over shapes: tokens to surfaces, surfaces to files and a sheet of pictures.

use super::SampleRequest;
use crate::{
    Error,
    codec::Codec,
    context::{Context, Event},
    output::Output,
    sampling::Drawn,
    shapes::files,
};
use media::shape::Mesh;

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
    let (depth, device) = (files::depth(request.resolution)?, context.device.device.clone());
    let mut meshes: Vec<Mesh> = Vec::with_capacity(count);
    context.tell(Event::Begin { what: "surfaces", total: count as u64 });
    for tokens in drawn.rows.chunks_exact(size) {
        context.go_on()?;
        meshes.push(codec.surface(tokens, depth, &device)?.mesh);
        context.tell(Event::Advance { done: meshes.len() as u64 });
    }
    context.tell(Event::End);
    files::write(output, &meshes, request.columns, context)
}
