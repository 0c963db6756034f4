//! Weight gradients: the correlation of a plan's input with the gradient of its output,
//! `dw[o, plane, tap] = sum_{b, r, c} g[b, o, r, c] in[b, plane, r s + dy(tap), c s + dx(tap)]`.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::plan::{Band, Plan};
use super::tile::{CorrelatedTile, blocks, correlated_tile, max_rows, parts};
use super::transpose::transpose;
use crate::host::Scratch;

/// Values of a padded input band that a task works on at a time: 512 KiB, half of a second-level cache.
const BAND: usize = 1 << 17;
/// Positions of the output gradient worked on at a time, so that they stay in the first-level cache.
const POSITIONS: usize = 128;

/// The sum over a batch, `[channels, planes, taps]`.
///
/// The batch is cut into as many parts as there are threads; each part is summed in order, and the parts in theirs,
/// so the bits depend on the number of threads but on nothing else.
///
/// If `paired`, input and gradient hold pairs of bfloat16, each image two images of the batch.
pub(crate) fn weight_gradient(
    plan: &Plan,
    paired: bool,
    batch: usize,
    input: &[f32],
    grad: &[f32],
    channels: usize,
) -> Vec<f32> {
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
    let bands = plan.bands(units.iter().map(|unit| unit.rows));
    let lot: Vec<(usize, usize)> = parts(units.len(), units.len().div_ceil(threads)).collect();
    let mut sums: Vec<Vec<f32>> = lot
        .into_par_iter()
        .map(|(first, n)| {
            let units = &units[first..first + n];
            pulp::Arch::new().dispatch(Part { plan, paired, bands: &bands, input, grad, channels, units })
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
    paired: bool,
    bands: &'a [(usize, Band)],
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
            let band = self.bands.iter().find(|band| band.0 == unit.rows).expect("a band of each height was made");
            match &band.1.padded {
                None => self.add(simd, unit, &band.1, &input[unit.first * plan.width..], &mut sums),
                Some(padded) => {
                    let mut copy = Scratch::take(padded.room());
                    padded.fill(simd, plan, input, unit.first, &mut copy);
                    self.add(simd, unit, &band.1, &copy, &mut sums);
                }
            }
        }
        sums
    }
}

impl Part<'_> {
    /// Adds the contribution of a unit whose operands lie in `x` as the band says.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, unit: &Unit, band: &Band, x: &[f32], sums: &mut [f32]) {
        let Self { plan, paired, grad, channels, .. } = *self;
        let Band { step, ref offsets, reach, .. } = *band;
        let (lanes, depth, columns) = (S::F32_LANES, offsets.len(), plan.columns);
        assert!(reach <= x.len(), "operands lie within the band");
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
                // SAFETY: `turned` has `n` rows of `width`, of which `used` values are written.
                unsafe { transpose(simd, g, plane, (used, n), turned.as_mut_ptr(), width) };
                let x = &x[r0 * step..];
                for (k, n) in parts(depth, max_rows::<S>(vectors)) {
                    let sums = &mut sums[first * depth + k * width..][..n * width];
                    // SAFETY: the last operand at the greatest offset is within `x` as asserted above, hence every
                    // one; `turned` has a row of `width` for every position, `sums` `n` rows; the sizes come from
                    // the limits themselves.
                    unsafe {
                        let starts = &offsets[k..k + n];
                        let (x, g, out) = (x.as_ptr(), turned.as_ptr(), sums.as_mut_ptr());
                        let tile = CorrelatedTile { paired, vectors, x, starts, rows, columns, step, g, out };
                        correlated_tile(simd, tile);
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
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { channels, depth, total, out } = self;
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * S::F32_LANES, vectors * S::F32_LANES);
            let used = width.min(channels - first);
            let out = &mut out[first * depth..][..used * depth];
            // SAFETY: `out` has `used` rows of `depth`, all of which are written.
            unsafe { transpose(simd, &total[first * depth..], width, (depth, used), out.as_mut_ptr(), depth) };
        }
    }
}
