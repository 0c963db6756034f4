//! What a network adds to the loss of its answers: a term of its own, of which nobody outside knows more than its size.
//!
//! Whoever trains opens a place for terms and hands it along with a training pass; a network with a term leaves it there, once a pass,
//! already weighted, and the trainer adds what it finds to the loss. Passes without a place ask for none, and networks without a term
//! never look. A block that runs again for the gradient has no place: what it left in its first run would be off the tape.

use burn::tensor::Tensor;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A place for terms, shared by all who hold it; [`Terms::default`] is none.
#[derive(Clone, Default)]
pub struct Terms(Option<Arc<Mutex<Vec<Tensor<1>>>>>);

impl Terms {
    /// A place that is empty so far.
    pub fn open() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether somebody asks for terms.
    pub fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Leaves the term of one pass, `[1]`.
    pub fn add(&self, term: Tensor<1>) {
        if let Some(place) = &self.0 {
            place.lock().unwrap_or_else(PoisonError::into_inner).push(term);
        }
    }

    /// The mean over the passes that left one, `[1]`, so that a term's weight is the same however often a loss asks its network;
    /// `None` where none did. The place is empty afterwards.
    pub fn take(&self) -> Option<Tensor<1>> {
        let found = std::mem::take(&mut *self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner));
        let count = found.len();
        found.into_iter().reduce(|sum, term| sum + term).map(|sum| sum / count as f64)
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.wanted() { "Terms(open)" } else { "Terms(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    /// Mutants: the sum in place of the mean; what was taken stays.
    #[test]
    fn terms_of_several_passes_are_averaged_once() {
        let term = |value: f32| Tensor::<1>::from_floats([value], &Device::flex());
        let (place, none) = (Terms::open(), Terms::default());
        assert!(place.wanted() && place.take().is_none());
        let other = place.clone();
        other.add(term(1.0));
        other.add(term(4.0));
        assert_eq!(place.take().unwrap().into_scalar::<f32>(), 2.5);
        assert!(place.take().is_none());
        none.add(term(1.0));
        assert!(!none.wanted() && none.take().is_none());
    }
}
