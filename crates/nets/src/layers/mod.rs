//! Layers with PyTorch's tensor layouts and names, computed by `kernels`.

mod blocks;
mod conv;
mod conv3d;
mod dropout;
mod embedding;
mod feed_forward;
mod heads;
mod linear;
mod low_rank;
mod norm;
mod table;

pub use blocks::InBlocks;
pub(crate) use blocks::in_blocks;
pub use conv::Conv2d;
pub use conv3d::Conv3d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use feed_forward::{FeedForward, SwiGlu};
pub use heads::{apart, biased_attention};
pub use linear::Linear;
pub use low_rank::LowRank;
pub use norm::{GroupNorm, LayerNorm, RmsNorm, layer_norm};
pub use table::Table;

use base::Tensor;
use burn::module::Param;
use burn::tensor::DType;

/// A parameter's value in f32. Released weights may be kept as bf16 or f16; a layer widens its own for as long as it uses
/// them, so memory holds the file's bytes and one layer's f32.
pub fn widened<const D: usize>(param: &Param<Tensor<D>>) -> Tensor<D> {
    widen(param.val())
}

/// A weight in f32.
pub(crate) fn widen<const D: usize>(value: Tensor<D>) -> Tensor<D> {
    match value.dtype() {
        DType::BF16 | DType::F16 => value.cast(DType::F32),
        _ => value,
    }
}
