//! Linear maps of rows, `y = x weight^T + bias`.
//!
//! Forward, each output is one chain of fused multiply-adds over the input features, so a row's result does not depend
//! on the number of rows. `dx = g weight` runs the same way; `dweight = g^T x` is one matrix product, `dbias` a sum
//! over fixed blocks of rows. Under [`Precision::Bf16`] operands are packed in pairs first: neighbouring features
//! forward, neighbouring outputs for `dx`, neighbouring rows for `dweight` (see [`weight`]).

mod weight;

use burn::tensor::Tensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::activation::Activation;
use crate::composed;
use crate::conv::product::{Arrange, WEIGHTS};
use crate::conv::tile::{ShiftedTile, blocks, max_rows, max_vectors, parts, shifted_tile};
use crate::fused::{Inputs, Kernel, apply};
use crate::host::{Array, Scratch, is_fast, scratch};
use crate::math::simd;
use crate::pairs::{pack_features, pack_planes};
use crate::precision::Precision;
use crate::product::{Matrix, product};

/// Rows per task: their operands of one block of terms stay in the first-level cache.
const ROWS: usize = 48;

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
    if !(is_fast(&x) && is_fast(&weight) && bias.as_ref().is_none_or(is_fast)) {
        return composed::linear(x, weight, bias, activation);
    }
    let kernel = Linear { precision: Precision::here(), activation };
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => {
            assert_eq!(bias.dims(), [o], "linear: one bias for each of {o} outputs");
            apply(Inputs::Three(x, weight, bias.into_dispatch()), kernel)
        }
        None => apply(Inputs::Two(x, weight), kernel),
    }
}

#[derive(Clone, Copy, Debug)]
struct Linear {
    precision: Precision,
    activation: Option<Activation>,
}

impl Kernel for Linear {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight) = (&inputs[0], &inputs[1]);
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let paired = self.precision.is_paired();
        let pairs;
        let (x, values, depth) = if paired {
            pairs = (pack_features(x.data(), i), pack_features(weight.data(), i));
            (pairs.0.as_slice(), pairs.1.as_slice(), i.div_ceil(2))
        } else {
            (x.data(), weight.data(), i)
        };
        let taps: Vec<usize> = (0..depth).collect();
        let weights = Arrange { values, channels: o, channel: depth, groups: 1, group: 0, taps: &taps }.run();
        let mut dims = inputs[0].dims().to_vec();
        *dims.last_mut().expect("a tensor has an axis") = o;
        let mut y = scratch(dims.iter().product());
        let bias = bias.as_ref().map(Array::data);
        let map = RowMap { paired, x, depth, weights: &weights, channels: o, bias };
        // The slope of the activation is read off what went into it.
        let mut before = (save && self.activation.is_some()).then(|| scratch(y.len()));
        map_rows(map, &mut y, self.activation, before.as_deref_mut());
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
            let pairs;
            let (g, values, depth) = if paired {
                pairs = (pack_features(g, o), pack_planes(weight.data(), 1, o, i));
                (pairs.0.as_slice(), pairs.1.as_slice(), o.div_ceil(2))
            } else {
                (g, weight.data(), o)
            };
            let weights = Arrange { values, channels: i, channel: 1, groups: depth, group: i, taps: &[0] }.run();
            let mut dx = scratch(x.len());
            map_rows(RowMap { paired, x: g, depth, weights: &weights, channels: i, bias: None }, &mut dx, None, None);
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

/// `y[r, :] = bias + sum_k x[r, k] weights[k, :]` for rows of `depth` words and `channels` values.
#[derive(Clone, Copy)]
struct RowMap<'a> {
    /// Whether words are pairs of bfloat16.
    paired: bool,
    x: &'a [f32],
    depth: usize,
    /// Made by [`Arrange`].
    weights: &'a [f32],
    channels: usize,
    bias: Option<&'a [f32]>,
}

