//! Linear maps of rows in pairs of bfloat16, neighbouring terms in a word.
//!
//! Each output is one chain over its terms, so a row's result does not depend on the number of rows.

use super::through;
use pulp::{Simd, WithSimd};

use crate::activation::Activation;
use crate::conv::product::WEIGHTS;
use crate::conv::tile::{ShiftedTile, blocks, max_rows, max_vectors, parts, shifted_tile};
use crate::host::Scratch;

/// Rows per task: their operands of one block of terms stay in the first-level cache.
const ROWS: usize = 48;

/// `y[r, :] = bias + sum_k x[r, k] weights[k, :]` for rows of `depth` words and `channels` values.
#[derive(Clone, Copy)]
pub(super) struct RowMap<'a> {
    /// Words of two bfloat16, as all operands here.
    pub x: &'a [f32],
    pub depth: usize,
    /// Made by [`Arrange`](crate::conv::product::Arrange).
    pub weights: &'a [f32],
    pub channels: usize,
    pub bias: Option<&'a [f32]>,
}

/// `y` from the map, through `activation` where there is one; what goes into that is kept in `before` where asked.
pub(super) fn map_rows(map: RowMap, y: &mut [f32], activation: Option<Activation>, before: Option<&mut [f32]>) {
    let RowMap { x, depth, channels, .. } = map;
    if y.is_empty() {
        return;
    }
    assert!(y.len() / channels * depth == x.len());
    let rows = |i: usize, y: &mut [f32]| {
        let x = &x[i * ROWS * depth..][..y.len() / channels * depth];
        pulp::Arch::new().dispatch(Rows { map: RowMap { x, ..map }, y });
    };
    // Below this the work takes no longer than handing it out.
    let parallel = x.len() * channels >= 1 << 16;
    through(y, before, activation, ROWS * channels, parallel, rows);
}

/// At most [`ROWS`] rows of a linear map.
struct Rows<'a> {
    map: RowMap<'a>,
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { map: RowMap { x, depth, weights, channels, bias }, y } = self;
        let (lanes, rows) = (S::F32_LANES, y.len() / channels);
        let offsets: Vec<usize> = (0..depth).collect();
        let mut sums = Scratch::take(rows * max_vectors::<S>() * lanes);
        let mut begin = Scratch::take(max_vectors::<S>() * lanes);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let used = width.min(channels - first);
            let weights = &weights[first * depth..][..width * depth];
            let sums = &mut sums[..rows * width];
            begin[..width].fill(0.0);
            if let Some(bias) = bias {
                begin[..used].copy_from_slice(&bias[first..first + used]);
            }
            if depth == 0 {
                sums.chunks_exact_mut(width).for_each(|sums| sums.copy_from_slice(&begin[..width]));
            }
            for (k, terms) in parts(depth, WEIGHTS / width) {
                let (offsets, w) = (&offsets[k..][..terms], &weights[k * width..][..terms * width]);
                for (r, n) in parts(rows, max_rows::<S>(vectors)) {
                    let (x, sums) = (&x[r * depth..][..n * depth], &mut sums[r * width..][..n * width]);
                    // SAFETY: `x` holds `n` rows of `depth` and the offsets are below `depth`; `w` holds `terms` rows,
                    // `sums` `n` rows and `begin` one row of `width`; `n` and `vectors` come from the limits
                    // themselves; whoever asked for pairs saw that they are native.
                    unsafe {
                        let (x, w, out) = (x.as_ptr(), w.as_ptr(), sums.as_mut_ptr());
                        let start = if k == 0 { (begin.as_ptr(), 0) } else { (out.cast_const(), width) };
                        let (paired, apart, rows) = (true, depth, n);
                        shifted_tile(simd, ShiftedTile { paired, rows, vectors, x, apart, offsets, w, start, out });
                    }
                }
            }
            for (y, sums) in y.chunks_exact_mut(channels).zip(sums.chunks_exact(width)) {
                y[first..first + used].copy_from_slice(&sums[..used]);
            }
        }
    }
}
