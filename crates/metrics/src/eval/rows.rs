//! A stream of rows: moments of all, and an even random sample of them kept (Vitter 1985, algorithm R), so that memory
//! is bounded and data sorted by class is still covered.

use crate::{Gaussian, Matrix, MetricsError, Moments};
use base::{Key, RandomStream};
use rand::RngExt;

/// Moments of all rows and at most `keep` of the rows themselves.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    moments: Moments,
    kept: Matrix,
    keep: usize,
}

impl Rows {
    pub fn new(dim: usize, keep: usize) -> Self {
        Self { moments: Moments::new(dim), kept: Matrix::empty(dim), keep }
    }

    pub fn add(&mut self, rows: &Matrix) -> Result<(), MetricsError> {
        let first = self.moments.count();
        self.moments.add(rows)?;
        let free = self.keep.saturating_sub(first).min(rows.rows());
        self.kept.extend(&rows.select(&(0..free).collect::<Vec<_>>()))?;
        for i in free..rows.rows() {
            if let Some(place) = place(first + i, self.keep) {
                self.kept.replace(place, rows.row(i));
            }
        }
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.moments.count()
    }

    pub fn kept(&self) -> &Matrix {
        &self.kept
    }

    pub fn gaussian(&self) -> Result<Gaussian, MetricsError> {
        self.moments.gaussian()
    }
}

/// Where row `index` goes among the `keep` kept, if it is kept for now; `index` is at least `keep`.
fn place(index: usize, keep: usize) -> Option<usize> {
    let index = index as u64;
    let place = Key::of(0, RandomStream::KeptRows).at(index).random_range(0..=index);
    usize::try_from(place).ok().filter(|place| *place < keep)
}

/// Which of `count` rows are the ones kept, in the order in which they are kept.
pub(super) fn places(count: usize, keep: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..count.min(keep)).collect();
    for index in keep..count {
        if let Some(place) = place(index, keep) {
            kept[place] = index;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2000 rows 0, 1, 2 ... keep 500: any batch sizes keep the same rows, evenly spread. Mutant: the first 500.
    #[test]
    fn kept_rows_are_spread_evenly_and_do_not_depend_on_the_batches() {
        let run = |batch: usize| {
            let mut rows = Rows::new(1, 500);
            let values: Vec<f32> = (0..2000).map(|i| i as f32).collect();
            for chunk in values.chunks(batch) {
                rows.add(&Matrix::new(chunk.to_vec(), chunk.len(), 1).unwrap()).unwrap();
            }
            assert_eq!(rows.count(), 2000);
            rows.kept().data().to_vec()
        };
        let kept = run(64);
        assert_eq!(kept, run(700));
        assert_eq!(kept, places(2000, 500).iter().map(|&i| i as f32).collect::<Vec<_>>());
        assert_eq!(places(3, 500), [0, 1, 2]);
        assert_eq!(kept.len(), 500);
        let mean = kept.iter().sum::<f32>() / 500.0;
        // The deviation of a mean of 500 of 0..2000 is 577/sqrt(500) = 26; four of them.
        assert!((mean - 999.5).abs() < 104.0, "{mean}");
    }
}
