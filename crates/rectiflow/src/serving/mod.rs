//! A trained model that several people ask at once: what they want is drawn together, and each sample is the one that its seed and
//! number give alone, the command line's own.

mod file;
mod sent;
mod work;

pub use crate::pipeline::{Peek, Watch};
pub use data::Given;
pub use file::{File, Medium};
pub use sent::Sent;
pub use work::{Edit, Restore, Separate, Told, Work};

use crate::{
    Error, Model, Start,
    device::Chosen,
    memory,
    model::which,
    note::Note,
    overrides::SampleOverrides,
    pictures::single,
    pipeline::{End, Pipeline},
    recipe::SampleConfig,
    sampling::{self, Classes, Drawn, field_of},
};
use base::{Condition, NULL_CLASS};
use std::{path::Path, time::Instant};

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
}

impl Asked {
    /// As what samples are asked for in turn.
    fn classes(&self) -> Classes {
        match self {
            Self::Nothing => Classes::None,
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
    device: Chosen,
}

impl Opened {
    /// Opens a run's folder or a checkpoint file that draws pictures or shapes, or hears sounds in mixtures.
    ///
    /// # Errors
    /// Those of [`Model::open`]; [`Error::Usage`] for a model of anything else; settings of its recipe that do not go.
    pub fn open(path: &Path, device: &Chosen) -> Result<Self, Error> {
        let model = Model::of_any(path, which(None)?, device)?;
        makes(&model)?;
        if model.recipe.task.picture().is_some() {
            return Err(Error::Usage(format!(
                "{}: this model draws what a picture shows, which is not served yet; use `rectiflow sample --image`",
                model.file.display()
            )));
        }
        if let Some(words) = &model.words {
            words.keep_to_memory();
        }
        let start = Start::held_out(&model.recipe, model.subject.shape)?;
        let opened = Self { model, start, device: device.clone() };
        opened.config(&SampleOverrides::default())?;
        Ok(opened)
    }

    /// The same without its weights: everything is checked as before, and nothing can be drawn.
    ///
    /// # Errors
    /// None that opening did not have.
    pub fn hollow(&self) -> Result<Self, Error> {
        let model = self.model.hollow(&self.device.device)?;
        Ok(Self { model, start: self.start.clone(), device: self.device.clone() })
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

    /// `[c h w]` of its pictures; of a shape or a sound none.
    pub fn picture(&self) -> [usize; 3] {
        match self.makes() {
            Makes::Pictures => self.model.drawn().image().unwrap_or_default(),
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
        let asked = match wanted.iter().map(text).collect::<Option<Vec<_>>>() {
            Some(texts) => Classes::prompts(texts),
            None => Classes::InTurn(wanted.iter().map(|one| one.asked.class()).collect()),
        };
        self.model.condition(&asked, &places, &self.device.device)
    }

    /// Pictures on their way, rows that a [`Watch`] saw, as PNGs.
    ///
    /// # Errors
    /// Rows of something else.
    pub fn previews(&self, rows: Vec<f32>) -> Result<Vec<Vec<u8>>, Error> {
        let shape = self.model.drawn();
        let count = rows.len() / shape.numel().max(1);
        let images = crate::pictures::of(rows, count, shape)?;
        (0..count).map(|i| Ok(media::png::encode(&single(&images, i)?, &[])?)).collect()
    }

    /// The samples of `drawn` as files, shapes on a lattice of `2^depth` cells to a side, each the one that `rectiflow sample` writes of it: PNGs
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
                    Ok(File { medium: Medium::Png, bytes: media::png::encode(&single(&images, i)?, &text)? })
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
        Ok(_) => Ok(Makes::Pictures),
        Err(error) => Err(Error::Usage(format!("{file}: {error}; use `rectiflow sample`"))),
    }
}
