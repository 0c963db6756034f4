//! Points in the plane as training samples: an endless stream, every point new, each of shape `[2]`.

use crate::TrainError;
use crate::source::{Batch, Source};
use data::Points;

/// A point set of `data`, streamed.
#[derive(Clone, Debug)]
pub struct PointSource {
    points: Points,
    batch: usize,
    seed: u64,
    next: u64,
}

impl PointSource {
    /// Streams `points` under `seed`; `batch` is [`TrainConfig::micro_batch`](crate::TrainConfig::micro_batch).
    pub fn new(points: Points, batch: usize, seed: u64) -> Self {
        Self { points, batch, seed, next: 0 }
    }
}

impl Source for PointSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let x1 = indices.iter().flat_map(|&index| self.points.point(self.seed, index)).collect();
        Ok(Batch::new(x1, [2].into(), indices))
    }

    fn fingerprint(&self) -> String {
        format!("points {} by seed {}", self.points.name(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_continues_where_a_cursor_says() {
        let mut whole = PointSource::new(Points::Moons, 4, 1);
        let batches: Vec<Batch> = (0..3).map(|_| whole.next().unwrap()).collect();
        let mut resumed = PointSource::new(Points::Moons, 4, 1);
        resumed.seek(8).unwrap();
        assert_eq!(resumed.next().unwrap(), batches[2]);
        assert_ne!(batches[0].x1, batches[1].x1);
        assert_ne!(whole.fingerprint(), PointSource::new(Points::Rings, 4, 1).fingerprint());
    }
}
