//! A trained model that several people ask at once: what they want is drawn together, and each sample is the one that its seed and
//! number give alone, the command line's own.

mod file;
mod work;

pub use crate::{
    pipeline::{Peek, Watch},
    sent::{Pictured, Sent},
};
pub use data::Given;
pub use file::{File, Medium};
pub use work::{Edit, Restore, Separate, Told, Work};

use crate::{
    Context, Error, Model, Start,
    device::Chosen,
    memory,
    model::which,
    note::Note,
    overrides::SampleOverrides,
    pictures::{FRAME, encoded},
    pipeline::{End, Pipeline},
    recipe::SampleConfig,
    sampling::{self, Classes, Drawn, Pictures, field_of},
    sight::{self, Sight},
};
use base::{Condition, NULL_CLASS};
use std::{path::Path, sync::Arc, time::Instant};

/// One sample that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Seed of its noise.
    pub seed: u64,
    /// Its number under that seed.
    pub index: u64,
    /// What it should show.
    pub asked: Asked,
}

/// What a sample should show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Anything.
    Nothing,
    /// A class, by number.
    Class(i64),
    /// What a text says.
    Prompt(String),
    /// What a picture shows, framed by [`Opened::framed`].
    Picture(Pictured),
}

impl Asked {
    /// As what samples are asked for in turn.
    fn classes(&self) -> Classes {
        match self {
            Self::Nothing | Self::Picture(_) => Classes::None, // a picture is no word
            Self::Class(class) => Classes::InTurn(vec![*class]),
            Self::Prompt(text) => Classes::prompts(vec![text.clone()]),
        }
    }

    /// The class, or [`NULL_CLASS`].
    fn class(&self) -> i64 {
        match self {
            Self::Class(class) => *class,
            _ => NULL_CLASS,
        }
    }
}

/// What a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// Pictures, from noise.
    Pictures,
    /// Clips, from noise.
    Clips,
    /// Shapes, from noise.
    Shapes,
    /// Sounds, each out of a mixture that is sent.
    Sounds,
}

/// A model ready to be asked.
pub struct Opened {
    /// The network and what gives it meaning.
    pub model: Model,
    start: Start,
    /// What reads pictures, where it draws what they show.
    sight: Option<Arc<Sight>>,
    device: Chosen,
}

impl Opened {
    /// Opens a run's folder or a checkpoint file that draws pictures, clips or shapes, or hears sounds in mixtures.
    ///
    /// # Errors
    /// Those of [`Model::open`]; [`Error::Usage`] for a model of anything else; settings of its recipe that do not go.
    pub fn open(path: &Path, device: &Chosen) -> Result<Self, Error> {
        let model = Model::of_any(path, which(None)?, device)?;
        makes(&model)?;
        let sight = model.sight(&mut Context::silent())?;
        if let Some(words) = &model.words {
            words.keep_to_memory();
        }
        let start = Start::held_out(&model.recipe, model.subject.shape)?;
        let opened = Self { model, start, sight, device: device.clone() };
        opened.config(&SampleOverrides::default())?;
        Ok(opened)
    }

    /// The same without its weights: everything is checked as before, and nothing can be drawn.
    ///
    /// # Errors
    /// None that opening did not have.
    pub fn hollow(&self) -> Result<Self, Error> {
        let model = self.model.hollow(&self.device.device)?;
        Ok(Self { model, start: self.start.clone(), sight: self.sight.clone(), device: self.device.clone() })
    }

    /// Bytes of its network's weights.
    pub fn weight(&self) -> u64 {
        4 * self.model.parameters
    }

    /// How its samples are drawn with `overrides`, everything checked.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range, or that do not go with this model.
    pub fn config(&self, overrides: &SampleOverrides) -> Result<SampleConfig, Error> {
        let config = overrides.apply(&self.model.recipe.sample)?;
        self.model.check_guidance(config.guidance.scale)?;
        sampling::check(&self.model, &config, 1)?;
        Ok(config)
    }

