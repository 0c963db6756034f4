//! Batches of pairs for training, with the same order and cursor as those of images.

use super::{PairBatch, PairStore};
use crate::Result;
use crate::loader::{Cutter, LoaderConfig};
use crate::prefetch::Prefetch;
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
        let produce = move || {
            let positions = cutter.next()?;
            let batch = store.batch(&positions.rows);
            Some(batch.map(|batch| PairBatch { indices: positions.indices, ..batch }))
        };
        Ok(Self(Prefetch::new(&name, config.prefetch, produce)?))
    }
}

impl Iterator for PairLoader {
    type Item = Result<PairBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
