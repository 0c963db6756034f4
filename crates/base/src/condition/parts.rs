//! Kinds of parts of a condition, and what is done to their rows: each operation is said once and holds for every kind.

use super::{Dense, NULL_CLASS, Tokens};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Something done to the rows of a part, or to those of the same part of several conditions.
pub(super) trait Rowwise {
    fn float<const D: usize>(&self, all: Vec<Tensor<D>>) -> Tensor<D>;
    fn int<const D: usize>(&self, all: Vec<Tensor<D, Int>>) -> Tensor<D, Int>;
}

/// One batch after another.
pub(super) struct Joined;

impl Rowwise for Joined {
    fn float<const D: usize>(&self, all: Vec<Tensor<D>>) -> Tensor<D> {
        Tensor::cat(all, 0)
    }
    fn int<const D: usize>(&self, all: Vec<Tensor<D, Int>>) -> Tensor<D, Int> {
        Tensor::cat(all, 0)
    }
}

/// The first alone, changed.
macro_rules! of_one {
    ($name:ty, |$this:ident, $x:ident| $body:expr) => {
        impl Rowwise for $name {
            fn float<const D: usize>(&self, mut all: Vec<Tensor<D>>) -> Tensor<D> {
                let ($this, $x) = (self, all.swap_remove(0));
                $body
            }
            fn int<const D: usize>(&self, mut all: Vec<Tensor<D, Int>>) -> Tensor<D, Int> {
                let ($this, $x) = (self, all.swap_remove(0));
                $body
            }
        }
    };
}

/// Some rows, one after another.
pub(super) struct Part(pub Range<usize>);
of_one!(Part, |this, x| x.narrow(0, this.0.start, this.0.len()));

/// Rows in any order.
pub(super) struct Chosen<'a>(pub &'a Tensor<1, Int>);
of_one!(Chosen<'_>, |this, x| x.select(0, this.0.clone()));

/// The batch so many times.
pub(super) struct Repeated(pub usize);
of_one!(Repeated, |this, x| Tensor::cat(vec![x; this.0], 0));

/// The same numbers elsewhere, cut off from any gradient: shared where only the tape differs, copied to another device.
pub(super) struct On<'a>(pub &'a Device);
of_one!(On<'_>, |this, x| {
    let plain = x.without_autodiff();
    match (plain.device() == this.0.clone().without_autodiff(), this.0.is_autodiff()) {
        (true, false) => plain,
        (true, true) => plain.autodiff(),
        (false, _) => Tensor::from_data(plain.into_data(), this.0),
    }
});

/// A kind of part.
pub(super) trait Kind: Clone {
    /// Whether it says what is drawn, so that its null is another; else it stays.
    const VANISHES: bool;
    /// Numbers of a row, where they must agree.
    fn width(&self) -> usize;
    /// Rows.
    fn batch(&self) -> usize;
    /// One part from the same part of several conditions.
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self;
    /// What stands for none; itself where it stays.
    fn null(&self) -> Self;
    fn device(&self) -> Device;
    /// All its numbers, for comparison.
    fn data(&self) -> Vec<TensorData>;
}

impl Kind for Tensor<1, Int> {
    const VANISHES: bool = true;

    fn width(&self) -> usize {
        1
    }
    fn batch(&self) -> usize {
        self.dims()[0]
    }
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self {
        how.int(all.into_iter().cloned().collect())
    }
    fn null(&self) -> Self {
        self.zeros_like() + NULL_CLASS
    }
    fn device(&self) -> Device {
        Tensor::device(self)
    }
    fn data(&self) -> Vec<TensorData> {
        vec![self.to_data()]
    }
}

impl Kind for Tensor<1> {
    const VANISHES: bool = false;

    fn width(&self) -> usize {
        1
    }
    fn batch(&self) -> usize {
        self.dims()[0]
    }
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self {
        how.float(all.into_iter().cloned().collect())
    }
    fn null(&self) -> Self {
        self.clone()
    }
    fn device(&self) -> Device {
        Tensor::device(self)
    }
    fn data(&self) -> Vec<TensorData> {
        vec![self.to_data()]
    }
}

impl Kind for Tensor<2> {
    const VANISHES: bool = true;

    fn width(&self) -> usize {
        self.dims()[1]
    }
    fn batch(&self) -> usize {
        self.dims()[0]
    }
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self {
        how.float(all.into_iter().cloned().collect())
    }
    fn null(&self) -> Self {
        self.zeros_like()
    }
    fn device(&self) -> Device {
        Tensor::device(self)
    }
    fn data(&self) -> Vec<TensorData> {
        vec![self.to_data()]
    }
}

impl Kind for Tokens {
    const VANISHES: bool = true;

    /// Of a token: sequences of other lengths are padded.
    fn width(&self) -> usize {
        self.embedding.dims()[2]
    }
    fn batch(&self) -> usize {
        self.embedding.dims()[0]
    }
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self {
        let longest = all.iter().map(|tokens| tokens.embedding.dims()[1]).max().unwrap_or(0);
        let padded: Vec<Self> = all.into_iter().map(|tokens| tokens.padded(longest)).collect();
        let masks = padded.iter().map(|tokens| tokens.mask.clone().int()).collect();
        let embedding = how.float(padded.into_iter().map(|tokens| tokens.embedding).collect());
        Self { embedding, mask: how.int(masks).bool() }
    }
    fn null(&self) -> Self {
        let mask = self.mask.clone();
        Self { embedding: self.embedding.zeros_like(), mask: mask.clone().bool_not().bool_and(mask) }
    }
    fn device(&self) -> Device {
        self.embedding.device()
    }
    fn data(&self) -> Vec<TensorData> {
        vec![self.embedding.to_data(), self.mask.to_data()]
    }
}

impl Tokens {
    /// The same sequences, `n` long: zeros that are no tokens are put behind them.
    fn padded(&self, n: usize) -> Self {
        let [b, now, d] = self.embedding.dims();
        if now >= n {
            return self.clone();
        }
        let device = self.embedding.device();
        let zeros = Tensor::zeros([b, n - now, d], &device);
        let none = Tensor::<2, Int>::zeros([b, n - now], &self.mask.device()).bool();
        Self {
            embedding: Tensor::cat(vec![self.embedding.clone(), zeros], 1),
            mask: Tensor::cat(vec![self.mask.clone(), none], 1),
        }
    }
}

impl Kind for Dense {
    const VANISHES: bool = false;

    fn width(&self) -> usize {
        self.shape.numel()
    }
    fn batch(&self) -> usize {
        self.rows.dims()[0]
    }
    fn rowwise(all: Vec<&Self>, how: &impl Rowwise) -> Self {
        let shape = all[0].shape;
        Self { rows: how.float(all.into_iter().map(|map| map.rows.clone()).collect()), shape }
    }
    fn null(&self) -> Self {
        self.clone()
    }
    fn device(&self) -> Device {
        self.rows.device()
    }
    fn data(&self) -> Vec<TensorData> {
        let shape: Vec<i64> = self.shape.lengths().iter().map(|length| *length as i64).collect();
        vec![self.rows.to_data(), TensorData::from(shape.as_slice())]
    }
}
