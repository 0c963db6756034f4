//! What a network looks like from outside: a function of the point on the path, the time and the condition.

use crate::{Condition, Key, Taps, Terms};
use burn::tensor::Tensor;

/// Whether a forward pass trains, and if so where its dropout masks come from.
#[derive(Clone, Debug)]
pub enum Pass {
    /// Evaluation: no dropout.
    Infer,
    /// Evaluation whose attention layers show their features, or go on with others.
    Tapped(Taps),
    /// Training: dropout masks of sample `i` come from `dropout` at index `samples[i]`.
    Train {
        /// Streams of the masks; each layer folds in its own number.
        dropout: Key,
        /// One counter per sample of the batch, `[b]`.
        samples: Vec<u64>,
        /// Whether blocks keep their inputs alone and run again for the gradient (gradient checkpointing).
        recompute: bool,
        /// Where a network leaves what it adds to the loss.
        terms: Terms,
    },
}

impl Pass {
    /// A training pass: nothing runs again, and no terms are asked for.
    pub fn train(dropout: Key, samples: Vec<u64>) -> Self {
        Self::Train { dropout, samples, recompute: false, terms: Terms::default() }
    }

    /// The same pass over a batch that holds every sample `times` times, one copy after another, with the same masks on each.
    pub fn repeated(&self, times: usize) -> Self {
        let mut pass = self.clone();
        if let Self::Train { samples, .. } = &mut pass {
            *samples = samples.repeat(times);
        }
        pass
    }

    /// The same pass, with blocks that run again for the gradient or without, where it trains.
    pub fn recomputing(&self, on: bool) -> Self {
        let mut pass = self.clone();
        if let Self::Train { recompute, .. } = &mut pass {
            *recompute = on;
        }
        pass
    }

    /// The same pass, which leaves its terms at `place`, where it trains.
    pub fn leaving(&self, place: &Terms) -> Self {
        let mut pass = self.clone();
        if let Self::Train { terms, .. } = &mut pass {
            *terms = place.clone();
        }
        pass
    }

    /// Where terms are left, if this pass asks for any.
    pub fn terms(&self) -> Option<&Terms> {
        if let Self::Train { terms, .. } = self { Some(terms).filter(|terms| terms.wanted()) } else { None }
    }

    /// Whether blocks run again for the gradient.
    pub fn recomputes(&self) -> bool {
        matches!(self, Self::Train { recompute: true, .. })
    }

    /// Who reads or replaces features, if anybody does.
    pub fn taps(&self) -> Option<&Taps> {
        if let Self::Tapped(taps) = self { Some(taps) } else { None }
    }
}

/// A network over batches of rank `D`. Everything outside the networks' own room asks with rows `[b n]`; inside it a module
/// keeps the rank it computes in (`[b c h w]` for convolutions).
pub trait Network<const D: usize> {
    /// The raw output at `x` `[b, ...]` and times `t` `[b]` in [0, 1]; same shape as `x`.
    /// What it means (velocity, noise, data, score) is the parameterization's business.
    fn predict(&self, x: Tensor<D>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<D>;
}
