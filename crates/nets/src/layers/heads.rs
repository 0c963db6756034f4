//! Heads of attention that are not one fused projection, and attention with a bias on its scores.

use base::Tensor;
use burn::tensor::activation;

/// `[b n heads*d]` to `[b heads n d]`; [`kernels::join_heads`] is the way back.
pub fn apart(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, width] = x.dims();
    x.reshape([b, n, heads, width / heads]).swap_dims(1, 2)
}

/// `softmax(scale q k^T + bias) v` for `q`, `k`, `v` `[b h n d]` and a bias `[1 h n n]` or `[1 1 n n]`: text encoders, whose
/// sequences are short enough for the matrix of weights to exist.
pub fn biased_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, scale: f64, bias: Tensor<4>) -> Tensor<4> {
    let scores = q.matmul(k.swap_dims(2, 3)) * scale + bias;
    activation::softmax(scores, 3).matmul(v)
}
