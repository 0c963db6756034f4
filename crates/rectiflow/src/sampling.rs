//! Drawing samples: from (seed, index, class) to images, the same whatever the batch size.

use crate::{
    Error, Model, Start,
    codec::Codec,
    context::{Context, Event},
    memory, pictures,
    pipeline::{End, Pipeline, along},
    recipe::SampleConfig,
    words::Words,
};
use base::{Condition, Dense, Device, Key, NULL_CLASS, Purpose, Shape, Tensor, TensorData};
use flow::{Brownian, Field};
use media::Images;
use methods::Labels;
use std::{ops::Range, sync::Arc, time::Instant};

/// Samples and what they cost.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The samples one after another, rows `[n ...]`.
    pub rows: Vec<f32>,
    /// What a row is.
    pub shape: Shape,
    /// The class each, `[n]`, was asked for; `NULL_CLASS` for none.
    pub classes: Vec<i64>,
    /// Evaluations of the field per sample (the largest, for an adaptive solver).
    pub nfe: usize,
    /// Seconds of wall clock.
    pub seconds: f64,
}

impl Drawn {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples as images.
    ///
    /// # Errors
    /// [`Error::Usage`] where they are none.
    pub fn images(&self) -> Result<Images, Error> {
        pictures::of(self.rows.clone(), self.len(), self.shape)
    }
}

/// What sample `i` is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Classes {
    /// No class.
    None,
    /// These in turn.
    InTurn(Vec<i64>),
    /// These prompts in turn.
    Prompts(Arc<Vec<String>>),
    /// One of these, beside a map: the mixture to hear it in.
    Beside(Box<Self>, Arc<Maps>),
}

/// Maps that stand beside samples, in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// One after another.
    pub rows: Vec<f32>,
    /// What a row is.
    pub shape: Shape,
}

impl Maps {
    /// Those of the samples `indices`.
    fn of(&self, indices: &[u64], device: &Device) -> Option<Dense> {
        let size = self.shape.numel();
        let count = (self.rows.len() / size) as u64;
        if count == 0 {
            return None;
        }
        let row = |index: &u64| self.rows[(index % count) as usize * size..][..size].iter().copied();
        let rows: Vec<f32> = indices.iter().flat_map(row).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [indices.len(), size]), device);
        Some(Dense { rows, shape: self.shape })
    }
}

/// Classes that a message names before it counts the rest.
const SHOWN: usize = 20;

/// The class called `word` among `names`: to the letter, else whatever the case where that leaves one only.
pub fn named(names: &[String], word: &str) -> Option<usize> {
    let exact = names.iter().position(|name| name == word);
    let mut alike = (0..names.len()).filter(|&at| names[at].to_lowercase() == word.to_lowercase());
    exact.or_else(|| alike.next().filter(|_| alike.next().is_none()))
}

/// `text` split at commas, but for those inside the names of classes: the longest name that fits is taken first.
fn listed<'a>(names: &[String], text: &'a str) -> Vec<&'a str> {
    let commas = |from: usize| text[from..].match_indices(',').map(move |(at, _)| from + at).chain([text.len()]);
    let (mut words, mut from) = (Vec::new(), 0);
    while from <= text.len() {
        let ends: Vec<usize> = commas(from).collect();
        let whole = ends.iter().rev().find(|&&end| named(names, text[from..end].trim()).is_some());
        let end = *whole.unwrap_or(&ends[0]);
        words.push(text[from..end].trim());
        from = end + 1;
    }
    words
}

impl Classes {
    /// All classes of a model in turn, the captions it was trained on where it reads text, or none where it has none.
    ///
    /// # Errors
    /// Captions of data that are not here.
    pub fn all(model: &Model) -> Result<Self, Error> {
        Ok(match (&model.words, model.classes()) {
            (Some(_), _) => Self::prompts(model.captions()?),
            (None, classes) => Self::first(classes),
        })
    }

    /// The classes from 0 to `count` in turn; none for 0.
    pub fn first(count: usize) -> Self {
        if count == 0 { Self::None } else { Self::InTurn((0..count as i64).collect()) }
    }

    /// These prompts in turn.
    pub fn prompts(prompts: Vec<String>) -> Self {
        Self::Prompts(Arc::new(prompts))
    }

