//! Linear maps of rows, `y = x weight^T + bias`.
//!
//! Forward, each output is one chain of fused multiply-adds over the input features, so a row's result does not depend
//! on the number of rows. `dx = g weight` runs the same way; `dweight = g^T x` is one matrix product, `dbias` a sum
//! over fixed blocks of rows.

use burn::tensor::Tensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::conv::product::{Arrange, WEIGHTS};
use crate::conv::tile::{ShiftedTile, blocks, max_rows, max_vectors, parts, shifted_tile};
use crate::fused::{Inputs, Kernel, apply};
use crate::host::{Array, Scratch, is_fast, scratch};
use crate::math::simd;
use crate::product::{Matrix, product};
use crate::reference;

/// Rows per task: their operands of one block of terms stay in the first-level cache.
const ROWS: usize = 48;

/// `x weight^T + bias` over the last axis: `x` `[..., i]`, `weight` `[o, i]`, `bias` `[o]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [o, i] = weight.dims();
    assert_eq!(x.dims()[D - 1], i, "linear: the weight {:?} takes {i} features", weight.dims());
    if !(is_fast(&x) && is_fast(&weight) && bias.as_ref().is_none_or(is_fast)) {
        return reference::linear(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => {
            assert_eq!(bias.dims(), [o], "linear: one bias for each of {o} outputs");
            apply(Inputs::Three(x, weight, bias.into_dispatch()), Linear)
        }
        None => apply(Inputs::Two(x, weight), Linear),
    }
}

#[derive(Clone, Copy, Debug)]
struct Linear;

impl Kernel for Linear {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight) = (&inputs[0], &inputs[1]);
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let taps: Vec<usize> = (0..i).collect();
        let values = weight.data();
        let weights = Arrange { values, channels: o, channel: i, groups: 1, group: 0, taps: &taps }.run();
        let mut dims = x.dims().to_vec();
        *dims.last_mut().expect("a tensor has an axis") = o;
        let mut y = scratch(dims.iter().product());
        map_rows(x.data(), i, &weights, o, bias.as_ref().map(Array::data), &mut y);
        (Array::from_vec(y, &dims), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (x, weight) = (&saved[0], &saved[1]);
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let g = grad.data();
        let rows = g.len() / o.max(1);
        let dx = wanted[0].then(|| {
            let values = weight.data();
            let weights = Arrange { values, channels: i, channel: 1, groups: o, group: i, taps: &[0] }.run();
            let mut dx = scratch(x.len());
            map_rows(g, o, &weights, i, None, &mut dx);
            Array::from_vec(dx, x.dims())
        });
        let dw = wanted[1].then(|| {
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

/// `y[r, :] = bias + sum_k x[r, k] weights[k, :]` for rows of `depth` and `channels` values.
fn map_rows(x: &[f32], depth: usize, weights: &[f32], channels: usize, bias: Option<&[f32]>, y: &mut [f32]) {
    if y.is_empty() {
        return;
    }
    assert!(y.len() / channels * depth == x.len());
    let run = |(i, y): (usize, &mut [f32])| {
        let rows = y.len() / channels;
        let x = &x[i * ROWS * depth..][..rows * depth];
        pulp::Arch::new().dispatch(Rows { x, depth, weights, channels, bias, y });
    };
    // Below this the work takes no longer than handing it out.
    if x.len() * channels < 1 << 16 {
        y.chunks_mut(ROWS * channels).enumerate().for_each(run);
    } else {
        y.par_chunks_mut(ROWS * channels).enumerate().for_each(run);
    }
}

/// At most [`ROWS`] rows of a linear map.
struct Rows<'a> {
    x: &'a [f32],
    depth: usize,
    weights: &'a [f32],
    channels: usize,
    bias: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, depth, weights, channels, bias, y } = self;
        let (lanes, rows) = (S::F32_LANES, y.len() / channels);
        let offsets: Vec<usize> = (0..depth).collect();
        let mut sums = Scratch::take(rows * max_vectors::<S>() * lanes);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let used = width.min(channels - first);
            let weights = &weights[first * depth..][..width * depth];
            let sums = &mut sums[..rows * width];
            for sums in sums.chunks_exact_mut(width) {
                match bias {
                    Some(bias) => sums[..used].copy_from_slice(&bias[first..first + used]),
                    None => sums.fill(0.0),
                }
            }
            for (k, terms) in parts(depth, WEIGHTS / width) {
                let (offsets, w) = (&offsets[k..][..terms], &weights[k * width..][..terms * width]);
                for (r, n) in parts(rows, max_rows::<S>(vectors)) {
                    let (x, sums) = (&x[r * depth..][..n * depth], &mut sums[r * width..][..n * width]);
                    // SAFETY: `x` holds `n` rows of `depth` and the offsets are below `depth`; `w` holds `terms` rows
                    // and `sums` `n` rows of `width`; `n` and `vectors` come from the limits themselves.
                    unsafe {
                        let (x, w, out) = (x.as_ptr(), w.as_ptr(), sums.as_mut_ptr());
                        shifted_tile(simd, ShiftedTile { rows: n, vectors, x, apart: depth, offsets, w, out });
                    }
                }
            }
            for (y, sums) in y.chunks_exact_mut(channels).zip(sums.chunks_exact(width)) {
                y[first..first + used].copy_from_slice(&sums[..used]);
            }
        }
    }
}

/// Sums of the columns of a matrix with rows of `width`.
fn column_sums(g: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    if g.is_empty() {
        return total;
    }
    let sums: Vec<Vec<f32>> = g
        .par_chunks(8 * ROWS * width)
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

    use super::linear;
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    type Leaves = Vec<Tensor<1>>;

    #[test]
    fn agrees_with_the_reference() {
        for (rows, i, o) in [(1, 1, 1), (5, 7, 3), (70, 33, 130), (200, 384, 96), (3, 100, 65)] {
            let x = |x: &Leaves| x[0].clone().reshape([rows, 1, i]);
            let w = |x: &Leaves| x[1].clone().reshape([o, i]);
            assert_same(
                &[rows * i, o * i, o],
                |l| linear(x(&l), w(&l), Some(l[2].clone())),
                |l| reference::linear(x(&l), w(&l), Some(l[2].clone())),
            );
            assert_same(&[rows * i, o * i], |l| linear(x(&l), w(&l), None), |l| reference::linear(x(&l), w(&l), None));
        }
        assert_differences(&[6, 8, 4], |x| {
            linear(x[0].clone().reshape([3, 2]), x[1].clone().reshape([4, 2]), Some(x[2].clone()))
        });
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (x, w) = (tensor(1, [101, 40]), tensor(2, [50, 40]));
        let all = host(linear(x.clone(), w.clone(), None));
        for r in [0, 47, 48, 100] {
            assert_eq!(host(linear(x.clone().narrow(0, r, 1), w.clone(), None)), all[r * 50..][..50], "row {r}");
        }
    }

    #[test]
    fn takes_views_and_empty_rows_and_keeps_nan() {
        let (x, w) = (tensor(1, [6, 4]), tensor(2, [6, 5]).transpose());
        let want = host(reference::linear(x.clone().transpose(), w.clone(), None));
        assert_close("transposed", &host(linear(x.clone().transpose(), w.clone(), None)), &want, 1e-5);
        assert_eq!(linear(tensor(1, [0, 6]), w.clone(), None).dims(), [0, 5]);
        assert!(host(linear(x.transpose() * f32::NAN, w, None)).iter().all(|y| y.is_nan()));
    }
}
