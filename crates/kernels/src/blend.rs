//! Two mixtures of the same batches in one pass: the points of paths and their velocities.
//!
//! `first[r] = sum_k weights[r, k] x_k[r]` and `second[r] = sum_k weights[r, K + k] x_k[r]` for the rows `r` of `K` batches.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::{rows_of_task, simd};
use crate::reference;

/// Mixes the rows of two or three batches `[b ...]` twice, by `weights` `[b 2k]` for `k` of them: the first mixture's, then the
/// second's.
pub fn blend<const D: usize>(batches: Vec<Tensor<D>>, weights: Vec<f64>) -> [Tensor<D>; 2] {
    let (dims, k) = (batches[0].dims(), batches.len());
    assert!((2..=3).contains(&k) && batches.iter().all(|x| x.dims() == dims), "blend: two or three batches alike");
    assert_eq!(weights.len(), dims[0] * 2 * k, "blend: two weights for every row of each of {k} batches");
    if dims[0] == 0 || !batches.iter().all(has_kernels) {
        return reference::blend(batches, weights);
    }
    let weights = TensorData::new(weights, [dims[0], 2 * k]);
    let weights = Tensor::<2>::from_data(weights, (&batches[0].device(), batches[0].dtype())).into_dispatch();
    let mut batches = batches.into_iter().map(Tensor::into_dispatch);
    let inputs = match (batches.next(), batches.next(), batches.next()) {
        (Some(a), Some(b), Some(c)) => Inputs::Four(a, b, c, weights),
        (Some(a), Some(b), None) => Inputs::Three(a, b, weights),
        _ => unreachable!("two or three, as asserted"),
    };
    let both: Tensor<D> = apply_anywhere(inputs, Blend);
    [both.clone().narrow(0, 0, dims[0]), both.narrow(0, dims[0], dims[0])]
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Blend;

/// `out[r] = sum_i weights[r, places[i]] x_i[r]` for rows of `n` values and of `step` weights, two or three terms.
#[inline(always)]
fn mix(out: &mut [f32], n: usize, terms: &[(&[f32], usize)], weights: &[f32], step: usize) {
    for (r, (out, weights)) in out.chunks_exact_mut(n).zip(weights.chunks_exact(step)).enumerate() {
        let row = |i: usize| (&terms[i].0[r * n..][..n], weights[terms[i].1]);
        let ((a, of_a), (b, of_b)) = (row(0), row(1));
        let values = out.iter_mut().zip(a).zip(b);
        if terms.len() == 2 {
            values.for_each(|((out, a), b)| *out = b.mul_add(of_b, a * of_a));
        } else {
            let (c, of_c) = row(2);
            values.zip(c).for_each(|(((out, a), b), c)| *out = c.mul_add(of_c, b.mul_add(of_b, a * of_a)));
        }
    }
}

impl Kernel for Blend {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let weights = inputs.pop().expect("weights come last");
        let (k, len, mut dims) = (inputs.len(), inputs[0].len(), inputs[0].dims().to_vec());
        let mut both = scratch(2 * len);
        if len > 0 {
            let n = len / dims[0];
            let rows = rows_of_task(n);
            let size = rows * n;
            let (first, second) = both.split_at_mut(len);
            let pairs = first.par_chunks_mut(size).zip(second.par_chunks_mut(size)).enumerate();
            pairs.for_each(|(task, (first, second))| {
                let weights = &weights.data()[2 * k * rows * task..];
                let terms = |place: usize| -> Vec<(&[f32], usize)> {
                    inputs.iter().enumerate().map(|(i, x)| (&x.data()[size * task..], place + i)).collect()
                };
                simd(
                    #[inline(always)]
                    || {
                        mix(first, n, &terms(0), weights, 2 * k);
                        mix(second, n, &terms(k), weights, 2 * k);
                    },
                );
            });
        }
        dims[0] *= 2;
        (Array::from_vec(both, &dims), if save { vec![weights] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (weights, k, len) = (saved[0].data(), wanted.len() - 1, grad.len() / 2);
        let mut dims = grad.dims().to_vec();
        dims[0] /= 2;
        let (first, second) = grad.data().split_at(len);
        let gradient = |i: usize| {
            let mut dx = scratch(len);
            if len > 0 {
                let n = len / dims[0];
                let rows = rows_of_task(n);
                let size = rows * n;
                dx.par_chunks_mut(size).enumerate().for_each(|(task, dx)| {
                    let terms = [(&first[size * task..], i), (&second[size * task..], k + i)];
                    let weights = &weights[2 * k * rows * task..];
                    simd(
                        #[inline(always)]
                        || mix(dx, n, &terms, weights, 2 * k),
                    );
                });
            }
            Array::from_vec(dx, &dims)
        };
        // The weights are numbers of the schedule: nobody learns them.
        (0..k).map(|i| wanted[i].then(|| gradient(i))).chain([None]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::blend;
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, tensor, values};
    use burn::tensor::Tensor;

    type Op = fn(Vec<Tensor<3>>, Vec<f64>) -> [Tensor<3>; 2];

    fn weights(n: usize) -> Vec<f64> {
        values(9, n).into_iter().map(f64::from).collect()
    }

    /// Both mixtures of `k` batches `[b 3 n]`, side by side.
    fn call(op: Op, [k, b, n]: [usize; 3]) -> impl Fn(Vec<Tensor<1>>) -> Tensor<3> {
        move |x| {
            Tensor::cat(op(x.iter().map(|x| x.clone().reshape([b, 3, n])).collect(), weights(b * 2 * k)).to_vec(), 1)
        }
    }

    #[test]
    fn agrees_with_the_reference() {
        for shape @ [k, b, n] in [[2, 1, 1], [3, 4, 5], [2, 7000, 2], [3, 3, 9000]] {
            assert_same(&vec![3 * b * n; k], call(blend, shape), call(reference::blend, shape));
        }
        assert_differences(&[18; 3], call(blend, [3, 2, 3]));
        let [first, second] = blend(vec![tensor::<3>(1, [0, 3, 2]), tensor(2, [0, 3, 2])], vec![]);
        assert_eq!((first.dims(), second.dims()), ([0, 3, 2], [0, 3, 2]));
    }

    #[test]
    fn keeps_what_is_no_number_to_its_row() {
        let x = tensor::<2>(1, [3, 4]);
        let bad = x.clone().slice_assign([1..2, 2..3], Tensor::from_floats([[f32::NAN]], &x.device()));
        let [first, second] = blend(vec![x, bad], weights(12));
        for (i, (a, b)) in host(first).into_iter().zip(host(second)).enumerate() {
            assert_eq!((a.is_nan(), b.is_nan()), (i == 6, i == 6), "value {i}");
        }
    }
}
