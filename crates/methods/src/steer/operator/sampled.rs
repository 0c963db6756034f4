//! Compressive sensing: some numbers of a spread orthonormal transform, chosen at random.
//!
//! Do, Gan, Nguyen, Tran, "Fast and efficient compressive sensing using structurally random matrices", arXiv 1106.5037: signs at random,
//! so that every cosine sees all of the sample, then cosines, of which few are measured. The rows are orthonormal, so that `A Aᵀ` is the
//! identity.

use super::{Operator, Separable};
use crate::MethodError;
use base::{Int, Key, Tensor, TensorData};

/// Chosen cosines of a sample with its signs turned.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    cosines: Separable,
    signs: Vec<f32>,
    chosen: Vec<usize>,
}

impl Sampled {
    /// A `share` of the cosines of images `[c h w]`, signs and choice by the counters of `key`.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for a share of nothing, or of everything.
    pub fn new([c, h, w]: [usize; 3], share: f64, key: Key) -> Result<Self, MethodError> {
        let n = c * h * w;
        let count = if share > 0.0 && share < 1.0 { (share * n as f64).round() as usize } else { 0 };
        if count == 0 || count == n {
            let remedy = "it must lie between 0 and 1 and leave something to measure and something to find";
            return Err(MethodError::Setting { setting: "share", value: share.to_string(), remedy });
        }
        let signs = key.uniforms(0, n).map(|u| if u < 0.5 { -1.0 } else { 1.0 }).collect();
        let mut order: Vec<(f32, usize)> = key.uniforms(1, n).zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut chosen: Vec<usize> = order[..count].iter().map(|(_, i)| *i).collect();
        chosen.sort_unstable();
        Ok(Self { cosines: Separable::cosines([c, h, w], h.max(w)), signs, chosen })
    }

    fn turned(&self, x: Tensor<2>) -> Tensor<2> {
        let data = TensorData::new(self.signs.clone(), [1, self.signs.len()]);
        let signs = Tensor::<2>::from_data(data, (&x.device(), x.dtype()));
        x * signs
    }
}

fn places(places: Vec<i64>, like: &Tensor<2>) -> Tensor<1, Int> {
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), &like.device())
}

impl Operator for Sampled {
    fn name(&self) -> &'static str {
        "random cosines"
    }

    fn sizes(&self) -> (usize, usize) {
        (self.signs.len(), self.chosen.len())
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let all = self.cosines.forward(self.turned(x));
        let chosen = places(self.chosen.iter().map(|i| *i as i64).collect(), &all);
        all.select(1, chosen)
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        let [b, m] = r.dims();
        // What was not chosen reads the zero that stands behind the measured numbers.
        let mut from = vec![m as i64; self.signs.len()];
        self.chosen.iter().enumerate().for_each(|(k, i)| from[*i] = k as i64);
        let from = places(from, &r);
        let zero = r.clone().slice([0..b, 0..1]) * 0.0;
        let all = Tensor::cat(vec![r, zero], 1).select(1, from);
        self.turned(self.cosines.adjoint(all))
    }

    fn bound(&self) -> f64 {
        1.0
    }

    fn is_flat(&self) -> bool {
        true
    }
}
