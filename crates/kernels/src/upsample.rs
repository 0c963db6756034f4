//! Nearest-neighbour upsampling by two: `y[b, c, i, j] = x[b, c, i/2, j/2]`; the gradient sums each 2 x 2 block.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, has_kernels, scratch};
use crate::math::simd;
use crate::reference;

/// Nearest-neighbour upsampling by two: `[b c h w]` to `[b c 2h 2w]`.
pub fn upsample2(x: Tensor<4>) -> Tensor<4> {
    if has_kernels(&x) { apply_anywhere(Inputs::One(x.into_dispatch()), Upsample2) } else { reference::upsample2(x) }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Upsample2;

/// Rows that make a task worth its scheduling.
fn grain(width: usize) -> usize {
    (crate::math::CHUNK / (4 * width)).max(1)
}

impl Kernel for Upsample2 {
    fn forward(&self, inputs: Vec<Array>, _: bool) -> (Array, Vec<Array>) {
        let x = &inputs[0];
        let [b, c, h, w] = *x.dims() else { unreachable!("images have four axes") };
        let mut y = scratch(4 * x.len());
        if !y.is_empty() {
            y.par_chunks_mut(4 * w).zip(x.data().par_chunks(w)).with_min_len(grain(w)).for_each(|(y, x)| {
                simd(
                    #[inline(always)]
                    || {
                        let (upper, lower) = y.split_at_mut(2 * w);
                        for (y, x) in upper.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                            *y = [*x; 2];
                        }
                        lower.copy_from_slice(upper);
                    },
                )
            });
        }
        // The gradient needs the sizes only, and those follow from its own.
        (Array::from_vec(y, &[b, c, 2 * h, 2 * w]), Vec::new())
    }

    fn backward(&self, _: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let [b, c, h, w] = *grad.dims() else { unreachable!("images have four axes") };
        let (h, w) = (h / 2, w / 2);
        let mut dx = scratch(b * c * h * w);
        if !dx.is_empty() {
            dx.par_chunks_mut(w).zip(grad.data().par_chunks(4 * w)).with_min_len(grain(w)).for_each(|(dx, g)| {
                simd(
                    #[inline(always)]
                    || {
                        let (upper, lower) = g.split_at(2 * w);
                        let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
                        for (dx, (a, b)) in dx.iter_mut().zip(pairs) {
                            *dx = (a[0] + a[1]) + (b[0] + b[1]);
                        }
                    },
                )
            });
        }
        vec![Some(Array::from_vec(dx, &[b, c, h, w]))]
    }
}

#[cfg(test)]
mod tests {
    use super::upsample2;
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, tensor};

    #[test]
    fn agrees_with_the_reference() {
        for dims in [[2, 3, 4, 5], [1, 1, 1, 1], [3, 8, 14, 14]] {
            let f = |x: Vec<burn::tensor::Tensor<1>>| x[0].clone().reshape(dims);
            assert_same(&[dims.iter().product()], |x| upsample2(f(x)), |x| reference::upsample2(f(x)));
        }
        assert_differences(&[6], |x| upsample2(x[0].clone().reshape([1, 1, 2, 3])));
        let view = tensor(1, [2, 3, 4, 5]).permute([1, 0, 3, 2]);
        assert_eq!(host(upsample2(view.clone())), host(reference::upsample2(view)));
        assert_eq!(upsample2(tensor(1, [0, 3, 2, 2])).dims(), [0, 3, 4, 4]);
    }
}