/// `y` from the map, through `activation` where there is one; what goes into that is kept in `before` where asked.
fn map_rows(map: RowMap, y: &mut [f32], activation: Option<Activation>, before: Option<&mut [f32]>) {
    let RowMap { x, depth, channels, .. } = map;
    if y.is_empty() {
        return;
    }
    assert!(y.len() / channels * depth == x.len());
    let size = ROWS * channels;
    let rows = |i: usize, y: &mut [f32]| {
        let x = &x[i * ROWS * depth..][..y.len() / channels * depth];
        pulp::Arch::new().dispatch(Rows { map: RowMap { x, ..map }, y });
    };
    let whole = |(i, y): (usize, &mut [f32])| {
        rows(i, y);
        if let Some(activation) = activation {
            activation.update(y);
        }
    };
    // Below this the work takes no longer than handing it out.
    let small = x.len() * channels < 1 << 16;
    match (activation, before) {
        (Some(activation), Some(before)) => {
            let both = |(i, (y, before)): (usize, (&mut [f32], &mut [f32]))| {
                rows(i, before);
                activation.map(y, before);
            };
            match small {
                true => y.chunks_mut(size).zip(before.chunks_mut(size)).enumerate().for_each(both),
                false => y.par_chunks_mut(size).zip(before.par_chunks_mut(size)).enumerate().for_each(both),
            }
        }
        _ if small => y.chunks_mut(size).enumerate().for_each(whole),
        _ => y.par_chunks_mut(size).enumerate().for_each(whole),
    }
}

/// At most [`ROWS`] rows of a linear map.
struct Rows<'a> {
    map: RowMap<'a>,
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { map: RowMap { paired, x, depth, weights, channels, bias }, y } = self;
        let (lanes, rows) = (S::F32_LANES, y.len() / channels);
        let offsets: Vec<usize> = (0..depth).collect();
        let mut sums = Scratch::take(rows * max_vectors::<S>() * lanes);
        let mut begin = Scratch::take(max_vectors::<S>() * lanes);
        for (first, vectors) in blocks::<S>(channels) {
            let (first, width) = (first * lanes, vectors * lanes);
            let used = width.min(channels - first);
            let weights = &weights[first * depth..][..width * depth];
            let sums = &mut sums[..rows * width];
            begin[..width].fill(0.0);
            if let Some(bias) = bias {
                begin[..used].copy_from_slice(&bias[first..first + used]);
            }
            if depth == 0 {
                sums.chunks_exact_mut(width).for_each(|sums| sums.copy_from_slice(&begin[..width]));
            }
            for (k, terms) in parts(depth, WEIGHTS / width) {
                let (offsets, w) = (&offsets[k..][..terms], &weights[k * width..][..terms * width]);
                for (r, n) in parts(rows, max_rows::<S>(vectors)) {
                    let (x, sums) = (&x[r * depth..][..n * depth], &mut sums[r * width..][..n * width]);
                    // SAFETY: `x` holds `n` rows of `depth` and the offsets are below `depth`; `w` holds `terms` rows,
                    // `sums` `n` rows and `begin` one row of `width`; `n` and `vectors` come from the limits
                    // themselves; whoever asked for pairs saw that they are native.
                    unsafe {
                        let (x, w, out) = (x.as_ptr(), w.as_ptr(), sums.as_mut_ptr());
                        let start = if k == 0 { (begin.as_ptr(), 0) } else { (out.cast_const(), width) };
                        let (apart, rows) = (depth, n);
                        shifted_tile(simd, ShiftedTile { paired, rows, vectors, x, apart, offsets, w, start, out });
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
                let slow = |l: Leaves| reference::linear_activated(x(&l), w(&l), Some(l[2].clone()), Some(activation));
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
        let (x, w) = (tensor(1, [101, 41]), tensor(2, [50, 41]));
        for precision in [Precision::F32, Precision::Bf16] {
            let map = |x: &Tensor<2>| host(precision.scope(|| linear(x.clone(), w.clone(), None)));
            let all = map(&x);
            for r in [0, 47, 48, 100] {
                assert_eq!(map(&x.clone().narrow(0, r, 1)), all[r * 50..][..50], "row {r}");
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
            assert_eq!(pool.install(|| map(&x)), all);
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
