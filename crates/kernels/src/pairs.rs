//! Pairs of bfloat16: two neighbouring terms of a sum in the 32 bits where a single precision kernel has one.
//!
//! Everything that lays operands out (bands, blocks of weights, transposes) moves words of 32 bits and never looks
//! inside; only the innermost product does. So a kernel works in pairs by packing its operands with [`pack`], halving
//! the number of its terms, and asking its tiles for [`dot`] in place of a fused multiply-add.
//! A word travels as an `f32`, whose moves keep all bits.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::host::scratch;
use crate::math::{CHUNK, simd};
use crate::precision::Precision;

/// The nearest bfloat16, ties to even, as the upper half of an `f32`. NaN stays NaN, what is too large is infinite.
#[inline(always)]
pub(crate) fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    // Adding could carry a NaN over into infinity or zero; a quiet bit keeps it what it is.
    let kept = if bits & 0x7FFF_FFFF > 0x7F80_0000 { bits | 0x0040_0000 } else { rounded };
    kept & 0xFFFF_0000
}

/// The word of two consecutive terms.
#[inline(always)]
pub(crate) fn pack(first: f32, second: f32) -> f32 {
    f32::from_bits(round(first) >> 16 | round(second))
}

/// `dst[i] = pack(first[i], second[i])`; where `second` is empty its terms are zero.
pub(crate) fn pack_rows(first: &[f32], second: &[f32], dst: &mut [f32]) {
    assert!(first.len() >= dst.len() && (second.is_empty() || second.len() >= dst.len()));
    pulp::Arch::new().dispatch(Native(Rows { first, second, dst }));
}

/// An operation compiled for AVX512-BF16 where the processor has it.
struct Native<W>(W);

impl<W: WithSimd> WithSimd for Native<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> W::Output {
        if S::F32_LANES == 16 && Precision::Bf16.is_native() {
            // SAFETY: just seen.
            unsafe { vectorize(simd, self.0) }
        } else {
            self.0.with_simd(simd)
        }
    }
}

struct Rows<'a> {
    first: &'a [f32],
    second: &'a [f32],
    dst: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { mut first, mut second, mut dst } = self;
        #[cfg(target_arch = "x86_64")]
        if S::F32_LANES == 16 && Precision::Bf16.is_native() {
            let whole = dst.len() / 16 * 16;
            // SAFETY: all rows hold `whole` values by the assertion of `pack_rows`; the instruction was just seen.
            unsafe { pack_vectors(first.as_ptr(), (!second.is_empty()).then_some(second.as_ptr()), dst, whole) };
            (first, dst) = (&first[whole..], &mut dst[whole..]);
            second = if second.is_empty() { second } else { &second[whole..] };
        }
        if second.is_empty() {
            for (dst, first) in dst.iter_mut().zip(first) {
                *dst = pack(*first, 0.0);
            }
        } else {
            for ((dst, first), second) in dst.iter_mut().zip(first).zip(second) {
                *dst = pack(*first, *second);
            }
        }
    }
}

/// [`pack_rows`] for `len` values, a multiple of 16. The instruction takes numbers below 1.2e-38 for zero, as the products
/// do.
///
/// # Safety
/// All rows must hold `len` values; AVX512-BF16.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn pack_vectors(first: *const f32, second: Option<*const f32>, dst: &mut [f32], len: usize) {
    use std::arch::x86_64::*;
    // The conversion leaves sixteen firsts and then sixteen seconds; words want one of each.
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        order
    };
    // SAFETY: `i + 16 <= len` throughout.
    unsafe {
        let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
        for i in (0..len).step_by(16) {
            let a = _mm512_loadu_ps(first.add(i));
            let b = second.map_or(_mm512_setzero_ps(), |second| _mm512_loadu_ps(second.add(i)));
            let words: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(b, a));
            _mm512_storeu_si512(dst.as_mut_ptr().add(i).cast(), _mm512_permutexvar_epi16(order, words));
        }
    }
}

/// `batch` images of `planes` planes of `area` values, in pairs of consecutive planes of an image: `[batch, words, area]`
/// with `words = planes / 2` rounded up; an odd last plane is paired with zero.
pub(crate) fn pack_planes(src: &[f32], batch: usize, planes: usize, area: usize) -> Vec<f32> {
    let words = planes.div_ceil(2);
    let mut all = scratch(batch * words * area);
    if all.is_empty() {
        return all;
    }
    let word = |(i, dst): (usize, &mut [f32])| {
        let (image, word) = (i / words, i % words);
        let src = &src[(image * planes + 2 * word) * area..(image * planes + planes.min(2 * word + 2)) * area];
        let (first, second) = src.split_at(area);
        // Long planes in pieces, so that a single one is shared out as well.
        dst.par_chunks_mut(CHUNK).enumerate().for_each(|(j, dst)| {
            let first = &first[j * CHUNK..][..dst.len()];
            let second = if second.is_empty() { second } else { &second[j * CHUNK..][..dst.len()] };
            pack_rows(first, second, dst);
        });
    };
    all.par_chunks_mut(area).with_min_len(CHUNK.div_ceil(area)).enumerate().for_each(word);
    all
}

