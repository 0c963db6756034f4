//! Batches for training: decoded ahead, shuffled by counter, resumable from a sample number.

use crate::order::Order;
use crate::prefetch::Prefetch;
use crate::{DataError, Dataset, Result, Sample};
use base::{Key, NULL_CLASS, Purpose, Shape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which batches of a stream are made where several processes share one: every `of`-th, from number `part` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which of them, from 0.
    pub part: usize,
    /// How many share it.
    pub of: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { part: 0, of: 1 }
    }
}

impl Share {
    /// The first own sample of a stream that stands at `start`, where batches have `batch` samples.
    pub fn first(&self, start: u64, batch: usize) -> u64 {
        start.saturating_add((self.part * batch) as u64)
    }

    /// Samples of the others between two own batches.
    pub fn between(&self, batch: usize) -> u64 {
        (self.of.saturating_sub(1) * batch) as u64
    }
}

/// How a data set or a pair store is streamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Samples in a batch, at least 1.
    pub batch: usize,
    /// Seed of the order and of the flips.
    pub seed: u64,
    /// Whether each epoch has its own random order; otherwise samples come in the data set's order.
    pub shuffle: bool,
    /// Whether each sample is mirrored left to right with probability one half; both ends of a stored pair together.
    pub flip: bool,
    /// How many times the samples are passed through; `None`: without end. A stream that ends may end with a smaller batch;
    /// otherwise every batch is full, and epochs follow one another inside a batch.
    pub passes: Option<u64>,
    /// Whether a batch may be larger than the data set, which then repeats inside a batch.
    pub allow_repeats: bool,
    /// Batches made ahead.
    pub prefetch: usize,
    /// Which of the batches are made; all of them, unless several processes share the stream.
    #[serde(skip)]
    pub share: Share,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        let (allow_repeats, share) = (false, Share::default());
        Self { batch: 64, seed: 0, shuffle: true, flip: false, passes: None, allow_repeats, prefetch: 4, share }
    }
}

impl LoaderConfig {
    /// One pass in the data set's order, for evaluation.
    pub fn once(batch: usize) -> Self {
        Self { batch, shuffle: false, passes: Some(1), allow_repeats: true, ..Self::default() }
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// A batch of 0.
    pub fn check(&self) -> Result<()> {
        if self.batch == 0 {
            return Err(DataError::config("batch", "is 0", "give at least 1"));
        }
        Ok(())
    }
}

/// A batch of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Rows `[b n]`; those of pictures in [-1, 1].
    pub rows: Vec<f32>,
    /// What a row is.
    pub shape: Shape,
    /// Class of each sample, `[b]`; -1 ([`NULL_CLASS`]) for none.
    pub labels: Vec<i64>,
    /// Caption of each sample, `[b]`.
    pub captions: Vec<Option<String>>,
    /// Number of each sample in the whole stream since the start of training, `[b]`: the counter its randomness hangs on.
    pub indices: Vec<u64>,
    /// Number of each sample in the data set, `[b]`.
    pub source: Vec<u64>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The positions of one batch: stream counters and the rows they stand for.
pub(crate) struct Positions {
    pub(crate) indices: Vec<u64>,
    pub(crate) rows: Vec<usize>,
}

/// Cuts the stream over `len` samples into batches, from sample number `next` on.
pub(crate) struct Cutter {
    order: Order,
    next: u64,
    end: u64,
    batch: u64,
    /// Samples that others take after each batch.
    between: u64,
}

impl Cutter {
    pub(crate) fn new(name: &str, len: usize, config: &LoaderConfig, start_sample: u64) -> Result<Self> {
        config.check()?;
        if len == 0 {
            return Err(DataError::config(
                "path",
                format!("{name} has no samples"),
                "choose another data set or split",
            ));
        }
        if config.batch > len && !config.allow_repeats {
            return Err(DataError::BatchTooLarge { batch: config.batch, len, name: name.to_string() });
        }
        let order = Order::new(len, config.shuffle.then_some(config.seed));
        let end = config.passes.map_or(u64::MAX, |passes| passes.saturating_mul(len as u64));
        let (next, between) = (config.share.first(start_sample, config.batch), config.share.between(config.batch));
        Ok(Self { order, next, end, batch: config.batch as u64, between })
    }
}

impl Iterator for Cutter {
    type Item = Positions;

