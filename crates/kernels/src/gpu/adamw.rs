//! The optimiser's passes on a device. Formulas: `crate::adamw`.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid, grid_over, place};
use super::sums::row_sums;

/// One update of a parameter and its moments, in place.
#[cube(launch_unchecked)]
fn update_kernel(
    p: &mut Tensor<f32>,
    g: &Tensor<f32>,
    m: &mut Tensor<f32>,
    v: &mut Tensor<f32>,
    n: usize,
    scale: f32,
    to_m: f32,
    to_v: f32,
    decay: f32,
    rate: f32,
    correction: f32,
    epsilon: f32,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let slope = g[at] * scale;
            let first = m[at] + (slope - m[at]) * to_m;
            let second = v[at] + (slope * slope - v[at]) * to_v;
            m[at] = first;
            v[at] = second;
            p[at] = p[at] * decay - rate * first / (second.sqrt() * correction + epsilon);
        }
    }
}

/// `[scale, to_m, to_v, decay, rate, correction, epsilon]` of `crate::adamw`.
pub(crate) fn update(p: &Buffer, g: &Buffer, m: &Buffer, v: &Buffer, factors: [f32; 7]) {
    let [scale, to_m, to_v, decay, rate, correction, epsilon] = factors;
    if let Some(count) = grid_over(p.len()) {
        // SAFETY: the kernel stays below `n`, the size of all four, and nobody else holds what it writes.
        unsafe {
            update_kernel::launch_unchecked(
                p.client(),
                count,
                CubeDim::new_1d(UNITS),
                p.arg(),
                g.arg(),
                m.arg(),
                v.arg(),
                p.len(),
                scale,
                to_m,
                to_v,
                decay,
                rate,
                correction,
                epsilon,
            );
        }
    }
}

#[cube(launch_unchecked)]
fn lerp_kernel(a: &mut Tensor<f32>, b: &Tensor<f32>, n: usize, amount: f32) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            a[at] = a[at] + (b[at] - a[at]) * amount;
        }
    }
}

/// `a + amount (b - a)`, in place.
pub(crate) fn lerp(a: &Buffer, b: &Buffer, amount: f32) {
    if let Some(count) = grid_over(a.len()) {
        // SAFETY: the kernel stays below `n`, the size of both, and nobody else holds what it writes.
        unsafe {
            lerp_kernel::launch_unchecked(a.client(), count, CubeDim::new_1d(UNITS), a.arg(), b.arg(), a.len(), amount);
        }
    }
}

#[cube(launch_unchecked)]
fn squares_kernel(x: &Tensor<f32>, squares: &mut Tensor<f32>, n: usize, units: usize) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    let mut sum = 0.0f32;
    let mut i = at;
    while i < n {
        sum += x[i] * x[i];
        i += units;
    }
    squares[at] = sum;
}

/// The sum of squares, as one value on the device.
pub(crate) fn sum_squares(x: &Buffer) -> Buffer {
    let units = x.len().div_ceil(16).clamp(1, 1 << 14).next_multiple_of(UNITS as usize);
    let squares = x.room(&[units]);
    if let Some(count) = grid(units / UNITS as usize) {
        // SAFETY: there is a place for every unit of the grid, which is no larger than asked for at this size.
        unsafe {
            squares_kernel::launch_unchecked(
                x.client(),
                count,
                CubeDim::new_1d(UNITS),
                x.arg(),
                squares.arg(),
                x.len(),
                units,
            );
        }
    }
    row_sums(&squares, [1, units])
}
