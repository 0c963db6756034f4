//! Convolution of images on a device: each sample is one product of the weights and its patches. Formulas: `crate::conv`.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, UNITS, grid, grid_over, place};
use super::pointwise::{Bias, finish};
use super::product::{Operand, product, product_in};
use super::sums::{Term, column_sums, row_sums};
use crate::conv::Conv2d;
use crate::fused::Kernel;
use crate::precision::Precision;

/// The sizes of a convolution, known when its kernels are compiled: divisions by them cost little then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sizes {
    /// Input: channels, rows, columns.
    channels: usize,
    height: usize,
    width: usize,
    /// Kernel.
    kh: usize,
    kw: usize,
    stride: usize,
    padding: usize,
    /// Output.
    rows: usize,
    columns: usize,
}

impl Sizes {
    fn image(&self, samples: usize) -> [usize; 4] {
        [samples, self.channels, self.height, self.width]
    }
}

/// `patches[b, (c, ky, kx), (r, s)] = x[b, c, r stride + ky - padding, s stride + kx - padding]`, zero outside. A cube fills all
/// patches' values of one channel of a sample, `N` neighbours at once.
#[cube(launch_unchecked)]
fn gather<F: Float, N: Size>(
    x: &Tensor<f32>,
    patches: &mut Tensor<Vector<F, N>>,
    images: usize,
    #[comptime] of: Sizes,
    #[define(F)] _element: ElemType,
) {
    let image = CUBE_POS; // a channel of a sample
    if image < images {
        let width = N::value();
        let vectors = comptime!(of.rows * of.columns) / width;
        let base = image * comptime!(of.height * of.width);
        let total = vectors * comptime!(of.kh * of.kw);
        let mut at = UNIT_POS as usize;
        while at < total {
            let (tap, first) = (at / vectors, at % vectors * width);
            let row = first / comptime!(of.columns) * comptime!(of.stride) + tap / comptime!(of.kw);
            let begin = first % comptime!(of.columns) * comptime!(of.stride) + tap % comptime!(of.kw);
            let inside = row >= comptime!(of.padding) && row < comptime!(of.height + of.padding);
            let mut values = Vector::<F, N>::empty();
            #[unroll]
            for i in 0..width {
                let column = begin + i * comptime!(of.stride);
                let mut value = 0.0f32;
                if inside && column >= comptime!(of.padding) && column < comptime!(of.width + of.padding) {
                    let line = base + (row - comptime!(of.padding)) * comptime!(of.width);
                    value = x[line + column - comptime!(of.padding)];
                }
                values.insert(i, F::cast_from(value));
            }
            patches[image * total + at] = values;
            at += UNITS as usize;
        }
    }
}

/// Each pixel's sum over the patches that hold it: the adjoint of [`gather`].
#[cube(launch_unchecked)]
fn scatter<F: Float>(
    patches: &Tensor<F>,
    x: &mut Tensor<f32>,
    n: usize,
    #[comptime] of: Sizes,
    #[define(F)] _element: ElemType,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let area = comptime!(of.rows * of.columns);
            let column = at % comptime!(of.width) + comptime!(of.padding);
            let row = at / comptime!(of.width) % comptime!(of.height) + comptime!(of.padding);
            let image = at / comptime!(of.width * of.height);
            let mut sum = 0.0f32;
            #[unroll]
            for ky in 0..comptime!(of.kh) {
                #[unroll]
                for kx in 0..comptime!(of.kw) {
                    if row >= ky && column >= kx {
                        let (down, across) = (row - ky, column - kx);
                        let (r, s) = (down / comptime!(of.stride), across / comptime!(of.stride));
                        if down % comptime!(of.stride) == 0
                            && across % comptime!(of.stride) == 0
                            && r < comptime!(of.rows)
                            && s < comptime!(of.columns)
                        {
                            let plane = image * comptime!(of.kh * of.kw) + ky * comptime!(of.kw) + kx;
                            sum += f32::cast_from(patches[plane * area + r * comptime!(of.columns) + s]);
                        }
                    }
                }
            }
            x[at] = sum;
        }
    }
}

/// A convolution of a batch.
pub(super) struct Batch {
    samples: usize,
    outputs: usize,
    sizes: Sizes,
    precision: Precision,
}

impl Batch {
    /// Pixels of an output, and values of a patch.
    fn pixels(&self) -> usize {
        self.sizes.rows * self.sizes.columns
    }

    fn depth(&self) -> usize {
        self.sizes.channels * self.sizes.kh * self.sizes.kw
    }

    /// Whether a patch is a pixel and the patches are the image.
    fn is_plain(&self) -> bool {
        let Sizes { kh, kw, stride, padding, .. } = self.sizes;
        (kh, kw, stride, padding) == (1, 1, 1, 0)
    }

