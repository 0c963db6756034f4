//! The end of a residual branch under adaptive modulation: `x + gate y` (adaLN-zero; Peebles & Xie 2022, fig. 3).
//!
//! `dx = g`, `dy = gate g`, `dgate = sum_n g y`: one pass over both operands, where the tape would take five. Gradients of gates are
//! summed over fixed blocks of [`ROWS`] rows and the blocks in order, so the bits do not depend on threads.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::simd;
use crate::reference;

/// Rows per task.
const ROWS: usize = 64;

/// `x + gate y` for tokens `x`, `y` `[b n d]` and a gate per sample `[b d]`.
pub fn gated(x: Tensor<3>, y: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    let [b, n, d] = x.dims();
    assert!(
        y.dims() == [b, n, d] && gate.dims() == [b, d],
        "gated: a branch {:?} and gates {:?} do not go with tokens {:?}",
        y.dims(),
        gate.dims(),
        x.dims()
    );
    if !(has_kernels(&x) && has_kernels(&y) && has_kernels(&gate)) {
        return reference::gated(x, y, gate);
    }
    apply_anywhere(Inputs::Three(x.into_dispatch(), y.into_dispatch(), gate.into_dispatch()), Gated)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Gated;

impl Kernel for Gated {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let [_, n, d] = *inputs[0].dims() else { unreachable!("token sets have three axes") };
        let Ok([mut x, y, gate]) = <[Array; 3]>::try_from(inputs) else { unreachable!("three inputs") };
        // The gradient needs the branch and the gate, not what they are added to, which is overwritten if nobody else holds it.
        let (rows, branch, gate_of) = (ROWS * d.max(1), y.data(), |row: usize| &gate.data()[row / n * d..][..d]);
        let add = |i: usize, sum: &mut [f32], y: &[f32]| {
            simd(
                #[inline(always)]
                || {
                    for (j, (sum, y)) in sum.chunks_exact_mut(d).zip(y.chunks_exact(d)).enumerate() {
                        for ((sum, y), gate) in sum.iter_mut().zip(y).zip(gate_of(i * ROWS + j)) {
                            *sum = y.mul_add(*gate, *sum);
                        }
                    }
                },
            )
        };
        let sum = if let Some(sum) = x.data_mut() {
            sum.par_chunks_mut(rows).zip(branch.par_chunks(rows)).enumerate().for_each(|(i, (sum, y))| add(i, sum, y));
            x
        } else {
            let mut sum = scratch(branch.len());
            let parts = sum.par_chunks_mut(rows).zip(x.data().par_chunks(rows)).zip(branch.par_chunks(rows));
            parts.enumerate().for_each(|(i, ((sum, x), y))| {
                // A task's rows stay in the nearest cache between the two.
                sum.copy_from_slice(x);
                add(i, sum, y);
            });
            Array::from_vec(sum, x.dims())
        };
        (sum, if save { vec![y, gate] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let [b, n, d] = *saved[0].dims() else { unreachable!("token sets have three axes") };
        let (y, gate, g) = (saved[0].data(), saved[1].data(), grad.data());
        let mut dy = scratch(y.len());
        let blocks = n.div_ceil(ROWS);
        let mut sums = vec![0.0; b * blocks * d];
        if !dy.is_empty() {
            // Blocks of rows do not cross samples here, so that a sum belongs to one of them.
            let tasks: Vec<_> = dy.chunks_mut(n * d).flat_map(|dy| dy.chunks_mut(ROWS * d)).collect();
            tasks.into_par_iter().zip(sums.par_chunks_mut(d)).enumerate().for_each(|(i, (dy, sums))| {
                simd(
                    #[inline(always)]
                    || {
                        let at = (i / blocks * n + i % blocks * ROWS) * d;
                        let gate = &gate[i / blocks * d..][..d];
                        for (j, dy) in dy.chunks_exact_mut(d).enumerate() {
                            let (y, g) = (&y[at + j * d..][..d], &g[at + j * d..][..d]);
                            for ((((dy, y), g), gate), sum) in
                                dy.iter_mut().zip(y).zip(g).zip(gate).zip(sums.iter_mut())
                            {
                                *dy = g * gate;
                                *sum = g.mul_add(*y, *sum);
                            }
                        }
                    },
                )
            });
        }
        let total = || {
            let mut total = vec![0.0; b * d];
            for (i, sums) in sums.chunks_exact(d.max(1)).enumerate() {
                for (total, sum) in total[i / blocks * d..][..d].iter_mut().zip(sums) {
                    *total += sum;
                }
            }
            Array::from_vec(total, &[b, d])
        };
        let d_gate = wanted[2].then(total);
        vec![wanted[0].then_some(grad), wanted[1].then(|| Array::from_vec(dy, &[b, n, d])), d_gate]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::gated;
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    type Gate = fn(Tensor<3>, Tensor<3>, Tensor<2>) -> Tensor<3>;

    fn call(f: Gate, x: &[Tensor<1>], [b, n, d]: [usize; 3]) -> Tensor<3> {
        let tokens = |i: usize| x[i].clone().reshape([b, n, d]);
        f(tokens(0), tokens(1), x[2].clone().reshape([b, d]))
    }

    #[test]
    fn agrees_with_the_reference() {
        for dims in [[1, 1, 1], [2, 5, 7], [3, 65, 17], [2, 130, 96]] {
            let n = dims.iter().product();
            let sizes = [n, n, dims[0] * dims[2]];
            assert_same(&sizes, |x| call(gated, &x, dims), |x| call(reference::gated, &x, dims));
        }
        assert_differences(&[12, 12, 6], |x| call(gated, &x, [2, 2, 3]));
    }

    #[test]
    fn leaves_what_others_hold_alone_and_takes_views_and_nothing() {
        let (x, y, gate) = (tensor(1, [2, 3, 5]), tensor(2, [2, 5, 3]).swap_dims(1, 2), tensor(3, [2, 5]));
        let before = host(x.clone());
        let got = host(gated(x.clone(), y.clone(), gate.clone()));
        assert_eq!(host(x.clone()), before, "a shared input must not change");
        assert_close("view", &got, &host(reference::gated(x.clone(), y.clone(), gate.clone())), 1e-6);
        // Adding a branch to itself: both operands are one tensor.
        let twice = host(gated(x.clone(), x.clone(), gate.clone()));
        assert_close("itself", &twice, &host(reference::gated(x.clone(), x, gate.clone())), 1e-6);
        assert_eq!(gated(tensor(1, [2, 0, 5]), tensor(1, [2, 0, 5]), gate.clone()).dims(), [2, 0, 5]);
        let not = host(gated(tensor(1, [2, 3, 5]), y * f32::NAN, gate));
        assert!(not.iter().all(|x| x.is_nan()));
    }
}
