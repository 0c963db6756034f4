//! Scaled dot-product attention (Vaswani et al. 2017, eq. 1): `softmax(q k^T / sqrt(d)) v`.
//!
//! A tile of query rows at a time, so the matrix of weights never exists whole; the tape holds `q`, `k`, `v` and the
//! backward pass recomputes the weights of a tile: with `P` the weights and `dP = dO v^T`,
//! `dS = P (dP - rowsum(P dP))`, `dq = dS k / sqrt(d)`, `dk = dS^T q / sqrt(d)`, `dv = P^T dO`.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Device, Tensor, module};
use rayon::prelude::*;

use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, Scratch, has_kernels, is_cpu, scratch};
use crate::math::{dot, exp, simd, sum_by};
use crate::precision::Precision;
use crate::product::{Matrix, product};
use crate::reference;

/// Query rows per tile.
pub(crate) const TILE: usize = 64;

/// Scaled dot-product attention: `q` `[b h n d]`, `k`, `v` `[b h m d]`; `mask` `[b m]` is true where a key is real.
/// A sample whose keys are all masked attends to nothing and gets zeros.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2, Bool>>) -> Tensor<4> {
    let ([b, h, _, d], [_, _, m, _]) = (q.dims(), k.dims());
    assert!(
        k.dims() == [b, h, m, d] && v.dims() == [b, h, m, d],
        "attention: queries {:?}, keys {:?} and values {:?} do not go together",
        q.dims(),
        k.dims(),
        v.dims()
    );
    if let Some(mask) = &mask {
        assert_eq!(mask.dims(), [b, m], "attention: the mask must be [{b} {m}]");
    }
    if !(has_kernels(&q) && has_kernels(&k) && has_kernels(&v)) {
        return reference::attention(q, k, v, mask);
    }
    if mask.is_none() && streams(&q.device(), q.dims()[2], m) {
        return streamed(q, k, v);
    }
    let kernel = Attention { precision: Precision::here_on(&q.device()) };
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    match mask {
        None => apply_anywhere(Inputs::Three(q, k, v), kernel),
        Some(mask) => apply_anywhere(Inputs::Four(q, k, v, mask.float().into_dispatch()), kernel),
    }
}

/// Whether `n` queries and `m` keys are better [`streamed`]: a device other than the processor keeps the matrix of weights whole.
pub(crate) fn streams(device: &Device, n: usize, m: usize) -> bool {
    !is_cpu(device) && !device.is_autodiff() && n * m > 1 << 20
}

/// Attention by the framework's own kernel for devices, which never holds the matrix of weights whole and has no gradient.
pub(crate) fn streamed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let precision = Precision::here_on(&q.device());
    let run = |q, k, v| module::attention(q, k, v, None, None, AttentionModuleOptions::default());
    match precision {
        Precision::F32 => run(q, k, v),
        Precision::Bf16 => run(q.cast(DType::BF16), k.cast(DType::BF16), v.cast(DType::BF16)).cast(DType::F32),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Of the products on other devices; the processor's are f32.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code))]
    pub precision: Precision,
}

/// One head of one sample: `q` `[n d]`, `k`, `v` `[m d]`, and which keys are real, if not all.
pub(crate) struct Head<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub keep: Option<&'a [f32]>,
    pub m: usize,
    pub d: usize,
}

