//! Fused tensor operations with hand-written gradients, one file per operation.
//!
//! Each operation has a slow reference composed of ordinary tensor operations in [`reference`], which is what every
//! backend but the CPU runs and what the CPU kernels are tested against.

#![allow(unsafe_code)] // the one crate that may; every block argues its safety

mod activation;
pub mod adamw;
mod attention;
mod conv;
mod fused;
mod group_norm;
mod host;
mod linear;
mod math;
mod product;
pub mod reference;
mod row_norm;
#[cfg(test)]
mod testing;
mod upsample;

pub use activation::{gelu, silu};
pub use adamw::{lerp, sum_squares};
pub use attention::attention;
pub use conv::conv2d;
pub use group_norm::group_norm;
pub use linear::linear;
pub use row_norm::{layer_norm_modulate, rms_norm};
pub use upsample::upsample2;
