//! Linear maps of rows, `y = x weight^T + bias`.
//!
//! Forward, a row's result does not depend on the number of rows (see [`whole`]). `dx = g weight` runs the same way;
//! `dweight = g^T x` is one matrix product, `dbias` a sum over fixed blocks of rows. Under [`Precision::Bf16`] operands
//! are packed in pairs first: neighbouring features forward, neighbouring outputs for `dx` (see [`paired`]), neighbouring
//! rows for `dweight` (see [`weight`]).

mod paired;
mod weight;
mod whole;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::activation::Activation;
use crate::conv::product::Arrange;
use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::simd;
use crate::pairs::{pack_features, pack_planes};
use crate::precision::Precision;
use crate::product::{Matrix, product};
use crate::reference;

/// Rows per task of a sum over rows.
const ROWS: usize = 384;

/// `x weight^T + bias` over the last axis: `x` `[..., i]`, `weight` `[o, i]`, `bias` `[o]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    run(x, weight, bias, None)
}

/// `f(x weight^T + bias)`, the activation applied to each task's rows while they are in the nearest cache.
pub fn linear_activated<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    run(x, weight, bias, Some(activation))
}

fn run<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Option<Activation>,
) -> Tensor<D> {
    let [o, i] = weight.dims();
    assert_eq!(x.dims()[D - 1], i, "linear: the weight {:?} takes {i} features", weight.dims());
    if !(has_kernels(&x) && has_kernels(&weight) && bias.as_ref().is_none_or(has_kernels)) {
        let y = reference::linear(x, weight, bias);
        return match activation {
            None => y,
            Some(activation) => activation.of(y),
        };
    }
    let kernel = Linear { precision: Precision::here_on(&x.device()), activation };
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => {
            assert_eq!(bias.dims(), [o], "linear: one bias for each of {o} outputs");
            apply_anywhere(Inputs::Three(x, weight, bias.into_dispatch()), kernel)
        }
        None => apply_anywhere(Inputs::Two(x, weight), kernel),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub precision: Precision,
    pub activation: Option<Activation>,
}

impl Kernel for Linear {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight) = (inputs[0].data(), inputs[1].data());
        let [o, i] = *inputs[1].dims() else { unreachable!("a weight has two axes") };
        let mut dims = inputs[0].dims().to_vec();
        *dims.last_mut().expect("a tensor has an axis") = o;
        let mut y = scratch(dims.iter().product());
        let bias = bias.as_ref().map(Array::data);
        // The slope of the activation is read off what went into it.
        let mut before = (save && self.activation.is_some()).then(|| scratch(y.len()));
        let kept = before.as_deref_mut();
        if self.precision.is_paired() {
            let (x, values, depth) = (pack_features(x, i), pack_features(weight, i), i.div_ceil(2));
            let taps: Vec<usize> = (0..depth).collect();
            let arrange = Arrange { values: &values, channels: o, channel: depth, groups: 1, group: 0, taps: &taps };
            let weights = arrange.run();
            let map = paired::RowMap { x: &x, depth, weights: &weights, channels: o, bias };
            paired::map_rows(map, &mut y, self.activation, kept);
        } else {
            let weight = Matrix::columns(weight, i);
            whole::RowMap { x, depth: i, weight, channels: o, bias }.run(&mut y, self.activation, kept);
        }
        if save {
            inputs.extend(before.map(|before| Array::from_vec(before, &dims)));
        }
        (Array::from_vec(y, &dims), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, mut grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (x, weight) = (&saved[0], &saved[1]);
        if let Some(activation) = self.activation {
            activation.slope(grad.make_mut(), saved[2].data());
        }
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let g = grad.data();
        let rows = g.len() / o.max(1);
        let paired = self.precision.is_paired();
        let dx = wanted[0].then(|| {
            let mut dx = scratch(x.len());
            if paired {
                let (g, values, depth) = (pack_features(g, o), pack_planes(weight.data(), 1, o, i), o.div_ceil(2));
                let arrange = Arrange { values: &values, channels: i, channel: 1, groups: depth, group: i, taps: &[0] };
                let weights = arrange.run();
                let map = paired::RowMap { x: &g, depth, weights: &weights, channels: i, bias: None };
                paired::map_rows(map, &mut dx, None, None);
            } else {
                let weight = Matrix::rows(weight.data(), i);
                whole::RowMap { x: g, depth: o, weight, channels: i, bias: None }.run(&mut dx, None, None);
            }
            Array::from_vec(dx, x.dims())
        });
        let dw = wanted[1].then(|| {
            if paired {
                return Array::from_vec(weight::gradient(x.data(), i, g, o), &[o, i]);
            }
            let mut dw = scratch(o * i);
            product((o, i, rows), 1.0, Matrix::columns(g, o), Matrix::rows(x.data(), i), &mut dw, false, true);
            Array::from_vec(dw, &[o, i])
        });
        let mut gradients = vec![dx, dw];
        if let Some(wanted) = wanted.get(2) {
            gradients.push(wanted.then(|| Array::from_vec(column_sums(g, o), &[o])));
        }
        gradients
    }
}

