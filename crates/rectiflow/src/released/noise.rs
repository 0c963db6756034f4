//! The latents a drawing starts from: noise by seed, or numbers from a file.

use crate::{Error, start::read_points, streams};
use base::{Device, Tensor, TensorData};

/// The latents of pictures 0 to `n`, `[n c h w]`: `given` by a file, or of `seed`.
///
/// # Errors
/// A file that cannot be read, or holds another shape.
pub(super) fn start(given: Option<&str>, seed: u64, shape: [usize; 4], device: &Device) -> Result<Tensor<4>, Error> {
    let [n, c, h, w] = shape;
    let Some(given) = given else {
        let numbers: Vec<u64> = (0..n as u64).collect();
        return Ok(streams::noise(seed).normal_tensor(&numbers, [0, c, h, w], device));
    };
    let (found, values) = read_points(given)?;
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
