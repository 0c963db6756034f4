//! Layers with PyTorch's tensor layouts and names, computed by `kernels`.

mod conv;
mod dropout;
mod embedding;
mod linear;
mod low_rank;
mod norm;

pub use conv::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use low_rank::LowRank;
pub use norm::{GroupNorm, RmsNorm, layer_norm};
