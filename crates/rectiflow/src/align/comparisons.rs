//! What a reward learns from: pairs of samples and what was said of them, in memory and drawn at random.

use super::Candidates;
use base::{Key, Purpose, Shape};
use methods::align::{Compared, Verdict};
use train::{Samples, Source, TrainError};

/// Compared pairs on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparisons {
    /// Rows `[b n]` of the first and of the second samples.
    pub rows: [Vec<f32>; 2],
    /// What a row is.
    pub shape: Shape,
    /// The class both were asked for, or the number of their text.
    pub classes: Vec<i64>,
    /// What was said of them.
    pub compared: Compared,
    /// Counter of each pair in the run.
    pub indices: Vec<u64>,
}

impl Samples for Comparisons {
    fn count(&self) -> usize {
        self.indices.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        let at = self.rows.iter().find_map(|rows| rows.iter().position(|value| !value.is_finite()))?;
        Some(format!("a value of pair {} is no number", at / self.shape.numel().max(1)))
    }
}

/// Compared pairs in memory, drawn at random with a counter.
#[derive(Clone, Debug)]
pub struct ComparisonSource {
    all: Comparisons,
    axes: usize,
    batch: usize,
    seed: u64,
    next: u64,
}

impl ComparisonSource {
    /// The pairs of `candidates` numbered `range`, with what was said of each on each axis; `classes` are those of their samples, or the numbers
    /// of their texts.
    pub fn new(
        (candidates, classes): (&Candidates, &[i64]),
        range: std::ops::Range<usize>,
        verdicts: &[Verdict],
        batch: usize,
        seed: u64,
    ) -> Self {
        let axes = candidates.scores.axes.len();
        let side = |which: usize| range.clone().flat_map(|k| candidates.row(2 * k + which)).copied().collect();
        // People's pairs often have none.
        let scores = |which: usize| match candidates.scores.is_empty() {
            true => Vec::new(),
            false => {
                range.clone().flat_map(|k| candidates.scores.of(2 * k + which)).map(|score| *score as f32).collect()
            }
        };
        let compared = Compared {
            verdicts: verdicts[range.start * axes..range.end * axes].to_vec(),
            scores: [scores(0), scores(1)],
        };
        let all = Comparisons {
            rows: [side(0), side(1)],
            shape: candidates.drawn.shape,
            classes: range.clone().map(|k| classes[2 * k]).collect(),
            compared,
            indices: range.map(|k| k as u64).collect(),
        };
        Self { all, axes, batch, seed, next: 0 }
    }
}

impl Source<Comparisons> for ComparisonSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Comparisons, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let (key, numbers, axes) = (Key::new(self.seed, Purpose::Order), self.all.shape.numel(), self.axes);
        let count = self.all.count() as f64;
        let places: Vec<usize> = indices.iter().map(|i| (key.uniform(*i) * count) as usize).collect();
        fn take<T: Copy>(from: &[T], places: &[usize], width: usize) -> Vec<T> {
            places.iter().flat_map(|p| &from[p * width..][..width]).copied().collect()
        }
        let all = &self.all;
        let scores = [0, 1].map(|side| match &all.compared.scores[side][..] {
            [] => Vec::new(),
            scores => take(scores, &places, axes),
        });
        Ok(Comparisons {
            rows: [0, 1].map(|side| take(&all.rows[side], &places, numbers)),
            shape: all.shape,
            classes: take(&all.classes, &places, 1),
            compared: Compared { verdicts: take(&all.compared.verdicts, &places, axes), scores },
            indices,
        })
    }

    fn fingerprint(&self) -> String {
        let (all, compared) = (&self.all, &self.all.compared);
        let rows = all.rows.iter().flatten().map(|x| u64::from(x.to_bits()));
        let said = compared.verdicts.iter().map(|said| said.sign().map_or(3, |sign| (sign + 1) as u64));
        let scores = compared.scores.iter().flatten().map(|score| u64::from(score.to_bits()));
        let all = rows.chain(said).chain(scores).chain(all.classes.iter().map(|class| *class as u64));
        let sum = all.fold(0u64, |sum, bits| (sum.rotate_left(5) ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        format!("comparisons {} {sum:016x}", self.all.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{align::Scores, sampling::Drawn};

    /// Mutants: the first sides alone, as once; verdicts, scores or classes left out.
    #[test]
    fn other_answers_are_other_data() {
        use Verdict::{First, Second};
        let of = |change: &dyn Fn(&mut Candidates, &mut Vec<Verdict>)| {
            let drawn = Drawn::given(vec![0.1, 0.2, 0.3, 0.4], [1], vec![0; 4]);
            let scores = Scores { axes: vec!["VQ".into()], values: vec![1.0, 2.0, 3.0, 4.0] };
            let (mut candidates, mut verdicts) = (Candidates { drawn, scores }, vec![First, Second]);
            change(&mut candidates, &mut verdicts);
            ComparisonSource::new((&candidates, &candidates.drawn.classes), 0..2, &verdicts, 1, 0).fingerprint()
        };
        let same = of(&|_, _| ());
        assert_eq!(same, of(&|_, _| ()));
        assert_ne!(same, of(&|_, verdicts| verdicts[1] = First));
        assert_ne!(same, of(&|_, verdicts| verdicts.swap(0, 1)));
        assert_ne!(same, of(&|candidates, _| candidates.drawn.rows[1] = 0.5));
        assert_ne!(same, of(&|candidates, _| candidates.scores.values[3] = 5.0));
        assert_ne!(same, of(&|candidates, _| candidates.drawn.classes[2] = 1));
    }
}