    /// From `3`, `Sneaker`, `0,1,Bag` or `none` (`-1` where a class has that name).
    ///
    /// # Errors
    /// [`Error::Usage`] for a class the model does not have, with those it has.
    pub fn parse(text: &str, model: &Model) -> Result<Self, Error> {
        let names = &model.subject.classes;
        let number = |word: &str| word.parse::<usize>().ok().filter(|number| *number < names.len());
        let one = |word: &str| {
            named(names, word).or_else(|| number(word)).map(|class| class as i64).ok_or_else(|| {
                let known: Vec<String> =
                    names.iter().enumerate().take(SHOWN).map(|(i, name)| format!("{i} {name}")).collect();
                let known = match names.len() {
                    0 if model.words.is_some() => "none".into(),
                    0 => "none: it is unconditional".into(),
                    all if all > SHOWN => format!("{} and {} more", known.join(", "), all - SHOWN),
                    _ => known.join(", "),
                };
                let known = known + if model.words.is_some() { "; ask in words with --prompt" } else { "" };
                Error::Usage(format!("--class {word}: this model's classes are {known}"))
            })
        };
        match named(names, text.trim()) {
            Some(class) => Ok(Self::InTurn(vec![class as i64])),
            None if text == "none" || text == "-1" => Ok(Self::None),
            None => listed(names, text).iter().map(|word| one(word)).collect::<Result<_, _>>().map(Self::InTurn),
        }
    }

    /// The class of sample `index`.
    pub fn of(&self, index: u64) -> i64 {
        match self {
            Self::InTurn(classes) if !classes.is_empty() => classes[(index % classes.len() as u64) as usize],
            Self::Beside(asked, _) => asked.of(index),
            _ => NULL_CLASS,
        }
    }

    /// The prompt of sample `index`.
    pub fn prompt(&self, index: u64) -> Option<&str> {
        match self {
            Self::Prompts(prompts) if !prompts.is_empty() => {
                Some(prompts[(index % prompts.len() as u64) as usize].as_str())
            }
            Self::Beside(asked, _) => asked.prompt(index),
            _ => None,
        }
    }

    /// What the samples `indices` are conditioned on, their prompts read by `words`.
    ///
    /// # Errors
    /// What the reader may say.
    pub fn condition(&self, words: Option<&Arc<Words>>, indices: &[u64], device: &Device) -> Result<Condition, Error> {
        if let Self::Beside(asked, maps) = self {
            return Ok(Condition { dense: maps.of(indices, device), ..asked.condition(words, indices, device)? });
        }
        if let (Self::Prompts(_), Some(words)) = (self, words) {
            return words.condition(&indices.iter().map(|index| self.prompt(*index)).collect::<Vec<_>>(), device);
        }
        Ok(Labels::condition(&indices.iter().map(|index| self.of(*index)).collect::<Vec<_>>(), device))
    }
}

/// The noise of samples under `seed`. Folded, so that no seed gives a sample the noise of training or validation.
pub fn noise(seed: u64) -> Key {
    Key::new(seed, Purpose::Noise).fold(2)
}

/// What samples of `model` follow: its field under guidance, up the reward it was given, along the path asked for.
pub(crate) fn field_of<'a>(model: &'a Model, config: &SampleConfig) -> Result<Box<dyn Field<2> + 'a>, Error> {
    let field = model.field(&config.guidance, config.precision)?;
    let (trained, other) = (&model.recipe.path, config.path.as_ref());
    Ok(match &model.climb {
        None => along(field, trained, other)?,
        Some(climb) => along(climb.around(field)?, trained, other)?,
    })
}

/// What stirs samples under `seed` on their way, in stochastic solvers.
pub(crate) fn stirred(seed: u64) -> Key {
    Key::new(seed, Purpose::Latent).fold(2)
}

/// The Brownian paths of samples under `seed`, for stochastic solvers.
pub fn paths(seed: u64, indices: &[u64]) -> Brownian {
    Brownian::new(stirred(seed), indices)
}

/// Draws the samples of `range` under `seed`; those of a model between two data sets begin at held-out images of its source.
///
/// # Errors
/// What the solver may say, a source that cannot be read, and [`Error::Interrupted`].
pub fn draw(
    model: &Model,
    config: &SampleConfig,
    classes: &Classes,
    seed: u64,
    range: Range<u64>,
    context: &mut Context,
) -> Result<Drawn, Error> {
    let start = Start::held_out(&model.recipe, model.subject.shape)?;
    draw_from(model, &start, config, classes, seed, range, context)
}

/// Draws latents of `codec`, at their own width and not decoded: what its surfaces are taken from.
///
/// # Errors
/// Those of [`draw_from`].
pub(crate) fn draw_latents(
    (model, codec): (&Model, &Codec),
    start: &Start,
    config: &SampleConfig,
    classes: &Classes,
    seed: u64,
    range: Range<u64>,
    context: &mut Context,
) -> Result<Drawn, Error> {
    drawn(model, (End::Latent(codec), codec.latent), start, config, (classes, seed), range, context)
}

