//! What a flow learns from: batches of a data set, those of a second one to start from beside them, and what validation watches.

use super::DataRecord;
use crate::{
    Error, Recipe, Start,
    codec::{Codec, through},
    context::Context,
    sight::{Pictured, Sight, Views},
    words::{Captioned, Words},
};
use ::train::{Batch, SampleSource, Source, TransferSource};
use data::{DataConfig, Dataset, Loader, LoaderConfig, Split};
use std::sync::Arc;

/// What a stage learns from.
pub(crate) struct Stream {
    pub source: Box<dyn Source>,
    /// What validation watches; `None` where it is off or nothing is kept apart.
    pub validation: Option<Batch>,
    pub data: DataRecord,
}

/// How the samples of `recipe` are read, by this process of those that share its batches.
///
/// # Errors
/// A batch that they cannot share equally.
pub(crate) fn order(recipe: &Recipe, context: &Context) -> Result<LoaderConfig, Error> {
    let (share, flip) = (context.share(), recipe.data.flip);
    let batch = recipe.train.share(share.of).map_err(Error::Usage)?;
    Ok(LoaderConfig { batch, flip, seed: recipe.seed, share, ..LoaderConfig::default() })
}

/// The batches of `dataset`, those of a second data set to start from beside them where `start` is one, pictures of its shapes as `sight` sees
/// them where there is one, and what validation watches.
///
/// # Errors
/// A batch larger than the data, before anything is written.
pub(crate) fn stream(
    recipe: &Recipe,
    dataset: Arc<dyn Dataset>,
    start: &Start,
    words: Option<&Arc<Words>>,
    codec: Option<&Codec>,
    sight: Option<Arc<Sight>>,
    context: &mut Context,
) -> Result<Stream, Error> {
    let loader = order(recipe, context)?;
    let shape = dataset.shape();
    Loader::new(dataset.clone(), &loader, 0)?;
    let mut data = DataRecord::of(&*dataset);
    if let Some(from) = start.dataset() {
        data.not_used(from.left_out());
    }
    let views = |config: &DataConfig, set: &dyn Dataset, context: &mut Context| {
        sight.as_ref().map(|sight| Views::of((config, set), sight, recipe.seed, context)).transpose()
    };
    let own = views(&recipe.data, &*dataset, context)?;
    let source: Box<dyn Source> = match start {
        // Points of a file are for sampling; training draws its own.
        Start::Noise { .. } | Start::Given { .. } => Box::new(SampleSource::new(dataset, loader)),
        Start::Data { dataset: from, flip } => {
            let order = LoaderConfig { flip: *flip, ..loader.clone() };
            Loader::new(from.clone(), &order, 0)?;
            Box::new(TransferSource::new((from.clone(), order), (dataset, loader)))
        }
    };
    let mut seen = None;
    let validation = match recipe.train.validate_every {
        0 => None,
        _ => {
            let starts = Start::held_out(recipe, shape)?;
            let test = match codec {
                Some(codec) => codec.recipe.codec.open_test(&recipe.data, context)?,
                None => ::data::open_test(&recipe.data)?,
            };
            match test {
                None => None,
                Some(::data::TestPart { set: test, .. }) => {
                    data.held_out = test.len();
                    data.not_used(test.left_out());
                    let test = through(test, codec, context)?;
                    seen = views(&recipe.data.with_split(Split::Test), &*test, context)?;
                    held_out(&test, starts.dataset(), recipe.train.validation_samples)?
                }
            }
        }
    };
    data.unwatched = recipe.train.validate_every > 0 && validation.is_none();
    let validation = validation.map(|batch| Captioned::read(batch, words)).transpose()?;
    let validation = match (validation, seen) {
        (Some(batch), Some(views)) => Some(views.beside(batch)?),
        (validation, _) => validation,
    };
    let source = Captioned::new(source, words);
    let source: Box<dyn Source> = match own {
        Some(views) => Box::new(Pictured { source, views, pieces: None }),
        None => source,
    };
    Ok(Stream { source, validation, data })
}

/// The first `count` samples in order, beside samples of `start` in an order of their own: what validation watches. `None`
/// where there are none.
fn held_out(
    dataset: &Arc<dyn Dataset>,
    start: Option<&Arc<dyn Dataset>>,
    count: usize,
) -> Result<Option<Batch>, Error> {
    let count = start.map_or(count, |start| count.min(start.len())).min(dataset.len());
    if count == 0 {
        return Ok(None);
    }
    let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(count), 0)?;
    let Some(batch) = loader.next().transpose()?.map(Batch::from) else { return Ok(None) };
    let Some(start) = start else { return Ok(Some(batch)) };
    let shuffled = LoaderConfig { shuffle: true, ..LoaderConfig::once(count) };
    let from = Loader::new(start.clone(), &shuffled, 0)?.next().transpose()?;
    Ok(from.map(|from| Batch { x0: Some(from.rows), ..batch }))
}