    /// What it makes.
    pub fn makes(&self) -> Makes {
        makes(&self.model).unwrap_or(Makes::Pictures) // `open` has seen that it is one of them
    }

    /// `[c h w]` of its pictures, of its clips `[f h w]`; of a shape or a sound none.
    pub fn picture(&self) -> [usize; 3] {
        match self.makes() {
            Makes::Pictures | Makes::Clips => self.model.drawn().image().unwrap_or_default(),
            Makes::Shapes | Makes::Sounds => [0; 3],
        }
    }

    /// How many samples, `most` at most, memory holds while they are drawn together, two sides of guidance each.
    ///
    /// # Errors
    /// A network that cannot say what it takes.
    pub fn together(&self, most: usize) -> Result<usize, Error> {
        let (recipe, subject) = (&self.model.recipe, &self.model.subject);
        let cost = recipe.network.cost(subject.shape, recipe.rows(subject.classes.len()))?;
        Ok(memory::together(most, 2 * cost.activation_bytes_per_sample))
    }

    /// Whether it draws what pictures show.
    pub fn reads_pictures(&self) -> bool {
        self.sight.is_some()
    }

    /// A picture somebody sent, `megapixels` large at most, as the model sees it, and what is worth knowing about it.
    ///
    /// # Errors
    /// What is no picture, or one that shows nothing; a model that reads none.
    pub fn framed(&self, bytes: &[u8], megapixels: u64) -> Result<(Pictured, Option<String>), Error> {
        let none = || Error::Usage("--image: this model draws from no picture".into());
        let (picture, note) = sight::framed(bytes, self.sight.as_ref().ok_or_else(none)?.config(), megapixels)?;
        Ok((picture.into(), note))
    }

    /// How many different points samples start from; `None` without end.
    pub fn starts(&self) -> Option<u64> {
        self.start.count()
    }

    /// Draws `wanted` together. All of them are asked for something, or none is: a network told nothing runs another way, and may
    /// round otherwise. `watch` is told after a step how many of how many are done, may look at what
    /// they are going to be, rows as [`Drawn`] has them, and may end the work with an error.
    ///
    /// # Errors
    /// What the solver may say, and what `watch` says.
    pub fn draw(&self, config: &SampleConfig, wanted: &[Wanted], watch: Watch<'_>) -> Result<Drawn, Error> {
        let (model, device, began) = (&self.model, &self.device.device, Instant::now());
        let (path, moved) = (&model.recipe.path, model.subject.shape);
        let pipeline = Pipeline::new(field_of(model, config)?, path, config, &self.start, moved, device)?;
        let (end, shape) = match (&model.codec, self.makes()) {
            (Some(codec), Makes::Shapes) => (End::Latent(codec), codec.latent),
            (Some(codec), _) => (End::Decoded(codec), model.drawn()),
            (None, _) => (End::Plain, model.drawn()),
        };
        let pipeline = pipeline.after(model.before.as_deref()).ending(end);
        let rows: Vec<(u64, u64)> = wanted.iter().map(|one| (one.seed, one.index)).collect();
        let piece = pipeline.draw_each(&rows, &self.condition(wanted)?, watch)?;
        let classes = wanted.iter().map(|one| one.asked.class()).collect();
        let seconds = began.elapsed().as_secs_f64();
        Ok(Drawn { rows: piece.rows, shape, classes, prompts: Vec::new(), nfe: piece.nfe, seconds })
    }

    fn condition(&self, wanted: &[Wanted]) -> Result<Condition, Error> {
        let places: Vec<u64> = (0..wanted.len() as u64).collect();
        let text = |one: &Wanted| match &one.asked {
            Asked::Prompt(text) => Some(text.clone()),
            _ => None,
        };
        let asked = match (self.pictured(wanted), wanted.iter().map(text).collect::<Option<Vec<_>>>()) {
            (Some(pictures), _) => pictures,
            (None, Some(texts)) => Classes::prompts(texts),
            (None, None) => Classes::InTurn(wanted.iter().map(|one| one.asked.class()).collect()),
        };
        self.model.condition(&asked, &places, &self.device.device)
    }