    /// `[b depth pixels]`.
    fn patches(&self, x: &Buffer) -> Buffer {
        let dims = [self.samples, self.depth(), self.pixels()];
        if self.is_plain() {
            return x.operand(self.precision).seen_as(&dims);
        }
        let (patches, images) = (x.room_for(&dims, self.precision), self.samples * self.sizes.channels);
        let vector = [4, 2].into_iter().find(|n| self.sizes.columns.is_multiple_of(*n)).unwrap_or(1);
        if let Some(count) = grid(images) {
            // SAFETY: the kernel stays within the patches of `images` images, whose rows are whole vectors, and reads inside them.
            unsafe {
                gather::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    vector,
                    x.arg(),
                    patches.arg(),
                    images,
                    self.sizes,
                    patches.element(),
                );
            }
        }
        patches
    }

    /// `[b c h w]` from patches.
    fn images(&self, patches: &Buffer) -> Buffer {
        let x = patches.room(&self.sizes.image(self.samples));
        if let Some(count) = grid_over(x.len()) {
            // SAFETY: the kernel stays below the size of `x`, and reads inside the patches only.
            unsafe {
                scatter::launch_unchecked(
                    x.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    patches.arg(),
                    x.arg(),
                    x.len(),
                    self.sizes,
                    patches.element(),
                );
            }
        }
        x
    }

    pub fn forward(&self, x: &Buffer, weight: &Buffer, bias: Option<&Buffer>) -> Buffer {
        let (pixels, depth) = (self.pixels(), self.depth());
        let patches = self.patches(x);
        let (weight, patches) = (Operand::rows(weight, depth, 0), Operand::rows(&patches, pixels, depth * pixels));
        let kept = if bias.is_some() { self.precision } else { Precision::F32 };
        let y = product_in(weight, patches, [self.samples, self.outputs, pixels, depth], kept);
        let y = y.seen_as(&[self.samples, self.outputs, self.sizes.rows, self.sizes.columns]);
        match bias {
            Some(of) => finish(&y, Some(Bias { of, share: pixels }), None),
            None => y,
        }
    }

    pub fn input_gradient(&self, g: &Buffer, weight: &Buffer) -> Buffer {
        let (pixels, depth, o) = (self.pixels(), self.depth(), self.outputs);
        let (weight, g) = (Operand::columns(weight, depth, 0), Operand::rows(g, pixels, o * pixels));
        let sizes = [self.samples, depth, pixels, o];
        if self.is_plain() {
            return product(weight, g, sizes).seen_as(&self.sizes.image(self.samples));
        }
        self.images(&product_in(weight, g, sizes, self.precision))
    }

    pub fn weight_gradient(&self, g: &Buffer, x: &Buffer, weight: &Buffer) -> Buffer {
        let (pixels, depth, o, b) = (self.pixels(), self.depth(), self.outputs, self.samples);
        let patches = self.patches(x); // again: kept from the forward pass they would be most of a network's memory
        let (g, patches) = (Operand::rows(g, pixels, o * pixels), Operand::columns(&patches, pixels, depth * pixels));
        let each = product(g, patches, [b, o, depth, pixels]);
        column_sums(&each, Term::Plain, [1, b, o * depth]).seen_as(weight.dims())
    }

    fn backward(&self, saved: &[Buffer], grad: &Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let (x, weight, g) = (&saved[0], &saved[1], grad.operand(self.precision));
        let mut gradients = vec![
            wanted[0].then(|| self.input_gradient(&g, weight)),
            wanted[1].then(|| self.weight_gradient(&g, x, weight)),
        ];
        if let Some(wanted) = wanted.get(2) {
            let (b, o) = (self.samples, self.outputs);
            let total = || column_sums(&row_sums(&g, [b * o, self.pixels()]), Term::Plain, [1, b, o]).seen_as(&[o]);
            gradients.push(wanted.then(total));
        }
        gradients
    }
}

pub(super) fn four(x: &Buffer) -> [usize; 4] {
    x.dims().try_into().expect("images and their weights have four axes")
}

impl Conv2d {
    /// For images and a weight of the given sizes.
    pub(super) fn batch(
        &self,
        [samples, channels, height, width]: [usize; 4],
        [outputs, _, kh, kw]: [usize; 4],
    ) -> Batch {
        let Self { stride, padding, precision } = *self;
        let [rows, columns] = [(height, kh), (width, kw)].map(|(n, k)| (n + 2 * padding - k) / stride + 1);
        let sizes = Sizes { channels, height, width, kh, kw, stride, padding, rows, columns };
        Batch { samples, outputs, sizes, precision }
    }
}

impl Kernel<Buffer> for Conv2d {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let batch = self.batch(four(&inputs[0]), four(&inputs[1]));
        let weight = inputs[1].operand(self.precision);
        let y = batch.forward(&inputs[0], &weight, inputs.get(2));
        (y, if save { vec![inputs[0].clone(), weight] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let batch = self.batch(four(&saved[0]), four(&saved[1]));
        batch.backward(&saved, &grad, wanted)
    }
}
