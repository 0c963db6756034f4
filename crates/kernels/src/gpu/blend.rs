//! Two mixtures of batches on a device. Formulas: `crate::blend`.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid_over, place};
use crate::blend::Blend;
use crate::fused::Kernel;

/// Both mixtures of `k` arrays of `n` values in rows of `row`, one after the other in `out`; `c` is read where there are three.
#[cube(launch_unchecked)]
fn blend_kernel(
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    c: &Tensor<f32>,
    weights: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] row: usize,
    #[comptime] k: usize,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let w = at / row * comptime!(2 * k);
            let mut first = a[at] * weights[w] + b[at] * weights[w + 1];
            let mut second = a[at] * weights[w + k] + b[at] * weights[w + k + 1];
            if comptime!(k == 3) {
                first += c[at] * weights[w + 2];
                second += c[at] * weights[w + k + 2];
            }
            out[at] = first;
            out[n + at] = second;
        }
    }
}

/// The gradient of the `which`-th array: the two halves of `g` by its two weights.
#[cube(launch_unchecked)]
fn blend_back_kernel(
    g: &Tensor<f32>,
    weights: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    n: usize,
    #[comptime] row: usize,
    #[comptime] k: usize,
    #[comptime] which: usize,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let w = at / row * comptime!(2 * k) + which;
            dx[at] = g[at] * weights[w] + g[n + at] * weights[w + k];
        }
    }
}

impl Kernel<Buffer> for Blend {
    fn forward(&self, mut inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let weights = inputs.pop().expect("weights come last");
        let (k, n, mut dims) = (inputs.len(), inputs[0].len(), inputs[0].dims().to_vec());
        let row = n / dims[0].max(1);
        dims[0] *= 2;
        let out = inputs[0].room(&dims);
        if let Some(count) = grid_over(n) {
            // SAFETY: the kernel stays below `n`, the size of each input and half that of `out`; a row has `2 k` weights.
            unsafe {
                blend_kernel::launch_unchecked(
                    out.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    inputs[0].arg(),
                    inputs[1].arg(),
                    inputs[k - 1].arg(),
                    weights.arg(),
                    out.arg(),
                    n,
                    row,
                    k,
                );
            }
        }
        (out, if save { vec![weights] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (weights, k, n) = (&saved[0], wanted.len() - 1, grad.len() / 2);
        let mut dims = grad.dims().to_vec();
        dims[0] /= 2;
        let row = n / dims[0].max(1);
        let gradient = |which: usize| {
            let dx = grad.room(&dims);
            if let Some(count) = grid_over(n) {
                // SAFETY: as above.
                unsafe {
                    blend_back_kernel::launch_unchecked(
                        grad.client(),
                        count,
                        CubeDim::new_1d(UNITS),
                        grad.arg(),
                        weights.arg(),
                        dx.arg(),
                        n,
                        row,
                        k,
                        which,
                    );
                }
            }
            dx
        };
        (0..k).map(|i| wanted[i].then(|| gradient(i))).chain([None]).collect()
    }
}