    /// What the pictures show that `wanted` are asked for; none where they are asked for something else.
    fn pictured(&self, wanted: &[Wanted]) -> Option<Classes> {
        let sight = self.sight.clone()?;
        let numbers = sight.config().numbers();
        let mut rows = Vec::new();
        for (at, one) in wanted.iter().enumerate() {
            let Asked::Picture(picture) = &one.asked else { return None };
            rows.extend_from_slice(&picture.get());
            // Of a job that has ended meanwhile: nobody will look at what is drawn from it.
            rows.resize((at + 1) * numbers, 1.0);
        }
        (!rows.is_empty()).then(|| Classes::Pictures(Arc::new(Pictures { rows, sight })))
    }

    /// Frames of its clips that are shown in a second.
    pub fn rate(&self) -> Option<f64> {
        (self.makes() == Makes::Clips).then(|| f64::from(FRAME.denominator) / f64::from(FRAME.numerator))
    }

    /// Pictures or clips on their way, rows that a [`Watch`] saw, as PNGs.
    ///
    /// # Errors
    /// Rows of something else.
    pub fn previews(&self, rows: Vec<f32>) -> Result<Vec<Vec<u8>>, Error> {
        let shape = self.model.drawn();
        let count = rows.len() / shape.numel().max(1);
        let images = crate::pictures::of(rows, count, shape)?;
        (0..count).map(|i| encoded(&images, i, &[])).collect()
    }

    /// The samples of `drawn` as files (of clips animated PNGs), shapes on a lattice of `2^depth` cells to a side, each the one that `rectiflow sample` writes of it: PNGs
    /// that say how they were made, with the model `called` so there, never by its place on this machine, or shapes. A sample without a surface is
    /// an error of its own.
    ///
    /// # Errors
    /// Samples that cannot be written.
    pub fn files(
        &self,
        called: &str,
        config: &SampleConfig,
        wanted: &[Wanted],
        drawn: &Drawn,
        depth: u32,
    ) -> Result<Vec<Result<File, Error>>, Error> {
        match (&self.model.codec, self.makes()) {
            (Some(codec), Makes::Shapes) => {
                let shape = |row: &[f32]| {
                    let mesh = codec.surface(row, depth, &self.device.device)?.mesh;
                    if mesh.faces.is_empty() {
                        let why = "this sample has no surface: ask for more steps, or another seed";
                        return Err(Error::Failure(why.into()));
                    }
                    Ok(File { medium: Medium::Glb, bytes: media::shape::write::to_glb(&mesh) })
                };
                Ok(drawn.rows.chunks_exact(drawn.shape.numel()).map(shape).collect())
            }
            _ => {
                let images = drawn.images()?;
                let file = |(i, one): (usize, &Wanted)| {
                    let classes = one.asked.classes();
                    let note = Note { model: &self.model, called, config, classes: &classes, seed: one.seed };
                    let said = note.json(one.index as usize, &[one.asked.class()]);
                    let text = [("parameters", note.line()), ("rectiflow", said)];
                    let text = text.each_ref().map(|(key, value)| (*key, value.as_str()));
                    Ok(File { medium: Medium::Png, bytes: encoded(&images, i, &text)? })
                };
                Ok(wanted.iter().enumerate().map(file).collect())
            }
        }
    }
}

/// What `model` makes.
fn makes(model: &Model) -> Result<Makes, Error> {
    let file = model.file.display();
    if model.recipe.task.separate().is_ok() {
        return Ok(Makes::Sounds);
    }
    let alone = model.recipe.task.alone();
    alone.map_err(|why| Error::Usage(format!("{file} {why}")))?;
    if model.codec.as_ref().is_some_and(|codec| codec.has_surface()) {
        return Ok(Makes::Shapes);
    }
    match model.drawn().image() {
        Ok([1 | 3, ..]) => Ok(Makes::Pictures),
        Ok(_) => Ok(Makes::Clips),
        Err(error) => Err(Error::Usage(format!("{file}: {error}; use `rectiflow sample`"))),
    }
}
