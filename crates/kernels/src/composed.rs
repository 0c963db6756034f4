//! What other backends than the CPU run: the [`reference`] compositions, their products on operands rounded to bfloat16 where
//! [`Precision::Bf16`] is asked for and the device has it, as the CPU's kernels do. Sums are the device's own (`f32` on NVIDIA),
//! and what comes out of a product is rounded too: autocast, as users of PyTorch know it.

use burn::tensor::ops::{AttentionModuleOptions, PadMode};
use burn::tensor::{Bool, DType, Slice, Tensor, module};

use crate::activation::Activation;
use crate::precision::Precision;
use crate::reference;

/// `product` of `x` and `weight`, rounded before and after where that is asked for.
fn rounded<const D: usize, const E: usize>(
    x: Tensor<D>,
    weight: Tensor<E>,
    product: impl FnOnce(Tensor<D>, Tensor<E>) -> Tensor<D>,
) -> Tensor<D> {
    match Precision::here_on(&x.device()) {
        Precision::F32 => product(x, weight),
        Precision::Bf16 => product(x.cast(DType::BF16), weight.cast(DType::BF16)).cast(DType::F32),
    }
}

/// `[d]` as `[g 1 d]`, for rows seen as `[g r/g d]`, `g` near the root of their number `r`.
///
/// The gradient of a vector that many rows share is a sum over all of them, and Burn gives each sum to a single thread unless it
/// may search for something better: a bias of 200 numbers would keep 200 threads of a GPU busy for 65 536 rows. Spread in two
/// steps, it is summed in two, most of it by `g` times as many threads.
fn shared(vector: Tensor<1>, rows: usize) -> Tensor<3> {
    let [d] = vector.dims();
    let g = (1..=rows.isqrt()).rev().find(|g| rows.is_multiple_of(*g)).unwrap_or(1);
    vector.reshape([1, d]).expand([g, d]).reshape([g, 1, d])
}

/// `x + bias` along the last axis.
fn add_rows<const D: usize>(x: Tensor<D>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let (shape, Some(bias)) = (x.dims(), bias) else { return x };
    let (rows, [d]) = (shape[..D - 1].iter().product::<usize>(), bias.dims());
    if rows == 0 {
        return x; // a reshape reads 0 as "what it was"
    }
    let bias = shared(bias, rows);
    let g = bias.dims()[0];
    (x.reshape([g, rows / g, d]) + bias).reshape(shape)
}

/// See [`reference::linear_activated`].
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Option<Activation>,
) -> Tensor<D> {
    let y = rounded(x, weight, |x, weight| reference::linear(x, weight, None));
    reference::activated(add_rows(y, bias), activation)
}

/// See [`reference::rms_norm`].
pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let (shape, [d]) = (x.dims(), gamma.dims());
    let rows: usize = shape[..D - 1].iter().product();
    if rows == 0 {
        return reference::rms_norm(x, gamma, epsilon);
    }
    let mean = x.clone().square().mean_dim(D - 1);
    let gamma = shared(gamma, rows);
    let g = gamma.dims()[0];
    ((x / (mean + epsilon).sqrt()).reshape([g, rows / g, d]) * gamma).reshape(shape)
}

/// See [`reference::group_norm`]. Means are taken over the pixels of a channel and then over the channels of a group, and the
/// gradients of `gamma` and `beta` over the pixels and then over the samples, for the reason given at [`shared`].
pub(crate) fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    modulation: Option<(Tensor<2>, Tensor<2>)>,
    activate: bool,
) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let mean = |x: Tensor<4>| x.mean_dim(3).mean_dim(2);
    let y = x.reshape([b, groups, c / groups, h * w]);
    let y = y.clone() - mean(y);
    let variance = mean(y.clone().square());
    let y = (y / (variance + epsilon).sqrt()).reshape([b, c, h, w]);
    let each = |vector: Tensor<1>| vector.reshape([1, c]).expand([b, c]).reshape([b, c, 1, 1]);
    reference::modulated(y * each(gamma) + each(beta), modulation, activate)
}

/// See [`reference::conv2d`]: one matrix product of patches and weights. A patch is `kh kw` slices of the image side by side,
/// channels innermost, so that the rows of every sample enter one product, also in both gradients.
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let ([b, i, h, w], [o, _, kh, kw]) = (x.dims(), weight.dims());
    let [rows, columns] = [(h, kh), (w, kw)].map(|(size, k)| (size + 2 * padding - k) / stride + 1);
    let product = |x: Tensor<4>, weight: Tensor<4>| {
        let x = x.pad([(padding, padding), (padding, padding)], PadMode::Constant(0.0)).permute([0, 2, 3, 1]);
        let under = |ky: usize, kx: usize| {
            let along = |from: usize, count: usize| {
                Slice::new(from as isize, Some((from + (count - 1) * stride + 1) as isize), stride as isize)
            };
            x.clone().slice([Slice::full(), along(ky, rows), along(kx, columns), Slice::full()])
        };
        let under: Vec<Tensor<4>> =
            (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))).map(|(y, x)| under(y, x)).collect();
        let patches = Tensor::cat(under, 3).reshape([b * rows * columns, kh * kw * i]);
        let weight = weight.permute([2, 3, 1, 0]).reshape([kh * kw * i, o]);
        patches.matmul(weight).reshape([b, rows, columns, o])
    };
    add_rows(rounded(x, weight, product), bias).permute([0, 3, 1, 2])
}

