//! Attention on a device: scores, softmax and values as three passes, the weights kept for the gradient. Formulas:
//! `crate::attention`; sizes whose weights had better not be kept never come here.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, EACH, LANES, ROWS, UNITS, grid_of_rows, grid_over, place};
use super::product::{Operand, product, product_in};
use super::sums::of_lanes;
use crate::attention::Attention;
use crate::fused::Kernel;
use crate::precision::Precision;
use crate::self_attention::SelfAttention;

/// The softmax of each row of `factor s`; `keep` says which of the `width` columns are real, a row of it for each
/// `share` rows. A row without a real column becomes zeros.
#[cube(launch_unchecked)]
fn softmax<F: Float>(
    s: &Tensor<f32>,
    keep: &Tensor<f32>,
    p: &mut Tensor<F>,
    rows: usize,
    width: usize,
    share: usize,
    factor: f32,
    #[comptime] masked: bool,
    #[comptime] planes: bool,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let end = if row < rows { width } else { 0usize.runtime() };
    let base = row * width;
    let mask = row / share * width;
    let first = UNIT_POS_X as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let mut most = f32::min_value();
    let mut i = first;
    while i < end {
        if comptime!(masked) {
            if keep[mask + i] != 0.0f32 {
                most = max(most, s[base + i]);
            }
        } else {
            most = max(most, s[base + i]);
        }
        i += LANES as usize;
    }
    let most = of_lanes(most, &mut area, LANES, true, planes);
    let mut sum = 0.0f32;
    let mut i = first;
    while i < end {
        if comptime!(masked) {
            if keep[mask + i] != 0.0f32 {
                sum += ((s[base + i] - most) * factor).exp();
            }
        } else {
            sum += ((s[base + i] - most) * factor).exp();
        }
        i += LANES as usize;
    }
    let sum = of_lanes(sum, &mut area, LANES, false, planes);
    let rate = if sum == 0.0f32 { 0.0f32.runtime() } else { 1.0f32 / sum };
    let mut i = first;
    while i < end {
        let mut weight = ((s[base + i] - most) * factor).exp() * rate;
        if comptime!(masked) {
            if keep[mask + i] == 0.0f32 {
                weight = 0.0f32;
            }
        }
        p[base + i] = F::cast_from(weight);
        i += LANES as usize;
    }
}

/// `ds = factor p (dp - sum(p dp))` for each row.
#[cube(launch_unchecked)]
fn softmax_gradient<F: Float>(
    dp: &Tensor<F>,
    p: &Tensor<F>,
    ds: &mut Tensor<F>,
    rows: usize,
    width: usize,
    factor: f32,
    #[comptime] planes: bool,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS * ROWS as usize + UNIT_POS_Y as usize;
    let end = if row < rows { width } else { 0usize.runtime() };
    let base = row * width;
    let first = UNIT_POS_X as usize;
    let mut area = Shared::new_slice(comptime!((LANES * ROWS) as usize));
    let mut sum = 0.0f32;
    let mut i = first;
    while i < end {
        sum += f32::cast_from(p[base + i]) * f32::cast_from(dp[base + i]);
        i += LANES as usize;
    }
    let sum = of_lanes(sum, &mut area, LANES, false, planes);
    let mut i = first;
    while i < end {
        ds[base + i] = F::cast_from(factor * f32::cast_from(p[base + i]) * (f32::cast_from(dp[base + i]) - sum));
        i += LANES as usize;
    }
}

/// Where the heads of tokens `[b n parts heads size]` lie; known when a kernel is compiled, for divisions by them cost little then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    n: usize,
    parts: usize,
    heads: usize,
    size: usize,
}

