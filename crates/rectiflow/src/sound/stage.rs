//! What the training of a separator begins with: its subject, its streams, and the held-out mixtures that sheets draw.

use super::{Analysis, MixtureSource, SoundConfig, held_out, libraries};
use crate::{
    Error, Recipe,
    model::Subject,
    sampling::{Classes, Maps, host},
    verbs::{data::DataRecord, train::Stream},
    words::{Captioned, Words},
};
use base::Condition;
use std::sync::Arc;
use train::{Batch, Source};

/// The stage that `recipe`, which has a `[sound]` table, trains; sheets show `sheet` mixtures.
///
/// # Errors
/// Recordings that cannot be read or mixed.
pub(crate) fn stage(
    recipe: &Recipe,
    words: Option<&Arc<Words>>,
    sheet: usize,
) -> Result<(Subject, Stream, Classes), Error> {
    let config = of(recipe)?;
    let (train, test, left_out) = libraries(&recipe.data, config)?;
    let (name, labels, shape) =
        (SoundConfig::place(&recipe.data)?, train.labels().to_vec(), Analysis::new(config)?.shape());
    let mut data = DataRecord::of_sounds(&name, &train, shape, &left_out);
    let watched = if recipe.train.validate_every > 0 { recipe.train.validation_samples } else { 0 };
    let shown = if recipe.train.sample_every > 0 { sheet } else { 0 };
    data.held_out = test.clips().len();
    let held = held_out(test, config, watched.max(shown))?;
    let source = MixtureSource::new(train, config, recipe.seed, recipe.train.micro_batch())?;
    data.fingerprint = source.fingerprint();
    let source = Captioned::new(Box::new(source), words);
    let asked = held.as_ref().map_or(Ok(Classes::None), |held| asked(held, words.is_some()))?;
    let validation = match held {
        Some(held) if watched > 0 => Some(Captioned::read(first(held, watched), words)?),
        _ => None,
    };
    let classes = if words.is_some() { Vec::new() } else { labels };
    let subject = Subject { stage: "base".into(), shape, classes, data: name, codec: None };
    Ok((subject, Stream { source, validation, data }, asked))
}

/// The `[sound]` table of a recipe that has one.
///
/// # Errors
/// [`Error::Usage`] where there is none.
pub(crate) fn of(recipe: &Recipe) -> Result<&SoundConfig, Error> {
    let none = || Error::Usage(format!("recipe `{}` mixes no sounds: it has no `[sound]`", recipe.name));
    recipe.sound.as_ref().ok_or_else(none)
}

/// What the samples of `batch` are asked for, each beside its mixture.
fn asked(batch: &Batch, in_words: bool) -> Result<Classes, Error> {
    let asked = match in_words {
        true => Classes::prompts(batch.captions.iter().map(|caption| caption.clone().unwrap_or_default()).collect()),
        false => Classes::InTurn(batch.classes.clone()),
    };
    let Some(map) = batch.condition.dense.clone() else { return Ok(asked) };
    Ok(Classes::Beside(Box::new(asked), Arc::new(Maps { rows: host(map.rows)?, shape: map.shape })))
}

/// The first `count` samples of a batch of mixtures.
fn first(batch: Batch, count: usize) -> Batch {
    let count = count.min(batch.len());
    let mut batch = batch;
    batch.x1.truncate(count * batch.shape.numel());
    batch.classes.truncate(count);
    batch.captions.truncate(count);
    batch.indices.truncate(count);
    batch.places.truncate(count);
    Batch { condition: if count == 0 { Condition::none() } else { batch.condition.slice(0..count) }, ..batch }
}
