//! The sum over shifted inputs of a [`Plan`], for a whole batch: forward passes and input gradients.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::plan::{Band, Plan};
use super::tile::{ShiftedTile, blocks, max_rows, max_vectors, parts, shifted_tile};
use super::transpose::transpose;
use crate::host::{Scratch, Shared, scratch};
use crate::pairs::pack_rows;

/// Values of a padded input band that a task works on at a time: 512 KiB, half of a second-level cache.
const BAND: usize = 1 << 17;
/// Values of weights that stay in the first-level cache while a block of positions is swept over them: 16 KiB, half of what the smallest have.
pub(crate) const WEIGHTS: usize = 4 << 10;
/// Positions per block of accumulators.
const POSITIONS: usize = 64;

/// Where the outputs of a plan's grid lie in an image `[channels, plane]`: `start + r * row + c * column`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub plane: usize,
    pub start: usize,
    pub row: usize,
    pub column: usize,
}

/// Weights arranged for the tiles: blocks of channel vectors, in each the terms in order, zero in the lanes beyond.
///
/// The weight of channel `c` and term `g * taps.len() + t` is `values[c * channel + g * group + taps[t]]`, for
/// `groups` groups.
pub(crate) struct Arrange<'a> {
    pub values: &'a [f32],
    pub channels: usize,
    pub channel: usize,
    pub groups: usize,
    pub group: usize,
    pub taps: &'a [usize],
}

impl Arrange<'_> {
    /// The arranged weights.
    pub fn run(self) -> Vec<f32> {
        pulp::Arch::new().dispatch(self)
    }
}

impl WithSimd for Arrange<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let (lanes, taps) = (S::F32_LANES, self.taps.len());
        let depth = self.groups * taps;
        let mut all = scratch(self.channels.div_ceil(lanes) * lanes * depth);
        // One sample does little with each weight, so that laying them out would hold up all other threads.
        let (mut rest, mut parts) = (&mut all[..], Vec::new());
        for (first, vectors) in blocks::<S>(self.channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let (block, others) = rest.split_at_mut(width * depth);
            rest = others;
            // Whole groups where they are small: a transposed part should be wide.
            let rows = (PART / width).max(1);
            let rows = if taps < rows { rows / taps.max(1) * taps.max(1) } else { rows };
            let used = width.min(self.channels - first);
            let part = |(i, rows_of)| Part { from: &self, first, used, width, term: i * rows, rows: rows_of };
            parts.extend(block.chunks_mut(rows * width).enumerate().map(part));
        }
        match parts.len() {
            0 | 1 => parts.into_iter().for_each(|part| simd.vectorize(part)),
            _ => parts.into_par_iter().for_each(|part| simd.vectorize(part)),
        }
        all
    }
}

/// Values of arranged weights that one task lays out: 64 KiB.
const PART: usize = 16 << 10;

/// Some terms of one block of channel vectors.
struct Part<'a> {
    from: &'a Arrange<'a>,
    /// First channel, how many of the block's channels there are, and the block's width.
    first: usize,
    used: usize,
    width: usize,
    /// First term.
    term: usize,
    /// Rows of `width` values, one a term.
    rows: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, first, used, width, term, rows } = self;
        let values = &from.values[first * from.channel..];
        if used < width {
            rows.fill(0.0);
        }
        let taps = from.taps.len();
        let consecutive = from.taps.iter().enumerate().all(|(i, t)| i == *t);
        let (mut at, end) = (term, term + rows.len() / width);
        while at < end {
            // Terms of one group, whose weights lie together.
            let (group, tap) = (at / taps, at % taps);
            let count = (taps - tap).min(end - at);
            let values = &values[group * from.group..];
            let rows = &mut rows[(at - term) * width..][..count * width];
            if consecutive {
                // SAFETY: there are `count` rows of `width`, of which `used` values are written.
                unsafe { transpose(simd, &values[tap..], from.channel, (used, count), rows.as_mut_ptr(), width) };
            } else {
                for (row, place) in rows.chunks_exact_mut(width).zip(&from.taps[tap..]) {
                    for (c, w) in row[..used].iter_mut().enumerate() {
                        *w = values[c * from.channel + place];
                    }
                }
            }
            at += count;
        }
    }
}