    fn next(&mut self) -> Option<Positions> {
        let stop = self.next.saturating_add(self.batch).min(self.end);
        let indices: Vec<u64> = (self.next..stop).collect();
        self.next = stop.max(self.next).saturating_add(self.between);
        let rows = indices.iter().map(|&index| self.order.at(index)).collect();
        (!indices.is_empty()).then_some(Positions { indices, rows })
    }
}

/// An iterator of [`Batch`]es made by a thread ahead of the caller. Dropping it ends the thread.
///
/// ```
/// use data::{DataConfig, Loader, LoaderConfig, open};
/// let dataset = open(&DataConfig::default())?; // the embedded Fashion-MNIST
/// let config = LoaderConfig { batch: 32, seed: 7, flip: true, ..LoaderConfig::default() };
/// let first = Loader::new(dataset.clone(), &config, 0)?.nth(1).unwrap()?;
/// // A run that stopped after 32 samples continues with the same batch:
/// let resumed = Loader::new(dataset, &config, 32)?.next().unwrap()?;
/// assert_eq!(first, resumed);
/// assert_eq!((first.len(), first.shape), (32, [1, 28, 28].into()));
/// # Ok::<(), data::DataError>(())
/// ```
pub struct Loader(Prefetch<Batch>);

impl Loader {
    /// Streams `dataset` from sample number `start_sample` of the stream on (0 for a new run).
    ///
    /// # Errors
    /// A batch of 0 or larger than the data set; an empty data set.
    pub fn new(dataset: Arc<dyn Dataset>, config: &LoaderConfig, start_sample: u64) -> Result<Self> {
        let mut cutter = Cutter::new(dataset.name(), dataset.len(), config, start_sample)?;
        let flips = config.flip.then(|| Key::new(config.seed, Purpose::Augment));
        let name = dataset.name().to_string();
        let produce = move || Some(batch(&*dataset, cutter.next()?, flips));
        Ok(Self(Prefetch::new(&name, config.prefetch, produce)?))
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

fn batch(dataset: &dyn Dataset, positions: Positions, flips: Option<Key>) -> Result<Batch> {
    let Positions { indices, rows } = positions;
    // Files are decoded in parallel; from memory a sample costs less than handing it to another thread.
    let samples: Vec<Sample> = if dataset.in_memory() {
        rows.iter().map(|&row| dataset.get(row)).collect::<Result<_>>()?
    } else {
        rows.par_iter().map(|&row| dataset.get(row)).collect::<Result<_>>()?
    };
    let shape = dataset.shape();
    let mut values = Vec::with_capacity(rows.len() * shape.numel());
    for (sample, &index) in samples.iter().zip(&indices) {
        sample.normalize_into(flips.is_some_and(|key| key.uniform(index) < 0.5), &mut values);
    }
    Ok(Batch {
        rows: values,
        shape,
        labels: samples.iter().map(|s| s.label.map_or(NULL_CLASS, i64::from)).collect(),
        captions: samples.into_iter().map(|s| s.caption).collect(),
        indices,
        source: rows.iter().map(|&row| row as u64).collect(),
    })
}

/// The samples at `rows` as one batch, in that order and without flips: for fixed validation batches and reference sets.
///
/// # Errors
/// A row beyond the data set, or what reading a sample may say.
pub fn gather(dataset: &dyn Dataset, rows: &[usize]) -> Result<Batch> {
    if let Some(row) = rows.iter().find(|&&row| row >= dataset.len()) {
        let what = format!("sample {row} asked of {}, which has {}", dataset.name(), dataset.len());
        return Err(DataError::config("limit", what, "ask for fewer samples"));
    }
    batch(dataset, Positions { indices: rows.iter().map(|&r| r as u64).collect(), rows: rows.to_vec() }, None)
}
