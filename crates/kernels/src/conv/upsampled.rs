//! Convolution of an image upsampled to its nearest neighbours, `conv2d(upsample2(x), weight, bias, 1, 1)`, without that image.
//!
//! Of the nine taps of an output, those that fall on the same pixel of `x` can be added up beforehand; four are left:
//!
//! `spread[i, o, u, v] = sum_{ky in {2-u, 3-u}, kx in {2-v, 3-v}} weight[o, i, ky, kx]`, `0 <= u, v < 4`, taps outside being zero.
//!
//! With it the operation is the adjoint of a convolution of stride 2 and padding 1: its input gradient is that one's forward
//! pass, its weight gradient that one's with image and gradient exchanged. Forward, each of the four parities of an output's row
//! and column is a convolution of `x` by a 2 x 2 part of `spread`. All take 16 products where nine taps of the larger image take 36.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::plan::Plan;
use super::product::Target;
use super::{Conv2d, bias_gradient, correlate, inputs};
use crate::fused::{Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::precision::Precision;
use crate::reference;

/// Nearest-neighbour upsampling by two, then cross-correlation: `x` `[b i h w]`, `weight` `[o i 3 3]`, `bias` `[o]` to
/// `[b o 2h 2w]`.
pub fn upsampled_conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let ([_, i, _, _], [_, wi, kh, kw]) = (x.dims(), weight.dims());
    assert_eq!((i, 3, 3), (wi, kh, kw), "upsampled_conv2d: {i} channels need a 3x3 kernel of as many");
    if !(has_kernels(&x) && has_kernels(&weight) && bias.as_ref().is_none_or(has_kernels)) {
        return reference::upsampled_conv2d(x, weight, bias);
    }
    let precision = Precision::here_on(&x.device());
    apply_anywhere(inputs(x, weight, bias), UpsampledConv2d { precision })
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UpsampledConv2d {
    pub precision: Precision,
}

impl UpsampledConv2d {
    /// The convolution from the large image back to the small one.
    pub fn adjoint(&self) -> Conv2d {
        Conv2d { stride: 2, padding: 1, precision: self.precision }
    }
}

/// The values of `spread` for one pair of channels, by row and column.
fn spread_window(window: &[f32; 9]) -> [[f32; 4]; 4] {
    let four = |[a, b, c]: [f32; 3]| [c, b + c, a + b, a];
    let [top, middle, bottom] = [0, 3, 6].map(|k| four([window[k], window[k + 1], window[k + 2]]));
    let columns: [[f32; 4]; 4] = std::array::from_fn(|v| four([top[v], middle[v], bottom[v]]));
    std::array::from_fn(|u| columns.map(|column| column[u]))
}

/// `[o i 3 3]` to `[i o 4 4]`.
fn spread(weight: &Array) -> Array {
    let [o, i, ..] = four(weight);
    let (windows, mut all) = (weight.data().as_chunks::<9>().0, scratch(i * o * 16));
    all.par_chunks_mut((o * 16).max(1)).enumerate().for_each(|(c, all)| {
        for (out, window) in all.as_chunks_mut::<16>().0.iter_mut().zip(windows.iter().skip(c).step_by(i)) {
            out.copy_from_slice(spread_window(window).as_flattened());
        }
    });
    Array::from_vec(all, &[i, o, 4, 4])
}

/// The weight `[o, i, 2 x 2]` of the outputs in rows of parity `a` and columns of parity `b`: their taps are those of `spread` that
/// fall on them.
fn phase(weight: &Array, [a, b]: [usize; 2]) -> Vec<f32> {
    let (windows, mut all) = (weight.data().as_chunks::<9>().0, scratch(weight.len() / 9 * 4));
    let chunks = all.as_chunks_mut::<4>().0.par_iter_mut().zip(windows).with_min_len(1 << 10);
    chunks.for_each(|(out, window)| {
        let spread = spread_window(window);
        *out = [(3, 3), (3, 1), (1, 3), (1, 1)].map(|(u, v)| spread[u - a][v - b]);
    });
    all
}

/// The adjoint of [`spread`]: `[i o 4 4]` to `[o i 3 3]`.
fn gather(spread: &[f32], [o, i]: [usize; 2]) -> Array {
    let (windows, mut all) = (spread.as_chunks::<16>().0, scratch(o * i * 9));
    all.par_chunks_mut((i * 9).max(1)).enumerate().for_each(|(c, all)| {
        for (out, window) in all.as_chunks_mut::<9>().0.iter_mut().zip(windows.iter().skip(c).step_by(o)) {
            for (at, out) in out.iter_mut().enumerate() {
                let corner = 4 * (2 - at / 3) + (2 - at % 3);
                *out = (window[corner] + window[corner + 1]) + (window[corner + 4] + window[corner + 5]);
            }
        }
    });
    Array::from_vec(all, &[o, i, 3, 3])
}

impl Kernel for UpsampledConv2d {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight) = (&inputs[0], &inputs[1]);
        let ([batch, i, h, w], [o, ..]) = (four(x), four(weight));
        let mut y = scratch(batch * o * 4 * h * w);
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            // Output row 2r + a meets the rows r + a - 1 and r + a.
            let taps = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(j, k)| (j + a - 1, k + b - 1)).to_vec();
            let plan = Plan { planes: i, height: h, width: w, taps, stride: 1, rows: h, columns: w };
            let (a, b) = (a as usize, b as usize);
            let target = Target { plane: 4 * h * w, start: a * 2 * w + b, row: 4 * w, column: 2 };
            let weight = phase(weight, [a, b]);
            let operands = (weight.as_slice(), bias.as_ref().map(Array::data));
            correlate(&plan, self.precision, batch, x.data(), operands, target, &mut y);
        }
        (Array::from_vec(y, &[batch, o, 2 * h, 2 * w]), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (x, weight) = (&saved[0], &saved[1]);
        let ([o, i, ..], [_, _, h, w]) = (four(weight), four(&grad));
        let dx = wanted[0].then(|| self.adjoint().forward(vec![grad.clone(), spread(weight)], false).0);
        let dw = wanted[1].then(|| {
            let plan = self.adjoint().plan(grad.dims(), &[i, o, 4, 4]);
            gather(&self.adjoint().weight_gradient(&plan, &grad, x, i), [o, i])
        });
        let mut gradients = vec![dx, dw];
        if let Some(wanted) = wanted.get(2) {
            gradients.push(wanted.then(|| Array::from_vec(bias_gradient(grad.data(), o, h * w), &[o])));
        }
        gradients
    }
}