/// Part `part` of tokens as heads `[b heads n size]`, or back.
#[cube(launch_unchecked)]
fn move_heads<F: Float>(
    tokens: &mut Tensor<f32>,
    heads: &mut Tensor<F>,
    n: usize,
    part: usize,
    #[comptime] of: Tokens,
    #[comptime] back: bool,
    #[define(F)] _element: ElemType,
) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < n {
            let (feature, row) = (at % comptime!(of.size), at / comptime!(of.size));
            let (token, head) = (row % comptime!(of.n), row / comptime!(of.n));
            let (head, sample) = (head % comptime!(of.heads), head / comptime!(of.heads));
            let row = (sample * comptime!(of.n) + token) * comptime!(of.parts) + part;
            let token = (row * comptime!(of.heads) + head) * comptime!(of.size) + feature;
            if comptime!(back) {
                tokens[token] = f32::cast_from(heads[at]);
            } else {
                heads[at] = F::cast_from(tokens[token]);
            }
        }
    }
}

/// Attention of `heads` independent pairs of sets: queries `[heads n d]`, keys and values `[heads m d]`, all operands of products.
#[derive(Clone, Copy)]
struct Heads {
    heads: usize,
    n: usize,
    m: usize,
    d: usize,
    precision: Precision,
}

impl Heads {
    fn factor(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// The weights `[heads n m]`; a mask `[b m]` is shared by the heads of a sample.
    fn weights(&self, q: &Buffer, k: &Buffer, keep: Option<&Buffer>) -> Buffer {
        let Self { heads, n, m, d, .. } = *self;
        let (rows, columns) = (Operand::rows(q, d, n * d), Operand::columns(k, d, m * d));
        let s = product(rows, columns, [heads, n, m, d]);
        let p = s.room_for(s.dims(), self.precision);
        let share = keep.map_or(1, |keep| heads * n / keep.dims()[0].max(1)).max(1);
        if let Some((count, units)) = grid_of_rows(heads * n) {
            // SAFETY: the kernel stays within `heads n` rows of `m`, and a mask has `m` values for each `share` of them.
            unsafe {
                softmax::launch_unchecked(
                    s.client(),
                    count,
                    units,
                    s.arg(),
                    keep.unwrap_or(&s).arg(),
                    p.arg(),
                    heads * n,
                    m,
                    share,
                    self.factor(),
                    keep.is_some(),
                    s.has_planes(),
                    p.element(),
                );
            }
        }
        p
    }

    fn values(&self, p: &Buffer, v: &Buffer) -> Buffer {
        let Self { heads, n, m, d, .. } = *self;
        product(Operand::rows(p, m, n * m), Operand::rows(v, d, m * d), [heads, n, d, m])
    }

    /// Gradients of queries, keys and values.
    fn backward(&self, [q, k, v, p]: [&Buffer; 4], g: &Buffer) -> [Buffer; 3] {
        let Self { heads, n, m, d, .. } = *self;
        let (by_query, by_key) = (n * d, m * d);
        let dv = product(Operand::columns(p, m, n * m), Operand::rows(g, d, by_query), [heads, m, d, n]);
        let (rows, columns) = (Operand::rows(g, d, by_query), Operand::columns(v, d, by_key));
        let dp = product_in(rows, columns, [heads, n, m, d], self.precision);
        let ds = dp.room_for(dp.dims(), self.precision);
        if let Some((count, units)) = grid_of_rows(heads * n) {
            // SAFETY: the kernel stays within `heads n` rows of `m`.
            unsafe {
                softmax_gradient::launch_unchecked(
                    dp.client(),
                    count,
                    units,
                    dp.arg(),
                    p.arg(),
                    ds.arg(),
                    heads * n,
                    m,
                    self.factor(),
                    ds.has_planes(),
                    p.element(),
                );
            }
        }
        let dq = product(Operand::rows(&ds, m, n * m), Operand::rows(k, d, by_key), [heads, n, d, m]);
        let dk = product(Operand::columns(&ds, m, n * m), Operand::rows(q, d, by_query), [heads, m, d, n]);
        [dq, dk, dv]
    }
}

impl Attention {
    fn heads(&self, q: &Buffer, k: &Buffer) -> Heads {
        let [b, h, n, d] = *q.dims() else { unreachable!("heads have four axes") };
        Heads { heads: b * h, n, m: k.dims()[2], d, precision: self.precision }
    }
}

impl Kernel<Buffer> for Attention {
    fn forward(&self, mut inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let keep = (inputs.len() == 4).then(|| inputs.pop()).flatten();
        let heads = self.heads(&inputs[0], &inputs[1]);
        let [q, k, v] = [0, 1, 2].map(|i| inputs[i].operand(self.precision));
        let p = heads.weights(&q, &k, keep.as_ref());
        let y = heads.values(&p, &v).seen_as(inputs[0].dims());
        (y, if save { vec![q, k, v, p] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let [q, k, v, p] = &saved[..] else { unreachable!("queries, keys, values and weights") };
        let gradients = self.heads(q, k).backward([q, k, v, p], &grad.operand(self.precision));
        let mut all: Vec<_> =
            gradients.into_iter().zip([q, k, v]).map(|(of, like)| Some(of.seen_as(like.dims()))).collect();
        all.resize(wanted.len(), None); // a mask has no gradient
        all
    }
}

impl Tokens {
    fn run(self, tokens: &Buffer, heads: &Buffer, part: usize, back: bool) {
        if let Some(count) = grid_over(heads.len()) {
            // SAFETY: the kernel stays below the size of `heads`, and each of its places is one of `tokens`.
            unsafe {
                move_heads::launch_unchecked(
                    heads.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    tokens.arg(),
                    heads.arg(),
                    heads.len(),
                    part,
                    self,
                    back,
                    heads.element(),
                );
            }
        }
    }

    /// One part as heads `[b heads n size]`, operands of products.
    fn split(self, tokens: &Buffer, part: usize, precision: Precision) -> Buffer {
        let heads = tokens.room_for(&[tokens.dims()[0], self.heads, self.n, self.size], precision);
        self.run(tokens, &heads, part, false);
        heads
    }

    /// Heads of every part `[b*heads n size]` as tokens.
    fn join(self, heads: &[&Buffer]) -> Buffer {
        let b = heads[0].dims()[0] / self.heads;
        let tokens = heads[0].room(&[b, self.n, self.parts * self.heads * self.size]);
        for (part, heads) in heads.iter().enumerate() {
            self.run(&tokens, heads, part, true);
        }
        tokens
    }
}

impl SelfAttention {
    /// Where three parts and one lie in the rows of tokens, and their heads.
    fn places(&self, [b, heads, n, size]: [usize; 4]) -> (Tokens, Tokens, Heads) {
        let three = Tokens { n, parts: 3, heads, size };
        (three, Tokens { parts: 1, ..three }, Heads { heads: b * heads, n, m: n, d: size, precision: self.precision })
    }
}

impl Kernel<Buffer> for SelfAttention {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let [b, n, width] = *inputs[0].dims() else { unreachable!("token sets have three axes") };
        let (three, one, heads) = self.places([b, self.heads, n, width / 3 / self.heads]);
        let [q, k, v] = [0, 1, 2].map(|part| three.split(&inputs[0], part, self.precision));
        let p = heads.weights(&q, &k, None);
        let y = one.join(&[&heads.values(&p, &v)]);
        (y, if save { vec![q, k, v, p] } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Buffer>, grad: Buffer, _: &[bool]) -> Vec<Option<Buffer>> {
        let [q, k, v, p] = &saved[..] else { unreachable!("queries, keys, values and weights") };
        let (three, one, heads) = self.places(q.dims().try_into().expect("heads have four axes"));
        let [dq, dk, dv] = heads.backward([q, k, v, p], &one.split(&grad, 0, self.precision));
        vec![Some(three.join(&[&dq, &dk, &dv]))]
    }
}