/// Weights arranged for `planes` groups of `taps` terms, in pairs of consecutive groups; an odd last group is paired
/// with zero. `channels` as for [`Arrange`].
pub(crate) struct PairTerms {
    pub weights: Vec<f32>,
    pub channels: usize,
    pub planes: usize,
    pub taps: usize,
}

impl PairTerms {
    /// The arranged pairs.
    pub fn run(self) -> Vec<f32> {
        pulp::Arch::new().dispatch(self)
    }
}

impl WithSimd for PairTerms {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { weights, channels, planes, taps } = self;
        let (depth, words) = (planes * taps, planes.div_ceil(2) * taps);
        let mut all = scratch(channels.div_ceil(S::F32_LANES) * S::F32_LANES * words);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * S::F32_LANES, vectors * S::F32_LANES);
            let src = weights[first * depth..][..width * depth].chunks(2 * taps * width);
            let dst = all[first * words..][..width * words].chunks_exact_mut(taps * width);
            for (src, dst) in src.zip(dst) {
                let (a, b) = src.split_at(taps * width);
                pack_rows(a, b, dst);
            }
        }
        all
    }
}

/// `out[b, o, target(r, c)] = bias[o] + sum_k weight[o, k] in[b, k, r, c]` in the notation of [`Plan`].
pub(crate) struct Product<'a> {
    pub plan: &'a Plan,
    /// Whether input and weights are pairs of bfloat16, each plane of the plan two planes of the image.
    pub paired: bool,
    pub batch: usize,
    pub input: &'a [f32],
    /// Made by [`Arrange`].
    pub weights: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub channels: usize,
    pub target: Target,
}

impl Product<'_> {
    /// Writes every element of the grid in `out`, `batch` images of `channels * target.plane`.
    pub fn run(&self, out: &mut [f32]) {
        let plan = self.plan;
        let image = self.channels * self.target.plane;
        assert!(out.len() >= self.batch * image);
        if self.batch == 0 || plan.rows == 0 || plan.columns == 0 {
            return;
        }
        // Whole images while they fit the cache and there is one for everybody.
        let per_row = (plan.planes * plan.stride * plan.width).max(1);
        let wanted = (2 * rayon::current_num_threads()).div_ceil(self.batch);
        let rows = (BAND / per_row).min(plan.rows.div_ceil(wanted)).max(1);
        let tasks: Vec<(usize, usize, usize)> =
            (0..self.batch).flat_map(|b| parts(plan.rows, rows).map(move |(r, n)| (b, r, n))).collect();
        let bands = plan.bands(tasks.iter().map(|task| task.2));
        let shared = Shared::new(out);
        let run = |&(image, first, rows): &(usize, usize, usize)| {
            let band = bands.iter().find(|band| band.0 == rows).expect("a band of each height was made");
            pulp::Arch::new().dispatch(Task { product: self, image, first, rows, band: &band.1, out: shared });
        };
        if tasks.len() == 1 { run(&tasks[0]) } else { tasks.par_iter().for_each(run) }
    }
}

/// Some output rows of one image.
struct Task<'a> {
    product: &'a Product<'a>,
    image: usize,
    first: usize,
    rows: usize,
    band: &'a Band,
    out: Shared,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { plan, input, .. } = *self.product;
        let size = plan.planes * plan.height * plan.width;
        let input = &input[self.image * size..][..size];
        match &self.band.padded {
            None => self.sweep(simd, &input[self.first * plan.width..]),
            Some(padded) => {
                let mut copy = Scratch::take(padded.room());
                padded.fill(simd, plan, input, self.first, &mut copy);
                self.sweep(simd, &copy);
            }
        }
    }
}