/// See [`reference::attention`]: without a tape and a mask the device's own, which never holds the matrix of weights whole.
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2, Bool>>) -> Tensor<4> {
    let device = q.device();
    if device.is_autodiff() || mask.is_some() {
        return reference::attention_by(q, k, v, mask, |a, b| rounded(a, b, Tensor::matmul));
    }
    let fused = |q, k, v| module::attention(q, k, v, None, None, AttentionModuleOptions::default());
    match Precision::here_on(&device) {
        Precision::F32 => fused(q, k, v),
        Precision::Bf16 => fused(q.cast(DType::BF16), k.cast(DType::BF16), v.cast(DType::BF16)).cast(DType::F32),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use crate::activation::Activation;
    use crate::reference;
    use crate::testing::{assert_close, assert_same, host, tensor};

    /// On the CPU too the compositions are what the references say, values and gradients.
    #[test]
    fn compositions_agree_with_the_references() {
        let shapes = [
            ([2, 3, 5, 6], [4, 3, 3, 3], 1, 1),
            ([1, 2, 7, 8], [3, 2, 3, 3], 2, 1),
            ([2, 4, 4, 4], [5, 4, 1, 1], 1, 0),
            ([1, 1, 6, 5], [2, 1, 2, 4], 3, 2),
        ];
        for (input, weight, stride, padding) in shapes {
            let sizes = [input.iter().product(), weight.iter().product(), weight[0]];
            type Conv = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, usize, usize) -> Tensor<4>;
            let run = |conv: Conv| {
                move |x: Vec<Tensor<1>>| {
                    let (image, kernel) = (x[0].clone().reshape(input), x[1].clone().reshape(weight));
                    conv(image, kernel, x.get(2).cloned(), stride, padding)
                }
            };
            assert_same(&sizes, run(super::conv2d), run(reference::conv2d));
            assert_same(&sizes[..2], run(super::conv2d), run(reference::conv2d));
        }
        let linear = |x: Vec<Tensor<1>>, slow: bool| {
            let (rows, weight, bias) =
                (x[0].clone().reshape([3, 2, 4]), x[1].clone().reshape([5, 4]), Some(x[2].clone()));
            match slow {
                true => reference::linear_activated(rows, weight, bias, Some(Activation::Silu)),
                false => super::linear(rows, weight, bias, Some(Activation::Silu)),
            }
        };
        assert_same(&[24, 20, 5], |x| linear(x, false), |x| linear(x, true));
    }

    #[test]
    fn norms_agree_with_the_references() {
        let groups = |x: Vec<Tensor<1>>, slow: bool| {
            let (image, gamma, beta) = (x[0].clone().reshape([2, 6, 3, 4]), x[1].clone(), x[2].clone());
            let modulation = Some((x[3].clone().reshape([2, 6]), x[4].clone().reshape([2, 6])));
            let norm = if slow { reference::group_norm } else { super::group_norm };
            norm(image, gamma, beta, 3, 1e-5, modulation, true)
        };
        assert_same(&[144, 6, 6, 12, 12], |x| groups(x, false), |x| groups(x, true));
        // Numbers of rows that have a root, none but one, and no rows.
        for rows in [12, 7, 0] {
            let rms = |x: Vec<Tensor<1>>, slow: bool| {
                let (x, gamma) = (x[0].clone().reshape([rows, 1, 5]), x[1].clone());
                if slow { reference::rms_norm(x, gamma, 1e-6) } else { super::rms_norm(x, gamma, 1e-6) }
            };
            assert_same(&[rows * 5, 5], |x| rms(x, false), |x| rms(x, true));
        }
    }

    /// The device's own attention is not the composition to the bit; on a tape they are one and the same.
    #[test]
    fn attention_without_a_tape_agrees() {
        let [q, k, v] = [(1, 3), (2, 5), (3, 5)].map(|(seed, n)| tensor(seed, [2 * n * 4]).reshape([1, 2, n, 4]));
        let slow = reference::attention(q.clone(), k.clone(), v.clone(), None);
        assert_close("attention", &host(super::attention(q, k, v, None)), &host(slow), 1e-6);
    }
}
