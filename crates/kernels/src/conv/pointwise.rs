//! Convolutions of a single pixel: for every sample a matrix product, `y = weight x + bias` over the channels.
//!
//! Nothing is laid out anew, which for so few terms would take longer than their sums. A sample's product has the same sizes in any
//! batch, and is cut among threads along channels and pixels only: its result depends on neither.

use rayon::prelude::*;

use super::bias_gradient;
use super::tile::parts;
use crate::fused::Kernel;
use crate::host::{Array, scratch};
use crate::product::{Matrix, product};

/// `x` `[b i h w]`, `weight` `[o i 1 1]` and perhaps `bias` `[o]` to `[b o h w]`, in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointwise;

/// Calls `sample` with the number of each sample, its part of `out` and whether it has the threads to itself.
fn each(out: &mut [f32], batch: usize, sample: impl Fn(usize, &mut [f32], bool) + Sync) {
    if out.is_empty() {
        return;
    }
    let size = out.len() / batch;
    if batch < rayon::current_num_threads() {
        out.chunks_mut(size).enumerate().for_each(|(n, out)| sample(n, out, true));
    } else {
        out.par_chunks_mut(size).enumerate().for_each(|(n, out)| sample(n, out, false));
    }
}

/// The sizes `[b, i, pixels]` of an image.
fn sizes(x: &Array) -> [usize; 3] {
    let [b, i, h, w] = *x.dims() else { unreachable!("images have four axes") };
    [b, i, h * w]
}

/// `sum_b g[b] x[b]^T` over the pixels, `[o, i]`: for as many parts of the batch as there are threads, and the parts in order.
fn weight_gradient(x: &[f32], g: &[f32], [b, i, pixels]: [usize; 3], o: usize) -> Vec<f32> {
    let mut total = vec![0.0; o * i];
    if x.is_empty() {
        return total;
    }
    let threads = rayon::current_num_threads();
    let add = |n: usize, total: &mut [f32], parallel: bool| {
        let (g, x) = (&g[n * o * pixels..][..o * pixels], &x[n * i * pixels..][..i * pixels]);
        product((o, i, pixels), 1.0, Matrix::rows(g, pixels), Matrix::columns(x, pixels), total, true, parallel);
    };
    if b < threads {
        (0..b).for_each(|n| add(n, &mut total, true));
        return total;
    }
    let lot: Vec<_> = parts(b, b.div_ceil(threads)).collect();
    let sum = |(first, count): (usize, usize)| {
        let mut sum = vec![0.0; o * i];
        (first..first + count).for_each(|n| add(n, &mut sum, false));
        sum
    };
    let sums: Vec<Vec<f32>> = lot.into_par_iter().map(sum).collect();
    for part in &sums {
        crate::math::zip_in_place(&mut total, part, |a, b| a + b);
    }
    total
}

impl Kernel for Pointwise {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight, o) = (inputs[0].data(), inputs[1].data(), inputs[1].dims()[0]);
        let [b, i, pixels] = sizes(&inputs[0]);
        let mut y = scratch(b * o * pixels);
        each(&mut y, b, |n, y, parallel| {
            for (y, bias) in y.chunks_exact_mut(pixels).zip(bias.iter().flat_map(|bias| bias.data())) {
                y.fill(*bias);
            }
            let x = Matrix::rows(&x[n * i * pixels..][..i * pixels], pixels);
            product((o, pixels, i), 1.0, Matrix::rows(weight, i), x, y, bias.is_some(), parallel);
        });
        let mut dims = inputs[0].dims().to_vec();
        dims[1] = o;
        (Array::from_vec(y, &dims), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (weight, o, g) = (saved[1].data(), saved[1].dims()[0], grad.data());
        let [b, i, pixels] = sizes(&saved[0]);
        let dx = wanted[0].then(|| {
            let mut dx = scratch(b * i * pixels);
            each(&mut dx, b, |n, dx, parallel| {
                let g = Matrix::rows(&g[n * o * pixels..][..o * pixels], pixels);
                product((i, pixels, o), 1.0, Matrix::columns(weight, i), g, dx, false, parallel);
            });
            Array::from_vec(dx, saved[0].dims())
        });
        let dw =
            wanted[1].then(|| Array::from_vec(weight_gradient(saved[0].data(), g, [b, i, pixels], o), saved[1].dims()));
        let mut gradients = vec![dx, dw];
        if let Some(wanted) = wanted.get(2) {
            gradients.push(wanted.then(|| Array::from_vec(bias_gradient(g, o, pixels), &[o])));
        }
        gradients
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use crate::conv2d;
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, tensor};

    #[test]
    fn agrees_with_the_reference() {
        for [b, i, o, h, w] in
            [[1, 1, 1, 1, 1], [2, 5, 7, 3, 9], [9, 40, 24, 8, 8], [1, 96, 48, 14, 14], [3, 600, 3, 2, 2]]
        {
            let call = |conv: fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, usize, usize) -> Tensor<4>| {
                move |x: Vec<Tensor<1>>| {
                    let (image, weight) = (x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, 1, 1]));
                    conv(image, weight, x.get(2).cloned(), 1, 0)
                }
            };
            let sizes = [b * i * h * w, o * i, o];
            assert_same(&sizes, call(conv2d), call(reference::conv2d));
            assert_same(&sizes[..2], call(conv2d), call(reference::conv2d));
        }
        assert_differences(&[24, 6, 3], |x| {
            conv2d(x[0].clone().reshape([3, 2, 2, 2]), x[1].clone().reshape([3, 2, 1, 1]), Some(x[2].clone()), 1, 0)
        });
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch_nor_on_threads() {
        for (i, o, side) in [(5, 3, 4), (96, 48, 14), (600, 64, 7)] {
            let (x, w) = (tensor(1, [9, i, side, side]), tensor(2, [o, i, 1, 1]));
            let conv = |x: &Tensor<4>| host(conv2d(x.clone(), w.clone(), None, 1, 0));
            let (all, size) = (conv(&x), o * side * side);
            for n in [0, 4, 8] {
                assert_eq!(conv(&x.clone().narrow(0, n, 1)), all[n * size..][..size], "sample {n} of {i} to {o}");
            }
            for threads in [1, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                assert_eq!(pool.install(|| conv(&x)), all, "{threads} threads");
            }
        }
    }
}
