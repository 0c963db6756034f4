//! Candidates: samples of a model, several to a prompt, and which of them a judge prefers.

use super::{Judge, Scores};
use crate::{
    Context, Error, Model,
    recipe::SampleConfig,
    sampling::{Classes, Drawn, draw},
};
use methods::align::Verdict;
use std::ops::Range;

/// Samples drawn in pairs, `2k` and `2k + 1` for the same class, with what a judge says of each.
pub struct Candidates {
    /// The samples.
    pub drawn: Drawn,
    /// Their numbers on the judge's axes.
    pub scores: Scores,
}

/// What samples in pairs are asked for, two of each in turn: all classes of `model`, or the captions it was trained on.
///
/// # Errors
/// Captions of data that are not here.
pub fn in_pairs(model: &Model) -> Result<Classes, Error> {
    Ok(match model.classes() as i64 {
        0 if model.words.is_some() => {
            Classes::prompts(model.captions()?.into_iter().flat_map(|caption| [caption.clone(), caption]).collect())
        }
        0 => Classes::None,
        count => Classes::InTurn((0..count).flat_map(|class| [class, class]).collect()),
    })
}

impl Candidates {
    /// The pairs `pairs` of samples of `model` as it is usually sampled, asked for `classes`.
    ///
    /// # Errors
    /// Those of drawing and of judging.
    pub fn of(
        (model, classes): (&Model, &Classes),
        config: &SampleConfig,
        judge: &Judge,
        pairs: Range<u64>,
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let drawn = draw(model, config, classes, seed, 2 * pairs.start..2 * pairs.end, context)?;
        let scores = judge.score(&drawn)?;
        Ok(Self { drawn, scores })
    }

    /// Number of pairs.
    pub fn pairs(&self) -> usize {
        self.drawn.len() / 2
    }

    /// What the scores say of each pair on each axis, `[pairs axes]`; a difference of `bands` of an axis or less is a tie.
    pub fn verdicts(&self, bands: &[f64]) -> Vec<Verdict> {
        let axes = self.scores.axes.len();
        let of = |k: usize| {
            let (first, second) = (self.scores.of(2 * k), self.scores.of(2 * k + 1));
            (0..axes).map(move |axis| Verdict::of(first[axis], second[axis], bands[axis]))
        };
        (0..self.pairs()).flat_map(of).collect()
    }

    /// For each axis the difference within which `share` of the pairs lie.
    pub fn bands(&self, share: f64) -> Vec<f64> {
        let axes = self.scores.axes.len();
        let of = |axis: usize| {
            let difference = |k: usize| (self.scores.of(2 * k)[axis] - self.scores.of(2 * k + 1)[axis]).abs();
            let mut all: Vec<f64> = (0..self.pairs()).map(difference).collect();
            all.sort_by(f64::total_cmp);
            all.get((share * all.len() as f64) as usize).or(all.last()).copied().unwrap_or(0.0)
        };
        (0..axes).map(of).collect()
    }

    /// What one number for each sample says of each pair: equal ones teach nothing.
    pub fn preferred(&self, rewards: &[f64]) -> Vec<Verdict> {
        (0..self.pairs()).map(|k| Verdict::of(rewards[2 * k], rewards[2 * k + 1], 0.0)).collect()
    }

    /// The numbers of sample `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        let numbers = self.drawn.shape.numel();
        &self.drawn.rows[i * numbers..][..numbers]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_judged_within_their_bands() {
        let drawn = Drawn::given(vec![0.0; 6], [1], vec![0; 6]);
        let values = vec![1.0, 0.0, /**/ 0.0, 2.0, /**/ 5.0, 2.0];
        let candidates = Candidates { drawn, scores: Scores { axes: vec!["a".into()], values } };
        assert_eq!(candidates.bands(0.34), [2.0]);
        assert_eq!(candidates.verdicts(&[1.0]), [Verdict::Tie, Verdict::Second, Verdict::First]);
        assert_eq!(candidates.preferred(&candidates.scores.values), [Verdict::First, Verdict::Second, Verdict::First]);
    }
}
