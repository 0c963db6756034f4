//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864, eq. 34), neighbouring features as one complex number.
//!
//! `(y[2i], y[2i+1]) = (c x[2i] - s x[2i+1], s x[2i] + c x[2i+1])` with `c`, `s` the cosine and sine of position `n` and pair `i`. The
//! gradient is the rotation back. FLUX and its kin pair neighbours like this; those that pair the two halves of a head
//! need their projection's rows reordered once, when weights are loaded.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply};
use crate::host::{Array, is_fast, scratch};
use crate::math::simd;
use crate::reference;

/// Turns the feature pairs of `x` `[b h n d]`, `d` even, by the angles whose cosines and sines are `[n d/2]`. No gradient flows
/// into the angles.
pub fn rotary(x: Tensor<4>, cosines: Tensor<2>, sines: Tensor<2>) -> Tensor<4> {
    let [_, _, n, d] = x.dims();
    let fits = d % 2 == 0 && cosines.dims() == [n, d / 2] && sines.dims() == [n, d / 2];
    assert!(fits, "rotary: angles {:?} and {:?} do not fit {:?}", cosines.dims(), sines.dims(), x.dims());
    if !(is_fast(&x) && is_fast(&cosines) && is_fast(&sines)) {
        return reference::rotary(x, cosines, sines);
    }
    let (cosines, sines) = (cosines.detach(), sines.detach());
    apply(Inputs::Three(x.into_dispatch(), cosines.into_dispatch(), sines.into_dispatch()), Rotary)
}

#[derive(Clone, Copy, Debug)]
struct Rotary;

/// Turns every head of `x` by the angles, or back.
fn turn(x: &[f32], cosines: &[f32], sines: &[f32], back: bool) -> Vec<f32> {
    let mut y = scratch(x.len());
    let head = 2 * cosines.len();
    if head == 0 {
        return y;
    }
    let sign = if back { -1.0 } else { 1.0 };
    y.par_chunks_mut(head).zip(x.par_chunks(head)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                let pairs = y.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
                for (([a, b], [p, q]), (c, s)) in pairs.zip(cosines.iter().zip(sines)) {
                    let s = sign * s;
                    *a = c * p - s * q;
                    *b = s * p + c * q;
                }
            },
        )
    });
    y
}

impl Kernel for Rotary {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let y = turn(inputs[0].data(), inputs[1].data(), inputs[2].data(), false);
        let y = Array::from_vec(y, inputs[0].dims());
        (y, if save { inputs.split_off(1) } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let dx = turn(grad.data(), saved[0].data(), saved[1].data(), true);
        vec![Some(Array::from_vec(dx, grad.dims())), None, None]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::rotary;
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    fn angles(n: usize, pairs: usize) -> (Tensor<2>, Tensor<2>) {
        let angle = tensor::<2>(9, [n, pairs]) * 3.0;
        (angle.clone().cos(), angle.sin())
    }

    #[test]
    fn agrees_with_the_reference_and_with_differences() {
        for [b, h, n, d] in [[1, 1, 1, 2], [2, 3, 5, 8], [1, 2, 33, 18], [0, 2, 3, 4]] {
            let turned = |x: Vec<Tensor<1>>, f: fn(Tensor<4>, Tensor<2>, Tensor<2>) -> Tensor<4>| {
                let (cosines, sines) = angles(n, d / 2);
                let on = |angle: Tensor<2>| if x[0].is_autodiff() { Tensor::from_inner(angle) } else { angle };
                f(x[0].clone().reshape([b, h, n, d]), on(cosines), on(sines))
            };
            if b > 0 {
                assert_same(&[b * h * n * d], |x| turned(x, rotary), |x| turned(x, reference::rotary));
                assert_differences(&[b * h * n * d], |x| turned(x, rotary));
            } else {
                let (cosines, sines) = angles(n, d / 2);
                assert_eq!(rotary(tensor(1, [b, h, n, d]), cosines, sines).dims(), [b, h, n, d]);
            }
        }
    }

    /// What attention is for: products of turned vectors depend on the difference of their positions alone.
    #[test]
    fn only_distances_matter() {
        let (pairs, frequency) = (4, |i: usize| 1.0 / 10f64.powi(i as i32));
        let at = |shift: usize| {
            let angle: Vec<f32> =
                (0..2).flat_map(|n| (0..pairs).map(move |i| ((3 * n + shift) as f64 * frequency(i)) as f32)).collect();
            let angle = Tensor::<1>::from_floats(angle.as_slice(), &Default::default()).reshape([2, pairs]);
            let y = host(rotary(tensor(5, [1, 1, 2, 2 * pairs]), angle.clone().cos(), angle.sin()));
            y[..8].iter().zip(&y[8..]).map(|(a, b)| a * b).sum::<f32>()
        };
        assert_close("product", &[at(7)], &[at(0)], 1e-5);
    }
}
