//! Group normalisation on a device, a cube to each group or plane. Formulas: `crate::group_norm`.
//!
//! What a plane (a channel of a sample) is multiplied by and moved to is laid out first, four values to a plane, so that the passes
//! over the image read few arrays.

use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid, grid_over, place};
use super::pointwise::{sigmoid, slope_of_silu};
use super::sums::{Term, column_sums, of_lanes};
use crate::fused::Kernel;
use crate::group_norm::GroupNorm;

/// Of every plane `[gamma, beta, 1 + scale, shift]`, the last two 1 and 0 where there is no modulation.
#[cube(launch_unchecked)]
fn affine_kernel(
    gamma: &Tensor<f32>,
    beta: &Tensor<f32>,
    scale: &Tensor<f32>,
    shift: &Tensor<f32>,
    affine: &mut Tensor<f32>,
    planes: usize,
    channels: usize,
    #[comptime] modulated: bool,
) {
    let plane = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if plane < planes {
        let mut gain = 1.0f32;
        let mut offset = 0.0f32;
        if comptime!(modulated) {
            gain += scale[plane];
            offset += shift[plane];
        }
        affine[4 * plane] = gamma[plane % channels];
        affine[4 * plane + 1] = beta[plane % channels];
        affine[4 * plane + 2] = gain;
        affine[4 * plane + 3] = offset;
    }
}

/// Mean and reciprocal deviation of each group.
#[cube(launch_unchecked)]
fn moments_kernel(x: &Tensor<f32>, moments: &mut Tensor<f32>, groups: usize, size: usize, epsilon: f32) {
    let group = CUBE_POS;
    let end = if group < groups { size } else { 0usize.runtime() };
    let base = group * size;
    let first = UNIT_POS as usize;
    let mut area = Shared::new_slice(comptime!(UNITS as usize));
    let mut sum = 0.0f32;
    let mut i = first;
    while i < end {
        sum += x[base + i];
        i += UNITS as usize;
    }
    let mean = of_lanes(sum, &mut area, UNITS, false, false) / size as f32;
    let mut sum = 0.0f32;
    let mut i = first;
    while i < end {
        let away = x[base + i] - mean;
        sum += away * away;
        i += UNITS as usize;
    }
    let variance = of_lanes(sum, &mut area, UNITS, false, false) / size as f32;
    if UNIT_POS == 0 && group < groups {
        moments[2 * group] = mean;
        moments[2 * group + 1] = 1.0f32 / (variance + epsilon).sqrt();
    }
}

#[cube(launch_unchecked)]
fn apply_kernel(
    x: &Tensor<f32>,
    affine: &Tensor<f32>,
    moments: &Tensor<f32>,
    y: &mut Tensor<f32>,
    n: usize,
    #[comptime] pixels: usize,
    #[comptime] of_group: usize,
    #[comptime] activate: bool,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let plane = at / pixels;
            let group = plane / of_group;
            let normal = (x[at] - moments[2 * group]) * moments[2 * group + 1];
            let u =
                (normal * affine[4 * plane] + affine[4 * plane + 1]) * affine[4 * plane + 2] + affine[4 * plane + 3];
            if comptime!(activate) {
                y[at] = u * sigmoid(u);
            } else {
                y[at] = u;
            }
        }
    }
}

/// The gradient before the activation, from that after it.
#[cube]
fn before(g: f32, normal: f32, affine: &Tensor<f32>, plane: usize, #[comptime] activate: bool) -> f32 {
    if comptime!(activate) {
        let z = normal * affine[4 * plane] + affine[4 * plane + 1];
        g * slope_of_silu(z * affine[4 * plane + 2] + affine[4 * plane + 3])
    } else {
        g
    }
}

