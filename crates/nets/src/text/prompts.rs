//! Prompts by number: what class indices are to a network that reads text.
//!
//! A set of captions is a set of classes with long names. Keeping their encodings in a table lets pairs, guidance, reflow,
//! distillation and checkpoints speak of a prompt by its number, as they do of a class.

use base::{Int, Tensor, Tokens};

/// Encoded prompts, in the order of the classes they stand for.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// `[p + 1, n d]`; the last row stands for [`base::NULL_CLASS`].
    tokens: Tensor<2>,
    /// One where a token is real, `[p + 1, n]`.
    mask: Tensor<2>,
    /// `[p + 1, d]`.
    sentences: Tensor<2>,
}

impl Prompts {
    /// The prompts whose tokens are `[p n d]`, on a device without automatic differentiation.
    pub fn new(tokens: &Tokens) -> Self {
        let [p, n, d] = tokens.embedding.dims();
        let none = |features: usize| Tensor::<2>::zeros([1, features], &tokens.embedding.device());
        let mask = tokens.mask.clone().float();
        let keep = mask.clone().unsqueeze_dim::<3>(2);
        let mean: Tensor<2> = (tokens.embedding.clone() * keep).sum_dim(1).reshape([p, d]);
        let norm = mean.clone().square().sum_dim(1).sqrt() + 1e-12;
        let flat: Tensor<2> = tokens.embedding.clone().reshape([p, n * d]);
        Self {
            tokens: Tensor::cat(vec![flat, none(n * d)], 0),
            mask: Tensor::cat(vec![mask, none(n)], 0),
            sentences: Tensor::cat(vec![mean / norm * (d as f64).sqrt(), none(d)], 0),
        }
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.mask.dims()[0] - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Features of a token and of a sentence.
    pub fn features(&self) -> usize {
        self.sentences.dims()[1]
    }

    /// Rows for class indices `[b]`; negative ones take the null row.
    fn rows(&self, class: &Tensor<1, Int>) -> Tensor<1, Int> {
        let class = if class.device().is_autodiff() { class.clone().inner() } else { class.clone() };
        let null = class.clone().lower_elem(0);
        class.mask_fill(null, self.len() as i64)
    }

    /// The tokens of prompts `[b]`, `[b n d]`, on the tape if `on_tape`; no gradient reaches them.
    pub fn tokens(&self, class: &Tensor<1, Int>, on_tape: bool) -> Tokens {
        let (rows, [b], n) = (self.rows(class), class.dims(), self.mask.dims()[1]);
        let embedding = lifted(self.tokens.clone().select(0, rows.clone()), on_tape);
        let mask = lifted(self.mask.clone().select(0, rows), on_tape).greater_elem(0.5);
        Tokens { embedding: embedding.reshape([b, n, self.features()]), mask }
    }

    /// One vector for each of the prompts `[b]`, `[b d]`: the mean of its tokens, its elements of mean square one; zeros for
    /// none.
    pub fn sentences(&self, class: &Tensor<1, Int>, on_tape: bool) -> Tensor<2> {
        lifted(self.sentences.clone().select(0, self.rows(class)), on_tape)
    }
}

fn lifted(x: Tensor<2>, on_tape: bool) -> Tensor<2> {
    if on_tape { Tensor::from_inner(x) } else { x }
}
