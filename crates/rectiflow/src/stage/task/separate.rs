//! From a mixture of sounds to one of them: mixtures made on the fly, and the held-out ones that sheets draw.

use super::{Opened, Survey, Trains};
use crate::{
    Context, Error, Recipe,
    asked::{Classes, Maps},
    host::host,
    model::Subject,
    recipe::Separate,
    sheets::SHEET,
    sound::{Analysis, MixtureSource, held_out, libraries, place},
    stage::{DataRecord, Stream},
    words::{Captioned, Words},
};
use base::Condition;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use train::{Batch, Source};

impl Trains for Separate {
    fn open(&self, recipe: &Recipe, _: &Path, _: &mut Context) -> Result<Opened, Error> {
        let words = Words::of(recipe)?;
        let (train, test, left_out) = libraries(&recipe.data, self)?;
        let (name, labels, shape) = (place(&recipe.data)?, train.labels().to_vec(), Analysis::new(self)?.shape());
        let mut data = DataRecord::of_sounds(&name, &train, shape, &left_out);
        let watched = if recipe.train.validate_every > 0 { recipe.train.validation_samples } else { 0 };
        let shown = if recipe.train.sample_every > 0 { SHEET as usize } else { 0 };
        data.held_out = test.clips().len();
        let held = held_out(test, self, watched.max(shown))?;
        let source = MixtureSource::new(train, self, recipe.seed, recipe.train.micro_batch())?;
        data.fingerprint = source.fingerprint();
        let source = Captioned::new(Box::new(source), words.as_ref());
        let asked = held.as_ref().map_or(Ok(Classes::None), |held| asked(held, words.is_some()))?;
        let validation = match held {
            Some(held) if watched > 0 => Some(Captioned::read(first(held, watched), words.as_ref())?),
            _ => None,
        };
        let classes = if words.is_some() { Vec::new() } else { labels };
        let subject = Subject { stage: "base".into(), shape, classes, data: name, codec: None };
        let stream = Stream { source, validation, data };
        Ok(Opened { subject, stream, premetric: None, gauge: None, words, codec: None, asked })
    }

    fn survey(&self, recipe: &Recipe, _: &mut Context) -> Result<Survey, Error> {
        let (library, ..) = libraries(&recipe.data, self)?;
        let (shape, classes) = (Analysis::new(self)?.shape(), recipe.rows(library.labels().len()));
        Ok(Survey { samples: library.clips().len(), shape, classes, pictures: None })
    }

    fn facts(&self, recipe: &Recipe) -> Result<Value, Error> {
        let (library, test, left_out) = libraries(&recipe.data, self)?;
        Ok(json!({
            "kind": "sounds to mix",
            "recordings": library.clips().len(),
            "held_out": test.clips().len(),
            "labels": library.labels().join(", "),
            "left_out": left_out.join("\n"),
        }))
    }
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
