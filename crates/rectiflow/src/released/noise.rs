//! The latents a drawing starts from: noise by seed, or numbers from a file.

use super::torch;
use crate::{Error, start::read_points, streams};
use base::{Device, Tensor, TensorData};

/// Who turns a seed into noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generator {
    /// This program, by counter: a picture is the same whatever is drawn beside it.
    #[default]
    Own,
    /// PyTorch's generator for processors, as diffusers and ComfyUI use it in single precision: all pictures of a call from one sequence.
    TorchCpu,
}

/// The latents of pictures 0 to `n`, `[n c h w]`, whose rows are those of `frames` frames, one below another: `given` by a file (of clips
/// `[n c f h w]`), or made of `seed` by `generator`.
///
/// # Errors
/// A file that cannot be read, or holds another shape.
pub(super) fn start(
    given: Option<&str>,
    (generator, seed): (Generator, u64),
    shape: [usize; 4],
    frames: Option<usize>,
    device: &Device,
) -> Result<Tensor<4>, Error> {
    let [n, c, h, w] = shape;
    let Some(given) = given else {
        return Ok(match generator {
            Generator::Own => {
                let numbers: Vec<u64> = (0..n as u64).collect();
                streams::noise(seed).normal_tensor(&numbers, [0, c, h, w], device)
            }
            Generator::TorchCpu if n * c * h * w < torch::GROUP => {
                return Err(Error::Usage(format!(
                    "--rng torch-cpu: latents of {c} x {h} x {w} are too few for PyTorch's usual way; draw a larger picture"
                )));
            }
            Generator::TorchCpu => {
                Tensor::from_data(TensorData::new(torch::normal(seed, n * c * h * w), shape), device)
            }
        });
    };
    let (found, values) = read_points(given)?;
    let (wanted, what, axes) = match frames {
        None => (shape.to_vec(), "picture(s)", "[n c h w]"),
        Some(f) => (vec![n, c, f, h / f.max(1), w], "clip(s)", "[n c f h w]"),
    };
    if found != wanted {
        return Err(Error::Usage(format!(
            "--noise {given}: it is {found:?}, and {n} {what} of this size start from {wanted:?} {axes}"
        )));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::Failure(format!("--noise {given}: it holds numbers that are not finite")));
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}
