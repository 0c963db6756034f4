//! A correction of low rank inside a layer: `y = W x + s B (A x)`, `W` frozen and `B A` never formed.
//!
//! Hu et al., arXiv 2106.09685, eq. 3. The two factors hang on the layer's own weight, as a Burn reparameterization, so every
//! visit of the network finds them by name (`blocks.0.attn.qkv.weight.lora.a`) and no network knows of them. A layer that does
//! not ask for its correction reads the sum `W + s B A` instead: right, and slower.

use base::Tensor;
use burn::module::{Module, Param, Reparameterization};

/// The factors beside a weight whose first axis counts outputs.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[r i]`; a kernel's inputs are its channels and its window, `i = c k k`.
    pub a: Param<Tensor<2>>,
    /// `[o r]`.
    pub b: Param<Tensor<2>>,
    /// `s`.
    pub scale: f64,
}

impl Reparameterization for LowRank {
    const NAME: &'static str = "lora";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let dims = base.dims();
        // Released weights may be kept as bf16 or f16.
        super::widen(base) + (self.b.val().matmul(self.a.val()) * self.scale).reshape(dims)
    }
}

impl LowRank {
    /// `s B (A x)` over the last axis, `[.. i]` to `[.. o]`.
    pub(super) fn linear<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let inner = kernels::linear(x, self.a.val(), None) * self.scale; // [.. r]
        kernels::linear(inner, self.b.val(), None)
    }

    /// The same for a convolution whose window `inner` lays over the image: `A` is a kernel of `r` channels, `B` one pixel wide.
    pub(super) fn conv2d(&self, window: usize, inner: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let (a, b) = (self.a.val(), self.b.val());
        let ([r, i], [o, _]) = (a.dims(), b.dims());
        let inner = inner(a.reshape([r, i / (window * window), window, window])) * self.scale; // [b r h w]
        kernels::conv2d(inner, b.reshape([o, r, 1, 1]), None, 1, 0)
    }
}
