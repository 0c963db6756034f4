//! Published networks as measuring instruments: fixed weights, inference only, names as in their checkpoints.
//!
//! Weights are not part of this repository; [`convert`](crate::convert) reads the published files.

mod alexnet;
mod efficientnet;
mod frames;
mod grain;
mod inception;
mod layers;
mod lpips;
mod renamed;
mod resize;
mod vgg16;

pub use alexnet::AlexNet;
pub use efficientnet::EfficientNetLite0;
pub use frames::FramesOf;
pub use grain::Grain;
pub use inception::InceptionV3;
pub use layers::Pooling;
pub use lpips::{Lpips, LpipsConfig, LpipsNet};
pub use resize::resize;
pub use vgg16::Vgg16;

use crate::classifier::to_matrix;
use crate::extractor::check_images;
use crate::{Matrix, MetricsError};
use base::{Device, Tensor, TensorData};

/// Runs `network` over images `[n c h w]` in batches: grey images become three equal channels, and every image is
/// resized to `size` x `size`.
fn in_batches(
    what: &'static str,
    images: &[f32],
    shape: [usize; 4],
    size: usize,
    dim: usize,
    device: &Device,
    network: impl Fn(Tensor<4>) -> Tensor<2>,
) -> Result<Matrix, MetricsError> {
    check_images(what, images, shape)?;
    let [_, c, h, w] = shape;
    if c != 1 && c != 3 {
        let message = format!("images have {c} channels; 1 or 3 are accepted");
        return Err(MetricsError::Shape { what, message });
    }
    // About 2^21 input numbers at a time bound the memory of the widest layers to some hundred MiB.
    let batch = ((1 << 21) / (3 * size * size)).clamp(1, 256);
    let mut out = Matrix::empty(dim);
    for chunk in images.chunks(batch * c * h * w) {
        let n = chunk.len() / (c * h * w);
        let planes = resize(chunk, [n * c, h, w], size, size);
        let pixels = match c {
            3 => planes,
            _ => planes.chunks_exact(size * size).flat_map(|p| [p, p, p].concat()).collect(),
        };
        let x = Tensor::from_data(TensorData::new(pixels, [n, 3, size, size]), device);
        out.extend(&to_matrix(network(x))?)?;
    }
    Ok(out)
}

/// `[b c h w]` to `[b c]`: mean over the positions.
fn mean_over_positions(x: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).mean_dim(2).reshape([b, c])
}

/// Pixels in [-1, 1] to ImageNet's: mean and deviation of each channel of pixels in [0, 1] taken out.
fn image_net(x: Tensor<4>) -> Tensor<4> {
    let column = |values: [f32; 3]| Tensor::<1>::from_floats(values, &x.device()).reshape([1, 3, 1, 1]);
    ((x.clone() + 1.0) * 0.5 - column([0.485, 0.456, 0.406])) / column([0.229, 0.224, 0.225])
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::PathBuf;

    /// The test image of the golden numbers, `[3, size, size]`: `sin((c+1)(0.3 y + 0.2 x) + c)`.
    pub fn waves(size: usize) -> Vec<f32> {
        waves_of([3, size, size])
    }

    /// The same of any shape `[c h w]`.
    pub fn waves_of([channels, height, width]: [usize; 3]) -> Vec<f32> {
        let mut out = Vec::new();
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let (c, y, x) = (c as f64, y as f64, x as f64);
                    out.push(((c + 1.0) * (0.3 * y + 0.2 * x) + c).sin() as f32);
                }
            }
        }
        out
    }

    /// A published weight file under `$RECTIFLOW_WEIGHTS`, or where `rectiflow data get lpips-vgg` puts it; `None` with a
    /// note.
    pub fn published(file: &str) -> Option<PathBuf> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache"))).map(|c| c.join("rectiflow"));
        let data = var("RECTIFLOW_DATA").or_else(cache).map(|data| data.join("lpips-vgg"));
        let path = [var("RECTIFLOW_WEIGHTS"), data].into_iter().flatten().map(|d| d.join(file)).find(|p| p.exists());
        if path.is_none() {
            println!("skipped: {file} is not under $RECTIFLOW_WEIGHTS");
        }
        path
    }
}
