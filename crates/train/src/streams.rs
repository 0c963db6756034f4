//! Training samples from data sets and pair stores: the loaders of `data` as a [`Source`].

use crate::TrainError;
use crate::source::{Batch, Source};
use base::{Key, RandomStream};
use data::pairs::{PairBatch, PairLoader, PairStore};
use data::{DataError, Dataset, Loader, LoaderConfig};
use std::sync::Arc;

/// Samples of a data set; noise is drawn by counter.
pub struct SampleSource {
    dataset: Arc<dyn Dataset>,
    config: LoaderConfig,
    loader: Option<Loader>,
}

impl SampleSource {
    /// Streams `dataset`; `config.batch` is [`TrainConfig::micro_batch`](crate::TrainConfig::micro_batch).
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig) -> Self {
        Self { dataset, config, loader: None }
    }
}

/// Samples of one data set beside samples of another, for flows from the one to the other. Nothing pairs them: each set is
/// visited in an order of its own.
pub struct TransferSource {
    start: SampleSource,
    data: SampleSource,
}

impl TransferSource {
    /// Streams from `start` (t = 0) to `data` (t = 1); the configurations say batch, seed and flips of each. Both may have the
    /// same seed: the order of `start` comes from another stream of it.
    pub fn new(start: (Arc<dyn Dataset>, LoaderConfig), data: (Arc<dyn Dataset>, LoaderConfig)) -> Self {
        let config = LoaderConfig { seed: apart(start.1.seed), ..start.1 };
        Self { start: SampleSource::new(start.0, config), data: SampleSource::new(data.0, data.1) }
    }
}

/// The seed of a source's order beside that of its data: with the same one, sets of equal length would be visited in the same
/// order, which pairs every sample with its counterpart.
fn apart(seed: u64) -> u64 {
    Key::of(seed, RandomStream::SourceOrder).bits(0)
}

/// Stored pairs of a teacher.
pub struct PairSource {
    store: Arc<PairStore>,
    config: LoaderConfig,
    loader: Option<PairLoader>,
}

impl PairSource {
    /// Streams `store`; `config.batch` is [`TrainConfig::micro_batch`](crate::TrainConfig::micro_batch).
    pub fn new(store: Arc<PairStore>, config: LoaderConfig) -> Self {
        Self { store, config, loader: None }
    }
}

fn failed(error: DataError) -> TrainError {
    TrainError::Source(error.to_string())
}

fn ended() -> TrainError {
    TrainError::Source("the stream of samples ended; training needs one without `passes`".to_string())
}

/// Content and order: what the cursor of a checkpoint refers to.
fn identity(content: &str, config: &LoaderConfig) -> String {
    let order = if config.shuffle { format!("shuffled by seed {}", config.seed) } else { "in order".to_string() };
    format!("{content}, {order}{}", if config.flip { ", flipped" } else { "" })
}

/// Whether two fingerprints of sources mean the same samples in the same order. What a data set is called is no part of that: a
/// folder may have moved, or be spelled in another way.
pub(crate) fn same(a: &str, b: &str) -> bool {
    fn content(fingerprint: &str) -> Vec<&str> {
        let is_digest = |word: &str| {
            word.strip_suffix(',').is_some_and(|word| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let (mut kept, mut inside) = (Vec::new(), false);
        for word in fingerprint.split(' ') {
            inside = is_digest(word) || inside && word != "to";
            kept.extend(inside.then_some(word));
        }
        kept
    }
    let (found, wanted) = (content(a), content(b));
    if found.is_empty() || wanted.is_empty() { a == b } else { found == wanted }
}

impl Source for SampleSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.loader = Some(Loader::new(self.dataset.clone(), &self.config, images).map_err(failed)?);
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        if self.loader.is_none() {
            self.seek(0)?;
        }
        let batch = self.loader.as_mut().and_then(Loader::next).ok_or_else(ended)?;
        Ok(batch.map_err(failed)?.into())
    }

    fn fingerprint(&self) -> String {
        identity(&format!("{} {}", self.dataset.name(), self.dataset.fingerprint()), &self.config)
    }
}

impl Source for TransferSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.start.seek(images)?;
        self.data.seek(images)
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let (start, batch) = (self.start.next()?, self.data.next()?);
        if start.shape != batch.shape {
            let (from, to) = (start.shape, batch.shape);
            return Err(TrainError::Source(format!("the source has samples of shape {from}, the data of {to}")));
        }
        Ok(Batch { x0: Some(start.x1), ..batch })
    }

    fn fingerprint(&self) -> String {
        format!("from {} to {}", self.start.fingerprint(), self.data.fingerprint())
    }
}

impl Source for PairSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.loader = Some(PairLoader::new(self.store.clone(), &self.config, images).map_err(failed)?);
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        if self.loader.is_none() {
            self.seek(0)?;
        }
        let batch = self.loader.as_mut().and_then(PairLoader::next).ok_or_else(ended)?;
        Ok(batch.map_err(failed)?.into())
    }

    fn fingerprint(&self) -> String {
        identity(&format!("pairs {}", self.store.fingerprint()), &self.config)
    }
}

impl From<data::Batch> for Batch {
    fn from(batch: data::Batch) -> Self {
        Self {
            classes: batch.labels,
            captions: batch.captions,
            places: batch.source,
            ..Self::new(batch.rows, batch.shape, batch.indices)
        }
    }
}

