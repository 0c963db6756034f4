//! Samples in memory as a training stream: points, features, pairs of an experiment that needs no files.

use crate::TrainError;
use crate::source::{Batch, Source};
use base::{Key, Purpose, Shape};

/// Rows in memory. Pairs come in turn, over and over; rows without partners are drawn at random, each side for itself.
#[derive(Clone, Debug)]
pub struct Rows {
    x0: Option<Vec<f32>>,
    x1: Vec<f32>,
    shape: Shape,
    batch: usize,
    /// Seed of the draws; `None` for pairs.
    seed: Option<u64>,
    next: u64,
}

impl Rows {
    /// Data `x1`, samples of `shape` one after another, in batches of `batch`
    /// ([`TrainConfig::micro_batch`](crate::TrainConfig::micro_batch)). Flows start at noise.
    pub fn data(x1: Vec<f32>, shape: impl Into<Shape>, batch: usize, seed: u64) -> Self {
        Self { x0: None, x1, shape: shape.into(), batch, seed: Some(seed), next: 0 }
    }

    /// Data `x1` and a second set `x0`, of any number of rows, that flows start at.
    pub fn between(x0: Vec<f32>, x1: Vec<f32>, shape: impl Into<Shape>, batch: usize, seed: u64) -> Self {
        Self { x0: Some(x0), ..Self::data(x1, shape, batch, seed) }
    }

    /// Pairs: row `i` of `x0` belongs to row `i` of `x1`.
    pub fn pairs(x0: Vec<f32>, x1: Vec<f32>, shape: impl Into<Shape>, batch: usize) -> Self {
        Self { x0: Some(x0), x1, shape: shape.into(), batch, seed: None, next: 0 }
    }

    /// The rows of one side for samples `indices`; `side` keeps the draws of the two apart.
    fn take(&self, rows: &[f32], side: u64, indices: &[u64]) -> Result<Vec<f32>, TrainError> {
        let width = self.shape.numel();
        if width == 0 || rows.is_empty() || !rows.len().is_multiple_of(width) {
            let (values, shape) = (rows.len(), self.shape);
            return Err(TrainError::Source(format!("{values} values in memory are no rows of shape {shape}")));
        }
        let count = (rows.len() / width) as u64;
        let row = |&index: &u64| {
            let at = match self.seed {
                None => index % count,
                // Uniform in [0, 1): never the count itself.
                Some(seed) => (Key::new(seed, Purpose::Order).fold(side).uniform(index) * count as f64) as u64,
            };
            &rows[at as usize * width..][..width]
        };
        Ok(indices.iter().flat_map(row).copied().collect())
    }
}

impl Source for Rows {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        let x0 = self.x0.as_ref().map(|rows| self.take(rows, 0, &indices)).transpose()?;
        if self.seed.is_none() && self.x0.as_ref().is_some_and(|x0| x0.len() != self.x1.len()) {
            return Err(TrainError::Source("the two ends of pairs in memory differ in number".into()));
        }
        let x1 = self.take(&self.x1, 1, &indices)?;
        self.next += self.batch as u64;
        Ok(Batch { x0, ..Batch::new(x1, self.shape, indices) })
    }

    fn fingerprint(&self) -> String {
        // Every value tells: two sets of one size are not one.
        let sum = |rows: &[f32]| rows.iter().fold(0u64, |sum, x| sum.rotate_left(5) ^ u64::from(x.to_bits()));
        let x0 = self.x0.as_deref().map_or(0, sum);
        format!("rows {:?} {x0:016x} {:016x} seed {:?}", self.shape, sum(&self.x1), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_together_and_unpaired_rows_do_not() {
        let ends =
            || ((0..6).map(|i| i as f32).collect::<Vec<_>>(), (0..6).map(|i| 10.0 + i as f32).collect::<Vec<_>>());
        let (x0, x1) = ends();
        let mut pairs = Rows::pairs(x0, x1, [2], 4);
        let batch = pairs.next().unwrap();
        assert_eq!(batch.x0.unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0]);
        assert_eq!(batch.x1, [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 10.0, 11.0]);

        let (x0, x1) = ends();
        let mut apart = Rows::between(x0, x1, [1], 4000, 7);
        let batch = apart.next().unwrap();
        let joint = |a: f32, b: f32| {
            let x0 = batch.x0.as_ref().unwrap();
            x0.iter().zip(&batch.x1).filter(|(x0, x1)| **x0 == a && **x1 == 10.0 + b).count()
        };
        // Each of the 36 pairs one time in 36: 111 of 4000, deviation 10.
        assert!((0..36).all(|i| joint((i / 6) as f32, (i % 6) as f32).abs_diff(111) < 50));
        // A cursor finds the same draws.
        let mut later = apart.clone();
        later.seek(0).unwrap();
        assert_eq!(later.next().unwrap(), batch);
        assert_ne!(apart.next().unwrap().x1, batch.x1);
    }

    #[test]
    fn what_are_no_rows_is_refused() {
        let said = |mut rows: Rows| rows.next().unwrap_err().to_string();
        assert!(said(Rows::data(vec![0.0; 5], [2], 4, 0)).contains("no rows of shape"));
        assert!(said(Rows::data(vec![], [2], 4, 0)).contains("no rows of shape"));
        assert!(said(Rows::pairs(vec![0.0; 2], vec![0.0; 4], [2], 4)).contains("differ in number"));
        let fingerprint = |x: f32| Rows::data(vec![x, 1.0], [2], 4, 0).fingerprint();
        assert_ne!(fingerprint(0.0), fingerprint(-0.0));
    }
}
