//! Scalar formulas written so that the compiler turns loops over them into vector code, and the loops themselves.
//!
//! The loops run inside `pulp::Arch::dispatch`, which compiles them for AVX-512, AVX2+FMA, NEON and the baseline and
//! picks at run time. Every function is `inline(always)`: code left outside would be compiled for the baseline.

use rayon::prelude::*;

/// Elements given to one task: 64 KiB per operand, so that a task's operands stay in the second-level cache and the
/// cost of scheduling is far below that of the work. Results do not depend on it.
pub(crate) const CHUNK: usize = 1 << 14;

/// Rows of `n` values, `n` positive, that make a task of that size.
pub(crate) fn rows_of_task(n: usize) -> usize {
    (CHUNK / n).max(1)
}

/// Largest magnitude whose power of e, and the reciprocal of one more than that, are normal numbers. Others cost ten times as much.
const WITHIN: f32 = 87.0;

/// `e^x` for `x` within [`WITHIN`] of zero, to 2 units in the last place: Cody–Waite reduction and Cephes' degree-6
/// polynomial. NaN stays NaN.
#[inline(always)]
fn power(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to the nearest integer n and leaves it in the low bits; the 127 more make it the exponent of 2^n.
    const ROUNDING: f32 = 12_582_912.0 + 127.0;
    let t = x.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let n = t - ROUNDING;
    let r = n.mul_add(-0.693_145_75, x);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    ((p * r).mul_add(r, r) + 1.0) * f32::from_bits(t.to_bits() << 23)
}

/// `e^x` for `x` up to zero; 0 below -[`WITHIN`]. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // A comparison in this order keeps NaN (the maximum function would drop it).
    let lost = -WITHIN > x;
    let y = power(if lost { -WITHIN } else { x });
    if lost { 0.0 } else { y }
}

/// `1 / x` for `x` from 1 to `2 e^87`, to a unit in the last place: a line through the logarithm, and two steps that
/// triple the digits. A division keeps one of two ports busy for as long as all else that a sigmoid is.
#[inline(always)]
fn reciprocal(x: f32) -> f32 {
    let y = f32::from_bits(0x7EF3_11C3_u32.wrapping_sub(x.to_bits()));
    let step = |y: f32| {
        let error = (-x).mul_add(y, 1.0);
        error.mul_add(error, error).mul_add(y, y)
    };
    step(step(y))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let lost = -WITHIN > x;
    let inner = if lost { -WITHIN } else { x };
    let inner = if WITHIN < inner { WITHIN } else { inner };
    let y = reciprocal(1.0 + power(-inner));
    if lost { 0.0 } else { y }
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// Derivative of [`silu`].
#[inline(always)]
pub(crate) fn d_silu(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
}

const GELU_K: f32 = 1.595_769; // 2 sqrt(2 / pi)
const GELU_A: f32 = 0.044_715;

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, by `(1 + tanh(u))/2 = sigmoid(2u)`.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    x * sigmoid(GELU_K * (x + GELU_A * x * x * x))
}

/// Derivative of [`gelu`].
#[inline(always)]
pub(crate) fn d_gelu(x: f32) -> f32 {
    let s = sigmoid(GELU_K * (x + GELU_A * x * x * x));
    s + x * s * (1.0 - s) * GELU_K * (1.0 + 3.0 * GELU_A * x * x)
}

/// Runs `f` compiled for the processor's widest vectors.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Runs `f` on corresponding chunks of `out`, in parallel where there is more than one.
pub(crate) fn chunks(out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() <= CHUNK {
        f(0, out);
    } else {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, out)| f(i * CHUNK, out));
    }
}

/// `out[i] = f(x[i])`.
pub(crate) fn map(out: &mut [f32], x: &[f32], f: impl Fn(f32) -> f32 + Sync + Copy) {
    chunks(out, |at, out| {
        let x = &x[at..at + out.len()];
        simd(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = f(*x);
                }
            },
        );
    });
}

/// `out[i] = f(out[i])`.
pub(crate) fn update(out: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Copy) {
    chunks(out, |_, out| {
        simd(
            #[inline(always)]
            || {
                for out in out {
                    *out = f(*out);
                }
            },
        );
    });
}

/// `out[i] = f(out[i], x[i])`.
pub(crate) fn zip_in_place(out: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32 + Sync + Copy) {
    chunks(out, |at, out| {
        let x = &x[at..at + out.len()];
        simd(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = f(*out, *x);
                }
            },
        );
    });
}

/// `out[i] = f(x[i], y[i])`.
pub(crate) fn zip(out: &mut [f32], x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32 + Sync + Copy) {
    chunks(out, |at, out| {
        let (x, y) = (&x[at..at + out.len()], &y[at..at + out.len()]);
        simd(
            #[inline(always)]
            || {
                for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
                    *out = f(*x, *y);
                }
            },
        );
    });
}

/// Sum of a slice.
pub(crate) fn sum(x: &[f32]) -> f32 {
    simd(
        #[inline(always)]
        || sum_by(x, |x| x),
    )
}

/// Interleaved chains of a sum: enough of them to hide the latency of additions of the widest vectors.
const CHAINS: usize = 32;

