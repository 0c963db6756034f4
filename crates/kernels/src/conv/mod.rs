//! Two-dimensional convolution (cross-correlation), NCHW, with hand-written gradients.
//!
//! `y[b, o, r, c] = bias[o] + sum_{i, ky, kx} weight[o, i, ky, kx] x[b, i, r s + ky - p, c s + kx - p]`
//!
//! No matrix of patches is formed: a kernel tap is a shift of the padded input, and the tiles of [`tile`] read the
//! shifted rows where they lie. Strides split the columns of the padded copy into phases so that reads stay
//! consecutive; the input gradient of a strided convolution is one such sum per phase of the input.
//! Under [`Precision::Bf16`] operands are packed in pairs first: planes of the input forward, planes of the gradient for
//! the input's gradient, samples of the batch for the weight's.
//! Each output is one chain of fused multiply-adds, so a sample's result depends neither on its batch nor on threads.
//! Convolutions of a single pixel are matrix products instead ([`pointwise`]).

mod plan;
mod pointwise;
pub(crate) mod product;
pub(crate) mod tile;
mod transpose;
pub(crate) mod upsampled;
mod weight;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use rayon::prelude::*;

use self::plan::Plan;
use self::pointwise::Pointwise;
use self::product::{Arrange, PairTerms, Product, Target};
use self::weight::weight_gradient;
use crate::fused::{Inputs, Kernel, apply, apply_anywhere};
use crate::host::{Array, has_kernels, is_cpu, scratch};
use crate::pairs::pack_planes;
use crate::precision::Precision;
use crate::reference;

/// Cross-correlation: `x` `[b i h w]`, `weight` `[o i kh kw]`, `bias` `[o]`, square stride and zero padding.
/// The output is `[b o (h + 2 padding - kh) / stride + 1 (w + 2 padding - kw) / stride + 1]`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    let ([_, i, h, w], [_, wi, kh, kw]) = (x.dims(), weight.dims());
    assert_eq!(i, wi, "conv2d: the input has {i} channels, the weight {:?} takes {wi}", weight.dims());
    let fits = stride > 0 && kh > 0 && kw > 0 && h + 2 * padding >= kh && w + 2 * padding >= kw;
    assert!(fits, "conv2d: a {kh}x{kw} kernel, stride {stride}, padding {padding} does not fit a {h}x{w} image");
    if !(has_kernels(&x) && has_kernels(&weight) && bias.as_ref().is_none_or(has_kernels)) {
        return reference::conv2d(x, weight, bias, stride, padding);
    }
    let (precision, on_cpu) = (Precision::here_on(&x.device()), is_cpu(&x.device()));
    let inputs = inputs(x, weight, bias);
    match (kh, kw, stride, padding) {
        (1, 1, 1, 0) if on_cpu && !precision.is_paired() => apply(inputs, Pointwise),
        _ => apply_anywhere(inputs, Conv2d { stride, padding, precision }),
    }
}

