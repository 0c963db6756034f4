//! Group normalisation (Wu & He 2018) with an optional per-sample modulation and SiLU, in one operation.
//!
//! With `x^ = (x - mean) / sqrt(variance + epsilon)` over each group of channels and all pixels,
//! `z = gamma x^ + beta`, `u = z (1 + scale) + shift`, `y = u` or `silu(u)`; shapes in [`group_norm`].
//! The tape holds the inputs, means and reciprocal deviations; the backward pass recomputes the rest.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::{d_silu, dot, row, row_in_place, silu, simd, sum_by};
use crate::reference;

/// Group normalisation of `[b c h w]` with per-channel `gamma`, `beta` `[c]`, then an optional per-sample
/// `(scale, shift)`, each `[b c]`, as `y (1 + scale) + shift`, then SiLU if `activate`. `groups` divides `c`.
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    modulation: Option<(Tensor<2>, Tensor<2>)>,
    activate: bool,
) -> Tensor<4> {
    let [b, c, ..] = x.dims();
    assert!(groups > 0 && c % groups == 0, "group_norm: {groups} groups do not divide {c} channels");
    assert!(gamma.dims() == [c] && beta.dims() == [c], "group_norm: gamma and beta must have {c} elements");
    if let Some((scale, shift)) = &modulation {
        assert!(scale.dims() == [b, c] && shift.dims() == [b, c], "group_norm: scale and shift must be [{b} {c}]");
    }
    let fast = |m: &(Tensor<2>, Tensor<2>)| has_kernels(&m.0) && has_kernels(&m.1);
    if !(has_kernels(&x) && has_kernels(&gamma) && has_kernels(&beta) && modulation.as_ref().is_none_or(fast)) {
        return reference::group_norm(x, gamma, beta, groups, epsilon, modulation, activate);
    }
    let kernel = GroupNorm { groups, epsilon: epsilon as f32, activate };
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    match modulation {
        None => apply_anywhere(Inputs::Three(x, gamma, beta), kernel),
        Some((scale, shift)) => {
            apply_anywhere(Inputs::Five(x, gamma, beta, scale.into_dispatch(), shift.into_dispatch()), kernel)
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub groups: usize,
    pub epsilon: f32,
    pub activate: bool,
}

/// The inputs other than the image, as one sample and channel sees them.
struct Affine<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
    modulation: Option<(&'a [f32], &'a [f32])>,
}

impl<'a> Affine<'a> {
    fn new(inputs: &'a [Array]) -> Self {
        let modulation = inputs.get(3).map(|scale| (scale.data(), inputs[4].data()));
        Self { gamma: inputs[1].data(), beta: inputs[2].data(), modulation }
    }

    /// `1 + scale` for sample `b` and channel `c` of `channels`.
    fn gain(&self, at: usize) -> f32 {
        self.modulation.map_or(1.0, |m| 1.0 + m.0[at])
    }

    /// `(k, l)` with `u = k x^ + l`.
    fn line(&self, at: usize) -> (f32, f32) {
        let c = at % self.gamma.len();
        let gain = self.gain(at);
        (self.gamma[c] * gain, self.beta[c].mul_add(gain, self.modulation.map_or(0.0, |m| m.1[at])))
    }
}

/// Sizes: channels, channels per group, pixels, and groups that make a task worth its scheduling.
fn sizes(dims: &[usize], groups: usize) -> (usize, usize, usize, usize) {
    let (c, plane) = (dims[1], dims[2] * dims[3]);
    let group = c / groups * plane;
    (c, c / groups, plane, (crate::math::CHUNK / group.max(1)).max(1))
}

impl Kernel for GroupNorm {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let x = &inputs[0];
        let (c, per, plane, grain) = sizes(x.dims(), self.groups);
        let affine = Affine::new(&inputs);
        let mut y = scratch(x.len());
        let mut moments = vec![0.0; x.dims()[0] * self.groups * 2];
        let activate = self.activate;
        if !y.is_empty() {
            y.par_chunks_mut(per * plane)
                .zip(x.data().par_chunks(per * plane))
                .zip(moments.par_chunks_mut(2))
                .enumerate()
                .with_min_len(grain)
                .for_each(|(i, ((y, x), moments))| {
                    simd(
                        #[inline(always)]
                        || {
                            let mean = sum_by(x, |x| x) / x.len() as f32;
                            let variance = sum_by(x, |x| (x - mean) * (x - mean)) / x.len() as f32;
                            let rate = 1.0 / (variance + self.epsilon).sqrt();
                            moments.copy_from_slice(&[mean, rate]);
                            let first = i / self.groups * c + i % self.groups * per;
                            for (j, (y, x)) in y.chunks_exact_mut(plane).zip(x.chunks_exact(plane)).enumerate() {
                                let (k, l) = affine.line(first + j);
                                let k = k * rate;
                                row(y, x, x, |x, _| {
                                    let u = (x - mean).mul_add(k, l);
                                    if activate { silu(u) } else { u }
                                });
                            }
                        },
                    )
                });
        }
        let y = Array::from_vec(y, x.dims());
        if !save {
            return (y, Vec::new());
        }
        let moments = Array::from_vec(moments, &[x.dims()[0], self.groups, 2]);
        let mut saved = inputs;
        saved.push(moments);
        (y, saved)
    }

    fn backward(&self, mut saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let moments = saved.pop().expect("forward put the moments last");
        let x = &saved[0];
        let (batch, (c, per, plane, grain)) = (x.dims()[0], sizes(x.dims(), self.groups));
        let affine = Affine::new(&saved);
        let mut dx = scratch(x.len());
        // Per sample and channel: the sums of g and of g x^, where g is the gradient of u.
        let mut sums = vec![[0.0f32; 2]; batch * c];
        let activate = self.activate;
        if !dx.is_empty() {
            dx.par_chunks_mut(per * plane)
                .zip(x.data().par_chunks(per * plane))
                .zip(grad.data().par_chunks(per * plane))
                .zip(sums.par_chunks_mut(per))
                .enumerate()
                .with_min_len(grain)
                .for_each(|(i, (((dx, x), g), sums))| {
                    simd(
                        #[inline(always)]
                        || {
                            let [mean, rate] = [0, 1].map(|m| moments.data()[2 * i + m]);
                            let first = i / self.groups * c + i % self.groups * per;
                            let n = (per * plane) as f32;
                            let (mut a, mut b) = (0.0, 0.0);
                            for j in 0..per {
                                let (k, l) = affine.line(first + j);
                                let of = j * plane..(j + 1) * plane;
                                let (du, x, g) = (&mut dx[of.clone()], &x[of.clone()], &g[of]);
                                row(du, x, g, |x, g| {
                                    let u = ((x - mean) * rate).mul_add(k, l);
                                    if activate { g * d_silu(u) } else { g }
                                });
                                sums[j] = [sum_by(du, |g| g), dot(du, x, |x| (x - mean) * rate)];
                                a += k * sums[j][0] / n;
                                b += k * sums[j][1] / n;
                            }
                            for j in 0..per {
                                let (k, _) = affine.line(first + j);
                                let of = j * plane..(j + 1) * plane;
                                let (dx, x) = (&mut dx[of.clone()], &x[of]);
                                row_in_place(dx, x, |x, du| {
                                    let x = (x - mean) * rate;
                                    rate * (du * k - a - x * b)
                                });
                            }
                        },
                    )
                });
        }
        let over_batch = |pick: usize| {
            let sum = |c_: usize| (0..batch).map(|b| affine.gain(b * c + c_) * sums[b * c + c_][pick]).sum();
            Some(Array::from_vec((0..c).map(sum).collect(), &[c]))
        };
        let mut gradients = vec![wanted[0].then(|| Array::from_vec(dx, x.dims())), over_batch(1), over_batch(0)];
        if saved.len() == 5 {
            let (gamma, beta) = (affine.gamma, affine.beta);
            let scale = sums.iter().enumerate().map(|(i, s)| gamma[i % c] * s[1] + beta[i % c] * s[0]).collect();
            gradients.push(Some(Array::from_vec(scale, &[batch, c])));
            gradients.push(Some(Array::from_vec(sums.iter().map(|s| s[0]).collect(), &[batch, c])));
        }
        gradients
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::group_norm;
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    type F = fn(Tensor<4>, Tensor<1>, Tensor<1>, usize, f64, Option<(Tensor<2>, Tensor<2>)>, bool) -> Tensor<4>;

    fn call(f: F, x: Vec<Tensor<1>>, [b, c, h, w]: [usize; 4], groups: usize, silu: bool) -> Tensor<4> {
        let modulation = x.get(3).map(|s| (s.clone().reshape([b, c]), x[4].clone().reshape([b, c])));
        // An offset far from zero shows a variance computed as a difference of large numbers.
        let image = x[0].clone().reshape([b, c, h, w]) + 3.0;
        f(image, x[1].clone(), x[2].clone(), groups, 1e-5, modulation, silu)
    }

    #[test]
    fn agrees_with_the_reference() {
        for (dims, groups) in [([2, 4, 3, 5], 2), ([3, 48, 9, 9], 8), ([1, 6, 1, 1], 2), ([2, 32, 28, 28], 32)] {
            let (n, c) = (dims.iter().product(), dims[1]);
            for silu in [false, true] {
                let plain: F = reference::group_norm;
                let sizes = [n, c, c, dims[0] * c, dims[0] * c];
                assert_same(
                    &sizes[..3],
                    |x| call(group_norm, x, dims, groups, silu),
                    |x| call(plain, x, dims, groups, silu),
                );
                assert_same(
                    &sizes,
                    |x| call(group_norm, x, dims, groups, silu),
                    |x| call(plain, x, dims, groups, silu),
                );
            }
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        assert_differences(&[2 * 4 * 6, 4, 4, 8, 8], |x| call(group_norm, x, [2, 4, 2, 3], 2, true));
    }

    #[test]
    fn takes_views_and_empty_batches_and_keeps_nan_to_its_group() {
        let (x, w) = (tensor(1, [2, 3, 4, 5]), tensor(2, [4]));
        let f = |x| host(group_norm(x, w.clone(), w.clone(), 2, 1e-5, None, true));
        let view = x.clone().permute([0, 2, 3, 1]).permute([0, 1, 3, 2]).permute([0, 1, 2, 3]);
        let want = host(reference::group_norm(view.clone(), w.clone(), w.clone(), 2, 1e-5, None, true));
        assert_close("view", &f(view), &want, 1e-5);
        assert!(f(tensor(1, [0, 4, 2, 2])).is_empty());
        let mut values = host(tensor(3, [1, 4, 2, 2]));
        values[3] = f32::NAN;
        let y = f(Tensor::<1>::from_floats(values.as_slice(), &x.device()).reshape([1, 4, 2, 2]));
        assert!(y[..8].iter().all(|y| y.is_nan()) && y[8..].iter().all(|y| y.is_finite()));
    }
}
