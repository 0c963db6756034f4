//! A stage of a flow: all that [`Stage`] is told of it, checked before anything is written.

use super::begin::Beginning;
use crate::{
    Error, Recipe, Start,
    codec::{Codec, Rendering},
    context::Context,
    memory::Need,
    model::Subject,
    pictures,
    release::Beneath,
    runs::{DataRecord, Learning, Lineage, Resume, Stage, TrainReport, starting_point},
    sampling::Classes,
    sheets::Sheets,
    taught::{self, Teacher},
    words::Words,
};
use ::train::{
    Batch, RunDir, Source,
    checkpoint::{BENEATH, Checkpoint},
};
use base::Shape;
use flow::{Gauge, Premetric};
use nets::Net;
use std::{path::Path, sync::Arc};

/// One stage, ready to run.
pub(crate) struct Job<'a> {
    pub recipe: &'a Recipe,
    pub subject: Subject,
    pub source: &'a mut dyn Source,
    pub validation: Option<Batch>,
    /// First weights; fresh ones without.
    pub start: Option<Net>,
    /// A run whose weights it begins at.
    pub begin: Option<Beginning>,
    /// A released model whose weights training starts from, and that keeps them where corrections are trained.
    pub beneath: Option<Beneath>,
    /// A teacher whose flow the target rule follows.
    pub teacher: Option<Teacher>,
    /// The distance that the recipe's `perceptual` weighs.
    pub premetric: Option<Box<dyn Premetric<2>>>,
    /// What the loss looks through, where the recipe's `task.latents` say so.
    pub gauge: Option<Box<dyn Gauge<2>>>,
    /// What latents are rendered for, where that has a loss.
    pub rendering: Option<Rendering>,
    /// Who reads prompts, and what sample sheets ask for.
    pub words: Option<Arc<Words>>,
    /// What decodes samples, where the flow moves latents.
    pub codec: Option<Arc<Codec>>,
    pub asked: Classes,
    pub folder: &'a Path,
    pub resume: Option<Resume>,
    /// What is told and kept of the data; `None` for stored pairs and points.
    pub data: Option<DataRecord>,
    pub lineage: Lineage,
}

/// What a stage is about to start with.
pub(crate) struct Ready {
    from: Option<Checkpoint>,
    net: Net,
    starts: Start,
}

impl<'a> Job<'a> {
    /// A stage that learns from `source` alone: fresh weights, no teacher, no words, nothing to validate with.
    pub fn new(
        recipe: &'a Recipe,
        subject: Subject,
        source: &'a mut dyn Source,
        folder: &'a Path,
        resume: Option<Resume>,
    ) -> Self {
        let (validation, start, beneath, teacher, premetric, gauge, words, codec, data) = Default::default();
        let (asked, lineage, rendering, begin) = (Classes::None, Lineage::of_here(), None, None);
        Self {
            recipe,
            subject,
            source,
            validation,
            start,
            begin,
            beneath,
            teacher,
            premetric,
            gauge,
            rendering,
            words,
            codec,
            asked,
            folder,
            resume,
            data,
            lineage,
        }
    }
}

/// What a stage is judged by before anything is made or encoded for it.
pub(crate) struct Terms<'a> {
    pub recipe: &'a Recipe,
    /// What the network moves.
    pub shape: Shape,
    pub classes: usize,
    /// What sample sheets show; none where they show meshes.
    pub drawn: Option<Shape>,
    pub start: Option<&'a Net>,
    /// A run whose weights it begins at, and what is learned from.
    pub begin: Option<(&'a Beginning, &'a Subject)>,
    pub beneath: Option<&'a Beneath>,
    /// Bytes that rendering one sample leaves on the tape.
    pub rendered: u64,
    pub folder: &'a Path,
    pub resume: Option<&'a Resume>,
}

