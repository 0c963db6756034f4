//! AdamW (Loshchilov & Hutter 2017, algorithm 2) in one pass over a parameter, its gradient and its two moments.
//!
//! Composed of tensor operations the update reads and writes memory about twelve times over; here once, in place
//! wherever nobody else holds the storage.

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "gpu")]
use crate::host::is_cpu;
use crate::host::{Array, has_kernels, is_fast};
use crate::math::{CHUNK, simd};

/// Settings of the optimiser that stay fixed over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment, positive.
    pub epsilon: f64,
    /// Decoupled weight decay per unit of learning rate, not negative.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// PyTorch's defaults but no weight decay, which flow matching does not want on small networks.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// One update of `param`; returns the new `(param, m, v)`.
///
/// `step` counts from 1. The gradient is multiplied by `grad_scale` first: clipping to a norm `c` is
/// `grad_scale = min(1, c / norm)`, with the norm from [`sum_squares`](crate::sum_squares). The tensors must have one
/// shape; any association with automatic differentiation is dropped. Pass tensors by value without keeping clones, and
/// the update happens in place.
#[allow(clippy::too_many_arguments)] // the formula has that many operands
pub fn step<const D: usize>(
    config: &AdamW,
    lr: f64,
    step: u64,
    grad_scale: f64,
    param: Tensor<D>,
    grad: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (param, grad) = (param.without_autodiff(), grad.without_autodiff());
    let (m, v) = (m.without_autodiff(), v.without_autodiff());
    let factors = Factors::new(config, lr, step, grad_scale);
    let kernels = has_kernels(&param) && has_kernels(&grad) && has_kernels(&m) && has_kernels(&v);
    if !kernels {
        return factors.compose(param, grad, m, v);
    }
    assert!(
        param.dims() == grad.dims() && param.dims() == m.dims() && param.dims() == v.dims(),
        "adamw: parameter {:?}, gradient {:?} and moments {:?}, {:?} must have one shape",
        param.dims(),
        grad.dims(),
        m.dims(),
        v.dims()
    );
    #[cfg(feature = "gpu")]
    if !is_cpu(&param.device()) {
        let [p, m, v] = [param, m, v].map(|x| device::array(x).unshared());
        crate::gpu::adamw::update(&p, &device::array(grad), &m, &v, factors.all());
        return (device::tensor(p), device::tensor(m), device::tensor(v));
    }
    let (mut p, g, mut m, mut v) = (array(param), array(grad), array(m), array(v));
    factors.update(p.make_mut(), g.data(), m.make_mut(), v.make_mut());
    (tensor(p), tensor(m), tensor(v))
}

/// `ema + amount (param - ema)`, in place where nobody else holds `ema`: the exponential moving average of weights
/// with decay `1 - amount`.
pub fn lerp<const D: usize>(ema: Tensor<D>, param: Tensor<D>, amount: f64) -> Tensor<D> {
    let (ema, param) = (ema.without_autodiff(), param.without_autodiff());
    if !(has_kernels(&ema) && has_kernels(&param)) || ema.dims() != param.dims() {
        return ema.clone() + (param - ema).mul_scalar(amount);
    }
    #[cfg(feature = "gpu")]
    if !is_cpu(&param.device()) {
        let ema = device::array(ema).unshared();
        crate::gpu::adamw::lerp(&ema, &device::array(param), amount as f32);
        return device::tensor(ema);
    }
    let amount = amount as f32;
    let (mut ema, param) = (array(ema), array(param));
    crate::math::zip_in_place(ema.make_mut(), param.data(), |e, p| (p - e).mul_add(amount, e));
    tensor(ema)
}

/// Sum of squares of all elements as a tensor on their device, `[1]`: a reading would wait for the device's queue.
pub fn squares_there<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let x = x.without_autodiff();
    #[cfg(feature = "gpu")]
    if has_kernels(&x) && !is_cpu(&x.device()) {
        return device::tensor(crate::gpu::adamw::sum_squares(&device::array(x)));
    }
    x.square().sum()
}

/// Sum of squares of all elements, on the processor accumulated in f64 in an order that depends on nothing but the size.
pub fn sum_squares<const D: usize>(x: Tensor<D>) -> f64 {
    let x = x.without_autodiff();
    if !is_fast(&x) {
        return f64::from(squares_there(x).into_scalar::<f32>());
    }
    let x = array(x);
    let sums: Vec<f64> = x
        .data()
        .par_chunks(CHUNK)
        .map(|x| {
            simd(
                #[inline(always)]
                || squares(x),
            )
        })
        .collect();
    sums.into_iter().sum()
}