/// Sum of `f(x)` over a slice, in an order that depends on nothing but its length.
#[inline(always)]
pub(crate) fn sum_by(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; CHAINS];
    let (whole, rest) = x.as_chunks::<CHAINS>();
    for x in whole {
        for i in 0..CHAINS {
            sums[i] += f(x[i]);
        }
    }
    let (n, rest) = (rest.len(), padded::<CHAINS>(rest));
    for i in 0..CHAINS {
        sums[i] = if i < n { sums[i] + f(rest[i]) } else { sums[i] };
    }
    halve(sums)
}

/// Sum of `a f(b)` over two slices, in the same order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; CHAINS];
    let ((wa, ra), (wb, rb)) = (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
    for (a, b) in wa.iter().zip(wb) {
        for i in 0..CHAINS {
            sums[i] = a[i].mul_add(f(b[i]), sums[i]);
        }
    }
    let (n, ra, rb) = (ra.len().min(rb.len()), padded::<CHAINS>(ra), padded::<CHAINS>(rb));
    for i in 0..CHAINS {
        sums[i] = if i < n { ra[i].mul_add(f(rb[i]), sums[i]) } else { sums[i] };
    }
    halve(sums)
}

/// Sum of `(a - b)²` over two slices, in the same order.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; CHAINS];
    let ((wa, ra), (wb, rb)) = (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
    let add = |sum: f32, a: f32, b: f32| (a - b).mul_add(a - b, sum);
    for (a, b) in wa.iter().zip(wb) {
        for i in 0..CHAINS {
            sums[i] = add(sums[i], a[i], b[i]);
        }
    }
    // The padding adds nothing: its differences are zero.
    let (ra, rb) = (padded::<CHAINS>(ra), padded::<CHAINS>(rb));
    for i in 0..CHAINS {
        sums[i] = add(sums[i], ra[i], rb[i]);
    }
    halve(sums)
}

/// The end of a slice filled up with zeros, so that a loop over it is a loop over whole vectors.
#[inline(always)]
fn padded<const N: usize>(rest: &[f32]) -> [f32; N] {
    let mut all = [0.0; N];
    for (all, rest) in all.iter_mut().zip(rest) {
        *all = *rest;
    }
    all
}

/// Values of the widest vector.
const WIDEST: usize = 16;

/// `out[i] = f(x[i], y[i])` for short rows: the end that fills no vector is computed in one as well, where a plain loop
/// would take it value by value.
#[inline(always)]
pub(crate) fn row(out: &mut [f32], x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) {
    let (whole, rest) = out.as_chunks_mut::<WIDEST>();
    let ((xs, x), (ys, y)) = (x.as_chunks::<WIDEST>(), y.as_chunks::<WIDEST>());
    for ((out, x), y) in whole.iter_mut().zip(xs).zip(ys) {
        for i in 0..WIDEST {
            out[i] = f(x[i], y[i]);
        }
    }
    if !rest.is_empty() {
        let (x, y): ([f32; WIDEST], [f32; WIDEST]) = (padded(x), padded(y));
        let mut all = [0.0; WIDEST];
        for i in 0..WIDEST {
            all[i] = f(x[i], y[i]);
        }
        for (rest, all) in rest.iter_mut().zip(&all) {
            *rest = *all;
        }
    }
}

/// The same with `out` itself for `y`.
#[inline(always)]
pub(crate) fn row_in_place(out: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32) {
    let (whole, rest) = out.as_chunks_mut::<WIDEST>();
    let (xs, x) = x.as_chunks::<WIDEST>();
    for (out, x) in whole.iter_mut().zip(xs) {
        for i in 0..WIDEST {
            out[i] = f(x[i], out[i]);
        }
    }
    if !rest.is_empty() {
        let (x, y): ([f32; WIDEST], [f32; WIDEST]) = (padded(x), padded(rest));
        let mut all = [0.0; WIDEST];
        for i in 0..WIDEST {
            all[i] = f(x[i], y[i]);
        }
        for (rest, all) in rest.iter_mut().zip(&all) {
            *rest = *all;
        }
    }
}

/// The sum of the chains, by halves.
#[inline(always)]
fn halve(mut sums: [f32; CHAINS]) -> f32 {
    let mut n = CHAINS / 2;
    while n > 0 {
        for i in 0..n {
            sums[i] += sums[i + n];
        }
        n /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid};

    /// The polynomial against the standard library in f64, over the whole range of its use.
    #[test]
    fn exponential_is_accurate_everywhere() {
        for i in -8_700..0 {
            let x = i as f32 * 0.01 + 0.0037;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 2.5e-7 * want, "exp({x}) = {got}, not {want}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::from_bits(0x7FC0_0155)).is_nan(), "whatever its lower bits");
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sigmoid_is_accurate_everywhere() {
        for i in -8_700..10_000 {
            let x = i as f32 * 0.01 + 0.0037;
            let (got, want) = (f64::from(sigmoid(x)), 1.0 / (1.0 + (-f64::from(x)).exp()));
            assert!((got - want).abs() <= 3.5e-7 * want, "sigmoid({x}) = {got}, not {want}");
        }
        assert!(sigmoid(f32::NAN).is_nan());
        assert!(sigmoid(f32::from_bits(0xFFC0_0155)).is_nan(), "whatever its lower bits");
        assert_eq!([f32::NEG_INFINITY, -87.1, 0.0, 20.0, f32::INFINITY].map(sigmoid), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }
}
