//! Mixtures as a training stream: sample `i` is mixture `i` of the run, whatever the batch.

use super::{Analysis, LibraryConfig, Part, instruments, library, place};
use crate::{Error, recipe::Separate};
use base::{Condition, Dense, Device, Key, Purpose, Tensor, TensorData};
use data::{
    DataConfig, Share,
    fetch::{cache_dir, registry},
    mixture::{Library, Mixture, MixtureConfig, mix},
};
use rayon::prelude::*;
use std::sync::Arc;
use train::{Batch, Source, TrainError};

/// The recordings of `data` that are trained on, those kept apart, and what was left out of both.
///
/// # Errors
/// No recordings there, fewer than two labels, labels with too few recordings to keep one apart.
pub fn libraries(data: &DataConfig, config: &Separate) -> Result<(Library, Library, Vec<String>), Error> {
    let what = place(data)?;
    let (rate, held_out) = (config.mel.rate, config.held_out);
    let bank = registry::find(&what).filter(|set| data.path.is_none() && set.contents.iter().all(|c| !c.is_folder()));
    if let Some(set) = bank.filter(|set| set.kind == registry::Kind::Sounds) {
        let cache = cache_dir()?;
        let dir = registry::folder(&what, &cache)?;
        if !data::fetch::is_fetched(set, &cache) {
            return Err(data::DataError::NotFetched { name: what, dir }.into());
        }
        let Some(file) = set.contents.first().map(|content| dir.join(content.file)) else {
            return Err(Error::Usage(format!("`{what}` has no bank")));
        };
        let mut labels: Vec<String> = data.classes.iter().map(|label| label.to_lowercase()).collect();
        labels.sort();
        labels.dedup();
        let of = |part| instruments::notes(&file, &labels, rate, held_out, part);
        return Ok((of(Part::Train)?, of(Part::Test)?, Vec::new()));
    }
    let of = |part| library(&LibraryConfig { what: &what, rate, labels: &data.classes, held_out, part });
    let (train, left_out) = of(Part::Train)?;
    // What is trained on is enough for mixtures, so what is wrong with the rest is that it is too little.
    let (test, _) = of(Part::Test).map_err(|_| {
        Error::Usage(format!(
            "{what}: one recording in {held_out} of a label is kept apart to measure with (task.held_out), and fewer than two labels \
             have as many; add recordings, or lower task.held_out, to 2 at least"
        ))
    })?;
    Ok((train, test, left_out))
}

/// Mixtures of a library without end.
pub struct MixtureSource {
    library: Arc<Library>,
    config: MixtureConfig,
    analysis: Analysis,
    key: Key,
    batch: usize,
    next: u64,
    /// Which batches are this one's.
    share: Share,
}

impl MixtureSource {
    /// Mixtures of `library` under `seed`, `batch` at a time.
    ///
    /// # Errors
    /// More sounds to a mixture than the library has labels.
    pub fn new(library: Library, config: &Separate, seed: u64, batch: usize) -> Result<Self, Error> {
        let (key, mixture) = (Key::new(seed, Purpose::Order), config.mixture.clone());
        mix(&library, &mixture, key, 0).map_err(|error| match error {
            data::DataError::Config { key, what, remedy } => Error::Usage(format!("task.{key}: {what}; {remedy}")),
            other => other.into(),
        })?;
        let analysis = Analysis::new(config)?;
        Ok(Self { library: Arc::new(library), config: mixture, analysis, key, batch, next: 0, share: Share::default() })
    }

    /// The same, shared with others: this one makes every so-many-th batch.
    pub fn shared(self, share: Share) -> Self {
        Self { next: share.first(0, self.batch), share, ..self }
    }

    /// Mixtures of these numbers.
    ///
    /// # Errors
    /// Mixtures too short for a picture.
    pub(crate) fn at(&self, numbers: Vec<u64>) -> Result<Batch, Error> {
        self.batch_of(numbers)
    }

    /// Samples `indices`.
    fn batch_of(&self, indices: Vec<u64>) -> Result<Batch, Error> {
        let one = |&index: &u64| -> Result<(Mixture, Vec<f32>, Vec<f32>), Error> {
            let mixture = mix(&self.library, &self.config, self.key, index)?;
            let (target, heard) = (self.analysis.hear(&mixture.target)?, self.analysis.hear(&mixture.mixture)?);
            Ok((mixture, target, heard))
        };
        let made = indices.par_iter().map(one).collect::<Result<Vec<_>, Error>>()?;
        let shape = self.analysis.shape();
        let mut batch = Batch::new(Vec::with_capacity(made.len() * shape.numel()), shape, indices);
        let mut heard = Vec::with_capacity(made.len() * shape.numel());
        for (mixture, target, map) in made {
            batch.x1.extend(target);
            heard.extend(map);
            batch.classes.push(mixture.label as i64);
            batch.captions.push(Some(mixture.query));
        }
        let rows = Tensor::from_data(TensorData::new(heard, [batch.len(), shape.numel()]), &Device::flex());
        batch.condition = Condition { dense: Some(Dense { rows, shape }), ..Condition::none() };
        Ok(batch)
    }
}