/// For each plane the sums of `du` and of `du` times the normalised value, `du` being the gradient before the activation.
#[cube(launch_unchecked)]
fn plane_sums(
    g: &Tensor<f32>,
    x: &Tensor<f32>,
    affine: &Tensor<f32>,
    moments: &Tensor<f32>,
    sums: &mut Tensor<f32>,
    planes: usize,
    pixels: usize,
    of_group: usize,
    #[comptime] activate: bool,
) {
    let inside = CUBE_POS < planes;
    let end = if inside { pixels } else { 0usize.runtime() };
    let plane = if inside { CUBE_POS } else { 0usize.runtime() };
    let group = plane / of_group;
    let (mean, rate) = (moments[2 * group], moments[2 * group + 1]);
    let mut area = Shared::new_slice(comptime!(UNITS as usize));
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < end {
        let at = plane * pixels + i;
        let normal = (x[at] - mean) * rate;
        let du = before(g[at], normal, affine, plane, activate);
        sum += du;
        product += du * normal;
        i += UNITS as usize;
    }
    let sum = of_lanes(sum, &mut area, UNITS, false, false);
    let product = of_lanes(product, &mut area, UNITS, false, false);
    if UNIT_POS == 0 && inside {
        sums[2 * plane] = sum;
        sums[2 * plane + 1] = product;
    }
}

/// `dx = rate (h - mean(h) - n mean(h n))` over each group, with `h = du gamma (1 + scale)`.
#[cube(launch_unchecked)]
fn input_gradient(
    g: &Tensor<f32>,
    x: &Tensor<f32>,
    affine: &Tensor<f32>,
    moments: &Tensor<f32>,
    sums: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    planes: usize,
    pixels: usize,
    of_group: usize,
    #[comptime] activate: bool,
) {
    let plane = CUBE_POS;
    if plane < planes {
        let group = plane / of_group;
        let (mean, rate) = (moments[2 * group], moments[2 * group + 1]);
        let mut average = 0.0f32;
        let mut along = 0.0f32;
        for i in 0..of_group {
            let other = group * of_group + i;
            let weight = affine[4 * other] * affine[4 * other + 2];
            average += weight * sums[2 * other];
            along += weight * sums[2 * other + 1];
        }
        let size = (of_group * pixels) as f32;
        let (average, along) = (average / size, along / size);
        let weight = affine[4 * plane] * affine[4 * plane + 2];
        let mut i = UNIT_POS as usize;
        while i < pixels {
            let at = plane * pixels + i;
            let normal = (x[at] - mean) * rate;
            let du = before(g[at], normal, affine, plane, activate);
            dx[at] = rate * (du * weight - average - normal * along);
            i += UNITS as usize;
        }
    }
}

/// From the sums of each plane the gradients of its scale and shift, and its part of those of `gamma` and `beta`.
#[cube(launch_unchecked)]
fn parameter_gradients(
    affine: &Tensor<f32>,
    sums: &Tensor<f32>,
    d_gamma: &mut Tensor<f32>,
    d_beta: &mut Tensor<f32>,
    d_scale: &mut Tensor<f32>,
    d_shift: &mut Tensor<f32>,
    planes: usize,
) {
    let plane = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if plane < planes {
        let (sum, product) = (sums[2 * plane], sums[2 * plane + 1]);
        let gain = affine[4 * plane + 2];
        d_gamma[plane] = product * gain;
        d_beta[plane] = sum * gain;
        d_scale[plane] = affine[4 * plane] * product + affine[4 * plane + 1] * sum;
        d_shift[plane] = sum;
    }
}

/// Images `[b c h w]` whose channels are normalised in groups.
struct Images {
    b: usize,
    c: usize,
    pixels: usize,
    of_group: usize,
    norm: GroupNorm,
}

impl Images {
    fn new(norm: GroupNorm, x: &Buffer) -> Self {
        let [b, c, h, w] = *x.dims() else { unreachable!("images have four axes") };
        Self { b, c, pixels: h * w, of_group: c / norm.groups, norm }
    }

    fn planes(&self) -> usize {
        self.b * self.c
    }

