//! The latents a drawing starts from: noise by seed, or numbers from a file.

use crate::{Error, sampling};
use base::{Device, Tensor, TensorData};
use nets::weights::{Stored, TensorSource};
use std::path::Path;

/// The latents of pictures 0 to `n`, `[n c h w]`: `given` by a file, or of `seed`.
///
/// # Errors
/// A file that cannot be read, or holds another shape.
pub(super) fn start(given: Option<&str>, seed: u64, shape: [usize; 4], device: &Device) -> Result<Tensor<4>, Error> {
    let [n, c, h, w] = shape;
    let Some(given) = given else {
        let numbers: Vec<u64> = (0..n as u64).collect();
        return Ok(sampling::noise(seed).normal_tensor(&numbers, [0, c, h, w], device));
    };
    let (found, values) = read(given)?;
    if found != shape {
        return Err(Error::Usage(format!(
            "--noise {given}: it is {found:?}, and {n} picture(s) of this size start from {shape:?} [n c h w]"
        )));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::Failure(format!("--noise {given}: it holds numbers that are not finite")));
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Shape and numbers of `FILE.npy`, `FILE.safetensors` with one tensor, or `FILE.safetensors:TENSOR`.
pub(crate) fn read(given: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
    if given.to_ascii_lowercase().ends_with(".npy") {
        return Ok(media::arrays::read_npy(Path::new(given))?);
    }
    let (file, name) = match given.rsplit_once(".safetensors:") {
        Some((stem, name)) => (format!("{stem}.safetensors"), Some(name)),
        None => (given.to_owned(), None),
    };
    if !file.to_ascii_lowercase().ends_with(".safetensors") {
        return Err(Error::Usage(format!("--noise {given}: give an .npy or a .safetensors file")));
    }
    let stored = Stored::open(Path::new(&file))?;
    let names = stored.names();
    let name = match (name, names.as_slice()) {
        (Some(name), _) if names.iter().any(|known| known == name) => name,
        (None, [only]) => only,
        _ => {
            let known = names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!(
                "--noise {given}: name one of its tensors, FILE.safetensors:NAME ({known})"
            )));
        }
    };
    Ok((stored.shape(name).unwrap_or_default(), stored.read(name)?))
}