impl Head<'_> {
    /// The weights of the query rows from `first` on, `[rows, m]`.
    fn weights(&self, first: usize, rows: usize, p: &mut [f32]) {
        let (m, d) = (self.m, self.d);
        let q = Matrix::rows(&self.q[first * d..], d);
        product((rows, m, d), 1.0 / (d as f32).sqrt(), q, Matrix::columns(self.k, d), p, false, false);
        simd(
            #[inline(always)]
            || {
                for p in p[..rows * m].chunks_exact_mut(m) {
                    softmax(p, self.keep);
                }
            },
        );
    }

    /// The output of the query rows from `first` on, `y` `[rows, d]`.
    pub fn forward(&self, first: usize, y: &mut [f32]) {
        let (m, d) = (self.m, self.d);
        let rows = y.len() / d;
        let mut p = Scratch::take(TILE * m);
        self.weights(first, rows, &mut p);
        product((rows, d, m), 1.0, Matrix::rows(&p, m), Matrix::rows(self.v, d), y, false, false);
    }

    /// From the gradient `g` `[n d]` of the output `dq` `[n d]`, and onto `dk`, `dv` `[m d]`.
    pub fn backward(&self, g: &[f32], dq: &mut [f32], dk: &mut [f32], dv: &mut [f32]) {
        let (m, d, n) = (self.m, self.d, g.len() / self.d);
        let (mut p, mut ds) = (Scratch::take(TILE * m), Scratch::take(TILE * m));
        let factor = 1.0 / (d as f32).sqrt();
        for first in (0..n).step_by(TILE) {
            let rows = TILE.min(n - first);
            let (q, g) = (&self.q[first * d..][..rows * d], &g[first * d..][..rows * d]);
            self.weights(first, rows, &mut p);
            let (p, ds) = (&p[..rows * m], &mut ds[..rows * m]);
            product((m, d, rows), 1.0, Matrix::columns(p, m), Matrix::rows(g, d), dv, true, false);
            product((rows, m, d), 1.0, Matrix::rows(g, d), Matrix::columns(self.v, d), ds, false, false);
            simd(
                #[inline(always)]
                || {
                    for (ds, p) in ds.chunks_exact_mut(m).zip(p.chunks_exact(m)) {
                        let sum = dot(ds, p, |p| p);
                        for (ds, p) in ds.iter_mut().zip(p) {
                            *ds = p * (*ds - sum);
                        }
                    }
                },
            );
            let dq = &mut dq[first * d..][..rows * d];
            product((rows, d, m), factor, Matrix::rows(ds, m), Matrix::rows(self.k, d), dq, false, false);
            product((m, d, rows), factor, Matrix::columns(ds, m), Matrix::rows(q, d), dk, true, false);
        }
    }
}

/// Softmax of a row over the entries that `keep` marks with one, zero elsewhere. NaN in a row makes the row NaN.
#[inline(always)]
fn softmax(p: &mut [f32], keep: Option<&[f32]>) {
    let mut greatest = [f32::NEG_INFINITY; 16];
    if let Some(keep) = keep {
        for (p, keep) in p.iter_mut().zip(keep) {
            *p = if *keep == 0.0 { f32::NEG_INFINITY } else { *p };
        }
    }
    let (whole, rest) = p.as_chunks::<16>();
    for p in whole {
        for i in 0..16 {
            greatest[i] = if p[i] > greatest[i] { p[i] } else { greatest[i] };
        }
    }
    let greatest = greatest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
    // Nothing kept, or nothing but NaN: the zero keeps infinity minus infinity from making the first NaN as well.
    let greatest = if greatest == f32::NEG_INFINITY { 0.0 } else { greatest };
    for p in p.iter_mut() {
        *p = exp(*p - greatest);
    }
    let sum = sum_by(p, |p| p);
    let rate = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    for p in p.iter_mut() {
        *p *= rate;
    }
}

/// Sizes `[b, h, n, d]` of the queries and `m`, and the heads in order.
fn heads(saved: &[Array]) -> ([usize; 4], usize, Vec<Head<'_>>) {
    let [b, h, n, d] = *saved[0].dims() else { unreachable!("queries have four axes") };
    let m = saved[1].dims()[2];
    let [q, k, v] = [0, 1, 2].map(|i| saved[i].data());
    let head = |i: usize| Head {
        q: &q[i * n * d..][..n * d],
        k: &k[i * m * d..][..m * d],
        v: &v[i * m * d..][..m * d],
        keep: saved.get(3).map(|keep| &keep.data()[i / h * m..][..m]),
        m,
        d,
    };
    ([b, h, n, d], m, (0..b * h).map(head).collect())
}

