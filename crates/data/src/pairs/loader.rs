//! Batches of pairs for training, with the same order and cursor as those of images.

use super::{PairBatch, PairStore};
use crate::loader::{Cutter, LoaderConfig};
use crate::prefetch::Prefetch;
use crate::{DataError, Result};
use base::{Key, Purpose};
use std::sync::Arc;

/// An iterator of [`PairBatch`]es made by a thread ahead of the caller. Dropping it ends the thread.
pub struct PairLoader(Prefetch<PairBatch>);

impl PairLoader {
    /// Streams `store` from sample number `start_sample` of the stream on (0 for a new run).
    ///
    /// # Errors
    /// A batch of 0 or larger than the store.
    pub fn new(store: Arc<PairStore>, config: &LoaderConfig, start_sample: u64) -> Result<Self> {
        let name = store.dir().display().to_string();
        let mut cutter = Cutter::new(&name, store.len(), config, start_sample)?;
        let flips = match config.flip {
            true => Some((Key::new(config.seed, Purpose::Augment), width(&store)?)),
            false => None,
        };
        let produce = move || {
            let positions = cutter.next()?;
            let batch = store.batch(&positions.rows);
            Some(batch.map(|batch| {
                let mut batch = PairBatch { indices: positions.indices, ..batch };
                flips.inspect(|(key, width)| mirror(&mut batch, *key, *width));
                batch
            }))
        };
        Ok(Self(Prefetch::new(&name, config.prefetch, produce)?))
    }
}

/// Columns of the images in `store`; only images have a left and a right.
fn width(store: &PairStore) -> Result<usize> {
    let image = store.meta().shape.image();
    let refused = |error| DataError::config("flip", format!("is on, and {error}"), "set it to false");
    image.map(|[_, _, width]| width).map_err(refused)
}

/// Mirrors half of the pairs left to right, noise and data alike: where the teacher commutes with mirrors (it was trained
/// with flips), a mirrored pair is one it could have made (SlimFlow, arXiv 2407.12718, section 3.1).
fn mirror(batch: &mut PairBatch, key: Key, width: usize) {
    let size = batch.shape.numel();
    for (i, &index) in batch.indices.iter().enumerate() {
        if key.uniform(index) < 0.5 {
            let sample = i * size..(i + 1) * size;
            for values in [&mut batch.x0, &mut batch.x1] {
                values[sample.clone()].chunks_mut(width).for_each(<[f32]>::reverse);
            }
        }
    }
}

impl Iterator for PairLoader {
    type Item = Result<PairBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
