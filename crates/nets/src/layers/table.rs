//! A table of rows looked up by number: words, places, relative distances.

use crate::init::Init;
use base::{Int, Tensor};
use burn::module::{Module, Param};
use burn::tensor::DType;

/// A table of rows.
#[derive(Module, Debug)]
pub struct Table {
    /// `[rows, d]`.
    pub weight: Param<Tensor<2>>,
}

impl Table {
    /// `rows` rows of `features` numbers.
    pub fn new(init: &Init, rows: usize, features: usize) -> Self {
        Self { weight: init.child("weight").constant([rows, features], 0.0) }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.weight.lazy_shape().to_vec()[0]
    }

    /// The rows with these numbers, `[n d]` in f32; each must be below [`rows`](Self::rows).
    pub fn forward(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        self.weight.val().select(0, rows).cast(DType::F32)
    }
}
