//! Reference compositions: the definition of every operation in ordinary tensor operations.

use burn::tensor::{Bool, Tensor, TensorData, activation, module, ops::ConvOptions};

use crate::Sweep;

/// `x * sigmoid(x)`, any shape.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// GELU in its tanh approximation, any shape.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu_approximate(x)
}

/// `x weight^T + bias` over the last axis: `x` `[..., i]`, `weight` `[o, i]`, `bias` `[o]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut shape = x.dims();
    let rows: usize = shape[..D - 1].iter().product();
    let y = x.reshape([rows, shape[D - 1]]).matmul(weight.clone().transpose());
    shape[D - 1] = weight.dims()[0];
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    y.reshape(shape)
}

/// Cross-correlation: `x` `[b i h w]`, `weight` `[o i kh kw]`, `bias` `[o]`, square stride and zero padding.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    module::conv2d(x, weight, bias, ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1))
}

/// Cross-correlation of clips: `x` `[b i f h w]`, `weight` `[o i kf kh kw]`, `bias` `[o]`, zero padding.
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>, bias: Option<Tensor<1>>, frames: Sweep, space: Sweep) -> Tensor<5> {
    let of = |value: fn(Sweep) -> usize| [value(frames), value(space), value(space)];
    let (strides, paddings) = (of(|sweep| sweep.stride), of(|sweep| sweep.padding));
    module::conv3d(x, weight, bias, ConvOptions::new(strides, paddings, [1; 3], 1))
}

/// Nearest-neighbour upsampling by two: `[b c h w]` to `[b c 2h 2w]`.
pub fn upsample2(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}

/// Nearest-neighbour upsampling by two, then cross-correlation: `x` `[b i h w]`, `weight` `[o i 3 3]`, `bias` `[o]` to
/// `[b o 2h 2w]`.
pub fn upsampled_conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    conv2d(upsample2(x), weight, bias, 1, 1)
}

/// Mixes the rows of two or three batches `[b ...]` twice, by `weights` `[b 2k]` for `k` of them: the first mixture's, then the
/// second's.
pub fn blend<const D: usize>(batches: Vec<Tensor<D>>, weights: Vec<f64>) -> [Tensor<D>; 2] {
    let (b, k) = (batches[0].dims()[0], batches.len());
    let mut column = [1; D];
    column[0] = b;
    let weights = TensorData::new(weights, [b, 2 * k]);
    let weights = Tensor::<2>::from_data(weights, (&batches[0].device(), batches[0].dtype()));
    [0, k].map(|first| {
        let part = |(i, x): (usize, &Tensor<D>)| x.clone() * weights.clone().narrow(1, first + i, 1).reshape(column);
        let terms = batches.iter().enumerate().map(part);
        terms.reduce(|sum, term| sum + term).expect("there are batches")
    })
}

/// Mean over everything but the first axis of the squared difference of `a` and `b` `[b ...]`: `[b]`.
pub fn squared_error<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<1> {
    let dims = a.dims();
    (a - b).square().reshape([dims[0], dims[1..].iter().product()]).mean_dim(1).squeeze_dim(1)
}

/// Group normalisation of `[b c h w]` with per-channel `gamma`, `beta` `[c]`, then an optional per-sample
/// `(scale, shift)`, each `[b c]`, as `y (1 + scale) + shift`, then SiLU if `activate`.
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    modulation: Option<(Tensor<2>, Tensor<2>)>,
    activate: bool,
) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let y = x.reshape([b, groups, c / groups * h * w]);
    let y = y.clone() - y.mean_dim(2);
    let variance = y.clone().square().mean_dim(2);
    let y = (y / (variance + epsilon).sqrt()).reshape([b, c, h, w]);
    modulated(y * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1]), modulation, activate)
}

