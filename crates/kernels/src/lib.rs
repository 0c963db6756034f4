//! Fused tensor operations with hand-written gradients, one file per operation.
//!
//! Each operation has a slow reference composed of ordinary tensor operations in [`reference`], which is what every
//! backend but the CPU runs and what the CPU kernels are tested against.

pub mod reference;

pub use reference::*;
