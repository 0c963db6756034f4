//! A lost stretch of a recording, in seconds: said, or drawn anew for each recording.

use crate::Error;
use base::{Key, RandomStream};
use std::ops::Range;

/// Where recordings are lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Seconds that are lost.
    length: f64,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Seconds from the recording's beginning.
    At(f64),
    /// Anywhere inside, by this seed.
    Drawn(u64),
}

impl Gap {
    /// From `0.1` (seconds, somewhere by `seed`) or `0.5,0.1` (from the first on, as long as the second).
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str, seed: u64) -> Result<Self, Error> {
        let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        let sound = |length: f64| length.is_finite() && length > 0.0;
        match numbers.as_deref() {
            Ok(&[length]) if sound(length) => Ok(Self { length, place: Place::Drawn(seed) }),
            Ok(&[start, length]) if sound(length) && start.is_finite() && start >= 0.0 => {
                Ok(Self { length, place: Place::At(start) })
            }
            _ => Err(Error::Usage(format!(
                "--gap {text}: give seconds that are lost somewhere (--gap 0.1), or where they begin and how many (--gap 0.5,0.1)"
            ))),
        }
    }

    /// Whether it was drawn at random, so that nobody else has it.
    pub fn is_drawn(&self) -> bool {
        matches!(self.place, Place::Drawn(_))
    }

    /// In words.
    pub fn words(&self) -> String {
        match self.place {
            Place::At(start) => format!("a gap of {} s from {start} s on", self.length),
            Place::Drawn(seed) => format!("a gap of {} s anywhere (seed {seed})", self.length),
        }
    }

    /// Samples of it at `rate`.
    pub(crate) fn span(&self, rate: u32) -> usize {
        (self.length * f64::from(rate)).round() as usize
    }

    /// The lost samples of recording `number` under the name `name`, which has `frames` of them at `rate`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a gap that leaves the recording, is shorter than a sample, or leaves nothing.
    pub(crate) fn samples(&self, number: u64, name: &str, frames: usize, rate: u32) -> Result<Range<usize>, Error> {
        let span = self.span(rate);
        let start = match self.place {
            Place::At(start) => (start * f64::from(rate)).round() as usize,
            Place::Drawn(seed) => {
                let drawn = Key::of(seed, RandomStream::LostStretch).uniforms(number, 1).next().unwrap_or(0.0);
                (f64::from(drawn) * (frames.saturating_sub(span) + 1) as f64) as usize
            }
        };
        let inside = start.checked_add(span).is_some_and(|end| end <= frames);
        if span == 0 || span >= frames || !inside {
            return Err(Error::Usage(format!(
                "--gap: {}, and {name} has {:.3} s; a gap lies inside its recording and leaves something of it",
                self.words(),
                frames as f64 / f64::from(rate.max(1))
            )));
        }
        Ok(start..start + span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants, named and not run: start and length exchanged; one place for all recordings; a gap past the end that is cut off.
    #[test]
    fn gaps_are_said_or_drawn_and_lie_inside() {
        let said = Gap::parse("0.5, 0.25", 3).unwrap();
        assert_eq!(said.samples(7, "x", 1000, 1000).unwrap(), 500..750);
        assert!(!said.is_drawn() && said.words().contains("0.25 s from 0.5 s"));
        let drawn = Gap::parse("0.25", 3).unwrap();
        let places: Vec<usize> = (0..40).map(|i| drawn.samples(i, "x", 1000, 1000).unwrap().start).collect();
        assert!(places.iter().all(|start| *start <= 750) && places.iter().any(|start| *start > 400), "{places:?}");
        assert!(places.iter().collect::<std::collections::BTreeSet<_>>().len() > 30, "{places:?}");
        let start = |gap: &Gap| gap.samples(0, "x", 1000, 1000).unwrap().start;
        assert_ne!(start(&Gap::parse("0.25", 4).unwrap()), start(&drawn));
        for (text, frames) in [("0.8,0.25", 1000), ("0.0001", 1000), ("1", 1000), ("1e300,1", 1000), ("1e300", 1000)] {
            let error = Gap::parse(text, 0).unwrap().samples(0, "bell", frames, 1000).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("bell has 1.000 s"), "{text}: {error}");
        }
        for text in ["", "a", "-1", "0", "-0.5,1", "1,NaN", "1,2,3", "inf"] {
            let error = Gap::parse(text, 0).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(&format!("--gap {text}:")), "{error}");
        }
    }
}
