//! The innermost loops of convolution and matrix products: tiles of accumulators held in vector registers.
//!
//! Vectors run over output channels; up to eight output positions share each vector of weights. Every accumulator is
//! one chain of fused multiply-adds in the order of `k`, whatever the tile's size, so results do not depend on how
//! an output is cut into tiles. With `PAIRS` the operands are words of two bfloat16 (see [`crate::pairs`]) and a link
//! of the chain adds both products.

use pulp::{Simd, WithSimd};

use crate::pairs;

/// Blocks of at most this many vectors of channels, with [`max_rows`] positions, fill the registers.
pub(crate) fn max_vectors<S: Simd>() -> usize {
    if S::F32_LANES == 16 { 4 } else { 2 }
}

/// Positions per tile for blocks of `vectors` vectors.
pub(crate) fn max_rows<S: Simd>(vectors: usize) -> usize {
    match (S::F32_LANES == 16, vectors) {
        (true, 4) => 6,
        (true, _) => 8,
        (false, _) => 6,
    }
}

/// One link of a chain: `sum + x w`, or both products of words.
///
/// # Safety
/// With `PAIRS` only inside [`pairs::vectorize`], with its conditions.
#[inline(always)]
unsafe fn link<S: Simd, const PAIRS: bool>(simd: S, x: S::f32s, w: S::f32s, sum: S::f32s) -> S::f32s {
    if PAIRS {
        // SAFETY: by the caller's promise.
        unsafe { pairs::dot(simd, x, w, sum) }
    } else {
        simd.mul_add_e_f32s(x, w, sum)
    }
}

/// `out[r, :] = start[r, :] + sum_k x[offsets[k] + r apart] w[k, :]` for `r < R` and rows of `V` vectors, where the rows
/// of `start` are `start_step` apart.
///
/// # Safety
/// `x` must be readable at `offsets[k] + r apart` for all `k` and `r < R`, `w` for `offsets.len()` rows, `start` and `out`
/// readable and writable for `R` rows, where a row is `V * S::F32_LANES` consecutive values; `PAIRS` as for [`link`].
#[inline(always)]
unsafe fn shifted<S: Simd, const R: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    x: *const f32,
    apart: usize,
    offsets: &[usize],
    w: *const f32,
    (start, start_step): (*const f32, usize),
    out: *mut f32,
) {
    let lanes = S::F32_LANES;
    let out = out.cast::<S::f32s>();
    let mut w = w;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    // SAFETY: all addresses are those the caller vouches for; vectors are read and written unaligned.
    unsafe {
        for r in 0..R {
            for v in 0..V {
                sums[r][v] = start.add(r * start_step + v * lanes).cast::<S::f32s>().read_unaligned();
            }
        }
        for &offset in offsets {
            let x = x.add(offset);
            let mut row = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                row[v] = w.add(v * lanes).cast::<S::f32s>().read_unaligned();
            }
            for r in 0..R {
                let x = simd.splat_f32s(*x.add(r * apart));
                for v in 0..V {
                    sums[r][v] = link::<S, PAIRS>(simd, x, row[v], sums[r][v]);
                }
            }
            w = w.add(V * lanes);
        }
        for r in 0..R {
            for v in 0..V {
                out.add(r * V + v).write_unaligned(sums[r][v]);
            }
        }
    }
}

