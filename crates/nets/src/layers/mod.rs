//! Layers with PyTorch's tensor layouts and names, computed by `kernels`.

mod conv;
mod dropout;
mod embedding;
mod linear;
mod norm;

pub use conv::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::{GroupNorm, RmsNorm, layer_norm};