    /// `[planes 4]` of image, gamma, beta and perhaps scale and shift.
    fn affine(&self, inputs: &[Buffer]) -> Buffer {
        let (x, planes) = (&inputs[0], self.planes());
        let affine = x.room(&[planes, 4]);
        let [scale, shift] = [3, 4].map(|i| inputs.get(i).unwrap_or(x));
        if let Some(count) = grid(planes.div_ceil(UNITS as usize)) {
            // SAFETY: the kernel stays below `planes`, which the affine and modulating arrays have places for.
            unsafe {
                affine_kernel::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    inputs[1].arg(),
                    inputs[2].arg(),
                    scale.arg(),
                    shift.arg(),
                    affine.arg(),
                    planes,
                    self.c,
                    inputs.len() == 5,
                );
            }
        }
        affine
    }

    /// `[b groups 2]`.
    fn moments(&self, x: &Buffer) -> Buffer {
        let groups = self.b * self.norm.groups;
        let moments = x.room(&[groups, 2]);
        if let Some(count) = grid(groups) {
            // SAFETY: the kernel stays within `groups` groups of that size, which the image has.
            unsafe {
                moments_kernel::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    x.arg(),
                    moments.arg(),
                    groups,
                    self.of_group * self.pixels,
                    self.norm.epsilon,
                );
            }
        }
        moments
    }

    fn apply(&self, x: &Buffer, affine: &Buffer, moments: &Buffer) -> Buffer {
        let y = x.room(x.dims());
        if let Some(count) = grid_over(x.len()) {
            // SAFETY: the kernel stays below the size of `x` and `y`.
            unsafe {
                apply_kernel::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    x.arg(),
                    affine.arg(),
                    moments.arg(),
                    y.arg(),
                    x.len(),
                    self.pixels,
                    self.of_group,
                    self.norm.activate,
                );
            }
        }
        y
    }

    /// The gradient of the image, and the sums of each plane `[planes 2]`.
    fn backward(&self, g: &Buffer, x: &Buffer, affine: &Buffer, moments: &Buffer) -> (Buffer, Buffer) {
        let (dx, sums) = (x.room(x.dims()), x.room(&[self.planes(), 2]));
        if let (Some(count), Some(again)) = (grid(self.planes()), grid(self.planes())) {
            // SAFETY: the kernels stay within `planes` planes of `pixels` values, which image and gradient have.
            unsafe {
                plane_sums::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    g.arg(),
                    x.arg(),
                    affine.arg(),
                    moments.arg(),
                    sums.arg(),
                    self.planes(),
                    self.pixels,
                    self.of_group,
                    self.norm.activate,
                );
                input_gradient::launch_unchecked(
                    x.client(),
                    again,
                    CubeDim::new_1d(UNITS),
                    g.arg(),
                    x.arg(),
                    affine.arg(),
                    moments.arg(),
                    sums.arg(),
                    dx.arg(),
                    self.planes(),
                    self.pixels,
                    self.of_group,
                    self.norm.activate,
                );
            }
        }
        (dx, sums)
    }

    /// Of gamma and beta `[c]`, and of scale and shift `[b c]`.
    fn parameter_gradients(&self, affine: &Buffer, sums: &Buffer) -> [Buffer; 4] {
        let parts = [(); 4].map(|()| affine.room(&[self.b, self.c]));
        if let Some(count) = grid(self.planes().div_ceil(UNITS as usize)) {
            let [d_gamma, d_beta, d_scale, d_shift] = &parts;
            // SAFETY: the kernel stays below `planes`, which all arrays have places for.
            unsafe {
                parameter_gradients::launch_unchecked(
                    affine.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    affine.arg(),
                    sums.arg(),
                    d_gamma.arg(),
                    d_beta.arg(),
                    d_scale.arg(),
                    d_shift.arg(),
                    self.planes(),
                );
            }
        }
        let total = |of: &Buffer| column_sums(of, Term::Plain, [1, self.b, self.c]).seen_as(&[self.c]);
        let [d_gamma, d_beta, d_scale, d_shift] = parts;
        [total(&d_gamma), total(&d_beta), d_scale, d_shift]
    }
}

impl Kernel<Buffer> for GroupNorm {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let images = Images::new(*self, &inputs[0]);
        let (affine, moments) = (images.affine(&inputs), images.moments(&inputs[0]));
        let y = images.apply(&inputs[0], &affine, &moments);
        (y, if save { vec![inputs[0].clone(), affine, moments] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let [x, affine, moments] = &saved[..] else { unreachable!("image, affine weights and moments") };
        let images = Images::new(*self, x);
        let (dx, sums) = images.backward(&grad, x, affine, moments);
        let others = images.parameter_gradients(affine, &sums);
        std::iter::once(dx).chain(others).take(wanted.len()).map(Some).collect()
    }
}