/// `out[r, :] += sum_{y < rows, c < columns} x[r][y * step + c] g[y * columns + c, :]` for `r < R` and rows of `V`
/// vectors, where `x[r]` starts at `x + starts[r]`.
///
/// # Safety
/// All the addresses named must be readable, and `R` rows of `out` readable and writable; `PAIRS` as for [`link`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn correlated<S: Simd, const R: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    x: *const f32,
    starts: &[usize],
    rows: usize,
    columns: usize,
    step: usize,
    g: *const f32,
    out: *mut f32,
) {
    let lanes = S::F32_LANES;
    let out = out.cast::<S::f32s>();
    let mut g = g;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    // SAFETY: all addresses are those the caller vouches for; vectors are read and written unaligned.
    unsafe {
        let mut xs = [x; R];
        for r in 0..R {
            xs[r] = x.add(*starts.get_unchecked(r));
            for v in 0..V {
                sums[r][v] = out.add(r * V + v).read_unaligned();
            }
        }
        for y in 0..rows {
            for at in y * step..y * step + columns {
                let mut row = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    row[v] = g.add(v * lanes).cast::<S::f32s>().read_unaligned();
                }
                for r in 0..R {
                    let x = simd.splat_f32s(*xs[r].add(at));
                    for v in 0..V {
                        sums[r][v] = link::<S, PAIRS>(simd, x, row[v], sums[r][v]);
                    }
                }
                g = g.add(V * lanes);
            }
        }
        for r in 0..R {
            for v in 0..V {
                out.add(r * V + v).write_unaligned(sums[r][v]);
            }
        }
    }
}

/// Chooses the instance of a tile function for run-time sizes.
macro_rules! choose {
    ($r:expr, $v:expr, $pairs:ident, $f:ident($($a:expr),*)) => {
        match ($r, $v) {
            (1, 1) => $f::<S, 1, 1, $pairs>($($a),*), (2, 1) => $f::<S, 2, 1, $pairs>($($a),*),
            (3, 1) => $f::<S, 3, 1, $pairs>($($a),*), (4, 1) => $f::<S, 4, 1, $pairs>($($a),*),
            (5, 1) => $f::<S, 5, 1, $pairs>($($a),*), (6, 1) => $f::<S, 6, 1, $pairs>($($a),*),
            (1, 2) => $f::<S, 1, 2, $pairs>($($a),*), (2, 2) => $f::<S, 2, 2, $pairs>($($a),*),
            (3, 2) => $f::<S, 3, 2, $pairs>($($a),*), (4, 2) => $f::<S, 4, 2, $pairs>($($a),*),
            (5, 2) => $f::<S, 5, 2, $pairs>($($a),*), (6, 2) => $f::<S, 6, 2, $pairs>($($a),*),
            (r, v) if S::F32_LANES == 16 => match (r, v) {
                (7, 1) => $f::<S, 7, 1, $pairs>($($a),*), (8, 1) => $f::<S, 8, 1, $pairs>($($a),*),
                (7, 2) => $f::<S, 7, 2, $pairs>($($a),*), (8, 2) => $f::<S, 8, 2, $pairs>($($a),*),
                (1, 3) => $f::<S, 1, 3, $pairs>($($a),*), (2, 3) => $f::<S, 2, 3, $pairs>($($a),*),
                (3, 3) => $f::<S, 3, 3, $pairs>($($a),*), (4, 3) => $f::<S, 4, 3, $pairs>($($a),*),
                (5, 3) => $f::<S, 5, 3, $pairs>($($a),*), (6, 3) => $f::<S, 6, 3, $pairs>($($a),*),
                (7, 3) => $f::<S, 7, 3, $pairs>($($a),*), (8, 3) => $f::<S, 8, 3, $pairs>($($a),*),
                (1, 4) => $f::<S, 1, 4, $pairs>($($a),*), (2, 4) => $f::<S, 2, 4, $pairs>($($a),*),
                (3, 4) => $f::<S, 3, 4, $pairs>($($a),*), (4, 4) => $f::<S, 4, 4, $pairs>($($a),*),
                (5, 4) => $f::<S, 5, 4, $pairs>($($a),*), (6, 4) => $f::<S, 6, 4, $pairs>($($a),*),
                _ => unreachable!("tiles are at most max_rows x max_vectors"),
            },
            _ => unreachable!("tiles are at most max_rows x max_vectors"),
        }
    };
}