fn four(x: &Array) -> [usize; 4] {
    x.dims().try_into().expect("images and their weights have four axes")
}

#[cfg(test)]
mod tests {
    use super::upsampled_conv2d;
    use crate::testing::{assert_close, assert_differences, assert_same, host, run, tensor, values};
    use crate::{Precision, reference};
    use burn::tensor::Tensor;

    type Op = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>;

    /// The operation on flat leaves, from `i` channels of `h x w` to `o`.
    fn call(op: Op, [b, i, o, h, w]: [usize; 5]) -> impl Fn(Vec<Tensor<1>>) -> Tensor<4> {
        move |x| op(x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, 3, 3]), x.get(2).cloned())
    }

    const SHAPES: [[usize; 5]; 5] =
        [[2, 3, 5, 4, 6], [1, 1, 1, 1, 1], [3, 17, 33, 7, 7], [2, 48, 48, 14, 14], [1, 70, 20, 1, 9]];

    #[test]
    fn agrees_with_the_reference() {
        for shape @ [b, i, o, h, w] in SHAPES {
            let (fast, slow) = (call(upsampled_conv2d, shape), call(reference::upsampled_conv2d, shape));
            assert_same(&[b * i * h * w, 9 * o * i, o], &fast, &slow);
            assert_same(&[b * i * h * w, 9 * o * i], fast, slow);
        }
        assert_differences(&[2 * 2 * 3 * 2, 3 * 2 * 9, 3], call(upsampled_conv2d, [2, 2, 3, 3, 2]));
    }

    /// Sums of four weights are rounded here, their terms there: each to 8 bits.
    #[test]
    fn in_bfloat16_agrees_to_its_rounding() {
        for shape @ [b, i, o, h, w] in SHAPES {
            let leaves = [values(1, b * i * h * w), values(2, 9 * o * i), values(3, o)];
            let fast = call(upsampled_conv2d, shape);
            let got = run(&leaves, &|x: Vec<Tensor<1>>| Precision::Bf16.scope(|| fast(x)));
            let want = run(&leaves, &call(reference::upsampled_conv2d, shape));
            assert_close("value", &got.0, &want.0, 1e-2);
            got.1.iter().zip(&want.1).for_each(|(got, want)| assert_close("gradient", got, want, 1e-2));
        }
    }

    #[test]
    fn takes_views_and_empty_batches() {
        let (x, weight) = (tensor(1, [2, 5, 4, 3]).permute([0, 3, 2, 1]), tensor(2, [6, 3, 3, 3]));
        let [got, want] =
            [upsampled_conv2d, reference::upsampled_conv2d].map(|op: Op| host(op(x.clone(), weight.clone(), None)));
        assert_close("a view", &got, &want, 1e-5);
        let shape = [0, 3, 6, 4, 5];
        assert_eq!(upsampled_conv2d(tensor(1, [0, 3, 4, 5]), weight, None).dims(), [0, 6, 8, 10]);
        assert_eq!(run(&[vec![], values(2, 162)], &call(upsampled_conv2d, shape)).1[1], [0.0; 162]);
    }
}
