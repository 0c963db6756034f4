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

/// `e^x` to 2 units in the last place: Cody–Waite reduction and Cephes' degree-6 polynomial. NaN stays NaN, overflow
/// is infinity, underflow is gradual.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Comparisons in this order keep NaN (the maximum and minimum functions would drop it).
    let x = if -104.0 > x { -104.0 } else { x };
    let x = if 89.0 < x { 89.0 } else { x };
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    let t = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0);
    let n = t - 12_582_912.0;
    let r = n.mul_add(-0.693_145_75, x);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    let y = (p * r).mul_add(r, r) + 1.0;
    // 2^n in two factors, each a normal number for every n that is left.
    let n = (t.to_bits() as i32).wrapping_sub(0x4B40_0000);
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // A power that is not a normal number costs ten times as much, and disappears beside the one.
    let power = if -87.0 > -x { -87.0 } else { -x };
    1.0 / (1.0 + exp(power))
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
    /// The polynomial against the standard library in f64, over the whole range of finite results.
    #[test]
    fn exponential_is_accurate_everywhere() {
        for i in -10_400..8_870 {
            let x = i as f32 * 0.01 + 0.0037;
            let (got, want) = (f64::from(super::exp(x)), f64::from(x).exp());
            // Two units in the last place, or the spacing of subnormal numbers.
            assert!((got - want).abs() <= 2.5e-7 * want + 1.5e-45, "exp({x}) = {got}, not {want}");
        }
        assert!(super::exp(f32::NAN).is_nan());
        assert_eq!(super::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(super::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(super::exp(0.0), 1.0);
    }
}
