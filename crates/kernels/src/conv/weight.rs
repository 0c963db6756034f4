//! Weight gradients: the correlation of a plan's input with the gradient of its output,
//! `dw[o, plane, tap] = sum_{b, r, c} g[b, o, r, c] in[b, plane, r s + dy(tap), c s + dx(tap)]`.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::plan::Plan;
use super::tile::{CorrelatedTile, blocks, correlated_tile, max_rows, parts, transpose};
use crate::host::{Scratch, Shared};

/// Values of a padded input band that a task works on at a time: 512 KiB, half of a second-level cache.
const BAND: usize = 1 << 17;
/// Positions of the output gradient worked on at a time, so that they stay in the first-level cache.
const POSITIONS: usize = 128;

/// The sum over a batch, `[channels, planes, taps]`.
///
/// The batch is cut into as many parts as there are threads; each part is summed in order, and the parts in theirs,
/// so the bits depend on the number of threads but on nothing else.
pub(crate) fn weight_gradient(plan: &Plan, batch: usize, input: &[f32], grad: &[f32], channels: usize) -> Vec<f32> {
    let depth = plan.depth();
    let mut out = vec![0.0; channels * depth];
    if batch == 0 || plan.rows == 0 || plan.columns == 0 || out.is_empty() {
        return out;
    }
    let threads = rayon::current_num_threads();
    let per_row = (plan.planes * plan.stride * plan.width).max(1);
    let rows = (BAND / per_row).min(plan.rows.div_ceil(threads.div_ceil(batch))).max(1);
    let units: Vec<Unit> = (0..batch)
        .flat_map(|image| parts(plan.rows, rows).map(move |(first, rows)| Unit { image, first, rows }))
        .collect();
    let lot: Vec<(usize, usize)> = parts(units.len(), units.len().div_ceil(threads)).collect();
    let mut sums: Vec<Vec<f32>> = lot
        .into_par_iter()
        .map(|(first, n)| {
            let units = &units[first..first + n];
            pulp::Arch::new().dispatch(Part { plan, input, grad, channels, units })
        })
        .collect();
    let mut total = sums.remove(0);
    for part in &sums {
        crate::math::zip_in_place(&mut total, part, |a, b| a + b);
    }
    pulp::Arch::new().dispatch(Restore { channels, depth, total: &total, out: &mut out });
    out
}

/// Some output rows of one image.
#[derive(Clone, Copy, Debug)]
struct Unit {
    image: usize,
    first: usize,
    rows: usize,
}

/// One thread's share, whose result is laid out as the weights of a `Product` are.
struct Part<'a> {
    plan: &'a Plan,
    input: &'a [f32],
    grad: &'a [f32],
    channels: usize,
    units: &'a [Unit],
}

impl WithSimd for Part<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { plan, input, .. } = self;
        let mut sums = vec![0.0; self.channels.div_ceil(S::F32_LANES) * S::F32_LANES * plan.depth()];
        let size = plan.planes * plan.height * plan.width;
        for unit in self.units {
            let input = &input[unit.image * size..][..size];
            if plan.is_pointwise() {
                let offsets: Vec<usize> = (0..plan.planes).map(|p| p * plan.height * plan.width).collect();
                self.add(simd, unit, &input[unit.first * plan.width..], &offsets, plan.width, &mut sums);
            } else {
                let band = plan.band(unit.rows);
                let mut padded = Scratch::take(band.size);
                band.fill(plan, input, unit.first, &mut padded);
                self.add(simd, unit, &padded[..band.size], &band.offsets, band.step, &mut sums);
            }
        }
        sums
    }
}

impl Part<'_> {
    /// Adds the contribution of a unit whose operands lie in `x` at `offsets[k] + r * step + c`.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, unit: &Unit, x: &[f32], offsets: &[usize], step: usize, sums: &mut [f32]) {
        let Self { plan, grad, channels, .. } = *self;
        let (lanes, depth, columns) = (S::F32_LANES, offsets.len(), plan.columns);
        let last = offsets.iter().max().map_or(0, |o| o + (unit.rows - 1) * step + columns);
        assert!(last <= x.len(), "operands lie within the band");
        let block_rows = (POSITIONS / columns).max(1);
        let plane = plan.rows * columns;
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let used = width.min(channels - first);
            let mut turned = Scratch::take(block_rows * columns * width);
            for (r0, rows) in parts(unit.rows, block_rows) {
                let n = rows * columns;
                let g = &grad[(unit.image * channels + first) * plane + (unit.first + r0) * columns..];
                let turned = &mut turned[..n * width];
                let shared = Shared::new(turned);
                // SAFETY: `shared` is used by this thread only, one slice at a time, while `turned` is borrowed.
                transpose(g, plane, (used, n), |position, o, len| unsafe { shared.slice(position * width + o, len) });
                let x = &x[r0 * step..];
                for (k, n) in parts(depth, max_rows::<S>(vectors)) {
                    let sums = &mut sums[first * depth + k * width..][..n * width];
                    // SAFETY: the last operand at the greatest offset is within `x` as asserted above, hence every
                    // one; `turned` has a row of `width` for every position, `sums` `n` rows; the sizes come from
                    // the limits themselves.
                    unsafe {
                        let starts = &offsets[k..k + n];
                        let (x, g, out) = (x.as_ptr(), turned.as_ptr(), sums.as_mut_ptr());
                        correlated_tile(simd, CorrelatedTile { vectors, x, starts, rows, columns, step, g, out });
                    }
                }
            }
        }
    }
}

/// Puts sums back into the order `[channels, depth]`.
struct Restore<'a> {
    channels: usize,
    depth: usize,
    total: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Restore<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { channels, depth, total, out } = self;
        let shared = Shared::new(out);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * S::F32_LANES, vectors * S::F32_LANES);
            let used = width.min(channels - first);
            // SAFETY: `shared` is used by this thread only, one slice at a time, while `out` is borrowed.
            transpose(&total[first * depth..], width, (depth, used), |o, k, len| unsafe {
                shared.slice((first + o) * depth + k, len)
            });
        }
    }
}
