//! The mean squared difference of every row on a device. Formulas: `crate::squared_error`.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, LANES, ROWS, UNITS, grid_of_rows, grid_over, place};
use super::sums::of_lanes;
use crate::fused::Kernel;
use crate::squared_error::SquaredError;

#[cube(launch_unchecked)]
fn error_kernel(
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    means: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    #[comptime] planes: bool,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let mut sum = 0.0f32;
    if row < rows {
        let mut column = UNIT_POS_X as usize;
        while column < columns {
            let difference = a[row * columns + column] - b[row * columns + column];
            sum += difference * difference;
            column += LANES as usize;
        }
    }
    let total = of_lanes(sum, &mut area, LANES, false, planes);
    if UNIT_POS_X == 0 && row < rows {
        means[row] = total / columns as f32;
    }
}

/// `d = factor g (a - b)`, a `g` for each row.
#[cube(launch_unchecked)]
fn error_back_kernel(
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    g: &Tensor<f32>,
    d: &mut Tensor<f32>,
    n: usize,
    factor: f32,
    #[comptime] row: usize,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            d[at] = (a[at] - b[at]) * g[at / row] * factor;
        }
    }
}

impl Kernel<Buffer> for SquaredError {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let (a, b) = (&inputs[0], &inputs[1]);
        let rows = a.dims()[0];
        let means = a.room(&[rows]);
        if let Some((count, units)) = grid_of_rows(rows) {
            let columns = a.len() / rows;
            // SAFETY: the kernel checks the row, and both arrays have `rows` of `columns`.
            unsafe {
                error_kernel::launch_unchecked(
                    a.client(),
                    count,
                    units,
                    a.arg(),
                    b.arg(),
                    means.arg(),
                    rows,
                    columns,
                    a.has_planes(),
                );
            }
        }
        (means, if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (a, b) = (&saved[0], &saved[1]);
        let row = a.len() / grad.len().max(1);
        let gradient = |sign: f32| {
            let d = a.room(a.dims());
            if let Some(count) = grid_over(a.len()) {
                // SAFETY: the kernel stays below `n`, the size of all but `grad`, which has a value for each row.
                unsafe {
                    error_back_kernel::launch_unchecked(
                        a.client(),
                        count,
                        CubeDim::new_1d(UNITS),
                        a.arg(),
                        b.arg(),
                        grad.arg(),
                        d.arg(),
                        a.len(),
                        sign * 2.0 / row as f32,
                        row,
                    );
                }
            }
            d
        };
        vec![wanted[0].then(|| gradient(1.0)), wanted[1].then(|| gradient(-1.0))]
    }
}
