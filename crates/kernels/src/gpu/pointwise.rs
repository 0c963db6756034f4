//! Element-wise operations on a device: activations with a bias, gates, upsampling. Sizes that positions are divided by are known
//! when a kernel is compiled: a division would cost more than all the rest.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid_over, place};
use super::sums::{Term, column_sums};
use crate::activation::Activation;
use crate::fused::Kernel;
use crate::gated::Gated;
use crate::precision::Precision;
use crate::upsample::Upsample2;

/// `1 / (1 + e^-x)`, without an infinity where the exponential has none.
#[cube]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + max(-x, -80.0f32).min(80.0f32).exp())
}

/// The root of 2/pi times two, and the cubic's coefficient, of GELU: `x sigmoid(C (x + A x^3))`.
const C: f32 = 2.0 * 0.797_884_6;
const A: f32 = 0.044_715;

#[cube]
fn shaped(x: f32, #[comptime] shape: Option<Activation>) -> f32 {
    match comptime!(shape) {
        None => x,
        Some(Activation::Silu) => x * sigmoid(x),
        Some(Activation::Gelu) => x * sigmoid(C * (x + A * x * x * x)),
    }
}

#[cube]
pub(crate) fn slope_of_silu(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0f32 + x * (1.0f32 - s))
}

#[cube]
fn slope(x: f32, #[comptime] shape: Option<Activation>) -> f32 {
    match comptime!(shape) {
        None => 1.0f32.runtime(),
        Some(Activation::Silu) => slope_of_silu(x),
        Some(Activation::Gelu) => {
            let s = sigmoid(C * (x + A * x * x * x));
            s + x * s * (1.0f32 - s) * C * (1.0f32 + 3.0f32 * A * x * x)
        }
    }
}

/// `out = f(x + bias)`, or times a gradient `out = g f'(x + bias)`; a bias is shared by `share` neighbours, `biases` of them in turn.
#[cube(launch_unchecked)]
fn shape_kernel<X: Float, Y: Float>(
    x: &Tensor<X>,
    bias: &Tensor<f32>,
    g: &Tensor<f32>,
    out: &mut Tensor<Y>,
    n: usize,
    #[comptime] biases: usize,
    #[comptime] share: usize,
    #[comptime] biased: bool,
    #[comptime] gradient: bool,
    #[comptime] shape: Option<Activation>,
    #[define(X, Y)] _elements: [ElemType; 2],
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let mut sum = f32::cast_from(x[at]);
            if comptime!(biased) {
                sum += bias[at / share % biases];
            }
            if comptime!(gradient) {
                out[at] = Y::cast_from(g[at] * slope(sum, shape));
            } else {
                out[at] = Y::cast_from(shaped(sum, shape));
            }
        }
    }
}

/// A bias along one axis: how many there are, and how many neighbours share one.
#[derive(Clone, Copy)]
pub(crate) struct Bias<'a> {
    pub of: &'a Buffer,
    pub share: usize,
}

fn run(x: &Buffer, bias: Option<Bias>, g: Option<&Buffer>, shape: Option<Activation>, precision: Precision) -> Buffer {
    let out = x.room_for(x.dims(), precision);
    let (of, share) = bias.map_or((&out, 1), |bias| (bias.of, bias.share));
    if let Some(count) = grid_over(x.len()) {
        // SAFETY: the kernel stays below `n`, the size of `x`, `g` and `out`; the bias is read modulo its size.
        unsafe {
            shape_kernel::launch_unchecked(
                x.client(),
                count,
                CubeDim::new_1d(UNITS),
                x.arg(),
                of.arg(),
                g.unwrap_or(&out).arg(),
                out.arg(),
                x.len(),
                if bias.is_some() { of.len() } else { 1 },
                share,
                bias.is_some(),
                g.is_some(),
                shape,
                [x.element(), out.element()],
            );
        }
    }
    out
}

/// `f(x + bias)` of sums of products, rounded or not.
pub(crate) fn finish(x: &Buffer, bias: Option<Bias>, activation: Option<Activation>) -> Buffer {
    run(x, bias, None, activation, Precision::F32)
}

