//! The same operations for devices that CubeCL compiles kernels for: NVIDIA's through CUDA, others through wgpu.
//!
//! A file here has the device's side of the operation of the same name one floor up, where its formulas are. Products are the
//! library's; around them a row belongs to a warp, a column's sum is taken in fixed chunks, and nothing is added atomically, so
//! results do not depend on scheduling.

// What is decided when a kernel is compiled and what when it runs do not collapse into one condition, and `div_ceil` is not a
// kernel's.
#![allow(clippy::collapsible_if, clippy::manual_div_ceil)]

pub(crate) mod adamw;
mod attention;
mod blend;
mod buffer;
mod conv;
mod group_norm;
mod linear;
mod pointwise;
mod product;
mod row_norm;
mod squared_error;
mod sums;
#[cfg(test)]
mod tests;
mod upsampled;

pub(crate) use buffer::Buffer;