impl Kernel for Attention {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let ([b, h, n, d], m, heads) = heads(&inputs);
        let mut y = scratch(b * h * n * d);
        if m == 0 {
            y.fill(0.0);
        } else if !y.is_empty() {
            let tiles: Vec<_> = y.chunks_mut(n * d).flat_map(|y| y.chunks_mut(TILE * d).enumerate()).collect();
            let per = n.div_ceil(TILE);
            tiles.into_par_iter().enumerate().for_each(|(i, (tile, y))| heads[i / per].forward(tile * TILE, y));
        }
        drop(heads);
        (Array::from_vec(y, &[b, h, n, d]), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let ([b, h, n, d], m, heads) = heads(&saved);
        let mut dq = vec![0.0; b * h * n * d];
        let (mut dk, mut dv) = (vec![0.0; b * h * m * d], vec![0.0; b * h * m * d]);
        if !dq.is_empty() && m > 0 {
            let outputs = dq.par_chunks_mut(n * d).zip(dk.par_chunks_mut(m * d)).zip(dv.par_chunks_mut(m * d));
            outputs
                .zip(grad.data().par_chunks(n * d))
                .zip(&heads)
                .for_each(|((((dq, dk), dv), g), head)| head.backward(g, dq, dk, dv));
        }
        let keys = [b, h, m, d];
        let mut gradients =
            vec![Array::from_vec(dq, &[b, h, n, d]), Array::from_vec(dk, &keys), Array::from_vec(dv, &keys)]
                .into_iter()
                .map(Some)
                .collect::<Vec<_>>();
        gradients.resize_with(saved.len(), || None);
        gradients
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, Device, Tensor, TensorData};

    use super::attention;
    use crate::reference;
    use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

    type F = fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<2, Bool>>) -> Tensor<4>;

    fn call(f: F, x: Vec<Tensor<1>>, [b, h, n, m, d]: [usize; 5], masked: bool) -> Tensor<4> {
        let keep: Vec<bool> = (0..b * m).map(|i| i % 3 != 1 && i / m != 1).collect();
        let mask = masked.then(|| Tensor::<2, Bool>::from_data(TensorData::new(keep, [b, m]), &x[0].device()));
        let [q, k, v] = [(0, n), (1, m), (2, m)].map(|(i, n)| x[i].clone().reshape([b, h, n, d]) * 2.0);
        f(q, k, v, mask)
    }

    #[test]
    fn agrees_with_the_reference() {
        for dims in [[1, 1, 1, 1, 1], [2, 3, 5, 7, 4], [2, 2, 65, 130, 32], [3, 1, 49, 20, 24]] {
            let [b, h, n, m, d] = dims;
            let sizes = [b * h * n * d, b * h * m * d, b * h * m * d];
            for masked in [false, true] {
                let slow: F = reference::attention;
                assert_same(&sizes, |x| call(attention, x, dims, masked), |x| call(slow, x, dims, masked));
            }
        }
        assert_differences(&[12, 16, 16], |x| call(attention, x, [1, 2, 3, 4, 2], true));
    }

    #[test]
    fn takes_views_and_empty_tensors_and_keeps_nan_to_its_row() {
        let x = tensor(1, [2, 5, 3, 4]).swap_dims(1, 2);
        let want = host(reference::attention(x.clone(), x.clone(), x.clone(), None));
        assert_close("view", &host(attention(x.clone(), x.clone(), x.clone(), None)), &want, 1e-5);
        let none = tensor(1, [0, 3, 5, 4]);
        assert_eq!(attention(none.clone(), none.clone(), none, None).dims(), [0, 3, 5, 4]);
        let empty = tensor(1, [2, 3, 0, 4]);
        assert!(host(attention(x.clone(), empty.clone(), empty, None)).iter().all(|y| *y == 0.0));
        let mut values = crate::testing::values(1, 12);
        values[5] = f32::NAN;
        let q = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, 1, 3, 4]);
        let k = tensor(2, [1, 1, 6, 4]);
        let y = host(attention(q, k.clone(), k, None));
        assert!(y[4..8].iter().all(|y| y.is_nan()) && y[..4].iter().chain(&y[8..]).all(|y| y.is_finite()));
    }

    /// The framework's own kernel is not the reference to the bit.
    #[test]
    fn streamed_attention_agrees() {
        let [q, k, v] = [(1, 3), (2, 5), (3, 5)].map(|(seed, n)| tensor(seed, [2 * n * 4]).reshape([1, 2, n, 4]));
        let slow = reference::attention(q.clone(), k.clone(), v.clone(), None);
        assert_close("attention", &host(super::streamed(q, k, v)), &host(slow), 1e-6);
    }
}
