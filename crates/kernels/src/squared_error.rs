//! The mean squared difference of every row of two batches, without the difference: `y[r] = mean_j (a[r, j] - b[r, j])²`.
//!
//! `da[r, j] = 2 (a - b) dy[r] / n`, `db = -da`.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::{rows_of_task, simd, squared_distance};
use crate::reference;

/// Mean over everything but the first axis of the squared difference of `a` and `b` `[b ...]`: `[b]`.
pub fn squared_error<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<1> {
    assert_eq!(a.dims(), b.dims(), "squared_error: two batches alike");
    if !(has_kernels(&a) && has_kernels(&b)) {
        return reference::squared_error(a, b);
    }
    apply_anywhere(Inputs::Two(a.into_dispatch(), b.into_dispatch()), SquaredError)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SquaredError;

/// The squared distance of two rows; short ones are worth no chains of sums.
#[inline(always)]
fn distance(a: &[f32], b: &[f32]) -> f32 {
    if a.len() < SHORT {
        return a.iter().zip(b).fold(0.0, |sum, (a, b)| (a - b).mul_add(a - b, sum));
    }
    squared_distance(a, b)
}

/// Values of a row below which it is short.
const SHORT: usize = 32;

impl Kernel for SquaredError {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let (a, b, rows) = (inputs[0].data(), inputs[1].data(), inputs[0].dims()[0]);
        let n = a.len() / rows.max(1);
        let mut y = vec![f32::NAN; rows]; // the mean of nothing
        if n > 0 {
            let share = rows_of_task(n);
            let tasks = y.par_chunks_mut(share).zip(a.par_chunks(share * n)).zip(b.par_chunks(share * n));
            tasks.for_each(|((y, a), b)| {
                simd(
                    #[inline(always)]
                    || {
                        for ((y, a), b) in y.iter_mut().zip(a.chunks_exact(n)).zip(b.chunks_exact(n)) {
                            *y = distance(a, b) / n as f32;
                        }
                    },
                )
            });
        }
        (Array::from_vec(y, &[rows]), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (a, b) = (saved[0].data(), saved[1].data());
        let n = a.len() / grad.len().max(1);
        let gradient = |sign: f32| {
            let mut d = scratch(a.len());
            if n > 0 {
                let share = rows_of_task(n);
                let tasks = d.par_chunks_mut(share * n).zip(a.par_chunks(share * n)).zip(b.par_chunks(share * n));
                tasks.zip(grad.data().par_chunks(share)).for_each(|(((d, a), b), g)| {
                    simd(
                        #[inline(always)]
                        || {
                            let rows = d.chunks_exact_mut(n).zip(a.chunks_exact(n)).zip(b.chunks_exact(n));
                            for (((d, a), b), g) in rows.zip(g) {
                                let factor = sign * 2.0 * g / n as f32;
                                d.iter_mut().zip(a).zip(b).for_each(|((d, a), b)| *d = (a - b) * factor);
                            }
                        },
                    )
                });
            }
            Array::from_vec(d, saved[0].dims())
        };
        vec![wanted[0].then(|| gradient(1.0)), wanted[1].then(|| gradient(-1.0))]
    }
}

#[cfg(test)]
mod tests {
    use super::squared_error;
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, run, tensor};
    use burn::tensor::Tensor;

    type Op = fn(Tensor<3>, Tensor<3>) -> Tensor<1>;

    fn call(op: Op, [b, n]: [usize; 2]) -> impl Fn(Vec<Tensor<1>>) -> Tensor<1> {
        move |x| op(x[0].clone().reshape([b, 3, n]), x[1].clone().reshape([b, 3, n]))
    }

    #[test]
    fn agrees_with_the_reference() {
        for shape @ [b, n] in [[1, 1], [5, 7], [9000, 1], [3, 9001]] {
            assert_same(&[3 * b * n; 2], call(squared_error, shape), call(reference::squared_error, shape));
        }
        assert_differences(&[12; 2], call(squared_error, [2, 2]));
        assert_eq!(squared_error(tensor::<2>(1, [0, 3]), tensor(2, [0, 3])).dims(), [0]);
    }

    #[test]
    fn keeps_what_is_no_number_to_its_row() {
        let mut x = crate::testing::values(1, 18);
        x[7] = f32::NAN;
        let (y, gradients) = run(&[x, crate::testing::values(2, 18)], &call(squared_error, [3, 2]));
        assert_eq!(y.iter().map(|y| y.is_nan()).collect::<Vec<_>>(), [false, true, false]);
        assert!(gradients[0].iter().enumerate().all(|(i, g)| g.is_nan() == (i == 7)));
        assert_eq!(host(squared_error(tensor::<2>(1, [2, 3]), tensor(1, [2, 3]))), [0.0, 0.0]);
    }
}
