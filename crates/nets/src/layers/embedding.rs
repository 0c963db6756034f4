//! A table of class vectors whose last row means "no class".

use crate::init::Init;
use base::{Int, Tensor};
use burn::module::{Module, Param};

/// Class embedding with a null row.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[classes + 1, d]`; the last row stands for [`base::NULL_CLASS`].
    pub weight: Param<Tensor<2>>,
    classes: usize,
}

impl Embedding {
    /// `classes` rows and the null row of `features` numbers, normal with standard deviation `std`.
    pub fn new(init: &Init, classes: usize, features: usize, std: f64) -> Self {
        Self { weight: init.child("weight").normal([classes + 1, features], std), classes }
    }

    /// Rows for class indices `[b]`; negative indices take the null row. Indices must be below the number of classes.
    pub fn forward(&self, class: Tensor<1, Int>) -> Tensor<2> {
        let null = class.clone().lower_elem(0);
        self.weight.val().select(0, class.mask_fill(null, self.classes as i64))
    }

    /// The null row, `[1 d]`.
    pub fn null(&self) -> Tensor<2> {
        self.weight.val().narrow(0, self.classes, 1)
    }
}
