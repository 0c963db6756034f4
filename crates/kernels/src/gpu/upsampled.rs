//! Convolution of an upsampled image on a device: the adjoint of a convolution. Formulas: `crate::conv::upsampled`.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid_over, place};
use super::conv::{Batch, four};
use super::pointwise::{Bias, finish};
use super::sums::{Term, column_sums, row_sums};
use crate::conv::upsampled::UpsampledConv2d;
use crate::fused::Kernel;

/// `[o i 3 3]` to `[i o 4 4]`, each value the sum of the taps that meet the same pixel; or the adjoint of that.
#[cube(launch_unchecked)]
fn spread_kernel(
    windows: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] inputs: usize,
    #[comptime] outputs: usize,
    #[comptime] adjoint: bool,
) {
    #[unroll]
    for k in 0..EACH {
        let at = place(k);
        if at < n {
            if comptime!(adjoint) {
                let (ky, kx, channels) = (at / 3 % 3, at % 3, at / 9);
                let window = (channels % inputs * outputs + channels / inputs) * 16;
                let corner = window + (2 - ky) * 4 + 2 - kx;
                out[at] = windows[corner] + windows[corner + 1] + windows[corner + 4] + windows[corner + 5];
            } else {
                let (u, v, channels) = (at / 4 % 4, at % 4, at / 16);
                let window = (channels % outputs * inputs + channels / outputs) * 9;
                let mut sum = 0.0f32;
                #[unroll]
                for ky in 0..3usize {
                    #[unroll]
                    for kx in 0..3usize {
                        let (row, column) = (ky + u, kx + v);
                        if (row == 2 || row == 3) && (column == 2 || column == 3) {
                            sum += windows[window + 3 * ky + kx];
                        }
                    }
                }
                out[at] = sum;
            }
        }
    }
}

/// Between windows of `i` input and `o` output channels, 3 x 3 and 4 x 4.
fn run(windows: &Buffer, dims: [usize; 4], [i, o]: [usize; 2], adjoint: bool) -> Buffer {
    let out = windows.room(&dims);
    if let Some(count) = grid_over(out.len()) {
        let (units, n) = (CubeDim::new_1d(UNITS), out.len());
        // SAFETY: the kernel stays below `n`, the size of `out`, and reads the windows of `i` times `o` channels.
        unsafe {
            let (client, from, to) = (windows.client(), windows.arg(), out.arg());
            spread_kernel::launch_unchecked(client, count, units, from, to, n, i, o, adjoint);
        }
    }
    out
}

fn spread(weight: &Buffer) -> Buffer {
    let [o, i, ..] = four(weight);
    run(weight, [i, o, 4, 4], [i, o], false)
}

fn gather(spread: &Buffer) -> Buffer {
    let [i, o, ..] = four(spread);
    run(spread, [o, i, 3, 3], [i, o], true)
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
