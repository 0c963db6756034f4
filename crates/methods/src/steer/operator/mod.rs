//! Linear measurements of a sample, each a small file with its adjoint: masks, pooling, bicubic pixels, blurs, grey, cosines, waves.

mod bicubic;
mod cosines;
mod drawn;
mod grey;
mod kernel;
mod mask;
mod norm;
mod sampled;
mod separable;
mod waves;
mod whole;

pub use grey::Grey;
pub use kernel::Kernel;
pub use mask::Mask;
pub use sampled::Sampled;
pub use separable::Separable;
pub use waves::Waves;
pub use whole::Whole;

use base::Tensor;

/// A linear measurement `A` of samples as rows.
pub trait Operator: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// Values of a sample, and values measured.
    fn sizes(&self) -> (usize, usize);

    /// `A x` of rows `[b n]`, `[b m]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2>;

    /// `Aᵀ r` of rows `[b m]`, `[b n]`.
    fn adjoint(&self, r: Tensor<2>) -> Tensor<2>;

    /// The largest eigenvalue of `A Aᵀ`.
    fn bound(&self) -> f64;

    /// Whether `A Aᵀ r` is [`Operator::bound`] times `r` for all that is measured.
    fn is_flat(&self) -> bool;
}
