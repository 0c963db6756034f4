//! Normalisation of rows on a device: a row to a warp, its moments kept for the gradient. Formulas: `crate::row_norm`.

use cubecl::prelude::*;

use super::buffer::{Buffer, LANES, ROWS, grid_of_rows};
use super::sums::{Term, column_sums, of_lanes};
use crate::fused::Kernel;
use crate::row_norm::{LayerNorm, RmsNorm};

/// `y = (x - mean) rate (1 + scale) + shift` per row for a layer norm, `x rate scale` otherwise; `share` rows have one `scale`.
#[cube(launch_unchecked)]
fn normalise(
    x: &Tensor<f32>,
    scale: &Tensor<f32>,
    shift: &Tensor<f32>,
    y: &mut Tensor<f32>,
    moments: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    share: usize,
    epsilon: f32,
    #[comptime] layer: bool,
    #[comptime] planes: bool,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let inside = row < rows;
    let end = if inside { width } else { 0usize.runtime() };
    let base = row * width;
    let first = UNIT_POS_X as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let mut mean = 0.0f32;
    if comptime!(layer) {
        let mut sum = 0.0f32;
        let mut i = first;
        while i < end {
            sum += x[base + i];
            i += LANES as usize;
        }
        mean = of_lanes(sum, &mut area, LANES, false, planes) / width as f32;
    }
    let mut sum = 0.0f32;
    let mut i = first;
    while i < end {
        let away = x[base + i] - mean;
        sum += away * away;
        i += LANES as usize;
    }
    let rate = 1.0f32 / (of_lanes(sum, &mut area, LANES, false, planes) / width as f32 + epsilon).sqrt();
    let weights = row / share * width;
    let mut i = first;
    while i < end {
        let normal = (x[base + i] - mean) * rate;
        if comptime!(layer) {
            y[base + i] = normal * (1.0f32 + scale[weights + i]) + shift[weights + i];
        } else {
            y[base + i] = normal * scale[weights + i];
        }
        i += LANES as usize;
    }
    if UNIT_POS_X == 0 && inside {
        moments[2 * row] = mean;
        moments[2 * row + 1] = rate;
    }
}

/// `dx = rate (h - mean(h) - n mean(h n))` with `n` the normalised row and `h = g (1 + scale)`, or `g scale` and no mean.
#[cube(launch_unchecked)]
fn input_gradient(
    g: &Tensor<f32>,
    x: &Tensor<f32>,
    scale: &Tensor<f32>,
    moments: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    share: usize,
    #[comptime] layer: bool,
    #[comptime] planes: bool,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let inside = row < rows;
    let end = if inside { width } else { 0usize.runtime() };
    let known = if inside { row } else { 0usize.runtime() };
    let base = row * width;
    let first = UNIT_POS_X as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let weights = row / share * width;
    let (mean, rate) = (moments[2 * known], moments[2 * known + 1]);
    let one = if comptime!(layer) { 1.0f32.runtime() } else { 0.0f32.runtime() };
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    let mut i = first;
    while i < end {
        let h = g[base + i] * (one + scale[weights + i]);
        sum += h;
        product += h * (x[base + i] - mean) * rate;
        i += LANES as usize;
    }
    let mut average = 0.0f32;
    if comptime!(layer) {
        average = of_lanes(sum, &mut area, LANES, false, planes) / width as f32;
    }
    let along = of_lanes(product, &mut area, LANES, false, planes) / width as f32;
    let mut i = first;
    while i < end {
        let h = g[base + i] * (one + scale[weights + i]);
        dx[base + i] = rate * (h - average - (x[base + i] - mean) * rate * along);
        i += LANES as usize;
    }
}

/// A normalisation of rows `[rows width]`, `share` of which have one scale.
struct Rows {
    rows: usize,
    width: usize,
    share: usize,
    layer: bool,
}

impl Rows {
    fn forward(&self, x: &Buffer, scale: &Buffer, shift: &Buffer, epsilon: f32) -> (Buffer, Buffer) {
        let (y, moments) = (x.room(x.dims()), x.room(&[self.rows, 2]));
        if let Some((count, units)) = grid_of_rows(self.rows) {
            // SAFETY: the kernel stays within `rows` rows of `width`, which are the arrays' sizes.
            unsafe {
                normalise::launch_unchecked(
                    x.client(),
                    count,
                    units,
                    x.arg(),
                    scale.arg(),
                    shift.arg(),
                    y.arg(),
                    moments.arg(),
                    self.rows,
                    self.width,
                    self.share,
                    epsilon,
                    self.layer,
                    x.has_planes(),
                );
            }
        }
        (y, moments)
    }

    fn input_gradient(&self, g: &Buffer, x: &Buffer, scale: &Buffer, moments: &Buffer) -> Buffer {
        let dx = x.room(x.dims());
        if let Some((count, units)) = grid_of_rows(self.rows) {
            // SAFETY: as above.
            unsafe {
                input_gradient::launch_unchecked(
                    x.client(),
                    count,
                    units,
                    g.arg(),
                    x.arg(),
                    scale.arg(),
                    moments.arg(),
                    dx.arg(),
                    self.rows,
                    self.width,
                    self.share,
                    self.layer,
                    x.has_planes(),
                );
            }
        }
        dx
    }
}

fn rows_of(x: &Buffer, share: Option<usize>, layer: bool) -> Rows {
    let width = x.dims().last().copied().unwrap_or(1);
    let rows = x.len() / width.max(1);
    Rows { rows, width, share: share.unwrap_or(rows).max(1), layer }
}

impl Kernel<Buffer> for LayerNorm {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let Ok([x, scale, shift]) = <[Buffer; 3]>::try_from(inputs) else { unreachable!("three inputs") };
        let (y, moments) = rows_of(&x, Some(x.dims()[1]), true).forward(&x, &scale, &shift, self.epsilon);
        (y, if save { vec![x, scale, moments] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (x, scale, moments) = (&saved[0], &saved[1], &saved[2]);
        let [b, n, d] = *x.dims() else { unreachable!("token sets have three axes") };
        let sums = |term: Term| column_sums(&grad, term, [b, n, d]);
        vec![
            wanted[0].then(|| rows_of(x, Some(n), true).input_gradient(&grad, x, scale, moments)),
            wanted[1].then(|| sums(Term::Normal(x, moments))),
            wanted[2].then(|| sums(Term::Plain)),
        ]
    }
}

impl Kernel<Buffer> for RmsNorm {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let Ok([x, gamma]) = <[Buffer; 2]>::try_from(inputs) else { unreachable!("two inputs") };
        let (y, moments) = rows_of(&x, None, false).forward(&x, &gamma, &gamma, self.epsilon);
        (y, if save { vec![x, gamma, moments] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (x, gamma, moments) = (&saved[0], &saved[1], &saved[2]);
        let rows = rows_of(x, None, false);
        let sums = || column_sums(&grad, Term::Normal(x, moments), [1, rows.rows, rows.width]).seen_as(gamma.dims());
        vec![wanted[0].then(|| rows.input_gradient(&grad, x, gamma, moments)), wanted[1].then(sums)]
    }
}