/// Sixteen interleaved sums, so that the loop is one of vectors.
#[inline(always)]
fn squares(x: &[f32]) -> f64 {
    let mut sums = [0.0f64; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for x in whole {
        for i in 0..16 {
            let x = f64::from(x[i]);
            sums[i] = x.mul_add(x, sums[i]);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(*x) * f64::from(*x);
    }
    sums.into_iter().sum()
}

/// Tensors as arrays of a device, and back.
#[cfg(feature = "gpu")]
mod device {
    use burn::tensor::Tensor;
    use burn_cubecl::CubeBackend;

    use crate::gpu::Buffer;

    pub fn array<const D: usize>(x: Tensor<D>) -> Buffer {
        Buffer::new(x.try_into_primitive::<CubeBackend>().expect("the caller asked for the device"))
    }

    pub fn tensor<const D: usize>(x: Buffer) -> Tensor<D> {
        Tensor::from_primitive::<CubeBackend>(x.into_inner())
    }
}

fn array<const D: usize>(x: Tensor<D>) -> Array {
    let x: FlexTensor = x.try_into_primitive::<Flex>().expect("the caller asked for the processor");
    Array::new(x)
}

fn tensor<const D: usize>(x: Array) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(x.into_inner())
}

/// The update with everything that is the same for all elements worked out.
///
/// `g' = s g`, `m = m + (1-b1)(g' - m)`, `v = v + (1-b2)(g'^2 - v)`,
/// `p = decay p - rate m / (sqrt(v) correction + epsilon)`.
struct Factors {
    scale: f64,
    to_m: f64,
    to_v: f64,
    decay: f64,
    rate: f64,
    correction: f64,
    epsilon: f64,
}

impl Factors {
    fn new(c: &AdamW, lr: f64, step: u64, scale: f64) -> Self {
        let step = step.max(1) as f64;
        Self {
            scale,
            to_m: 1.0 - c.beta1,
            to_v: 1.0 - c.beta2,
            decay: 1.0 - lr * c.weight_decay,
            rate: lr / (1.0 - c.beta1.powf(step)),
            correction: 1.0 / (1.0 - c.beta2.powf(step)).sqrt(),
            epsilon: c.epsilon,
        }
    }

    /// In the order of the fields.
    #[cfg(feature = "gpu")]
    fn all(&self) -> [f32; 7] {
        [self.scale, self.to_m, self.to_v, self.decay, self.rate, self.correction, self.epsilon].map(|x| x as f32)
    }

    fn compose<const D: usize>(
        &self,
        p: Tensor<D>,
        g: Tensor<D>,
        m: Tensor<D>,
        v: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        let g = g * self.scale;
        let m = m.clone() + (g.clone() - m) * self.to_m;
        let v = v.clone() + (g.square() - v) * self.to_v;
        let p = p * self.decay - m.clone() * self.rate / (v.clone().sqrt() * self.correction + self.epsilon);
        (p, m, v)
    }

    fn update(&self, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let run = |p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]| {
            let [scale, to_m, to_v, decay] = [self.scale, self.to_m, self.to_v, self.decay].map(|x| x as f32);
            let [rate, correction, epsilon] = [self.rate, self.correction, self.epsilon].map(|x| x as f32);
            simd(
                #[inline(always)]
                || {
                    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                        let g = g * scale;
                        *m = (g - *m).mul_add(to_m, *m);
                        *v = g.mul_add(g, -*v).mul_add(to_v, *v);
                        *p = *p * decay - rate * *m / v.sqrt().mul_add(correction, epsilon);
                    }
                },
            );
        };
        if p.len() <= CHUNK {
            run(p, g, m, v);
        } else {
            p.par_chunks_mut(CHUNK)
                .zip(g.par_chunks(CHUNK))
                .zip(m.par_chunks_mut(CHUNK))
                .zip(v.par_chunks_mut(CHUNK))
                .for_each(|(((p, g), m), v)| run(p, g, m, v));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AdamW, Factors, lerp, step, sum_squares};
    use crate::testing::{assert_close, host, tensor, values};

    #[test]
    fn agrees_with_the_composition_over_several_steps() {
        let config = AdamW { weight_decay: 0.1, ..AdamW::default() };
        for n in [1, 17, 40_000] {
            let (mut fast, mut slow) = ([1, 8, 8].map(|s| tensor(s, [n])), [1, 8, 8].map(|s| tensor(s, [n])));
            fast[1] = fast[1].zeros_like();
            (fast[2], slow[1], slow[2]) = (fast[1].clone(), fast[1].clone(), fast[1].clone());
            for t in 1..5 {
                let g = tensor(10 + t, [n]);
                let [p, m, v] = fast;
                fast = step(&config, 0.01, t, 0.5, p, g.clone(), m, v).into();
                let [p, m, v] = slow;
                slow = Factors::new(&config, 0.01, t, 0.5).compose(p, g, m, v).into();
            }
            for (fast, slow) in fast.into_iter().zip(slow) {
                assert_close("adamw", &host(fast), &host(slow), 1e-5);
            }
        }
    }

    /// With bias correction the first step moves every weight by the learning rate against its gradient's sign.
    #[test]
    fn first_step_is_the_sign_of_the_gradient() {
        let (p, zero) = (tensor(1, [9]), tensor(1, [9]).zeros_like());
        let (q, ..) = step(&AdamW::default(), 0.1, 1, 1.0, p.clone(), tensor(2, [9]), zero.clone(), zero);
        let want: Vec<f32> = host(p).iter().zip(values(2, 9)).map(|(p, g)| p - 0.1 * g.signum()).collect();
        assert_close("first step", &host(q), &want, 1e-5);
    }

    #[test]
    fn works_in_place_only_on_unshared_storage() {
        let (p, g) = (tensor(1, [100]), tensor(2, [100]));
        let (m, v) = (g.zeros_like(), g.zeros_like());
        let kept = p.clone();
        step(&AdamW::default(), 0.1, 1, 1.0, p, g.clone(), m, v);
        assert_eq!(host(kept), values(1, 100));
        let kept = g.clone();
        let moved = lerp(g, tensor(3, [100]), 0.25);
        assert_eq!(host(kept), values(2, 100));
        let want: Vec<f32> = values(2, 100).iter().zip(values(3, 100)).map(|(e, p)| 0.75 * e + 0.25 * p).collect();
        assert_close("lerp", &host(moved), &want, 1e-6);
    }

    #[test]
    fn squares_are_summed_in_double() {
        let x = values(5, 50_003);
        let want: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        // f32 sums would be off by 1e-5 here.
        assert!((sum_squares(tensor(5, [50_003])) - want).abs() < 1e-9 * want);
        assert!(sum_squares(tensor(5, [3]) * f32::NAN).is_nan());
        assert_eq!(sum_squares(tensor(5, [0])), 0.0);
    }
}