impl Task<'_> {
    /// All channels and rows of the task, with the operands in `x` as the band says.
    #[inline(always)]
    fn sweep<S: Simd>(&self, simd: S, x: &[f32]) {
        let Product { plan, paired, weights, bias, channels, target, .. } = *self.product;
        let Band { step, ref offsets, reach, .. } = *self.band;
        let (lanes, depth, columns) = (S::F32_LANES, offsets.len(), plan.columns);
        assert!(reach <= x.len(), "operands lie within the band");
        let block_rows = (POSITIONS / columns).max(1);
        let mut sums = Scratch::take(block_rows * columns * max_vectors::<S>() * lanes);
        let mut begin = Scratch::take(max_vectors::<S>() * lanes);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let weights = &weights[first * depth..][..width * depth];
            let used = width.min(channels - first);
            begin[..width].fill(0.0);
            if let Some(bias) = bias {
                begin[..used].copy_from_slice(&bias[first..first + used]);
            }
            for (r0, rows) in parts(self.rows, block_rows) {
                let sums = &mut sums[..rows * columns * width];
                if depth == 0 {
                    sums.chunks_exact_mut(width).for_each(|sums| sums.copy_from_slice(&begin[..width]));
                }
                for (k0, terms) in parts(depth, WEIGHTS / width) {
                    let (offsets, w) = (&offsets[k0..][..terms], &weights[k0 * width..][..terms * width]);
                    for r in 0..rows {
                        for (c, n) in parts(columns, max_rows::<S>(vectors)) {
                            let x = &x[(r0 + r) * step + c..];
                            let sums = &mut sums[(r * columns + c) * width..][..n * width];
                            // SAFETY: the operand of the task's last row and column at the greatest offset is within
                            // `x` as asserted above, hence every one; `w` has `terms` rows, `sums` `n` rows and `begin`
                            // one row of `width` values; `n` and `vectors` come from the limits themselves; whoever
                            // asked for pairs saw that they are native.
                            unsafe {
                                let (x, w, out) = (x.as_ptr(), w.as_ptr(), sums.as_mut_ptr());
                                let start = if k0 == 0 { (begin.as_ptr(), 0) } else { (out.cast_const(), width) };
                                let (apart, rows) = (1, n);
                                let tile = ShiftedTile { paired, rows, vectors, x, apart, offsets, w, start, out };
                                shifted_tile(simd, tile);
                            }
                        }
                    }
                }
                self.write(simd, sums, (first, used, width), (r0 + self.first, rows), target);
            }
        }
    }

    /// Turns sums `[position, channel]` into image rows `[channel, position]`.
    #[inline(always)]
    fn write<S: Simd>(
        &self,
        simd: S,
        sums: &[f32],
        (first, used, width): (usize, usize, usize),
        (r0, rows): (usize, usize),
        target: Target,
    ) {
        let Product { plan, channels, .. } = *self.product;
        let columns = plan.columns;
        let image = (self.image * channels + first) * target.plane + target.start;
        if target.column == 1 && target.row == columns {
            let at = image + r0 * columns;
            let n = rows * columns;
            if used > 0 && n > 0 {
                // SAFETY: these rows of the image belong to this task alone, and `run` holds the borrow.
                unsafe {
                    let all = self.out.within(at, (used - 1) * target.plane + n);
                    transpose(simd, sums, width, (n, used), all, target.plane);
                }
            }
            return;
        }
        if columns == 0 {
            return;
        }
        for (o, r) in (0..used).flat_map(|o| (0..rows).map(move |r| (o, r))) {
            let at = image + o * target.plane + (r0 + r) * target.row;
            let row = self.out.within(at, (columns - 1) * target.column + 1);
            for (c, sums) in sums[r * columns * width..][..columns * width].chunks_exact(width).enumerate() {
                // SAFETY: within the row; these elements of it belong to this task alone, and `run` holds the borrow.
                unsafe { *row.add(c * target.column) = sums[o] };
            }
        }
    }
}
