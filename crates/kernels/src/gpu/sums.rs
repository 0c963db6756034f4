//! Sums: over the lanes that share a row, and over the rows of each column.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, LANES, ROWS, grid, grid_of_rows};

/// Units of a cube of [`column_sums`] along the rows.
const DEPTH: u32 = 8;
/// Rows that make a cube worth its launch.
const FEW: usize = 64;
/// Cubes that fill a large device.
const MANY: usize = 2048;

/// The sum, or the maximum, of the `lanes` units along a cube's first axis (a power of two), for each of them. `area` has a place
/// for every unit of the cube. With `planes` the lanes are a plane of the device's.
#[cube]
pub(crate) fn of_lanes(
    value: f32,
    area: &mut Shared<[f32]>,
    #[comptime] lanes: u32,
    #[comptime] maximum: bool,
    #[comptime] planes: bool,
) -> f32 {
    if comptime!(planes) {
        if comptime!(maximum) { plane_max(value) } else { plane_sum(value) }
    } else {
        let at = UNIT_POS as usize;
        area[at] = value;
        sync_cube();
        #[unroll]
        for i in 1..comptime!(lanes.ilog2() + 1) {
            let half = lanes >> i;
            if UNIT_POS_X < half {
                let (mine, other) = (area[at], area[at + half as usize]);
                if comptime!(maximum) {
                    area[at] = max(mine, other);
                } else {
                    area[at] = mine + other;
                }
            }
            sync_cube();
        }
        let result = area[(UNIT_POS_Y * lanes) as usize];
        sync_cube();
        result
    }
}

/// What a column sum is of.
#[derive(Clone, Copy)]
pub(crate) enum Term<'a> {
    /// The values themselves.
    Plain,
    /// Their products with another array's.
    Product(&'a Buffer),
    /// Their products with another array's rows less their mean, at their rate: the array and its moments ([`super::row_norm`]).
    Normal(&'a Buffer, &'a Buffer),
}

/// The same without the arrays, for the compiler of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Plain,
    Product,
    Normal,
}

#[cube(launch_unchecked)]
fn column_sums_kernel<F: Float>(
    a: &Tensor<F>,
    b: &Tensor<f32>,
    moments: &Tensor<f32>,
    sums: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    chunk: usize,
    chunks: usize,
    sets: usize,
    #[comptime] kind: Kind,
    #[define(F)] _element: ElemType,
) {
    let width = LANES as usize;
    let tiles = (columns + width - 1) / width;
    let tile = CUBE_POS % tiles;
    let part = CUBE_POS / tiles;
    let column = tile * width + UNIT_POS_X as usize;
    let set = part / chunks;
    let mut sum = 0.0f32;
    if set < sets && column < columns {
        let begin = part % chunks * chunk;
        let end = min(begin + chunk, rows);
        let mut row = begin + UNIT_POS_Y as usize;
        while row < end {
            let r = set * rows + row;
            let at = r * columns + column;
            let value = f32::cast_from(a[at]);
            match comptime!(kind) {
                Kind::Plain => sum += value,
                Kind::Product => sum += value * b[at],
                Kind::Normal => sum += value * (b[at] - moments[2 * r]) * moments[2 * r + 1],
            }
            row += DEPTH as usize;
        }
    }
    let mut area = Shared::new_slice(comptime!((LANES * DEPTH) as usize));
    area[UNIT_POS as usize] = sum;
    sync_cube();
    if UNIT_POS_Y == 0 && set < sets && column < columns {
        let mut total = 0.0f32;
        #[unroll]
        for i in 0..DEPTH {
            total += area[(i * LANES + UNIT_POS_X) as usize];
        }
        sums[part * columns + column] = total;
    }
}

/// Sums over the middle axis of `a` `[sets rows columns]`, which may be an operand of products, times what `term` says:
/// `[sets columns]`. Rows are summed in fixed chunks and the chunks in order, so the bits are those of the sizes alone.
pub(crate) fn column_sums(a: &Buffer, term: Term, [sets, rows, columns]: [usize; 3]) -> Buffer {
    let tiles = columns.div_ceil(LANES as usize);
    let wanted = MANY.div_ceil((sets * tiles).max(1)).clamp(1, rows.div_ceil(FEW).max(1));
    let chunk = rows.div_ceil(wanted).max(1);
    let chunks = rows.div_ceil(chunk).max(1);
    let sums = a.room(&[sets * chunks, columns]);
    // A kernel reads no array that its kind has no use for.
    let (kind, b, moments) = match term {
        Term::Plain => (Kind::Plain, &sums, &sums),
        Term::Product(b) => (Kind::Product, b, &sums),
        Term::Normal(b, moments) => (Kind::Normal, b, moments),
    };
    if let Some(count) = grid(sets * chunks * tiles) {
        let units = CubeDim::new_2d(LANES, DEPTH);
        // SAFETY: every index is checked against the sizes in the kernel, and the arrays have those sizes.
        unsafe {
            column_sums_kernel::launch_unchecked(
                a.client(),
                count,
                units,
                a.arg(),
                b.arg(),
                moments.arg(),
                sums.arg(),
                rows,
                columns,
                chunk,
                chunks,
                sets,
                kind,
                a.element(),
            );
        }
    }
    if chunks == 1 {
        return sums.seen_as(&[sets, columns]);
    }
    column_sums(&sums, Term::Plain, [sets, chunks, columns])
}

/// Sums of the rows of `a` `[rows columns]`: a plain sum over each.
#[cube(launch_unchecked)]
fn row_sums_kernel<F: Float>(
    a: &Tensor<F>,
    sums: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    #[comptime] planes: bool,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let mut sum = 0.0f32;
    if row < rows {
        let mut column = UNIT_POS_X as usize;
        while column < columns {
            sum += f32::cast_from(a[row * columns + column]);
            column += LANES as usize;
        }
    }
    let total = of_lanes(sum, &mut area, LANES, false, planes);
    if UNIT_POS_X == 0 && row < rows {
        sums[row] = total;
    }
}

/// Sums over the last axis of `a` `[rows columns]`: `[rows]`.
pub(crate) fn row_sums(a: &Buffer, [rows, columns]: [usize; 2]) -> Buffer {
    let sums = a.room(&[rows]);
    if let Some((count, units)) = grid_of_rows(rows) {
        // SAFETY: as above.
        unsafe {
            row_sums_kernel::launch_unchecked(
                a.client(),
                count,
                units,
                a.arg(),
                sums.arg(),
                rows,
                columns,
                a.has_planes(),
                a.element(),
            );
        }
    }
    sums
}
