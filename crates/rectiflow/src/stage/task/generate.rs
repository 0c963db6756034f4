//! From noise to the data: a data set as it is, or its latents under a codec.

use super::{Opened, Survey, Trains};
use crate::{
    Context, Error, Recipe, Start,
    codec::{Codec, Renderer, gauge_of, raw, readable, through},
    facts,
    memory::Need,
    model::Subject,
    perceptual,
    recipe::Generate,
    sampling::Classes,
    sheets::SHEET,
    sight::Sight,
    stage::{order, stream},
    symmetry,
    words::{Words, captions, note_untold},
};
use data::{Dataset, Loader, Points, Split};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

impl Trains for Generate {
    fn open(&self, recipe: &Recipe, folder: &Path, context: &mut Context) -> Result<Opened, Error> {
        open(recipe, Some(folder), context)
    }

    fn survey(&self, recipe: &Recipe, context: &mut Context) -> Result<Survey, Error> {
        let found = survey(recipe, context)?;
        Ok(Survey { classes: recipe.rows(found.classes), ..found })
    }

    fn facts(&self, recipe: &Recipe) -> Result<Value, Error> {
        match &self.codec {
            None => facts::dataset(&recipe.data),
            Some(codec) => Ok(json!({ "read by the codec": codec.display().to_string() })),
        }
    }
}

/// The pictures of a recipe, or their latents, and where flows to them start.
pub(super) fn open(recipe: &Recipe, folder: Option<&Path>, context: &mut Context) -> Result<Opened, Error> {
    if let Some(points) = recipe.data.name.as_deref().and_then(Points::named) {
        let name = points.name();
        return Err(Error::Usage(format!("`{name}` is a point set in the plane: use `rectiflow toy --data {name}`")));
    }
    let codec = Codec::of(recipe, folder, &context.device)?;
    // Before shapes are rendered: windows that do not fit, weights that are not here.
    let renderer = Renderer::of(recipe, codec.as_ref(), &context.device)?;
    let samples = raw(&recipe.data, codec.as_deref(), context)?;
    let rendering = renderer.map(|renderer| renderer.beside(samples.clone()));
    // Where a released model lies beneath, `train` has looked at it all.
    if let Some(codec) = codec.as_ref().filter(|_| recipe.from.is_none()) {
        worth_encoding(recipe, &samples, codec, context)?;
    }
    let dataset = through(samples, codec.as_deref(), context)?;
    let start = Start::of(recipe, dataset.shape(), Split::Train)?;
    let subject = Subject::base(recipe, &*dataset, &start, codec.as_ref().map(|codec| &*codec.identity));
    symmetry::warn(recipe, &*dataset, context)?;
    let words = Words::of(recipe)?;
    let asked = match &words {
        None if recipe.task.picture().is_some() => Classes::None,
        Some(words) => {
            let captions = captions(&*dataset)?;
            note_untold(&*dataset, context);
            words.prepare(&captions, context)?;
            Classes::prompts(captions.into_iter().take(SHEET as usize).collect())
        }
        None => Classes::first(subject.classes.len()),
    };
    let sight = sight(recipe, context)?;
    let subject = Subject { encoder: sight.as_ref().and_then(|sight| sight.identity()).map(str::to_owned), ..subject };
    let stream = stream(recipe, dataset, &start, words.as_ref(), codec.as_deref(), sight, context)?;
    let premetric = perceptual::of(recipe, subject.shape, &context.device)?;
    let gauge = gauge_of(recipe, codec.as_ref(), &context.device)?;
    Ok(Opened { subject, stream, premetric, gauge, rendering, words, codec, asked })
}

/// What is refused of samples before a codec encodes them, which takes hours: batches larger than their number, captions that are not there, a
/// network that does not fit the memory.
fn worth_encoding(recipe: &Recipe, samples: &Arc<dyn Dataset>, codec: &Codec, context: &Context) -> Result<(), Error> {
    readable(&**samples, codec)?;
    Loader::new(samples.clone(), &order(recipe, context)?, 0)?;
    if recipe.task.text().is_some() {
        captions(&**samples)?;
    }
    match &*context.device.name {
        "cpu" => Need::of(recipe, codec.latent, samples.class_names().len())?.check(),
        _ => Ok(()),
    }
}

/// What reads the pictures that `recipe` shows beside its samples, if it shows any.
fn sight(recipe: &Recipe, context: &mut Context) -> Result<Option<Arc<Sight>>, Error> {
    let Some(picture) = recipe.task.picture() else { return Ok(None) };
    let tokens = recipe.network.condition().tokens;
    Ok(Some(Arc::new(Sight::open(picture, tokens, &mut |line| context.note(line))?)))
}

/// The pictures of a recipe and all their classes; refuses what its flows cannot start from.
pub(super) fn survey(recipe: &Recipe, context: &mut Context) -> Result<Survey, Error> {
    let codec = Codec::of(recipe, None, &context.device)?;
    let dataset = raw(&recipe.data, codec.as_deref(), context)?;
    let shape = codec.as_ref().map_or(dataset.shape(), |codec| codec.latent);
    Start::of(recipe, shape, Split::Train)?;
    Ok(Survey { samples: dataset.len(), shape, classes: dataset.class_names().len(), pictures: Some(dataset) })
}