/// Operands of [`shifted_tile`]: a tile compiled once, called from every operation.
pub(crate) struct ShiftedTile<'a> {
    /// Whether operands are pairs.
    pub paired: bool,
    /// Positions and vectors of channels, within [`max_rows`] and [`max_vectors`].
    pub rows: usize,
    pub vectors: usize,
    pub x: *const f32,
    /// Distance of the operands of consecutive positions.
    pub apart: usize,
    pub offsets: &'a [usize],
    pub w: *const f32,
    /// Where sums begin, and how far apart the rows of that lie: 0 for one row for all positions.
    pub start: (*const f32, usize),
    pub out: *mut f32,
}

/// [`shifted`] for `rows` positions and `vectors` vectors of channels.
///
/// # Safety
/// As for [`shifted`]; `rows` and `vectors` within [`max_rows`] and [`max_vectors`]; `paired` only where
/// [`Precision::Bf16`](crate::Precision) is native.
#[inline(always)]
pub(crate) unsafe fn shifted_tile<S: Simd>(simd: S, tile: ShiftedTile) {
    struct Run<'a, const PAIRS: bool>(ShiftedTile<'a>);
    impl<const PAIRS: bool> WithSimd for Run<'_, PAIRS> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let ShiftedTile { rows, vectors, x, apart, offsets, w, start, out, .. } = self.0;
            // SAFETY: whoever made the tile vouches for it.
            unsafe {
                // The common distance as a constant turns addresses into one register and displacements.
                if apart == 1 {
                    choose!(rows, vectors, PAIRS, shifted(simd, x, 1, offsets, w, start, out));
                } else {
                    choose!(rows, vectors, PAIRS, shifted(simd, x, apart, offsets, w, start, out));
                }
            }
        }
    }
    if tile.paired {
        // SAFETY: the caller vouches that pairs are native, which includes 16 lanes.
        unsafe { pairs::vectorize(simd, Run::<true>(tile)) }
    } else {
        simd.vectorize(Run::<false>(tile));
    }
}

/// Operands of [`correlated_tile`]: as many rows as `starts`.
pub(crate) struct CorrelatedTile<'a> {
    /// Whether operands are pairs.
    pub paired: bool,
    pub vectors: usize,
    pub x: *const f32,
    pub starts: &'a [usize],
    pub rows: usize,
    pub columns: usize,
    pub step: usize,
    pub g: *const f32,
    pub out: *mut f32,
}

/// [`correlated`] for as many rows as there are `starts` and `vectors` vectors of channels.
///
/// # Safety
/// As for [`correlated`]; at most [`max_rows`] starts and [`max_vectors`] vectors; `paired` as for [`shifted_tile`].
#[inline(always)]
pub(crate) unsafe fn correlated_tile<S: Simd>(simd: S, tile: CorrelatedTile) {
    struct Run<'a, const PAIRS: bool>(CorrelatedTile<'a>);
    impl<const PAIRS: bool> WithSimd for Run<'_, PAIRS> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let CorrelatedTile { vectors, x, starts, rows, columns, step, g, out, .. } = self.0;
            // SAFETY: whoever made the tile vouches for it.
            unsafe {
                choose!(starts.len(), vectors, PAIRS, correlated(simd, x, starts, rows, columns, step, g, out));
            }
        }
    }
    if tile.paired {
        // SAFETY: the caller vouches that pairs are native, which includes 16 lanes.
        unsafe { pairs::vectorize(simd, Run::<true>(tile)) }
    } else {
        simd.vectorize(Run::<false>(tile));
    }
}

/// The vectors of `channels` channels in blocks `(first vector, vectors)` that fit the registers, as equal as can be.
pub(crate) fn blocks<S: Simd>(channels: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let vectors = channels.div_ceil(S::F32_LANES);
    let count = vectors.div_ceil(max_vectors::<S>());
    (0..count).map(move |i| (i * vectors / count, (i + 1) * vectors / count - i * vectors / count))
}

/// `n` things in parts of at most `most`, as equal as can be: `(first, length)`.
pub(crate) fn parts(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let count = n.div_ceil(most.max(1));
    (0..count).map(move |i| (i * n / count, (i + 1) * n / count - i * n / count))
}
