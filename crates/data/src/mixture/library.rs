//! The recordings that mixtures are made of.

use crate::{DataError, Result};
use std::path::Path;

/// A recording that can be mixed, in one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Samples at the rate of the library.
    pub samples: Vec<f32>,
    /// Number of its label.
    pub label: usize,
    /// What it is called, for messages.
    pub name: String,
}

/// Recordings of one rate, with the names of their labels.
#[derive(Clone, Debug)]
pub struct Library {
    pub(super) clips: Vec<Clip>,
    /// Clips of each label.
    pub(super) of: Vec<Vec<usize>>,
    pub(super) labels: Vec<String>,
}

impl Library {
    /// `clips` with `labels`.
    ///
    /// # Errors
    /// [`DataError::Malformed`] at `place` where fewer than two labels have a sound that is not silent, or a clip's label has
    /// no name.
    pub fn new(place: &Path, labels: Vec<String>, clips: Vec<Clip>) -> Result<Self> {
        let mut of = vec![Vec::new(); labels.len()];
        for (i, clip) in clips.iter().enumerate() {
            let energy: f64 = clip.samples.iter().map(|v| f64::from(*v).powi(2)).sum();
            if !(energy > 0.0 && energy.is_finite()) {
                let what = format!("{} is silent or not finite", clip.name);
                return Err(DataError::malformed(place, what, "leave it out"));
            }
            match of.get_mut(clip.label) {
                Some(list) => list.push(i),
                None => {
                    let what = format!("{} has label {} of {}", clip.name, clip.label, labels.len());
                    return Err(DataError::malformed(place, what, "name every label"));
                }
            }
        }
        if of.iter().filter(|list| !list.is_empty()).count() < 2 {
            return Err(DataError::malformed(
                place,
                "sounds of fewer than two labels",
                "a mixture needs two: put the sounds of each label in a folder of its own",
            ));
        }
        Ok(Self { clips, of, labels })
    }

    /// Names of the labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The recordings.
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_has_sounds_of_two_labels() {
        let clip = |samples| Clip { samples, label: 0, name: "silent.wav".into() };
        let one = vec!["a".to_owned(), "b".to_owned()];
        assert!(Library::new("x".as_ref(), one.clone(), vec![clip(vec![1.0])]).is_err());
        let said = Library::new("x".as_ref(), one, vec![clip(vec![0.0])]).unwrap_err().to_string();
        assert!(said.contains("silent.wav"), "{said}");
    }
}