/// The end of [`group_norm`]: `y (1 + scale) + shift` per sample where there are such, then SiLU if `activate`.
fn modulated(y: Tensor<4>, modulation: Option<(Tensor<2>, Tensor<2>)>, activate: bool) -> Tensor<4> {
    let [b, c, ..] = y.dims();
    let y = match modulation {
        Some((scale, shift)) => y * (scale.reshape([b, c, 1, 1]) + 1.0) + shift.reshape([b, c, 1, 1]),
        None => y,
    };
    if activate { silu(y) } else { y }
}

/// Layer normalisation over the last axis of `[b n d]` without affine weights, then `y (1 + scale) + shift` with
/// per-sample `scale`, `shift` `[b d]` (adaLN).
pub fn layer_norm_modulate(x: Tensor<3>, scale: Tensor<2>, shift: Tensor<2>, epsilon: f64) -> Tensor<3> {
    let x = x.clone() - x.mean_dim(2);
    let variance = x.clone().square().mean_dim(2);
    let y = x / (variance + epsilon).sqrt();
    y * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1)
}

/// Root-mean-square normalisation over the last axis with `gamma` `[d]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let mean = x.clone().square().mean_dim(D - 1);
    x / (mean + epsilon).sqrt() * gamma.unsqueeze::<D>()
}

/// Scaled dot-product attention: `q` `[b h n d]`, `k`, `v` `[b h m d]`; `mask` `[b m]` is true where a key is real.
/// A sample whose keys are all masked attends to nothing and gets zeros.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2, Bool>>) -> Tensor<4> {
    let [b, _, _, d] = q.dims();
    let m = k.dims()[2];
    let scores = q.mul_scalar(1.0 / (d as f64).sqrt()).matmul(k.swap_dims(2, 3));
    match mask {
        None => activation::softmax(scores, 3).matmul(v),
        Some(mask) => {
            let mask = mask.reshape([b, 1, 1, m]);
            let keep = mask.float();
            // Masked scores become hugely negative by addition, which broadcasts; the product afterwards zeroes
            // samples without any real key, whose softmax would otherwise be uniform.
            let weights = activation::softmax(scores + (keep.clone() - 1.0) * 1e9, 3);
            (weights * keep).matmul(v)
        }
    }
}

/// `[b n 3d]` to queries, keys and values, each `[b heads n d/heads]`.
pub fn split_heads(qkv: Tensor<3>, heads: usize) -> [Tensor<4>; 3] {
    let [b, n, width] = qkv.dims();
    let d = width / 3 / heads;
    let qkv: Tensor<5> = qkv.reshape([b, n, 3, heads, d]).permute([2, 0, 3, 1, 4]); // [3 b heads n d]
    [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).reshape([b, heads, n, d]))
}

/// `[b heads n d]` to `[b n heads*d]`, the heads side by side.
pub fn join_heads(y: Tensor<4>) -> Tensor<3> {
    let [b, heads, n, d] = y.dims();
    y.swap_dims(1, 2).reshape([b, n, heads * d])
}

/// Attention of every token to all: `qkv` `[b n 3d]` to `[b n d]`, the heads side by side.
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q, k, v] = split_heads(qkv, heads);
    join_heads(attention(q, k, v, None))
}

/// `x + gate y`: tokens and a branch `[b n d]`, a gate for each sample `[b d]`.
pub fn gated(x: Tensor<3>, y: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    x + y * gate.unsqueeze_dim::<3>(1)
}

/// Rotation of the feature pairs `(2i, 2i+1)` of `x` `[b h n d]` by angles with cosines and sines `[n d/2]`.
pub fn rotary(x: Tensor<4>, cosines: Tensor<2>, sines: Tensor<2>) -> Tensor<4> {
    let [b, h, n, d] = x.dims();
    let pairs: Tensor<5> = x.reshape([b, h, n, d / 2, 2]);
    let (p, q) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
    let (c, s) = (cosines.reshape([1, 1, n, d / 2, 1]), sines.reshape([1, 1, n, d / 2, 1]));
    let first = p.clone() * c.clone() - q.clone() * s.clone();
    Tensor::cat(vec![first, p * s + q * c], 4).reshape([b, h, n, d])
}
