//! Mixtures by number, as the flow of a separator sees them (through its codec, where it has one): what stands beside a stored pair. A pair
//! keeps its two ends alone; the mixture that it was heard in is a function of the pairs' seed and its number, and is made again.

use super::{Codec, encode_batch};
use crate::{
    Error, Recipe,
    recipe::TaskConfig,
    sound::{MixtureSource, Part, libraries},
};
use base::{Condition, Device};
use std::sync::Arc;
use train::{Batch, Source, TrainError};

/// The mixtures of one seed.
pub(crate) struct Mixtures {
    source: MixtureSource,
    codec: Option<Arc<Codec>>,
    device: Device,
}

impl Mixtures {
    /// Those of the recordings of `part` that `recipe` separates; `None` where it separates nothing.
    ///
    /// # Errors
    /// Recordings that are not here any more; queries in words, of which a pair does not know which was drawn.
    pub fn of(
        recipe: &Recipe,
        codec: Option<Arc<Codec>>,
        part: Part,
        seed: u64,
        device: &Device,
    ) -> Result<Option<Self>, Error> {
        let TaskConfig::Separate(task) = &recipe.task else { return Ok(None) };
        if task.text.is_some() {
            return Err(Error::Usage(
                "pairs of a separator that reads words are not made; train it with labels (leave `task.text` out)"
                    .into(),
            ));
        }
        let (train, test, _) = libraries(&recipe.data, task)?;
        let library = if part == Part::Train { train } else { test };
        let source = MixtureSource::new(library, task, seed, 1)?;
        Ok(Some(Self { source, codec, device: device.clone() }))
    }

    /// Targets, labels and what stands beside, of these numbers.
    ///
    /// # Errors
    /// Latents that cannot be read back from their device.
    pub fn at(&self, numbers: &[u64]) -> Result<Batch, Error> {
        let batch = self.source.at(numbers.to_vec())?;
        match &self.codec {
            None => Ok(batch),
            Some(codec) => encode_batch(batch, codec, &self.device),
        }
    }
}

/// Stored pairs beside the mixtures that they were heard in.
pub(crate) struct Beside<S> {
    pub pairs: S,
    pub mixtures: Mixtures,
    /// Pairs to a trajectory.
    pub pieces: u64,
}

impl<S: Source> Source for Beside<S> {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.pairs.seek(images)
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let batch = self.pairs.next()?;
        let numbers: Vec<u64> = batch.places.iter().map(|pair| pair / self.pieces.max(1)).collect();
        let heard = self.mixtures.at(&numbers).map_err(|error| TrainError::Source(error.to_string()))?;
        Ok(Batch { condition: Condition { dense: heard.condition.dense, ..batch.condition }, ..batch })
    }

    fn fingerprint(&self) -> String {
        format!("{} in {}", self.pairs.fingerprint(), self.mixtures.source.fingerprint())
    }
}
