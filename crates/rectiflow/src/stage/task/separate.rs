//! From a mixture of sounds to one of them: mixtures made on the fly, and the held-out ones that sheets draw.

use super::{Opened, Survey, Trains};
use crate::{
    Context, Error, Recipe,
    asked::{Classes, Maps},
    codec::{Codec, Encoding, encode_batch},
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
    fn open(&self, recipe: &Recipe, folder: &Path, context: &mut Context) -> Result<Opened, Error> {
        let words = Words::of(recipe)?;
        let codec = codec_of(self, recipe, Some(folder), context)?;
        let (train, test, left_out) = libraries(&recipe.data, self)?;
        let (name, labels) = (place(&recipe.data)?, train.labels().to_vec());
        let shape = codec.as_ref().map_or(Analysis::new(self)?.shape(), |codec| codec.latent);
        let device = context.device.device.clone();
        let mut data = DataRecord::of_sounds(&name, &train, shape, &left_out);
        let watched = if recipe.train.validate_every > 0 { recipe.train.validation_samples } else { 0 };
        let shown = if recipe.train.sample_every > 0 { SHEET as usize } else { 0 };
        data.held_out = test.clips().len();
        let held = held_out(test, self, watched.max(shown))?;
        let held = match (held, &codec) {
            (Some(held), Some(codec)) => Some(encode_batch(held, codec, &device)?),
            (held, _) => held,
        };
        let share = context.share();
        let batch = recipe.train.share(share.of).map_err(Error::Usage)?;
        let source = MixtureSource::new(train, self, recipe.seed, batch)?.shared(share);
        let source: Box<dyn Source> = match &codec {
            None => Box::new(source),
            Some(codec) => Box::new(Encoding { source, codec: codec.clone(), device }),
        };
        data.fingerprint = source.fingerprint();
        let source = Captioned::new(source, words.as_ref());
        let asked = held.as_ref().map_or(Ok(Classes::None), |held| asked(held, words.is_some()))?;
        let validation = match held {
            Some(held) if watched > 0 => Some(Captioned::read(first(held, watched), words.as_ref())?),
            _ => None,
        };
        let classes = if words.is_some() { Vec::new() } else { labels };
        let identity = codec.as_ref().map(|codec| codec.identity.clone());
        let subject = Subject { stage: "base".into(), shape, classes, data: name, codec: identity, encoder: None };
        let stream = Stream { source, validation, data };
        Ok(Opened { subject, stream, premetric: None, gauge: None, rendering: None, words, codec, asked })
    }

    fn survey(&self, recipe: &Recipe, context: &mut Context) -> Result<Survey, Error> {
        let codec = codec_of(self, recipe, None, context)?;
        let (library, ..) = libraries(&recipe.data, self)?;
        let shape = codec.map_or(Analysis::new(self)?.shape(), |codec| codec.latent);
        let classes = recipe.rows(library.labels().len());
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

/// The codec that `task` names, which must hear as it does.
fn codec_of(
    task: &Separate,
    recipe: &Recipe,
    folder: Option<&Path>,
    context: &Context,
) -> Result<Option<Arc<Codec>>, Error> {
    let Some(codec) = Codec::of(recipe, folder, &context.device)? else { return Ok(None) };
    let place = codec.file.display();
    let Some(theirs) = codec.recipe.codec.heard() else {
        return Err(Error::Usage(format!(
            "task.codec {place}: it is no codec of sound; train one of `type = \"mel\"` (recipes/sound/codec.toml)"
        )));
    };
    let frames = |of: &Separate| of.frames().map(|frames| frames.to_string()).unwrap_or_default();
    let keys = [
        ("task.mel", format!("{:?}", task.mel), format!("{:?}", theirs.mel)),
        ("task.centre", task.centre.to_string(), theirs.centre.to_string()),
        ("task.spread", task.spread.to_string(), theirs.spread.to_string()),
        ("columns of task.mixture.length", frames(task), frames(&theirs)),
        ("task.held_out", task.held_out.to_string(), theirs.held_out.to_string()),
    ];
    if let Some((key, ours, theirs)) = keys.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        return Err(Error::Usage(format!(
            "{key} is {ours}, and the codec {place} was trained with {theirs}; say the same"
        )));
    }
    let (reads, channels) = (recipe.network.condition().dense, codec.latent.lengths()[0]);
    match reads == channels {
        true => Ok(Some(codec)),
        false => Err(Error::Usage(format!(
            "network.condition.dense is {reads}, and a mixture's latent under {place} has {channels} channels; set it to {channels}"
        ))),
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