/// Rows of `features` values in pairs of neighbours, `[rows, features / 2]` rounded up; an odd last feature is paired with
/// zero.
pub(crate) fn pack_features(src: &[f32], features: usize) -> Vec<f32> {
    let words = features.div_ceil(2);
    if src.is_empty() {
        return Vec::new();
    }
    let mut all = scratch(src.len() / features * words);
    // Rows of even length follow each other without gaps: one long row.
    let (features, words) = if features.is_multiple_of(2) { (2 * CHUNK, CHUNK) } else { (features, words) };
    all.par_chunks_mut(words).zip(src.par_chunks(features)).with_min_len(CHUNK.div_ceil(words)).for_each(
        |(dst, src)| {
            simd(
                #[inline(always)]
                || pack_neighbours(src, dst),
            );
        },
    );
    all
}

/// `dst[i] = pack(src[2 i], src[2 i + 1])`, with zero beyond an odd end.
#[inline(always)]
fn pack_neighbours(src: &[f32], dst: &mut [f32]) {
    let (whole, rest) = src.as_chunks::<2>();
    for (dst, src) in dst.iter_mut().zip(whole) {
        *dst = pack(src[0], src[1]);
    }
    if let ([last], Some(dst)) = (rest, dst.get_mut(whole.len())) {
        *dst = pack(*last, 0.0);
    }
}

/// Runs an operation compiled for AVX512-BF16 on top of what `S` stands for.
///
/// # Safety
/// The processor must have AVX512-BF16 and `S` be pulp's AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(crate) unsafe fn vectorize<S: Simd, W: WithSimd>(simd: S, op: W) -> W::Output {
    op.with_simd(simd)
}

/// Elsewhere no kernel ever works in pairs.
///
/// # Safety
/// None to keep: it is never called.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn vectorize<S: Simd, W: WithSimd>(simd: S, op: W) -> W::Output {
    op.with_simd(simd)
}

/// `sum + x.first * w.first + x.second * w.second` in every lane.
///
/// # Safety
/// Only inside [`vectorize`], with its conditions.
#[inline(always)]
pub(crate) unsafe fn dot<S: Simd>(simd: S, x: S::f32s, w: S::f32s, sum: S::f32s) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == 16 {
        use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
        let _ = simd;
        // SAFETY: a vector of 16 lanes is the 64 bytes of an AVX-512 register and every bit pattern is one; the caller
        // vouches for the instruction.
        return unsafe {
            let (x, w): (__m512bh, __m512bh) = (std::mem::transmute_copy(&x), std::mem::transmute_copy(&w));
            let sum: __m512 = std::mem::transmute_copy(&sum);
            std::mem::transmute_copy(&_mm512_dpbf16_ps(sum, x, w))
        };
    }
    let _ = (simd, x, w, sum);
    unreachable!("pairs are multiplied on processors with AVX512-BF16 only")
}

#[cfg(test)]
mod tests {
    use super::{pack, pack_neighbours, pack_rows, round};

    #[test]
    fn rounding_is_to_nearest_even_and_keeps_what_is_not_a_number() {
        let value = |x: f32| f32::from_bits(round(x));
        let ulp = 1.0 / 128.0; // of bfloat16 at 1
        for (x, want) in [
            (1.0, 1.0),
            (1.0 + 0.5 * ulp, 1.0),             // tie, to even
            (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp), // tie, to even
            (1.0 + 0.51 * ulp, 1.0 + ulp),
            (-1.0 - 0.49 * ulp, -1.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (0.0, 0.0),
        ] {
            assert_eq!(value(x), want, "{x}");
        }
        assert_eq!(value(-0.0).to_bits(), (-0.0f32).to_bits());
        assert!(value(f32::NAN).is_nan() && value(f32::from_bits(0x7F80_0001)).is_nan());
        assert!(value(f32::from_bits(0xFFFF_FFFF)).is_nan());
    }

    #[test]
    fn rows_are_packed_as_values_are() {
        let values = crate::testing::values;
        for n in [1, 15, 16, 17, 50] {
            let (mut a, b, mut dst) = (values(1, n), values(2, n), vec![0.0; n]);
            a[n / 2] = f32::NAN;
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            pack_rows(&a, &b, &mut dst);
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| pack(*a, *b)).collect();
            assert_eq!(bits(&dst), bits(&want), "{n}");
            pack_rows(&a, &[], &mut dst);
            let want: Vec<f32> = a.iter().map(|a| pack(*a, 0.0)).collect();
            assert_eq!(bits(&dst), bits(&want), "{n}, alone");
        }
    }

    #[test]
    fn the_first_of_a_pair_is_the_lower_half() {
        assert_eq!(pack(1.0, -2.0).to_bits(), 0xC000_3F80);
        let mut words = [9.0; 2];
        pack_neighbours(&[1.0, -2.0, 1.0], &mut words);
        assert_eq!(words.map(f32::to_bits), [0xC000_3F80, 0x0000_3F80]);
    }
}