/// What a convolution is applied to.
fn inputs(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Inputs<Dispatch> {
    let o = weight.dims()[0];
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    let Some(bias) = bias else { return Inputs::Two(x, weight) };
    assert_eq!(bias.dims(), [o], "a convolution has one bias for each of {o} output channels");
    Inputs::Three(x, weight, bias.into_dispatch())
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv2d {
    pub stride: usize,
    pub padding: usize,
    pub precision: Precision,
}

impl Conv2d {
    /// The forward sum for input and weight of the given sizes.
    fn plan(&self, x: &[usize], weight: &[usize]) -> Plan {
        let (s, p) = (self.stride, self.padding as isize);
        let taps = (0..weight[2] as isize).flat_map(|y| (0..weight[3] as isize).map(move |x| (y - p, x - p))).collect();
        Plan {
            planes: x[1],
            height: x[2],
            width: x[3],
            taps,
            stride: s,
            rows: (x[2] + 2 * self.padding - weight[2]) / s + 1,
            columns: (x[3] + 2 * self.padding - weight[3]) / s + 1,
        }
    }

    /// Gradient of the input from that of the output, of `forward`'s grid.
    fn input_gradient(&self, forward: &Plan, batch: usize, weight: &Array, grad: &[f32]) -> Vec<f32> {
        let [o, i, kh, kw] = *weight.dims() else { unreachable!("a weight has four axes") };
        let (s, p, h, w) = (self.stride, self.padding, forward.height, forward.width);
        let paired = self.precision.is_paired();
        let mut dx = scratch(batch * i * h * w);
        let (weights, pairs);
        // Terms run over output channels: planes of the gradient, and groups of the weight.
        let (values, grad, planes) = if paired {
            weights = pack_planes(weight.data(), 1, o, i * kh * kw);
            pairs = pack_planes(grad, batch, o, forward.rows * forward.columns);
            (weights.as_slice(), pairs.as_slice(), o.div_ceil(2))
        } else {
            (weight.data(), grad, o)
        };
        // Input rows y with (y + p) mod s = a see the taps ky = a + s j, from output row (y + p - a) / s - j.
        for (a, b) in (0..s).flat_map(|a| (0..s).map(move |b| (a, b))) {
            let (Some(rows), Some(columns)) = (Phase::new(a, p, s, h), Phase::new(b, p, s, w)) else { continue };
            let mut taps = Vec::new();
            let mut places = Vec::new();
            for (j, ky) in (a..kh).step_by(s).enumerate() {
                for (k, kx) in (b..kw).step_by(s).enumerate() {
                    taps.push((rows.first as isize - j as isize, columns.first as isize - k as isize));
                    places.push(ky * kw + kx);
                }
            }
            let plan = Plan {
                planes,
                height: forward.rows,
                width: forward.columns,
                taps,
                stride: 1,
                rows: rows.count,
                columns: columns.count,
            };
            let taps = &places;
            let area = kh * kw;
            let weights = Arrange { values, channels: i, channel: area, groups: planes, group: i * area, taps }.run();
            let start = rows.start * w + columns.start;
            let target = Target { plane: h * w, start, row: s * w, column: s };
            let product =
                Product { plan: &plan, paired, batch, input: grad, weights: &weights, bias: None, channels: i, target };
            product.run(&mut dx);
        }
        dx
    }

    /// Gradient of the weight for `outputs` channels of `g`, of the plan's grid.
    fn weight_gradient(&self, plan: &Plan, x: &Array, g: &Array, outputs: usize) -> Vec<f32> {
        let batch = x.dims()[0];
        if !self.precision.is_paired() {
            return weight_gradient(plan, false, batch, x.data(), g.data(), outputs);
        }
        // Terms run over samples and pixels: pairs of samples, as if the batch were one image's planes.
        let pairs = |x: &Array| pack_planes(x.data(), 1, batch, x.len() / batch.max(1));
        weight_gradient(plan, true, batch.div_ceil(2), &pairs(x), &pairs(g), outputs)
    }
}

/// The positions `start, start + s, ...` of an axis of length `n` that have one phase, and the output position
/// `first` that belongs to `start` at tap 0.
struct Phase {
    first: usize,
    start: usize,
    count: usize,
}

impl Phase {
    fn new(phase: usize, padding: usize, stride: usize, n: usize) -> Option<Self> {
        let first = padding.saturating_sub(phase).div_ceil(stride);
        let start = first * stride + phase - padding;
        (start < n).then(|| Self { first, start, count: (n - start).div_ceil(stride) })
    }
}

impl Kernel for Conv2d {
    fn forward(&self, mut inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let (x, weight) = (&inputs[0], &inputs[1]);
        let plan = self.plan(x.dims(), weight.dims());
        let (batch, o) = (x.dims()[0], weight.dims()[0]);
        let target = Target { plane: plan.rows * plan.columns, start: 0, row: plan.columns, column: 1 };
        let mut y = scratch(batch * o * target.plane);
        let bias = bias.as_ref().map(Array::data);
        correlate(&plan, self.precision, batch, x.data(), (weight.data(), bias), target, &mut y);
        let y = Array::from_vec(y, &[batch, o, plan.rows, plan.columns]);
        (y, if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let (x, weight) = (&saved[0], &saved[1]);
        let plan = self.plan(x.dims(), weight.dims());
        let (batch, o) = (x.dims()[0], weight.dims()[0]);
        let dx = || self.input_gradient(&plan, batch, weight, grad.data());
        let dx = wanted[0].then(|| Array::from_vec(dx(), x.dims()));
        let dw = wanted[1].then(|| Array::from_vec(self.weight_gradient(&plan, x, &grad, o), weight.dims()));
        let mut gradients = vec![dx, dw];
        if let Some(wanted) = wanted.get(2) {
            gradients
                .push(wanted.then(|| Array::from_vec(bias_gradient(grad.data(), o, plan.rows * plan.columns), &[o])));
        }
        gradients
    }
}

/// Writes the plan's sums for a batch of images `x` into those of `out`, where `target` says: `weight` is `[channels, planes, taps]`.
fn correlate(
    plan: &Plan,
    precision: Precision,
    batch: usize,
    x: &[f32],
    (weight, bias): (&[f32], Option<&[f32]>),
    target: Target,
    out: &mut [f32],
) {
    let (depth, planes, paired) = (plan.depth(), plan.planes, precision.is_paired());
    let channels = weight.len() / depth.max(1);
    let taps: Vec<usize> = (0..depth).collect();
    let mut weights = Arrange { values: weight, channels, channel: depth, groups: 1, group: 0, taps: &taps }.run();
    if !paired {
        return Product { plan, paired, batch, input: x, weights: &weights, bias, channels, target }.run(out);
    }
    weights = PairTerms { weights, channels, planes, taps: plan.taps.len() }.run();
    let input = &pack_planes(x, batch, planes, plan.height * plan.width);
    let plan = &Plan { planes: planes.div_ceil(2), ..plan.clone() };
    Product { plan, paired, batch, input, weights: &weights, bias, channels, target }.run(out);
}

/// Sums over batch and space of a gradient `[b, channels, plane]`.
pub(crate) fn bias_gradient(g: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    if g.is_empty() {
        return vec![0.0; channels];
    }
    let sums: Vec<f32> = g.par_chunks(plane).with_min_len(16).map(crate::math::sum).collect();
    (0..channels).map(|o| sums[o..].iter().step_by(channels).sum()).collect()
}

#[cfg(test)]
mod tests;
