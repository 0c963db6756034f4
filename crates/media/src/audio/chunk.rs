//! Long recordings in pieces that overlap, joined again by cross-fading: the weights of every frame add up to one.

use crate::MediaError;
use std::ops::Range;

/// How a recording is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    length: usize,
    overlap: usize,
}

impl Chunks {
    /// Pieces of `length` frames, each sharing `overlap` with the next.
    ///
    /// # Errors
    /// [`MediaError::Setting`] where `overlap` is more than half of `length`.
    pub fn new(length: usize, overlap: usize) -> Result<Self, MediaError> {
        if length == 0 || overlap > length / 2 {
            let what = format!("pieces of {length} frames that overlap by {overlap}");
            return Err(MediaError::setting(what, "let them overlap by at most half"));
        }
        Ok(Self { length, overlap })
    }

    /// The pieces of `frames` frames, in order; together they cover every frame. The last may be shorter.
    pub fn ranges(&self, frames: usize) -> Vec<Range<usize>> {
        let step = self.length - self.overlap;
        let mut ranges = Vec::new();
        let mut start = 0;
        while start < frames {
            ranges.push(start..(start + self.length).min(frames));
            if start + self.length >= frames {
                break;
            }
            start += step;
        }
        ranges
    }

    /// `frames` frames made of what `make` gives for each piece (as many frames as the piece has; missing ones are zero).
    ///
    /// # Errors
    /// The first of `make`.
    pub fn join<E>(
        &self,
        frames: usize,
        mut make: impl FnMut(Range<usize>) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let mut whole = vec![0.0; frames];
        for range in self.ranges(frames) {
            let part = make(range.clone())?;
            self.lay(&mut whole, 1, &range, &part);
        }
        Ok(whole)
    }

    /// Adds `part`, what was made of the piece `range`, to `whole`, faded where pieces overlap; `width` numbers to a frame in both.
    /// When every piece has been laid, the weights of each frame have added up to one.
    pub fn lay(&self, whole: &mut [f32], width: usize, range: &Range<usize>, part: &[f32]) {
        let frames = whole.len() / width;
        for (i, values) in part.chunks_exact(width).take(range.len()).enumerate() {
            let weight = self.weight(i, range, frames);
            let place = &mut whole[(range.start + i) * width..][..width];
            place.iter_mut().zip(values).for_each(|(all, value)| *all += weight * value);
        }
    }

    /// A rising sine square over the overlap with the piece before, its complement over that with the piece after.
    fn weight(&self, i: usize, range: &Range<usize>, frames: usize) -> f32 {
        let rise = |i: usize| {
            let share = (i as f32 + 0.5) / self.overlap as f32;
            (0.5 * std::f32::consts::PI * share).sin().powi(2)
        };
        let step = self.length - self.overlap;
        if range.start > 0 && i < self.overlap {
            rise(i)
        } else if range.end < frames && i >= step {
            1.0 - rise(i - step)
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: weights without the complement, a step of the whole length, the last piece dropped.
    #[test]
    fn pieces_cover_everything_and_join_to_the_whole() {
        for (length, overlap, frames) in [(100, 30, 1234), (100, 50, 101), (64, 0, 640), (100, 30, 7), (10, 5, 10)] {
            let chunks = Chunks::new(length, overlap).unwrap();
            let x: Vec<f32> = (0..frames).map(|i| (i as f32 * 0.37).sin() + 2.0).collect();
            let joined = chunks.join(frames, |r| Ok::<_, ()>(x[r].to_vec())).unwrap();
            let worst = x.iter().zip(&joined).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{length} {overlap} {frames}: {worst}");
            assert!(chunks.ranges(frames).iter().all(|r| r.len() <= length));
        }
    }

    /// Two pieces that disagree meet without a step: the largest jump is that of the fade, not of the disagreement.
    #[test]
    fn pieces_that_disagree_are_faded() {
        let chunks = Chunks::new(100, 40).unwrap();
        let joined = chunks.join(160, |r| Ok::<_, ()>(vec![if r.start == 0 { 0.0 } else { 1.0 }; r.len()])).unwrap();
        let jump = joined.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(jump < 0.05, "{jump}");
        assert_eq!((joined[0], joined[159]), (0.0, 1.0));
    }

    #[test]
    fn too_much_overlap_is_refused() {
        assert!(Chunks::new(10, 6).is_err() && Chunks::new(0, 0).is_err());
        assert!(Chunks::new(10, 5).unwrap().ranges(0).is_empty());
    }
}
