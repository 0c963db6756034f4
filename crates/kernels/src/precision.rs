//! How many bits of their operands products read: all of them, or those of bfloat16.
//!
//! Under [`Precision::Bf16`] convolutions and linear maps round both operands of every product to bfloat16 (8 bits of
//! significand, to nearest, ties to even) as they copy them into their working layout, and add the exact products in
//! `f32`: mixed precision as in Micikevicius et al. 2018, arXiv:1710.03740, sec. 3.1 and 3.3, with bfloat16's range in
//! place of loss scaling (Kalamkar et al. 2019, arXiv:1905.12322). Tensors, weights, gradients and every other
//! operation stay `f32`. The instruction for it (`vdpbf16ps` of AVX512-BF16) treats numbers below 1.2e-38 as zero.
//!
//! The precision is asked for around a forward pass, with [`Precision::scope`]; an operation keeps the one it was
//! called under for its gradient. Where the processor or the device has no such instruction everything runs in `f32`.

use std::cell::Cell;
use std::sync::LazyLock;

use burn::tensor::{DType, Device};
use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::host::is_cpu;

/// The precision of the operands of products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 24 bits of significand: nothing is rounded.
    #[default]
    F32,
    /// 8 bits of significand in convolutions and linear maps, sums in `f32`.
    Bf16,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// Runs `f` with this precision for the operations it calls on this thread, and restores the one before.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use kernels::Precision;
    ///
    /// // 1 + 2^-9 has nine bits after the point, one more than bfloat16 keeps.
    /// let x = Tensor::<2>::from_floats([[1.0 + 1.0 / 512.0]], &Device::flex());
    /// let product = |p: Precision| p.scope(|| kernels::linear(x.clone(), x.clone(), None)).into_scalar::<f32>();
    /// assert_eq!(product(Precision::F32), (1.0f32 + 1.0 / 512.0).powi(2));
    /// assert_eq!(product(Precision::Bf16), if Precision::Bf16.is_native() { 1.0 } else { product(Precision::F32) });
    /// ```
    pub fn scope<R>(self, f: impl FnOnce() -> R) -> R {
        struct Restore(Precision);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self)); // also when `f` panics
        f()
    }

    /// Whether tensors on `device` are computed in it; otherwise operations asked for it run in `f32`.
    pub fn is_native_on(self, device: &Device) -> bool {
        self == Self::F32 || if is_cpu(device) { self.is_native() } else { device.supports_dtype(DType::BF16) }
    }

    /// Whether this processor computes in it.
    pub fn is_native(self) -> bool {
        static BF16: LazyLock<bool> = LazyLock::new(|| {
            #[cfg(target_arch = "x86_64")]
            let instruction = is_x86_feature_detected!("avx512bf16");
            #[cfg(not(target_arch = "x86_64"))]
            let instruction = false;
            instruction && pulp::Arch::new().dispatch(Lanes) == 16
        });
        self == Self::F32 || *BF16
    }

    /// Why `device` runs it in `f32`, for the reader of a log; `None` where it does not.
    pub fn fallback(self, device: &Device) -> Option<String> {
        let reason = if is_cpu(device) { "this processor has no AVX512-BF16" } else { "the device has no bfloat16" };
        (!self.is_native_on(device)).then(|| format!("precision {} runs in f32: {reason}", self.name()))
    }

    /// The precision called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16].into_iter().find(|p| p.name() == name)
    }

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// What an operation called now on this thread computes in, on the CPU.
    pub(crate) fn here() -> Self {
        let asked = CURRENT.get();
        if asked.is_native() { asked } else { Self::F32 }
    }

    /// The same on `device`.
    pub(crate) fn here_on(device: &Device) -> Self {
        let asked = CURRENT.get();
        if asked.is_native_on(device) { asked } else { Self::F32 }
    }

    /// Whether operands are pairs of bfloat16.
    pub(crate) fn is_paired(self) -> bool {
        self == Self::Bf16
    }
}

/// Values in the vectors that kernels are compiled for here.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

#[cfg(test)]
mod tests {
    use super::Precision;

    #[test]
    fn a_scope_ends_where_it_began_also_by_panic() {
        let inner = Precision::Bf16.scope(|| (Precision::here(), Precision::F32.scope(Precision::here)));
        let expected = if Precision::Bf16.is_native() { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(inner, (expected, Precision::F32));
        let _ = std::panic::catch_unwind(|| Precision::Bf16.scope(|| panic!("expected by this test")));
        assert_eq!(Precision::here(), Precision::F32);
        let other = Precision::Bf16.scope(|| std::thread::spawn(Precision::here).join().expect("no panic"));
        assert_eq!(other, Precision::F32, "a scope is of its thread");
    }
}
