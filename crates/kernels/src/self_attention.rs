//! Self-attention of tokens whose queries, keys and values come out of one linear map (Vaswani et al. 2017, sec. 3.2.2).
//!
//! The heads lie side by side in every token's row. Each is gathered from there, worked on as [`crate::attention`] does
//! and put back in place, so neither the four-axis views of queries, keys and values nor their gradients exist as tensors.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::attention::{Head, TILE, streamed, streams};
use crate::fused::{Inputs, Kernel, apply_anywhere};
use crate::host::{Array, Scratch, Shared, has_kernels, scratch};
use crate::precision::Precision;
use crate::reference;

/// Scaled dot-product attention of every token to all: `qkv` `[b n 3d]`, the queries, keys and values of `heads` heads of `d / heads`
/// features each, to `[b n d]`, the heads side by side.
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [_, _, width] = qkv.dims();
    assert!(heads > 0 && width % (3 * heads) == 0, "self_attention: {width} features are not 3 x {heads} heads");
    let (device, n) = (qkv.device(), qkv.dims()[1]);
    if !has_kernels(&qkv) {
        return reference::self_attention(qkv, heads);
    }
    if streams(&device, n, n) {
        let [q, k, v] = reference::split_heads(qkv, heads);
        return reference::join_heads(streamed(q, k, v));
    }
    let kernel = SelfAttention { heads, precision: Precision::here_on(&device) };
    apply_anywhere(Inputs::One(qkv.into_dispatch()), kernel)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SelfAttention {
    pub heads: usize,
    /// Of the products on other devices; the processor's are f32.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code))]
    pub precision: Precision,
}

/// Where the rows of one head of one sample lie.
#[derive(Clone, Copy)]
struct Place {
    /// The first value of the first row.
    first: usize,
    /// From one row to the next.
    step: usize,
    /// Rows, and values of each.
    rows: usize,
    size: usize,
}

impl Place {
    /// Of part `part` of `parts` (queries, keys, values) of head `i`, counted through the samples.
    fn of(i: usize, heads: usize, (rows, size): (usize, usize), (part, parts): (usize, usize)) -> Self {
        let width = heads * size;
        let first = i / heads * rows * parts * width + part * width + i % heads * size;
        Self { first, step: parts * width, rows, size }
    }

    /// The rows one after the other.
    fn gather(self, from: &[f32], to: &mut [f32]) {
        for (r, to) in to.chunks_exact_mut(self.size).take(self.rows).enumerate() {
            to.copy_from_slice(&from[self.first + r * self.step..][..self.size]);
        }
    }

    /// The rows from `begin` on back to their place.
    ///
    /// # Safety
    /// As for [`Shared::slice`]: nobody else may use the elements of these rows.
    unsafe fn scatter(self, begin: usize, from: &[f32], to: Shared) {
        for (r, from) in from.chunks_exact(self.size).enumerate() {
            // SAFETY: by the caller's promise.
            unsafe { to.slice(self.first + (begin + r) * self.step, self.size) }.copy_from_slice(from);
        }
    }
}

impl SelfAttention {
    /// `(n, features of a head)`, and the number of heads of all samples.
    fn sizes(&self, qkv: &Array) -> ((usize, usize), usize) {
        let [b, n, width] = *qkv.dims() else { unreachable!("token sets have three axes") };
        ((n, width / 3 / self.heads), b * self.heads)
    }

    /// Queries, keys and values of head `i`, one after the other.
    fn gather(&self, i: usize, size: (usize, usize), qkv: &[f32], room: &mut [f32]) {
        for (part, room) in room.chunks_exact_mut(size.0 * size.1).take(3).enumerate() {
            Place::of(i, self.heads, size, (part, 3)).gather(qkv, room);
        }
    }
}

/// The head whose queries, keys and values lie in `room`.
fn head((n, d): (usize, usize), room: &[f32]) -> Head<'_> {
    let part = |i: usize| &room[i * n * d..][..n * d];
    Head { q: part(0), k: part(1), v: part(2), keep: None, m: n, d }
}