/// `g f'(x + bias)` as an operand of products.
pub(crate) fn start_back(
    g: &Buffer,
    x: &Buffer,
    bias: Option<Bias>,
    activation: Activation,
    precision: Precision,
) -> Buffer {
    run(x, bias, Some(g), Some(activation), precision)
}

impl Kernel<Buffer> for Activation {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let y = finish(&inputs[0], None, Some(*self));
        (y, if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, _: &[bool]) -> Vec<Option<Buffer>> {
        vec![Some(start_back(&grad, &saved[0], None, *self, Precision::F32))]
    }
}

/// `out = x + y gate`, or `out = y gate` alone; a gate of `width` values for each `share` rows.
#[cube(launch_unchecked)]
fn gate_kernel(
    x: &Tensor<f32>,
    y: &Tensor<f32>,
    gate: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] width: usize,
    #[comptime] share: usize,
    #[comptime] add: bool,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let gated = y[at] * gate[at / width / share * width + at % width];
            if comptime!(add) {
                out[at] = x[at] + gated;
            } else {
                out[at] = gated;
            }
        }
    }
}

fn gate(x: Option<&Buffer>, y: &Buffer, gate: &Buffer) -> Buffer {
    let out = y.room(y.dims());
    if let Some(count) = grid_over(y.len()) {
        // SAFETY: the kernel stays below `n`, and a gate has `width` values for each sample's rows.
        unsafe {
            gate_kernel::launch_unchecked(
                y.client(),
                count,
                CubeDim::new_1d(UNITS),
                x.unwrap_or(y).arg(),
                y.arg(),
                gate.arg(),
                out.arg(),
                y.len(),
                y.dims()[2],
                y.dims()[1],
                x.is_some(),
            );
        }
    }
    out
}

impl Kernel<Buffer> for Gated {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let Ok([x, y, gates]) = <[Buffer; 3]>::try_from(inputs) else { unreachable!("three inputs") };
        (gate(Some(&x), &y, &gates), if save { vec![y, gates] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (y, gates) = (&saved[0], &saved[1]);
        let [b, n, d] = *y.dims() else { unreachable!("token sets have three axes") };
        let dy = wanted[1].then(|| gate(None, &grad, gates));
        let d_gate = wanted[2].then(|| column_sums(&grad, Term::Product(y), [b, n, d]));
        vec![wanted[0].then_some(grad), dy, d_gate]
    }
}

/// `out[.., r, c] = x[.., r/2, c/2]`, or the sum of each such block.
#[cube(launch_unchecked)]
fn upsample_kernel(
    x: &Tensor<f32>,
    out: &mut Tensor<f32>,
    n: usize,
    #[comptime] width: usize,
    #[comptime] gradient: bool,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            if comptime!(gradient) {
                let corner = at / width * 4 * width + at % width * 2;
                out[at] = x[corner] + x[corner + 1] + x[corner + 2 * width] + x[corner + 2 * width + 1];
            } else {
                out[at] = x[at / width / 2 * (width / 2) + at % width / 2];
            }
        }
    }
}

fn upsample(x: &Buffer, dims: [usize; 4], gradient: bool) -> Buffer {
    let out = x.room(&dims);
    if let Some(count) = grid_over(out.len()) {
        // SAFETY: the kernel stays below `n`, the size of `out`, and `x` is half or twice as high and wide.
        unsafe {
            upsample_kernel::launch_unchecked(
                x.client(),
                count,
                CubeDim::new_1d(UNITS),
                x.arg(),
                out.arg(),
                out.len(),
                dims[3],
                gradient,
            );
        }
    }
    out
}

impl Kernel<Buffer> for Upsample2 {
    fn forward(&self, inputs: Vec<Buffer>, _: bool) -> (Buffer, Vec<Buffer>) {
        let [b, c, h, w] = *inputs[0].dims() else { unreachable!("images have four axes") };
        (upsample(&inputs[0], [b, c, 2 * h, 2 * w], false), Vec::new())
    }

    fn backward(&self, _: Vec<Buffer>, grad: Buffer, _: &[bool]) -> Vec<Option<Buffer>> {
        let [b, c, h, w] = *grad.dims() else { unreachable!("images have four axes") };
        vec![Some(upsample(&grad, [b, c, h / 2, w / 2], true))]
    }
}
