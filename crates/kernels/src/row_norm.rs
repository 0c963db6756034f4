//! Normalisation of rows: layer normalisation with adaptive modulation (Ba et al. 2016; adaLN of Peebles & Xie 2022)
//! and root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
//!
//! Every row stands for itself, so results do not depend on the other rows. Gradients of weights shared by rows are
//! summed over fixed blocks of [`ROWS`] rows, and the blocks in order: the bits do not depend on threads.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::{dot, simd, sum_by};
use crate::reference;

/// Rows per task.
const ROWS: usize = 64;

/// Layer normalisation over the last axis of `[b n d]` without affine weights, then `y (1 + scale) + shift` with
/// per-sample `scale`, `shift` `[b d]` (adaLN).
pub fn layer_norm_modulate(x: Tensor<3>, scale: Tensor<2>, shift: Tensor<2>, epsilon: f64) -> Tensor<3> {
    let [b, _, d] = x.dims();
    assert!(scale.dims() == [b, d] && shift.dims() == [b, d], "layer_norm_modulate: scale and shift must be [{b} {d}]");
    if !(has_kernels(&x) && has_kernels(&scale) && has_kernels(&shift)) {
        return reference::layer_norm_modulate(x, scale, shift, epsilon);
    }
    let inputs = Inputs::Three(x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    apply_anywhere(inputs, LayerNorm { epsilon: epsilon as f32 })
}

/// Root-mean-square normalisation over the last axis with `gamma` `[d]`: `gamma x / sqrt(mean(x^2) + epsilon)`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    assert_eq!(gamma.dims()[0], x.dims()[D - 1], "rms_norm: gamma must have one element for each of the last axis");
    if !(has_kernels(&x) && has_kernels(&gamma)) {
        return reference::rms_norm(x, gamma, epsilon);
    }
    apply_anywhere(Inputs::Two(x.into_dispatch(), gamma.into_dispatch()), RmsNorm { epsilon: epsilon as f32 })
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerNorm {
    pub epsilon: f32,
}

/// Mean and reciprocal deviation of a row.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum_by(x, |x| x) / x.len() as f32;
    let variance = sum_by(x, |x| (x - mean) * (x - mean)) / x.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl Kernel for LayerNorm {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let [b, n, d] = *inputs[0].dims() else { unreachable!("token sets have three axes") };
        let (x, scale, shift) = (inputs[0].data(), inputs[1].data(), inputs[2].data());
        let mut y = scratch(x.len());
        if !y.is_empty() {
            y.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d)).enumerate().for_each(|(i, (y, x))| {
                simd(
                    #[inline(always)]
                    || {
                        for (j, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                            let sample = (i * ROWS + j) / n * d;
                            let (scale, shift) = (&scale[sample..][..d], &shift[sample..][..d]);
                            let (mean, rate) = moments(x, self.epsilon);
                            for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                                *y = ((x - mean) * rate).mul_add(1.0 + scale, *shift);
                            }
                        }
                    },
                )
            });
        }
        // The moments are cheaper to take again than to keep: the row is in the cache anyway.
        (Array::from_vec(y, &[b, n, d]), if save { inputs[..2].to_vec() } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let [b, n, d] = *saved[0].dims() else { unreachable!("token sets have three axes") };
        let (x, scale, g) = (saved[0].data(), saved[1].data(), grad.data());
        let mut dx = scratch(x.len());
        let blocks = n.div_ceil(ROWS);
        let mut sums = vec![0.0; b * blocks * 2 * d];
        if !dx.is_empty() {
            // Blocks of rows do not cross samples here, so that a sum belongs to one of them.
            let tasks: Vec<_> = dx.chunks_mut(n * d).flat_map(|dx| dx.chunks_mut(ROWS * d)).collect();
            tasks.into_par_iter().zip(sums.par_chunks_mut(2 * d)).enumerate().for_each(|(i, (dx, sums))| {
                simd(
                    #[inline(always)]
                    || {
                        let at = (i / blocks * n + i % blocks * ROWS) * d;
                        let scale = &scale[i / blocks * d..][..d];
                        let (d_scale, d_shift) = sums.split_at_mut(d);
                        for (j, dx) in dx.chunks_exact_mut(d).enumerate() {
                            let (x, g) = (&x[at + j * d..][..d], &g[at + j * d..][..d]);
                            let (mean, rate) = moments(x, self.epsilon);
                            for ((((dx, x), g), scale), (ds, dh)) in
                                dx.iter_mut().zip(x).zip(g).zip(scale).zip(d_scale.iter_mut().zip(d_shift.iter_mut()))
                            {
                                *dx = g * (1.0 + scale);
                                *ds += g * ((x - mean) * rate);
                                *dh += g;
                            }
                            let a = sum_by(dx, |g| g) / d as f32;
                            let b = dot(dx, x, |x| (x - mean) * rate) / d as f32;
                            for (dx, x) in dx.iter_mut().zip(x) {
                                *dx = rate * (*dx - a - (x - mean) * rate * b);
                            }
                        }
                    },
                )
            });
        }
        let total = |of: usize| {
            let mut total = vec![0.0; b * d];
            for (i, sums) in sums.chunks_exact(2 * d.max(1)).enumerate() {
                let at = i / blocks * d;
                for (total, sum) in total[at..at + d].iter_mut().zip(&sums[of * d..]) {
                    *total += sum;
                }
            }
            Some(Array::from_vec(total, &[b, d]))
        };
        vec![Some(Array::from_vec(dx, &[b, n, d])), total(0), total(1)]
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsNorm {
    pub epsilon: f32,
}

impl RmsNorm {
    #[inline(always)]
    fn rate(&self, x: &[f32]) -> f32 {
        1.0 / (sum_by(x, |x| x * x) / x.len() as f32 + self.epsilon).sqrt()
    }
}

impl Kernel for RmsNorm {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let (x, gamma) = (inputs[0].data(), inputs[1].data());
        let d = gamma.len();
        let mut y = scratch(x.len());
        if !y.is_empty() {
            y.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d)).for_each(|(y, x)| {
                simd(
                    #[inline(always)]
                    || {
                        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                            let rate = self.rate(x);
                            for ((y, x), gamma) in y.iter_mut().zip(x).zip(gamma) {
                                *y = x * rate * gamma;
                            }
                        }
                    },
                )
            });
        }
        (Array::from_vec(y, inputs[0].dims()), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let (x, gamma, g) = (saved[0].data(), saved[1].data(), grad.data());
        let d = gamma.len();
        let mut dx = scratch(x.len());
        let mut total = vec![0.0; d];
        if !dx.is_empty() {
            let mut sums = vec![0.0; x.len().div_ceil(ROWS * d) * d];
            dx.par_chunks_mut(ROWS * d)
                .zip(x.par_chunks(ROWS * d))
                .zip(g.par_chunks(ROWS * d))
                .zip(sums.par_chunks_mut(d))
                .for_each(|(((dx, x), g), sums)| {
                    simd(
                        #[inline(always)]
                        || {
                            let rows = dx.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(g.chunks_exact(d));
                            for ((dx, x), g) in rows {
                                let rate = self.rate(x);
                                let all = dx.iter_mut().zip(x).zip(g).zip(gamma).zip(sums.iter_mut());
                                for ((((dx, x), g), gamma), sum) in all {
                                    *dx = g * gamma;
                                    *sum += g * x * rate;
                                }
                                let b = dot(dx, x, |x| x) / d as f32 * rate * rate;
                                for (dx, x) in dx.iter_mut().zip(x) {
                                    *dx = rate * (*dx - x * b);
                                }
                            }
                        },
                    )
                });
            for sums in sums.chunks_exact(d) {
                for (total, sum) in total.iter_mut().zip(sums) {
                    *total += sum;
                }
            }
        }
        vec![Some(Array::from_vec(dx, saved[0].dims())), Some(Array::from_vec(total, &[d]))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::{layer_norm_modulate, rms_norm};
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, tensor};

    type Leaves = Vec<Tensor<1>>;

    fn layer(f: fn(Tensor<3>, Tensor<2>, Tensor<2>, f64) -> Tensor<3>, x: Leaves, [b, n, d]: [usize; 3]) -> Tensor<3> {
        let two = |x: &Tensor<1>| x.clone().reshape([b, d]);
        f(x[0].clone().reshape([b, n, d]) + 2.0, two(&x[1]), two(&x[2]), 1e-6)
    }

    #[test]
    fn layer_norm_agrees() {
        for dims in [[2, 3, 5], [3, 70, 33], [1, 1, 384], [2, 130, 16]] {
            let sizes = [dims.iter().product(), dims[0] * dims[2], dims[0] * dims[2]];
            assert_same(
                &sizes,
                |x| layer(layer_norm_modulate, x, dims),
                |x| layer(reference::layer_norm_modulate, x, dims),
            );
        }
        assert_differences(&[2 * 3 * 5, 10, 10], |x| layer(layer_norm_modulate, x, [2, 3, 5]));
    }

    #[test]
    fn rms_norm_agrees() {
        for dims in [[2, 3, 5], [3, 70, 33], [1, 1, 384], [2, 130, 16]] {
            let f = |x: &Leaves| x[0].clone().reshape(dims);
            assert_same(
                &[dims.iter().product(), dims[2]],
                |x| rms_norm(f(&x), x[1].clone(), 1e-6),
                |x| reference::rms_norm(f(&x), x[1].clone(), 1e-6),
            );
        }
        assert_differences(&[10, 5], |x| rms_norm(x[0].clone().reshape([2, 5]), x[1].clone(), 1e-6));
    }

    #[test]
    fn empty_and_nan() {
        let gamma = tensor(1, [5]);
        assert_eq!(rms_norm(tensor(1, [0, 5]), gamma.clone(), 1e-6).dims(), [0, 5]);
        assert_eq!(
            layer_norm_modulate(tensor(1, [0, 3, 5]), tensor(1, [0, 5]), tensor(1, [0, 5]), 1e-6).dims(),
            [0, 3, 5]
        );
        let x = tensor(1, [2, 5]).slice_fill(0..1, f32::NAN);
        let y = host(rms_norm(x, gamma, 1e-6));
        assert!(y[..5].iter().all(|y| y.is_nan()) && y[5..].iter().all(|y| y.is_finite()));
    }
}