impl Kernel for SelfAttention {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let (qkv, (size, count)) = (inputs[0].data(), self.sizes(&inputs[0]));
        let mut y = scratch(qkv.len() / 3);
        if !y.is_empty() {
            let out = Shared::new(&mut y);
            let (n, d) = size;
            // Heads first; where they are few, their tiles too.
            let tiles = n.div_ceil(TILE);
            let groups = (4 * rayon::current_num_threads()).div_ceil(count).min(tiles);
            (0..count * groups).into_par_iter().for_each(|task| {
                let (i, group) = (task / groups, task % groups);
                let mut room = Scratch::take(3 * n * d);
                self.gather(i, size, qkv, &mut room);
                let (head, place) = (head(size, &room), Place::of(i, self.heads, size, (0, 1)));
                let mut rows = Scratch::take(TILE * d);
                for tile in group * tiles / groups..(group + 1) * tiles / groups {
                    let rows = &mut rows[..TILE.min(n - tile * TILE) * d];
                    head.forward(tile * TILE, rows);
                    // SAFETY: the rows of a tile of a head are this task's alone, and `y` outlives the tasks.
                    unsafe { place.scatter(tile * TILE, rows, out) };
                }
            });
        }
        let mut dims = inputs[0].dims().to_vec();
        dims[2] /= 3;
        (Array::from_vec(y, &dims), if save { inputs } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, _: &[bool]) -> Vec<Option<Array>> {
        let (qkv, g, (size, count)) = (saved[0].data(), grad.data(), self.sizes(&saved[0]));
        let (n, d) = size;
        let mut gradient = scratch(qkv.len());
        if !gradient.is_empty() {
            let out = Shared::new(&mut gradient);
            (0..count).into_par_iter().for_each(|i| {
                let (mut room, mut own) = (Scratch::take(3 * n * d), Scratch::take(n * d));
                self.gather(i, size, qkv, &mut room);
                Place::of(i, self.heads, size, (0, 1)).gather(g, &mut own);
                let mut results = Scratch::take(3 * n * d);
                let results = &mut results[..3 * n * d];
                results.fill(0.0);
                let (dq, rest) = results.split_at_mut(n * d);
                let (dk, dv) = rest.split_at_mut(n * d);
                head(size, &room).backward(&own[..n * d], dq, dk, dv);
                for (part, rows) in results.chunks_exact(n * d).enumerate() {
                    // SAFETY: the rows of a part of a head are this task's alone, and `gradient` outlives the tasks.
                    unsafe { Place::of(i, self.heads, size, (part, 3)).scatter(0, rows, out) };
                }
            });
        }
        vec![Some(Array::from_vec(gradient, saved[0].dims()))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::self_attention;
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, host, run, tensor, values};

    #[test]
    fn heads_are_split_query_first_and_head_by_head() {
        // One sample, two tokens, c = 4 in two heads of 2: feature number = 100 token + place in 3c.
        let rows: Vec<f32> = (0..24).map(|i| (100 * (i / 12) + i % 12) as f32).collect();
        let qkv = Tensor::<1>::from_floats(rows.as_slice(), &Device::flex()).reshape([1, 2, 12]);
        let [q, k, v] = reference::split_heads(qkv, 2).map(host);
        assert_eq!(q, [0., 1., 100., 101., 2., 3., 102., 103.]);
        assert_eq!(k, [4., 5., 104., 105., 6., 7., 106., 107.]);
        assert_eq!(v, [8., 9., 108., 109., 10., 11., 110., 111.]);
    }

    #[test]
    fn agrees_with_the_reference() {
        for [b, n, heads, d] in [[1, 1, 1, 1], [2, 5, 3, 4], [1, 130, 2, 32], [3, 64, 1, 24], [2, 65, 4, 16]] {
            let call = |op: fn(Tensor<3>, usize) -> Tensor<3>| {
                move |x: Vec<Tensor<1>>| op(x[0].clone().reshape([b, n, 3 * heads * d]) * 2.0, heads)
            };
            assert_same(&[b * n * 3 * heads * d], call(self_attention), call(reference::self_attention));
        }
        assert_differences(&[36], |x| self_attention(x[0].clone().reshape([1, 3, 12]), 2));
    }

    /// To the bit what the operation on four axes gives, values and gradients.
    #[test]
    fn is_attention_of_the_heads() {
        let apart = |x: Vec<Tensor<1>>| {
            let [q, k, v] = reference::split_heads(x[0].clone().reshape([2, 70, 48]), 2);
            reference::join_heads(crate::attention(q, k, v, None))
        };
        let leaves = [values(3, 2 * 70 * 48)];
        let whole = |x: Vec<Tensor<1>>| self_attention(x[0].clone().reshape([2, 70, 48]), 2);
        assert_eq!(run(&leaves, &whole), run(&leaves, &apart));
    }

    #[test]
    fn takes_views_and_no_tokens_and_keeps_nan_to_its_sample() {
        assert_eq!(self_attention(tensor(1, [0, 4, 12]), 2).dims(), [0, 4, 4]);
        assert_eq!(self_attention(tensor(1, [2, 0, 12]), 2).dims(), [2, 0, 4]);
        let x = tensor(1, [3, 12, 5]).swap_dims(1, 2);
        let want = host(self_attention(Tensor::cat(vec![x.clone()], 0), 2));
        assert_eq!(host(self_attention(x.clone(), 2)), want);
        let y = host(self_attention(x.clone().slice_fill([0..1, 0..1, 0..12], f32::NAN), 2));
        assert!(y[..20].iter().all(|y| y.is_nan()));
        assert_eq!(y[20..], want[20..]);
    }

    #[test]
    #[should_panic(expected = "13 features are not 3 x 2 heads")]
    fn features_that_are_no_heads_are_refused() {
        self_attention(tensor(1, [1, 2, 13]), 2);
    }
}
