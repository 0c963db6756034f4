//! Fused tensor operations with hand-written gradients, one file per operation.
//!
//! Each operation has a slow reference composed of ordinary tensor operations in [`reference`], which is what its kernels are
//! tested against, and what runs where there is none. Kernels take `f32` tensors of the CPU backend, and with the feature `cuda` or
//! `wgpu` those of such devices (`gpu`), with or without automatic differentiation; second derivatives do not exist.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//!
//! let device = Device::flex().autodiff();
//! let x = Tensor::<4>::ones([2, 3, 8, 8], &device);
//! let weight = Tensor::<4>::ones([4, 3, 3, 3], &device).require_grad();
//! let y = kernels::silu(kernels::conv2d(x, weight.clone(), None, 2, 1));
//! assert_eq!(y.dims(), [2, 4, 4, 4]);
//! let gradient = weight.grad(&y.mean().backward()).unwrap();
//! assert_eq!(gradient.dims(), [4, 3, 3, 3]);
//! ```

#![allow(unsafe_code)] // the one crate that may; every block argues its safety

mod activation;
pub mod adamw;
#[cfg(feature = "mimalloc")]
pub mod allocator;
mod attention;
mod blend;
mod blocks;
mod conv;
mod conv3d;
mod fused;
mod gated;
#[cfg(feature = "gpu")]
mod gpu;
mod group_norm;
mod host;
mod linear;
mod mapped;
mod math;
mod pairs;
mod pool;
mod precision;
mod product;
mod recompute;
pub mod reference;
mod rotary;
mod row_norm;
mod self_attention;
mod squared_error;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod testing;
mod upsample;

pub use activation::{Activation, gelu, silu};
pub use adamw::{lerp, squares_there, sum_squares};
pub use attention::attention;
pub use blend::blend;
pub use blocks::{BlockKind, Blocks};
pub use conv::conv2d;
pub use conv::upsampled::upsampled_conv2d;
pub use conv3d::{Sweep, conv3d};
pub use gated::gated;
pub use group_norm::group_norm;
pub use linear::{linear, linear_activated};
pub use mapped::Mapped;
pub use pool::on_a_worker;
pub use precision::Precision;
pub use recompute::{Piece, recompute};
pub use reference::{join_heads, split_heads};
pub use rotary::rotary;
pub use row_norm::{layer_norm_modulate, rms_norm};
pub use self_attention::self_attention;
pub use squared_error::squared_error;
pub use upsample::upsample2;