/// `y`, `size` values at a time: `rows` writes the i-th part, and `activation` goes over it while it is near. What goes into that is
/// kept in `before` where asked.
fn through(
    y: &mut [f32],
    before: Option<&mut [f32]>,
    activation: Option<Activation>,
    size: usize,
    parallel: bool,
    rows: impl Fn(usize, &mut [f32]) + Sync,
) {
    if let (Some(activation), Some(before)) = (activation, before) {
        let both = |(i, (y, before)): (usize, (&mut [f32], &mut [f32]))| {
            rows(i, before);
            activation.map(y, before);
        };
        return match parallel {
            true => y.par_chunks_mut(size).zip(before.par_chunks_mut(size)).enumerate().for_each(both),
            false => y.chunks_mut(size).zip(before.chunks_mut(size)).enumerate().for_each(both),
        };
    }
    let one = |(i, y): (usize, &mut [f32])| {
        rows(i, y);
        if let Some(activation) = activation {
            activation.update(y);
        }
    };
    match parallel {
        true => y.par_chunks_mut(size).enumerate().for_each(one),
        false => y.chunks_mut(size).enumerate().for_each(one),
    }
}

/// Sums of the columns of a matrix with rows of `width`.
fn column_sums(g: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    if g.is_empty() {
        return total;
    }
    let sums: Vec<Vec<f32>> = g
        .par_chunks(ROWS * width)
        .map(|g| {
            let mut sums = vec![0.0; width];
            simd(
                #[inline(always)]
                || {
                    for g in g.chunks_exact(width) {
                        for (sum, g) in sums.iter_mut().zip(g) {
                            *sum += g;
                        }
                    }
                },
            );
            sums
        })
        .collect();
    for sums in sums {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::{linear, linear_activated};
    use crate::activation::Activation;
    use crate::testing::{assert_close, assert_differences, assert_rounded, assert_same, host, run, tensor};
    use crate::{Precision, reference};

    type Leaves = Vec<Tensor<1>>;

    #[test]
    fn agrees_with_the_reference() {
        for (rows, i, o) in [(1, 1, 1), (5, 7, 3), (70, 33, 130), (200, 384, 96), (3, 100, 65), (131, 20, 17)] {
            let x = |x: &Leaves| x[0].clone().reshape([rows, 1, i]);
            let w = |x: &Leaves| x[1].clone().reshape([o, i]);
            let fast = |l: Leaves| linear(x(&l), w(&l), Some(l[2].clone()));
            let slow = |l: Leaves| reference::linear(x(&l), w(&l), Some(l[2].clone()));
            assert_same(&[rows * i, o * i, o], fast, slow);
            assert_rounded(&[rows * i, o * i, o], fast, slow);
            let (fast, slow) =
                (|l: Leaves| linear(x(&l), w(&l), None), |l: Leaves| reference::linear(x(&l), w(&l), None));
            assert_same(&[rows * i, o * i], fast, slow);
            assert_rounded(&[rows * i, o * i], fast, slow);
        }
        assert_differences(&[6, 8, 4], |x| {
            linear(x[0].clone().reshape([3, 2]), x[1].clone().reshape([4, 2]), Some(x[2].clone()))
        });
    }

    #[test]
    fn an_activation_within_is_the_one_after() {
        for (rows, i, o) in [(1, 1, 1), (5, 7, 3), (70, 33, 130), (131, 20, 17), (300, 64, 96)] {
            let x = |x: &Leaves| x[0].clone().reshape([rows, 1, i]);
            let w = |x: &Leaves| x[1].clone().reshape([o, i]);
            for activation in [Activation::Silu, Activation::Gelu] {
                let fast = |l: Leaves| linear_activated(x(&l), w(&l), Some(l[2].clone()), activation);
                let slow = |l: Leaves| activation.of(reference::linear(x(&l), w(&l), Some(l[2].clone())));
                assert_same(&[rows * i, o * i, o], fast, slow);
                // To the bit what the two operations are one after the other.
                let apart = |l: Leaves| {
                    let y = linear(x(&l), w(&l), Some(l[2].clone()));
                    if activation == Activation::Silu { crate::silu(y) } else { crate::gelu(y) }
                };
                let leaves = [rows * i, o * i, o].map(|n| (0..n).map(|k| ((k * 7 % 23) as f32 - 11.0) * 0.1).collect());
                for precision in [Precision::F32, Precision::Bf16] {
                    let of = |f: &dyn Fn(Leaves) -> Tensor<3>| run(&leaves, &|l: Leaves| precision.scope(|| f(l)));
                    assert_eq!(of(&fast), of(&apart));
                }
            }
        }
        assert_differences(&[6, 8, 4], |x| {
            let (rows, weight) = (x[0].clone().reshape([3, 2]), x[1].clone().reshape([4, 2]));
            linear_activated(rows, weight, Some(x[2].clone()), Activation::Gelu)
        });
    }

    #[test]
    fn a_row_does_not_depend_on_the_others_nor_on_threads() {
        // More terms than a block, and numbers of rows and outputs on both sides of every way through a product.
        for (rows, i, o) in [(101, 41, 50), (130, 600, 7), (70, 1030, 1), (300, 2, 96), (67, 520, 160)] {
            let (x, w) = (tensor(1, [rows, i]), tensor(2, [o, i]));
            for precision in [Precision::F32, Precision::Bf16] {
                let map = |x: &Tensor<2>| host(precision.scope(|| linear(x.clone(), w.clone(), None)));
                let all = map(&x);
                for (first, count) in
                    [(0, 1), (47, 1), (rows - 1, 1), (3, 2), (5, 5), (10, 15), (1, 16), (2, 64), (0, 65)]
                {
                    let part = map(&x.clone().narrow(0, first, count));
                    assert_eq!(part, all[first * o..][..count * o], "{count} rows from {first} of {rows}, {i} to {o}");
                }
                let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
                assert_eq!(pool.install(|| map(&x)), all);
            }
        }
    }

    #[test]
    fn takes_views_and_empty_rows_and_keeps_nan() {
        let (x, w) = (tensor(1, [6, 4]), tensor(2, [6, 5]).transpose());
        let want = host(reference::linear(x.clone().transpose(), w.clone(), None));
        assert_close("transposed", &host(linear(x.clone().transpose(), w.clone(), None)), &want, 1e-5);
        let not = x.transpose() * f32::NAN;
        for precision in [Precision::F32, Precision::Bf16] {
            precision.scope(|| {
                assert_eq!(linear(tensor(1, [0, 6]), w.clone(), None).dims(), [0, 5]);
                assert!(host(linear(not.clone(), w.clone(), None)).iter().all(|y| y.is_nan()));
            });
            let none = |l: Leaves| {
                let (x, w) = (l[0].clone().reshape([0, 6]), l[1].clone().reshape([5, 6]));
                precision.scope(|| linear(x, w, None))
            };
            assert_eq!(run(&[vec![], vec![1.0; 30]], &none).1[1], [0.0; 30]);
        }
    }
}
