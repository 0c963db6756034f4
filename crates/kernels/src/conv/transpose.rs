//! Matrices turned over: between image order, positions consecutive, and the order of the tiles, channels consecutive.

use pulp::Simd;

/// `dst[c * dst_step + r] = src[r * src_step + c]` for `rows` x `columns`.
///
/// # Safety
/// `dst` must be writable at all these places, and nobody else may use them meanwhile.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Simd>(
    simd: S,
    src: &[f32],
    src_step: usize,
    (rows, columns): (usize, usize),
    dst: *mut f32,
    dst_step: usize,
) {
    let _ = simd; // it stands for what this is compiled for
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * src_step + columns <= src.len(), "the matrix lies within its slice");
    const T: usize = 8;
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == 16 {
        // SAFETY: blocks lie within the matrix; the processor has what `S` stands for, which includes AVX-512F.
        unsafe { blocks16(src.as_ptr(), src_step, (rows, columns), dst, dst_step) };
        return;
    }
    for c in (0..columns).step_by(T) {
        for r in (0..rows).step_by(T) {
            if r + T <= rows && c + T <= columns {
                // Through arrays that the compiler keeps in registers.
                let mut block = [[0.0f32; T]; T];
                for i in 0..T {
                    block[i].copy_from_slice(&src[(r + i) * src_step + c..][..T]);
                }
                for j in 0..T {
                    let mut row = [0.0f32; T];
                    for i in 0..T {
                        row[i] = block[i][j];
                    }
                    // SAFETY: within the matrix; the caller vouches for `dst`.
                    unsafe { dst.add((c + j) * dst_step + r).cast::<[f32; T]>().write_unaligned(row) };
                }
            } else {
                for j in c..columns.min(c + T) {
                    for i in r..rows.min(r + T) {
                        // SAFETY: as above.
                        unsafe { *dst.add(j * dst_step + i) = src[i * src_step + j] };
                    }
                }
            }
        }
    }
}

/// The same in blocks of 16 x 16; where a side is no multiple of 16 the last block reaches back into the one before.
///
/// # Safety
/// `src` readable and `dst` writable at all places of the matrix, AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn blocks16(src: *const f32, src_step: usize, (rows, columns): (usize, usize), dst: *mut f32, dst_step: usize) {
    for c in (0..columns).step_by(16) {
        let c = c.min(columns.saturating_sub(16));
        for r in (0..rows).step_by(16) {
            let r = r.min(rows.saturating_sub(16));
            // SAFETY: the block lies within the matrix.
            unsafe {
                let (src, dst) = (src.add(r * src_step + c), dst.add(c * dst_step + r));
                if rows >= 16 && columns >= 16 {
                    block16::<true>(src, src_step, (16, 16), dst, dst_step);
                } else {
                    block16::<false>(src, src_step, (rows.min(16), columns.min(16)), dst, dst_step);
                }
            }
        }
    }
}

/// One block of at most 16 x 16, exactly that if `WHOLE`.
///
/// # Safety
/// As for [`blocks16`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn block16<const WHOLE: bool>(
    src: *const f32,
    src_step: usize,
    (rows, columns): (usize, usize),
    dst: *mut f32,
    dst_step: usize,
) {
    use std::arch::x86_64::*;
    let lanes = |n: usize| ((1u32 << n) - 1) as __mmask16;
    // SAFETY: only lanes within the matrix are read and written; the caller vouches for them and for AVX-512F.
    unsafe {
        let mut a = [_mm512_setzero_ps(); 16];
        for i in 0..16 {
            if WHOLE {
                a[i] = _mm512_loadu_ps(src.add(i * src_step));
            } else if i < rows {
                a[i] = _mm512_maskz_loadu_ps(lanes(columns), src.add(i * src_step));
            }
        }
        // Within quarters: pairs of rows, then fours.
        let mut b = a;
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..4 {
            let (p, q) = (_mm512_castps_pd(b[4 * i]), _mm512_castps_pd(b[4 * i + 1]));
            let (r, s) = (_mm512_castps_pd(b[4 * i + 2]), _mm512_castps_pd(b[4 * i + 3]));
            a[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, r));
            a[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, r));
            a[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(q, s));
            a[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(q, s));
        }
        // `a[4 i + k]` holds columns k, 4 + k, 8 + k, 12 + k of rows 4 i to 4 i + 3, one column in each quarter.
        for k in 0..4 {
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a[k], a[4 + k]);
            let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(a[k], a[4 + k]);
            let low2 = _mm512_shuffle_f32x4::<0b10_00_10_00>(a[8 + k], a[12 + k]);
            let high2 = _mm512_shuffle_f32x4::<0b11_01_11_01>(a[8 + k], a[12 + k]);
            b[k] = _mm512_shuffle_f32x4::<0b10_00_10_00>(low, low2);
            b[4 + k] = _mm512_shuffle_f32x4::<0b10_00_10_00>(high, high2);
            b[8 + k] = _mm512_shuffle_f32x4::<0b11_01_11_01>(low, low2);
            b[12 + k] = _mm512_shuffle_f32x4::<0b11_01_11_01>(high, high2);
        }
        for j in 0..16 {
            if WHOLE {
                _mm512_storeu_ps(dst.add(j * dst_step), b[j]);
            } else if j < columns {
                _mm512_mask_storeu_ps(dst.add(j * dst_step), lanes(rows), b[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Simd, WithSimd};

    use super::transpose;

    struct Turn<'a>(&'a [f32], (usize, usize), &'a mut [f32]);

    impl WithSimd for Turn<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(src, (rows, columns), dst) = self;
            assert!(dst.len() >= (columns - 1) * (rows + 2) + rows);
            // SAFETY: `dst` is large enough by the assertion, and exclusive.
            unsafe { transpose(simd, src, columns + 3, (rows, columns), dst.as_mut_ptr(), rows + 2) }
        }
    }

    #[test]
    fn every_element_arrives_and_nothing_else_is_touched() {
        for rows in [1, 7, 8, 9, 15, 16, 17, 31, 49, 64] {
            for columns in [1, 4, 9, 16, 20, 32, 33] {
                let src: Vec<f32> = (0..rows * (columns + 3)).map(|i| i as f32).collect();
                let mut want = vec![-1.0; columns * (rows + 2)];
                for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                    want[c * (rows + 2) + r] = src[r * (columns + 3) + c];
                }
                let mut got = vec![-1.0; want.len()];
                pulp::Arch::new().dispatch(Turn(&src, (rows, columns), &mut got));
                assert_eq!(got, want, "{rows} x {columns}");
                got.fill(-1.0);
                pulp::Scalar::new().vectorize(Turn(&src, (rows, columns), &mut got));
                assert_eq!(got, want, "{rows} x {columns}, without vectors");
            }
        }
    }
}
