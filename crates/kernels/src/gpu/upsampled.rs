//! Convolution of an upsampled image on a device: the adjoint of a convolution. Formulas: `crate::conv::upsampled`.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid_over, place};
use super::conv::{Batch, four};
use super::pointwise::{Bias, finish};
use super::sums::{Term, column_sums, row_sums};
use crate::conv::upsampled::UpsampledConv2d;
use crate::fused::Kernel;

/// `[o i 3 3]` to `[i o 4 4]`: each value of the latter is the sum of the taps that meet the same pixel.
#[cube(launch_unchecked)]
fn spread_kernel(
    weight: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] inputs: usize,
    #[comptime] outputs: usize,
) {
    #[unroll]
    for k in 0..EACH {
        let at = place(k);
        if at < n {
            let (u, v, channels) = (at / 4 % 4, at % 4, at / 16);
            let window = (channels % outputs * inputs + channels / outputs) * 9;
            let mut sum = 0.0f32;
            #[unroll]
            for ky in 0..3usize {
                #[unroll]
                for kx in 0..3usize {
                    let (row, column) = (ky + u, kx + v);
                    if (row == 2 || row == 3) && (column == 2 || column == 3) {
                        sum += weight[window + 3 * ky + kx];
                    }
                }
            }
            out[at] = sum;
        }
    }
}

/// The adjoint of [`spread_kernel`].
#[cube(launch_unchecked)]
fn gather_kernel(
    spread: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] inputs: usize,
    #[comptime] outputs: usize,
) {
    #[unroll]
    for k in 0..EACH {
        let at = place(k);
        if at < n {
            let (ky, kx, channels) = (at / 3 % 3, at % 3, at / 9);
            let window = (channels % inputs * outputs + channels / inputs) * 16;
            let corner = window + (2 - ky) * 4 + 2 - kx;
            out[at] = spread[corner] + spread[corner + 1] + spread[corner + 4] + spread[corner + 5];
        }
    }
}

fn spread(weight: &Buffer) -> Buffer {
    let [o, i, ..] = four(weight);
    let out = weight.room(&[i, o, 4, 4]);
    if let Some(count) = grid_over(out.len()) {
        // SAFETY: the kernel stays below `n`, the size of `out`, and reads the windows of `o` times `i` channels.
        unsafe {
            let units = CubeDim::new_1d(UNITS);
            spread_kernel::launch_unchecked(weight.client(), count, units, weight.arg(), out.arg(), out.len(), i, o);
        }
    }
    out
}

fn gather(spread: &Buffer) -> Buffer {
    let [i, o, ..] = four(spread);
    let out = spread.room(&[o, i, 3, 3]);
    if let Some(count) = grid_over(out.len()) {
        // SAFETY: the kernel stays below `n`, the size of `out`, and reads the windows of `i` times `o` channels.
        unsafe {
            let units = CubeDim::new_1d(UNITS);
            gather_kernel::launch_unchecked(spread.client(), count, units, spread.arg(), out.arg(), out.len(), i, o);
        }
    }
    out
}

impl UpsampledConv2d {
    /// The adjoint for small images of the given sizes.
    fn batch(&self, [b, _, h, w]: [usize; 4], spread: &Buffer) -> Batch {
        let weight = four(spread);
        self.adjoint().batch([b, weight[1], 2 * h, 2 * w], weight)
    }
}

impl Kernel<Buffer> for UpsampledConv2d {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let (x, spread) = (&inputs[0], spread(&inputs[1]).operand(self.precision));
        let image @ [_, _, h, w] = four(x);
        let y = self.batch(image, &spread).input_gradient(&x.operand(self.precision), &spread);
        let y = match inputs.get(2) {
            Some(of) => finish(&y, Some(Bias { of, share: 4 * h * w }), None),
            None => y,
        };
        (y, if save { vec![x.clone(), spread] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (x, spread) = (&saved[0], &saved[1]);
        let batch = self.batch(four(x), spread);
        let dx = wanted[0].then(|| batch.forward(&grad, spread, None));
        let dw = wanted[1].then(|| gather(&batch.weight_gradient(&x.operand(self.precision), &grad, spread)));
        let mut gradients = vec![dx, dw];
        if let Some(wanted) = wanted.get(2) {
            let [b, o, h, w] = four(&grad);
            let total = || column_sums(&row_sums(&grad, [b * o, h * w]), Term::Plain, [1, b, o]).seen_as(&[o]);
            gradients.push(wanted.then(total));
        }
        gradients
    }
}
