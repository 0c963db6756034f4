//! A trained network with everything that gives it meaning: its recipe, the shape of its data and its classes.

use crate::{
    Error, Recipe,
    asked::Classes,
    codec::{Codec, raw},
    context::Context,
    device::Chosen,
    pipeline::{Around, Before},
    release::{self, Beneath, beneath, is_released},
    sight::Sight,
    words::{Words, captions},
};
use base::{Condition, Device, NULL_CLASS, Shape, Taps, Tensor, Times};
use flow::{Field, Frame, Guided, Parameterization, ScoreField, guidance::GuidanceConfig};
use kernels::Precision;
use nets::{Net, NetConfig};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::checkpoint::{Which, load_weights};

pub use crate::runs::{find, which};
pub use crate::subject::Subject;

/// A network ready to sample.
pub struct Model {
    /// The weights.
    pub net: Net,
    /// How it was trained.
    pub recipe: Recipe,
    /// What it was trained on.
    pub subject: Subject,
    /// The checkpoint's file.
    pub file: PathBuf,
    /// Training samples it has seen.
    pub images: u64,
    /// Numbers in the network.
    pub parameters: u64,
    /// Fingerprint of the training data.
    pub data: String,
    /// Who reads its prompts, where it is asked in words.
    pub words: Option<Arc<Words>>,
    /// The captions it was trained on, in models of the time when these were classes.
    captions: Vec<String>,
    /// What decodes its samples, where it moves latents.
    pub codec: Option<Arc<Codec>>,
    /// What is done before the first step of every sample, where a method was given to it (One More Step).
    pub before: Option<Box<dyn Before>>,
    /// What bends the field that every sample follows, where a method was given to it (a reward that is climbed).
    pub around: Option<Box<dyn Around>>,
}

impl Model {
    /// Opens a checkpoint file, or the newest checkpoint of a run's folder.
    ///
    /// # Errors
    /// A path that is no checkpoint, a damaged file, weights that do not fit its recipe's network.
    pub fn open(path: &Path, which: Which, device: &Chosen) -> Result<Self, Error> {
        let model = Self::of_any(path, which, device)?;
        let alone = model.recipe.task.alone();
        alone.map_err(|why| Error::Usage(format!("{} {why}", model.file.display())))?;
        Ok(model)
    }

