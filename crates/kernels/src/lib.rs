//! Fused tensor operations with hand-written gradients, one file per operation.
//!
//! Each operation has a slow reference composed of ordinary tensor operations in [`reference`], which is what every
//! backend but the CPU runs and what the CPU kernels are tested against.

#![allow(unsafe_code)] // the one crate that may; every block argues its safety

mod activation;
pub mod adamw;
mod conv;
mod fused;
mod host;
mod math;
pub mod reference;
#[cfg(test)]
mod testing;

pub use activation::{gelu, silu};
pub use adamw::{lerp, sum_squares};
pub use conv::conv2d;
pub use reference::{attention, group_norm, layer_norm_modulate, linear, rms_norm, upsample2};