/// Refuses what [`draw_from`] would refuse before the first of `count` samples.
///
/// # Errors
/// Settings out of range, a solver, path or guidance that this model does not go with, samples that do not fit the memory.
pub(crate) fn check(model: &Model, config: &SampleConfig, count: u64) -> Result<(), Error> {
    config.check().map_err(Error::Usage)?;
    field_of(model, config)?;
    config.schedule.build(config.steps)?;
    model.recipe.check_solver(&config.solver).map_err(|reason| Error::Usage(reason.into()))?;
    memory::check_samples(count, model.drawn())
}

/// Draws the samples of `range`, which begin at `start`: noise under `seed`, or images in their order.
///
/// # Errors
/// What the solver may say, and [`Error::Interrupted`].
pub fn draw_from(
    model: &Model,
    start: &Start,
    config: &SampleConfig,
    classes: &Classes,
    seed: u64,
    range: Range<u64>,
    context: &mut Context,
) -> Result<Drawn, Error> {
    let end = model.codec.as_deref().map_or(End::Plain, End::Decoded);
    drawn(model, (end, model.drawn()), start, config, (classes, seed), range, context)
}

/// The samples of `range`, rows of `shape` that `end` gives.
fn drawn(
    model: &Model,
    (end, shape): (End<'_>, Shape),
    start: &Start,
    config: &SampleConfig,
    (classes, seed): (&Classes, u64),
    range: Range<u64>,
    context: &mut Context,
) -> Result<Drawn, Error> {
    check(model, config, range.end - range.start)?;
    let began = Instant::now();
    let device = context.device.device.clone();
    let moved = model.subject.shape;
    let pipeline = Pipeline::new(field_of(model, config)?, &model.recipe.path, config, start, moved, &device)?;
    let pipeline = pipeline.after(model.prelude.as_deref()).ending(end);
    if let Some(reason) = config.precision.fallback(&device) {
        context.note(reason);
    }
    if let Some(advice) = model.recipe.advice(&config.solver) {
        context.note(advice);
    }
    if pipeline.prelude_is_idle() {
        let path = pipeline.path().name();
        context.note(format!("path `{path}` starts in pure noise: one more step changes nothing here"));
    }
    let (total, first) = (range.end - range.start, range.start);
    let rows = Vec::with_capacity(total as usize * shape.numel());
    let mut drawn = Drawn { rows, shape, classes: vec![], nfe: 0, seconds: 0.0 };
    context.tell(Event::Begin { what: "samples", total });
    let mut next = first;
    while next < range.end {
        context.go_on()?;
        let indices: Vec<u64> = (next..range.end.min(next + config.batch as u64)).collect();
        next += indices.len() as u64;
        let condition = model.condition(classes, &indices, &device)?;
        let piece = pipeline.draw(seed, &indices, &condition)?;
        drawn.nfe = drawn.nfe.max(piece.nfe);
        drawn.rows.extend(piece.rows);
        drawn.classes.extend(indices.iter().map(|index| classes.of(*index)));
        context.tell(Event::Advance { done: next - first });
    }
    context.tell(Event::End);
    drawn.seconds = began.elapsed().as_secs_f64();
    Ok(drawn)
}

/// A tensor's numbers on the host.
pub(crate) fn host<const D: usize>(tensor: base::Tensor<D>) -> Result<Vec<f32>, Error> {
    let read = tensor.try_into_vec_as::<f32>();
    read.map_err(|error| Error::Failure(format!("a tensor could not be read back from its device: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_may_have_commas_and_differ_by_case() {
        let names = ["cat", "cat, tabby", "Dog", "dog", "3"].map(String::from);
        assert_eq!(listed(&names, "cat, tabby,Dog , 0"), ["cat, tabby", "Dog", "0"]);
        assert_eq!(listed(&names, "cat,dog"), ["cat", "dog"]);
        assert_eq!(named(&names, "Dog"), Some(2));
        assert_eq!(named(&names, "dog"), Some(3));
        assert_eq!((named(&names, "DOG"), named(&names, "CAT")), (None, Some(0)));
        assert_eq!((named(&names, "3"), named(&names, "none")), (Some(4), None));
    }

    /// Samples start at noise that neither training nor validation of the same seed has seen. Mutant: the fold left out.
    #[test]
    fn samples_do_not_start_at_the_noise_of_training() {
        let first = |key: Key| key.normals(0, 4).collect::<Vec<f32>>();
        for training in [Key::new(7, Purpose::Noise), Key::new(7, Purpose::Noise).fold(1)] {
            assert_ne!(first(noise(7)), first(training));
        }
        assert_ne!(first(noise(7)), first(noise(8)));
    }
}