impl From<PairBatch> for Batch {
    fn from(batch: PairBatch) -> Self {
        Self {
            x0: Some(batch.x0),
            classes: batch.labels,
            captions: batch.captions,
            places: batch.index,
            spans: batch.spans,
            ..Self::new(batch.x1, batch.shape, batch.indices)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::pairs::{FORMAT, PairMeta, PairRecord, PairWriter};
    use data::{InMemory, Sample, Values};

    fn dataset() -> Arc<dyn Dataset> {
        let sample = |i: u8| Sample {
            values: Values::Pixels(vec![i; 4]),
            shape: [1, 2, 2].into(),
            label: Some(u32::from(i % 3)),
            caption: None,
        };
        let names = ["a", "b", "c"].map(str::to_string).to_vec();
        Arc::new(InMemory::new("tiny", [1, 2, 2], names, (0..10).map(sample).collect()).unwrap())
    }

    fn config() -> LoaderConfig {
        LoaderConfig { batch: 4, seed: 7, ..LoaderConfig::default() }
    }

    #[test]
    fn a_stream_continues_where_a_cursor_says() {
        let mut whole = SampleSource::new(dataset(), config());
        let batches: Vec<Batch> = (0..6).map(|_| whole.next().unwrap()).collect();
        assert_eq!(batches[5].indices, [20, 21, 22, 23]);
        let mut resumed = SampleSource::new(dataset(), config());
        resumed.seek(12).unwrap();
        assert_eq!(resumed.next().unwrap(), batches[3]);
        // What a value says, its class and its place agree.
        for (row, place) in batches[2].places.iter().enumerate() {
            assert_eq!(batches[2].x1[4 * row], data::normalize(*place as u8));
            assert_eq!(batches[2].classes[row], *place as i64 % 3);
        }
    }

    /// Mutant: one seed for both orders, which pairs every sample with itself.
    #[test]
    fn two_sets_of_one_length_are_never_visited_in_step_and_resume() {
        let make = || TransferSource::new((dataset(), config()), (dataset(), config()));
        let mut whole = make();
        let batches: Vec<Batch> = (0..50).map(|_| whole.next().unwrap()).collect();
        // Values name their sample; 200 independent encounters of 10 by 10 meet their twin 20 times, give or take 4.
        let twins = batches.iter().flat_map(|b| b.x0.as_ref().unwrap().iter().zip(&b.x1)).filter(|(a, b)| a == b);
        let twins = twins.count() / 4;
        assert!((4..=40).contains(&twins), "{twins}");
        let mut resumed = make();
        resumed.seek(12).unwrap();
        assert_eq!(resumed.next().unwrap(), batches[3]);
        assert_ne!(whole.fingerprint(), SampleSource::new(dataset(), config()).fingerprint());
    }

    #[test]
    fn another_order_is_another_fingerprint() {
        let of = |config: LoaderConfig| SampleSource::new(dataset(), config).fingerprint();
        let all = [
            of(config()),
            of(LoaderConfig { seed: 8, ..config() }),
            of(LoaderConfig { shuffle: false, ..config() }),
            of(LoaderConfig { flip: true, ..config() }),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{all:?}");
        }
        // How many are read at once is no part of the order.
        assert_eq!(all[0], of(LoaderConfig { batch: 2, prefetch: 1, ..config() }));
    }

    #[test]
    fn the_name_of_a_set_is_no_part_of_what_a_run_resumes_on() {
        let of = |name: &str, digest: &str, seed: u64| format!("{name} {digest}, shuffled by seed {seed}");
        let (a, b) = ("3c80626be8d2e207", "7efab646226c3e09");
        assert!(same(&of("case", a, 1), &of("/home/me/my case to keep/", a, 1)));
        assert!(!same(&of("case", a, 1), &of("case", b, 1)) && !same(&of("case", a, 1), &of("case", a, 2)));
        let both = |x: &str, y: &str| format!("from {} to {}", of(x, a, 1), of(y, b, 2));
        assert!(same(&both("x", "y"), &both("./x", "z/y")));
        assert!(!same(&both("x", "y"), &of("y", b, 2)));
        assert!(same("points", "points") && !same("points", "moons"));
    }

    #[test]
    fn a_batch_larger_than_the_data_is_an_error() {
        let error = SampleSource::new(dataset(), LoaderConfig { batch: 11, ..config() }).seek(0).unwrap_err();
        assert!(error.to_string().contains("11"), "{error}");
    }

    #[test]
    fn pairs_keep_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let meta = PairMeta {
            format: FORMAT,
            teacher: "t".into(),
            path: "linear".into(),
            parameterization: "velocity".into(),
            solver: "euler".into(),
            schedule: "uniform".into(),
            steps: 1,
            precision: "f32".into(),
            guidance: 1.0,
            seed: 1,
            shape: [1, 1, 2].into(),
            classes: 0,
            data: String::new(),
            times: vec![0.0, 1.0],
            start: "noise".into(),
            inverted: 0.0,
            captions: false,
        };
        let mut writer = PairWriter::open(folder.path(), &meta, 0..8).unwrap();
        for index in 0..8u64 {
            let v = index as f32;
            writer
                .push(PairRecord { index, x0: &[v, v + 0.5], x1: &[-v, -v - 0.5], class: -1, caption: None })
                .unwrap();
        }
        writer.finish().unwrap();
        let store = Arc::new(PairStore::open(folder.path()).unwrap());
        let mut source = PairSource::new(store, config());
        source.seek(8).unwrap();
        let batch = source.next().unwrap();
        assert_eq!(batch.indices, [8, 9, 10, 11], "the second epoch has counters of its own");
        let x0 = batch.x0.unwrap();
        for (row, place) in batch.places.iter().enumerate() {
            let v = *place as f32;
            assert_eq!(
                (&x0[2 * row..2 * row + 2], &batch.x1[2 * row..2 * row + 2]),
                (&[v, v + 0.5][..], &[-v, -v - 0.5][..])
            );
        }
    }
}
