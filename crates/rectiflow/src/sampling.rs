//! Drawing samples: from (seed, index, class) to images, the same whatever the batch size.

use crate::{
    Error, Model, Start,
    codec::Codec,
    context::{Context, Event},
    memory, pictures,
    pipeline::{Boxed, End, Pipeline, along},
    recipe::SampleConfig,
};
use base::Shape;
use flow::Field;
use media::Images;
use std::{ops::Range, time::Instant};

pub use crate::asked::{Classes, Maps, Pictures};
pub(crate) use crate::host::host;
pub use crate::streams::{noise, paths};

/// Samples and what they cost.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The samples one after another, rows `[n ...]`.
    pub rows: Vec<f32>,
    /// What a row is.
    pub shape: Shape,
    /// The class each, `[n]`, was asked for; `NULL_CLASS` for none.
    pub classes: Vec<i64>,
    /// The text each, `[n]`, was asked for, where it was asked in words; else empty.
    pub prompts: Vec<String>,
    /// Evaluations of the field per sample (the largest, for an adaptive solver).
    pub nfe: usize,
    /// Seconds of wall clock.
    pub seconds: f64,
}

impl Drawn {
    /// Samples that nobody drew here, asked for no text.
    pub fn given(rows: Vec<f32>, shape: impl Into<Shape>, classes: Vec<i64>) -> Self {
        Self { rows, shape: shape.into(), classes, prompts: Vec::new(), nfe: 0, seconds: 0.0 }
    }

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
    /// Captions of data that are not here; a model that draws what a picture shows.
    pub fn all(model: &Model) -> Result<Self, Error> {
        if model.recipe.task.picture().is_some() {
            return Err(Error::Usage(format!(
                "{}: this model draws what a picture shows; give --image FILE",
                model.file.display()
            )));
        }
        Ok(match (&model.words, model.classes()) {
            (Some(_), _) => Self::prompts(model.captions()?),
            (None, classes) => Self::first(classes),
        })
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
}

/// What samples of `model` follow: its field under guidance, up the reward it was given, along the path asked for.
pub(crate) fn field_of<'a>(model: &'a Model, config: &SampleConfig) -> Result<Box<dyn Field<2> + 'a>, Error> {
    let field = model.field(&config.guidance, config.precision)?;
    let (trained, other) = (&model.recipe.path, config.path.as_ref());
    Ok(match &model.around {
        None => along(field, trained, other)?,
        Some(method) => along(Boxed(method.around(Box::new(field))?), trained, other)?,
    })
}

/// Draws the samples of `range` under `seed`; those of a model between two data sets begin at held-out samples of its source.
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

/// Draws the samples of `range`, which begin at `start`: noise under `seed`, or samples in their order.
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
    let pipeline = pipeline.after(model.before.as_deref()).ending(end);
    if let Some(reason) = config.precision.fallback(&device) {
        context.note(reason);
    }
    if let Some(advice) = model.recipe.advice(&config.solver) {
        context.note(advice);
    }
    if pipeline.before_is_idle() {
        let path = pipeline.path().name();
        context.note(format!("path `{path}` starts in pure noise: one more step changes nothing here"));
    }
    let (total, first) = (range.end - range.start, range.start);
    let rows = Vec::with_capacity(total as usize * shape.numel());
    let mut drawn = Drawn::given(rows, shape, vec![]);
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
        drawn.prompts.extend(indices.iter().filter_map(|index| classes.prompt(*index).map(String::from)));
        context.tell(Event::Advance { done: next - first });
    }
    context.tell(Event::End);
    drawn.seconds = began.elapsed().as_secs_f64();
    Ok(drawn)
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
}
