//! The weight gradient of a linear map in pairs of bfloat16: `dw[o, i] = sum_r g[r, o] x[r, i]`, two rows a term.
//!
//! Blocks of outputs and features are summed over all rows in their order, each by one thread, so the bits depend on
//! nothing but the operands.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::conv::tile::{CorrelatedTile, blocks, correlated_tile, max_rows, parts};
use crate::host::{Scratch, Shared, scratch};
use crate::pairs::pack_planes;

/// Pairs of rows worked on at a time: their gradients of one block of outputs stay in the first-level cache.
const ROWS: usize = 64;
/// Features per task: few enough for there to be work for everybody, many enough to copy gradients rarely.
const FEATURES: usize = 96;

/// `[outputs, features]` from `x` `[rows, features]` and `g` `[rows, outputs]`.
pub(super) fn gradient(x: &[f32], features: usize, g: &[f32], outputs: usize) -> Vec<f32> {
    let mut out = scratch(outputs * features);
    if out.is_empty() {
        return out;
    }
    let rows = g.len() / outputs;
    let (x, g) = (pack_planes(x, 1, rows, features), pack_planes(g, 1, rows, outputs));
    let sum = Sum { rows: rows.div_ceil(2), x: &x, features, g: &g, outputs, out: Shared::new(&mut out) };
    pulp::Arch::new().dispatch(sum);
    out
}

struct Sum<'a> {
    /// Pairs of rows.
    rows: usize,
    x: &'a [f32],
    features: usize,
    g: &'a [f32],
    outputs: usize,
    out: Shared,
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let chunks = parts(self.features, FEATURES);
        let tasks: Vec<_> = blocks::<S>(self.outputs).flat_map(|b| chunks.clone().map(move |c| (b, c))).collect();
        let run = |&(block, chunk): &((usize, usize), (usize, usize))| {
            simd.vectorize(Task { sum: &self, block, chunk });
        };
        // Below this the work takes no longer than handing it out.
        if self.x.len() * self.outputs < 1 << 16 { tasks.iter().for_each(run) } else { tasks.par_iter().for_each(run) }
    }
}

/// One block of outputs (first vector, vectors) and one chunk of features (first, count).
struct Task<'a> {
    sum: &'a Sum<'a>,
    block: (usize, usize),
    chunk: (usize, usize),
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sum: &Sum { rows, x, features, g, outputs, out }, block: (first, vectors), chunk } = self;
        let (first, width) = (first * S::F32_LANES, vectors * S::F32_LANES);
        let used = width.min(outputs - first);
        let starts: Vec<usize> = (chunk.0..chunk.0 + chunk.1).collect();
        let mut sums = Scratch::take(chunk.1 * width);
        sums[..chunk.1 * width].fill(0.0);
        let mut copy = Scratch::take(ROWS * width);
        for (r0, rows) in parts(rows, ROWS) {
            for (r, copy) in copy.chunks_exact_mut(width).take(rows).enumerate() {
                copy[..used].copy_from_slice(&g[(r0 + r) * outputs + first..][..used]);
                copy[used..].fill(0.0);
            }
            let x = &x[r0 * features..][..rows * features];
            for (k, n) in parts(chunk.1, max_rows::<S>(vectors)) {
                let (starts, sums) = (&starts[k..k + n], &mut sums[k * width..][..n * width]);
                // SAFETY: `x` holds `rows` rows of `features` and the starts are below `features`; `copy` holds `rows`
                // rows of `width` and `sums` `n`; the sizes come from the limits themselves; whoever asked for pairs
                // saw that they are native.
                unsafe {
                    let (x, g, out) = (x.as_ptr(), copy.as_ptr(), sums.as_mut_ptr());
                    let (paired, columns, step) = (true, 1, features);
                    let tile = CorrelatedTile { paired, vectors, x, starts, rows, columns, step, g, out };
                    correlated_tile(simd, tile);
                }
            }
        }
        for o in 0..used {
            // SAFETY: these elements belong to this task alone, and `gradient` holds the borrow.
            let row = unsafe { out.slice((first + o) * features + chunk.0, chunk.1) };
            for (k, row) in row.iter_mut().enumerate() {
                *row = sums[k * width + o];
            }
        }
    }
}