impl Terms<'_> {
    /// All that can be refused before anything is written: a network that does not fit the data or the machine, a folder that
    /// holds another run or cannot be written.
    pub fn check(&self, context: &Context) -> Result<Ready, Error> {
        let Self { recipe, shape, classes, drawn, start, begin, beneath, rendered, folder, resume } = *self;
        let sheets = recipe.train.sample_every > 0;
        if let (true, Some(Err(error))) = (sheets, drawn.map(pictures::shape)) {
            return Err(Error::Usage(format!("sample sheets are pictures, and {error}; set train.sample_every = 0")));
        }
        if sheets && recipe.task.picture().is_some() {
            let why = "sample sheets are asked for classes or prompts, and this flow draws what a picture shows; set train.sample_every = 0";
            return Err(Error::Usage(why.into()));
        }
        let need = Need::of(recipe, shape, classes)?.rendering(recipe, rendered);
        let need = beneath.map_or(need, |beneath| need.beneath(recipe, beneath.bytes));
        if context.device.name == "cpu" {
            need.check()?;
        }
        // Rank 0 alone has a folder; the others are given its state.
        if context.leads() {
            RunDir::check(folder)?;
        }
        let from = if context.leads() { starting_point(folder, resume)? } else { None };
        if let (Some(beneath), Some(from)) = (beneath, &from) {
            beneath.check(&from.meta().extra, from.path())?;
        }
        let device = &context.device.device;
        let net = match (start, beneath, begin) {
            (Some(net), ..) => net.clone(),
            (None, Some(beneath), _) => beneath.net.clone(),
            (None, None, Some((begin, subject))) => begin.net(recipe, subject, device)?,
            (None, None, None) => recipe.network.init(recipe.seed, shape, recipe.rows(classes), device)?,
        };
        let net = match &recipe.lora {
            None => net,
            Some(lora) => lora.init(net, recipe.seed, device)?,
        };
        let starts = match recipe.train.sample_every {
            0 => Start::Noise { shape }, // no sheet will ask
            _ => Start::held_out(recipe, shape)?,
        };
        Ok(Ready { from, net, starts })
    }
}

impl Job<'_> {
    /// As [`Terms::check`].
    pub fn check(&self, context: &Context) -> Result<Ready, Error> {
        let Self { recipe, subject, folder, .. } = self;
        let terms = Terms {
            recipe,
            shape: subject.shape,
            classes: subject.classes.len(),
            drawn: self.codec.as_ref().map_or(Some(subject.shape), |codec| codec.on_sheets()),
            start: self.start.as_ref(),
            begin: self.begin.as_ref().map(|begin| (begin, subject)),
            beneath: self.beneath.as_ref(),
            rendered: self.rendering.as_ref().map_or(0, Rendering::tape_bytes),
            folder,
            resume: self.resume.as_ref(),
        };
        let ready = terms.check(context)?;
        if let Some(from) = &ready.from {
            let before = Subject::from_extra(&from.meta().extra, from.path())?;
            before.check_encoder(subject.encoder.as_deref(), from.path())?;
        }
        Ok(ready)
    }

    /// Trains the network, or continues its run.
    ///
    /// # Errors
    /// Those of [`Job::check`] and of the engine.
    pub fn run(self, context: &mut Context) -> Result<TrainReport, Error> {
        let Ready { from, net, starts } = self.check(context)?;
        // Released weights may be halves, and what learns is f32.
        let net = if self.recipe.lora.is_none() { nets::weights::whole(net) } else { net };
        let Self { recipe, subject, source, validation, teacher, premetric, gauge, rendering, .. } = self;
        let Self { words, codec, asked, folder, data, lineage, beneath, .. } = self;
        let task = taught::task(recipe, subject.classes.len(), teacher, premetric, gauge, rendering);
        let (shape, device, run) = (subject.shape, context.device.device.clone(), RunDir::at(folder));
        let names = subject.classes.clone();
        let mut extra = subject.to_extra();
        if let Some(beneath) = beneath.filter(|_| recipe.lora.is_some()) {
            extra.insert(BENEATH.into(), beneath.identity);
        }
        let sheets = Sheets { recipe, shape, starts, words, codec, asked, names, run, device };
        let stage = Stage {
            name: &subject.stage,
            recipe: recipe.to_toml(),
            config: &recipe.train,
            seed: recipe.seed,
            extra,
            folder,
            resume: None,
        };
        let validation = validation.as_ref();
        let (data, lineage) = (data.as_ref(), Some(&lineage));
        let learning = Learning { task: &*task, source, validation, data, lineage, sheets: Some(&sheets) };
        stage.from(from, net, learning, context)
    }
}