impl Source for MixtureSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = self.share.first(images, self.batch);
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64 + self.share.between(self.batch);
        self.batch_of(indices).map_err(|error| TrainError::Source(error.to_string()))
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.library, &self.config, self.key)
    }
}

/// What a run resumes on only: recordings, mixing, order.
pub(super) fn fingerprint(library: &Library, config: &MixtureConfig, key: Key) -> String {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |word: u64| sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
    for clip in library.clips() {
        take(clip.label as u64);
        clip.samples.iter().for_each(|v| take(u64::from(v.to_bits())));
    }
    library.labels().iter().flat_map(|label| label.bytes()).for_each(|b| take(u64::from(b)));
    said(config).bytes().for_each(|b| take(u64::from(b)));
    format!("mixtures {sum:016x}, order {:016x}", key.bits(0))
}

/// `config` in words. A share of 0 of sounds that begin is left out, as before there was that key: such runs are resumed.
fn said(config: &MixtureConfig) -> String {
    format!("{config:?}").replacen("onset: 0.0, ", "", 1)
}

/// The first `count` mixtures of the recordings kept apart, which never change with the run: what validation and sheets see.
///
/// # Errors
/// As [`MixtureSource::new`].
pub fn held_out(library: Library, config: &Separate, count: usize) -> Result<Option<Batch>, Error> {
    if count == 0 {
        return Ok(None);
    }
    let source = MixtureSource { key: Key::new(0, Purpose::Probe), ..MixtureSource::new(library, config, 0, count)? };
    source.batch_of((0..count as u64).collect()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::mixture::Clip;

    fn library() -> Library {
        let tone = |k: usize| (0..6000).map(|i| 0.5 * (i as f32 * 0.03 * (k + 1) as f32).sin()).collect();
        let clip = |label| Clip { samples: tone(label), label, name: label.to_string() };
        let labels = ["low", "middle", "high"].map(str::to_owned).to_vec();
        Library::new("tones".as_ref(), labels, (0..3).map(clip).collect()).unwrap()
    }

    /// Mutants: target and mixture exchanged, the map of a neighbour, a stream that depends on the size of its batches.
    #[test]
    fn a_batch_is_targets_beside_their_mixtures() {
        let config = Separate::default();
        let source = |batch| MixtureSource::new(library(), &config, 7, batch).unwrap();
        let mut four = source(4);
        let batch = four.next().unwrap();
        let analysis = Analysis::new(&config).unwrap();
        let size = analysis.shape().numel();
        let maps: Vec<f32> = batch.condition.dense.clone().unwrap().rows.into_data().try_to_vec().unwrap();
        for i in 0..4 {
            let mixture = mix(&library(), &config.mixture, Key::new(7, Purpose::Order), i as u64).unwrap();
            assert_eq!(batch.x1[i * size..(i + 1) * size], analysis.hear(&mixture.target).unwrap());
            assert_eq!(maps[i * size..(i + 1) * size], analysis.hear(&mixture.mixture).unwrap());
            assert_eq!(batch.classes[i], mixture.label as i64);
            assert_eq!(batch.captions[i].as_deref(), Some(mixture.query.as_str()));
        }
        let mut two = source(2);
        two.seek(2).unwrap();
        assert_eq!(two.next().unwrap().x1, batch.x1[2 * size..]);
        assert_eq!(four.fingerprint(), two.fingerprint());
        assert_ne!(four.fingerprint(), MixtureSource::new(library(), &config, 8, 4).unwrap().fingerprint());
        let mut other = config.clone();
        other.mixture.snr = [-5.0, 4.0];
        assert_ne!(four.fingerprint(), MixtureSource::new(library(), &other, 7, 4).unwrap().fingerprint());
        // Of the time before that key; mutant: the share left out whatever it is.
        let old = said(&MixtureConfig { onset: 0.0, ..MixtureConfig::default() });
        assert!(old.contains("speed: [1.0, 1.0], absent: 0.05") && !old.contains("onset"), "{old}");
        assert!(said(&config.mixture).contains("onset: 0.4"));
        // Held-out mixtures are others than those of any seed.
        let held = held_out(library(), &config, 4).unwrap().unwrap();
        assert_ne!(held.x1, batch.x1);
    }
}
