//! Conditions of a batch: class indices, vectors and token sequences, each optional.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::ops::Range;

/// The class index that stands for "no condition"; a network maps it to its own null embedding.
pub const NULL_CLASS: i64 = -1;

/// A padded batch of token embeddings.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Embeddings, `[b n d]`.
    pub embedding: Tensor<3>,
    /// True where a token is real, `[b n]`; all false is the null condition.
    pub mask: Tensor<2, Bool>,
}

/// What a batch is conditioned on. All parts that are present have the same batch size.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Class index of each sample, `[b]`; [`NULL_CLASS`] for none.
    pub class: Option<Tensor<1, Int>>,
    /// A vector per sample, `[b d]`; zeros for none.
    pub vector: Option<Tensor<2>>,
    /// A token sequence per sample.
    pub tokens: Option<Tokens>,
    /// How far ahead in time the answer should hold, `[b]` in [0, 1]; absent or zero for the time itself. Not a
    /// condition on what is drawn: guidance keeps it. Read by networks with `condition.reach` (MeanFlow, shortcut models).
    pub reach: Option<Tensor<1>>,
}

impl Condition {
    /// No condition at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Class-conditional; [`NULL_CLASS`] entries are unconditional.
    pub fn classes(classes: &[i64], device: &Device) -> Self {
        let class = Tensor::from_data(TensorData::new(classes.to_vec(), [classes.len()]), device);
        Self { class: Some(class), ..Self::default() }
    }

    /// The same condition, asked `reach` `[b]` ahead in time.
    pub fn reaching(self, reach: Tensor<1>) -> Self {
        Self { reach: Some(reach), ..self }
    }

    /// Whether nothing is conditioned on.
    pub fn is_none(&self) -> bool {
        self.class.is_none() && self.vector.is_none() && self.tokens.is_none()
    }

    /// The null condition of the same shape: what guidance contrasts with.
    pub fn null(&self) -> Self {
        Self {
            class: self.class.clone().map(|c| c.zeros_like() + NULL_CLASS),
            vector: self.vector.clone().map(|v| v.zeros_like()),
            tokens: self.tokens.clone().map(|t| Tokens {
                embedding: t.embedding.zeros_like(),
                mask: t.mask.clone().bool_not().bool_and(t.mask),
            }),
            reach: self.reach.clone(),
        }
    }

    /// This batch followed by `other`'s. Parts that only one of the two has are dropped.
    pub fn cat(&self, other: &Self) -> Self {
        fn both<T: Clone>(a: &Option<T>, b: &Option<T>, cat: impl Fn(Vec<T>) -> T) -> Option<T> {
            Some(cat(vec![a.clone()?, b.clone()?]))
        }
        Self {
            class: both(&self.class, &other.class, |v| Tensor::cat(v, 0)),
            vector: both(&self.vector, &other.vector, |v| Tensor::cat(v, 0)),
            tokens: both(&self.tokens, &other.tokens, |v| {
                let (embedding, mask) = v.into_iter().map(|t| (t.embedding, t.mask)).unzip();
                Tokens { embedding: Tensor::cat(embedding, 0), mask: Tensor::cat(mask, 0) }
            }),
            reach: both(&self.reach, &other.reach, |v| Tensor::cat(v, 0)),
        }
    }

    /// The samples of `range`.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let (start, length) = (range.start, range.len());
        Self {
            class: self.class.clone().map(|c| c.narrow(0, start, length)),
            vector: self.vector.clone().map(|v| v.narrow(0, start, length)),
            tokens: self.tokens.clone().map(|t| Tokens {
                embedding: t.embedding.narrow(0, start, length),
                mask: t.mask.narrow(0, start, length),
            }),
            reach: self.reach.clone().map(|r| r.narrow(0, start, length)),
        }
    }

    /// The samples at `rows`, in that order (an adaptive solver drops finished samples with this).
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            class: self.class.clone().map(|c| c.select(0, rows.clone())),
            vector: self.vector.clone().map(|v| v.select(0, rows.clone())),
            tokens: self.tokens.clone().map(|t| Tokens {
                embedding: t.embedding.select(0, rows.clone()),
                mask: t.mask.int().select(0, rows.clone()).bool(),
            }),
            reach: self.reach.clone().map(|r| r.select(0, rows.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(condition: &Condition) -> Vec<i64> {
        condition.class.clone().unwrap().into_data().iter::<i64>().collect()
    }

    #[test]
    fn null_cat_slice_and_select_keep_samples_apart() {
        let device = Device::flex();
        let condition = Condition::classes(&[3, 5, 7], &device);
        assert_eq!(classes(&condition.null()), [-1, -1, -1]);
        let doubled = condition.cat(&condition.null());
        assert_eq!(classes(&doubled), [3, 5, 7, -1, -1, -1]);
        assert_eq!(classes(&doubled.slice(2..4)), [7, -1]);
        let rows = Tensor::<1, Int>::from_ints([2, 0], &device);
        assert_eq!(classes(&condition.select(&rows)), [7, 3]);
    }

    #[test]
    fn null_tokens_have_no_real_token() {
        let device = Device::flex();
        let tokens = Tokens {
            embedding: Tensor::ones([2, 3, 4], &device),
            mask: Tensor::<2, Int>::from_ints([[1, 1, 0], [1, 0, 0]], &device).bool(),
        };
        let null = Condition { tokens: Some(tokens), ..Condition::default() }.null().tokens.unwrap();
        assert!(!null.mask.any().into_scalar::<bool>());
        assert_eq!(null.embedding.abs().sum().into_scalar::<f32>(), 0.0);
    }
}