    /// As [`Model::open`], one that hears sounds in mixtures too: pairs are made with it beside those.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn teacher(path: &Path, which: Which, device: &Chosen) -> Result<Self, Error> {
        let model = Self::of_any(path, which, device)?;
        match model.recipe.task.separate() {
            Ok(_) => Ok(model),
            Err(_) => {
                let alone = model.recipe.task.alone();
                alone.map_err(|why| Error::Usage(format!("{} {why}", model.file.display())))?;
                Ok(model)
            }
        }
    }

    /// As [`Model::open`], one that hears sounds in mixtures too.
    pub(crate) fn of_any(path: &Path, which: Which, device: &Chosen) -> Result<Self, Error> {
        if is_released(path) {
            return Self::released(path, None, device);
        }
        let checkpoint = find(path)?;
        let meta = checkpoint.meta().clone();
        let file = checkpoint.path().to_path_buf();
        let recipe = Recipe::parse(&meta.recipe, &format!("recipe inside {}", file.display()))?;
        let mut subject = Subject::from_extra(&meta.extra, &file)?;
        let run = file.parent().and_then(Path::parent);
        let codec = Codec::of(&recipe, run, device)?;
        if let Some(other) = codec.as_ref().filter(|codec| Some(&codec.identity) != subject.codec.as_ref()) {
            return Err(Error::Failure(format!(
                "{} was trained on the latents of another codec than {} is now; give it back that codec, or train anew",
                file.display(),
                other.file.display()
            )));
        }
        let captions = if recipe.task.text().is_some() { std::mem::take(&mut subject.classes) } else { Vec::new() };
        let words = Words::of(&recipe)?;
        let (shape, classes) = (subject.shape, subject.classes.len());
        // Corrections of low rank are hung on weights that exist.
        let net = match &recipe.lora {
            None => recipe.network.declare(shape, classes, &device.device)?,
            Some(_) => match beneath(&recipe, shape, &device.device)? {
                Some(beneath) => {
                    beneath.check(&meta.extra, &file)?;
                    beneath.net
                }
                None => recipe.network.init(recipe.seed, shape, classes, &device.device)?,
            },
        };
        let parameters = burn::module::Module::num_params(&net) as u64;
        let net = match &recipe.lora {
            None => load_weights(net, &checkpoint, which)?,
            Some(lora) => {
                nets::lora::merged(load_weights(lora.init(net, recipe.seed, &device.device)?, &checkpoint, which)?)
            }
        };
        let (before, around) = (None, None);
        let (images, data) = (meta.images, meta.data);
        Ok(Self { net, recipe, subject, file, images, parameters, data, words, captions, codec, before, around })
    }

    /// A released model in the place of a run's, over `data`, which say the size of its pictures and the captions that it is asked; its own size
    /// and none where absent.
    ///
    /// # Errors
    /// A model that cannot be read, or is a single file.
    pub fn released(path: &Path, data: Option<&data::DataConfig>, device: &Chosen) -> Result<Self, Error> {
        let mut recipe = release::recipe(path, None, data.and_then(|data| data.size), &mut |_| ())?;
        if let Some(data) = data {
            recipe.data = data.clone();
            recipe.check()?;
        }
        let codec = Codec::of(&recipe, None, device)?;
        let (shape, identity) = match &codec {
            Some(codec) => (codec.latent, Some(codec.identity.clone())),
            None => return Err(Error::Usage(format!("{}: it has no autoencoder", path.display()))),
        };
        let Some(Beneath { net, identity: data, .. }) = beneath(&recipe, shape, &device.device)? else {
            return Err(Error::Usage(format!("{}: it has no network", path.display())));
        };
        let (stage, classes, data_name) = ("released".into(), vec![], recipe.name.clone());
        let subject = Subject { stage, shape, classes, data: data_name, codec: identity, encoder: None };
        let words = Words::of(&recipe)?;
        let parameters = burn::module::Module::num_params(&net) as u64;
        let (file, images, captions) = (path.to_path_buf(), 0, Vec::new());
        let (before, around) = (None, None);
        Ok(Self { net, recipe, subject, file, images, parameters, data, words, captions, codec, before, around })
    }

    /// This teacher for a student that learns `data`: a released model comes without any, and takes the student's.
    ///
    /// # Errors
    /// Those of [`Model::released`].
    pub fn over(self, data: &data::DataConfig, device: &Chosen) -> Result<Self, Error> {
        if self.is_released() { Self::released(&self.file, Some(data), device) } else { Ok(self) }
    }

    /// Whether it is a released model and no run's.
    pub fn is_released(&self) -> bool {
        is_released(&self.file)
    }

    /// The same without its weights: what can be known of it, and nothing that can be computed.
    ///
    /// # Errors
    /// None that opening did not have.
    pub(crate) fn hollow(&self, device: &Device) -> Result<Self, Error> {
        let net = self.recipe.network.declare(self.subject.shape, self.subject.classes.len(), device)?;
        Ok(Self {
            net,
            recipe: self.recipe.clone(),
            subject: self.subject.clone(),
            file: self.file.clone(),
            images: self.images,
            parameters: self.parameters,
            data: self.data.clone(),
            words: self.words.clone(),
            captions: self.captions.clone(),
            codec: self.codec.clone(),
            before: None,
            around: None,
        })
    }

    /// The network as a velocity field from noise to data, under guidance, its products in `precision`.
    ///
    /// # Errors
    /// Guidance out of range, an output that is no velocity by itself, or a path that does not start at noise.
    pub fn field(&self, guidance: &GuidanceConfig, precision: Precision) -> Result<impl Field<2> + '_, Error> {
        self.tapped(guidance, precision, None)
    }

    /// [`Model::field`] whose attention layers are read or replaced by `taps`.
    ///
    /// # Errors
    /// Those of [`Model::field`].
    pub fn tapped(
        &self,
        guidance: &GuidanceConfig,
        precision: Precision,
        taps: Option<Taps>,
    ) -> Result<impl Field<2> + '_, Error> {
        let Recipe { path, parameterization, .. } = &self.recipe;
        parameterization.check_reads(Parameterization::Velocity {}, path)?;
        if let flow::Path::Mirror { .. } = path {
            return Err(Error::Usage(format!(
                "{} was trained on a mirror, which leads from data to data: samples cannot be drawn from noise",
                self.file.display()
            )));
        }
        let field = self.recipe.field(&self.net).tapped(taps);
        Ok(Rounded { field: Guided::new(field, guidance.scale, guidance.interval)?, precision })
    }

    /// Refuses to be asked in words where it reads none.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_reads(&self) -> Result<(), Error> {
        if self.words.is_some() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--prompt: {} reads no text; ask for a class with --class, or train with `task.text`",
            self.file.display()
        )))
    }

    /// What reads the pictures that it draws from, which must be what read those of its training; `None` where it draws from none.
    ///
    /// # Errors
    /// An encoder that is gone or another one than then.
    pub(crate) fn sight(&self, context: &mut Context) -> Result<Option<Arc<Sight>>, Error> {
        let Some(picture) = self.recipe.task.picture() else { return Ok(None) };
        let tokens = self.recipe.network.condition().tokens;
        let sight = Sight::open(picture, tokens, &mut |line| context.note(line))?;
        self.subject.check_encoder(sight.identity(), &self.file)?;
        Ok(Some(Arc::new(sight)))
    }

    /// Refuses guidance of `scale` where training left nothing to contrast with.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_guidance(&self, scale: f64) -> Result<(), Error> {
        let conditional = self.classes() > 0 || self.words.is_some() || self.recipe.task.picture().is_some();
        let knows = self.recipe.train.condition_dropout > 0.0 || matches!(self.recipe.network, NetConfig::Released(_));
        if scale == 1.0 || !conditional || knows {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--guidance-scale {scale}: this model was trained with train.condition_dropout = 0, so it has no unconditional side \
             to contrast with"
        )))
    }

    /// The captions that were its classes, in models of the time when they were; else none.
    pub fn named_captions(&self) -> &[String] {
        &self.captions
    }

    /// The different captions it was trained on.
    ///
    /// # Errors
    /// Data that are not here any more.
    pub fn captions(&self) -> Result<Vec<String>, Error> {
        if !self.captions.is_empty() {
            return Ok(self.captions.clone());
        }
        captions(&*raw(&self.recipe.data, self.codec.as_deref(), &mut Context::silent())?)
    }

    /// What samples of `indices` are conditioned on when asked for `classes`.
    ///
    /// # Errors
    /// What the reader of prompts may say.
    pub fn condition(&self, classes: &Classes, indices: &[u64], device: &Device) -> Result<Condition, Error> {
        classes.condition(self.words.as_ref(), indices, device)
    }

    /// What samples of a data set are conditioned on: their captions or classes, or nothing where one has no class.
    ///
    /// # Errors
    /// What the reader of prompts may say.
    pub fn condition_of(
        &self,
        classes: &[i64],
        captions: &[Option<String>],
        device: &Device,
    ) -> Result<Condition, Error> {
        if self.words.is_some() && captions.is_empty() {
            return Ok(Condition::none());
        }
        if let Some(words) = &self.words {
            return words.condition(&captions.iter().map(Option::as_deref).collect::<Vec<_>>(), device);
        }
        let known = self.classes() > 0 && !classes.is_empty() && !classes.contains(&NULL_CLASS);
        Ok(if known { methods::Labels::condition(classes, device) } else { Condition::none() })
    }

    /// The shape of what it draws: of a decoded sample where it moves latents.
    pub fn drawn(&self) -> Shape {
        self.codec.as_ref().map_or(self.subject.shape, |codec| codec.drawn())
    }

    /// Refuses `what`, which looks at samples while they are moved, where those are latents.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_plain(&self, what: &str) -> Result<(), Error> {
        match &self.codec {
            None => Ok(()),
            Some(codec) => Err(Error::Usage(format!(
                "{what} works on samples themselves, and {} moves latents of {}; use a model without `task.codec`",
                self.file.display(),
                codec.file.display()
            ))),
        }
    }

    /// Refuses `what`, which looks at pictures, where shapes are drawn.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_pictures(&self, what: &str) -> Result<(), Error> {
        match self.codec.as_ref().is_none_or(|codec| !codec.has_surface()) {
            true => Ok(()),
            false => Err(Error::Usage(format!(
                "{what} measures pictures, and {} draws shapes; use `rectiflow shape measure`",
                self.file.display()
            ))),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.subject.classes.len()
    }
}

/// A field whose network reads its operands in a precision.
struct Rounded<F> {
    field: F,
    precision: Precision,
}

impl<const D: usize, F: Field<D>> Field<D> for Rounded<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.precision.scope(|| self.field.velocity(x, t, condition))
    }

    fn average_velocity(&self, x: Tensor<D>, t: &Times, until: &Times, condition: &Condition) -> Tensor<D> {
        self.precision.scope(|| self.field.average_velocity(x, t, until, condition))
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }

    // Scores read all bits: stochastic solvers divide by what is left of the noise.
    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        self.field.score_field()
    }
}
