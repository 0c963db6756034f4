//! Codecs: samples to latents and back, so that a flow learns among few numbers what a decoder turns into many.
//!
//! A codec is trained like everything else (`verbs::codec`), opened from its run, and named by a flow's recipe (`codec = "runs/…"`).
//! From then on the flow's data are latents (`latents.rs`) and what it draws is decoded at the end of `sampling`; nothing between
//! the two knows of it.

mod config;
mod latents;
mod moments;
mod shape;
mod task;

pub use config::{CodecConfig, CodecRecipe, KlConfig, Whitening};
pub(crate) use latents::encoded;
pub use latents::{latents, raw, through};
pub use moments::Moments;
pub use shape::{ShapeConfig, ShapeTask};
pub use task::{AutoencoderTask, divergence};

use crate::sampling::host;
use crate::{Error, Recipe, device::Chosen, model::find};
use base::{Device, Shape, Tensor};
use media::shape::{Extracted, Point};
use nets::{Autoencoder, ShapeCodec};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{
    RunDir,
    checkpoint::{Checkpoint, Which, load_weights},
};

/// Name of its stage in checkpoints.
pub const STAGE: &str = "codec";

/// A trained codec.
pub struct Codec {
    net: Kind,
    /// How it was made.
    pub recipe: CodecRecipe,
    /// The shape of what it encodes.
    pub sample: Shape,
    /// The shape of what that becomes.
    pub latent: Shape,
    /// What brings latents to mean 0 and deviation 1.
    pub moments: Moments,
    /// The checkpoint's file.
    pub file: PathBuf,
    /// The same for the same weights.
    pub identity: String,
}

/// The network inside.
#[allow(clippy::large_enum_variant)] // one per program; the difference is a few hundred bytes
pub(crate) enum Kind {
    /// Pictures.
    Autoencoder(Autoencoder),
    /// Shapes.
    Shape(ShapeCodec),
}

impl Kind {
    /// The weights of `checkpoint` in the network of `config` for samples of `shape`.
    pub(crate) fn load(
        config: &CodecConfig,
        shape: Shape,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<Self, Error> {
        Ok(match config {
            CodecConfig::Autoencoder(kl) => {
                Self::Autoencoder(load_weights(kl.network(shape, None, device)?, checkpoint, Which::Best)?)
            }
            CodecConfig::Shape(config) => {
                Self::Shape(load_weights(config.build(None, device)?, checkpoint, Which::Best)?)
            }
        })
    }
}

impl Codec {
    /// Opens the run that `rectiflow codec` made at `place`.
    ///
    /// # Errors
    /// [`Error::Failure`] where there is none, or its training has not ended.
    pub fn open(place: &Path, device: &Chosen) -> Result<Self, Error> {
        let remedy = "give the folder of a run that `rectiflow codec` has finished";
        if !place.is_dir() {
            return Err(Error::Failure(format!("codec {}: no such folder; {remedy}", place.display())));
        }
        let checkpoint = find(place)?;
        let (meta, file) = (checkpoint.meta().clone(), checkpoint.path().to_path_buf());
        if meta.extra.get("stage").map(String::as_str) != Some(STAGE) {
            return Err(Error::Usage(format!("codec {}: this is a run of another kind; {remedy}", place.display())));
        }
        let recipe = CodecRecipe::parse(&meta.recipe, &format!("recipe inside {}", file.display()))?;
        let moments = Moments::read(&Moments::place(RunDir::at(place).path()))?;
        let subject = crate::model::Subject::from_extra(&meta.extra, &file)?;
        let (sample, latent) = (subject.shape, recipe.codec.latent(subject.shape)?);
        moments.check(latent)?;
        let net = Kind::load(&recipe.codec, sample, &checkpoint, &device.device)?;
        let identity = checkpoint.checksum();
        Ok(Self { net, recipe, sample, latent, moments, file, identity })
    }

    /// The codec that `recipe` names, as seen from here or from beside the run in `folder`; `None` where it names none.
    ///
    /// # Errors
    /// Those of [`Codec::open`].
    pub fn of(recipe: &Recipe, folder: Option<&Path>, device: &Chosen) -> Result<Option<Arc<Self>>, Error> {
        let Some(place) = &recipe.codec else { return Ok(None) };
        // A run that was moved together with its codec finds it beside itself.
        let beside = folder.and_then(Path::parent).zip(place.file_name()).map(|(folder, name)| folder.join(name));
        let place = match beside {
            Some(beside) if !place.is_dir() && beside.is_dir() => beside,
            _ => place.clone(),
        };
        Self::open(&place, device).map(|codec| Some(Arc::new(codec)))
    }

    /// Rows `[b n]` of samples to rows `[b m]` of latents, each channel of mean 0 and deviation 1 over the training data.
    ///
    /// # Errors
    /// Rows that cannot be read back from their device, where the codec chooses among their points.
    pub fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let [b, _] = rows.dims();
        let latents = match (&self.net, &self.recipe.codec) {
            (Kind::Shape(net), CodecConfig::Shape(config)) => {
                let device = rows.device();
                shape::encode(net, config, &host(rows)?, &device)?.reshape([b, self.latent.numel()])
            }
            (Kind::Shape(_), CodecConfig::Autoencoder(_)) => return Err(self.mixed()),
            (Kind::Autoencoder(net), _) => {
                let [c, h, w] = self.picture(self.sample);
                net.encode(rows.reshape([b, c, h, w])).mean.reshape([b, self.latent.numel()])
            }
        };
        Ok(self.moments.whiten(latents))
    }

    /// A network and a configuration of two kinds; [`Codec::open`] makes none such.
    fn mixed(&self) -> Error {
        Error::Failure(format!("{}: its weights are not those of its recipe", self.file.display()))
    }

    /// The shape of what [`Codec::decode`] gives: of a sample, and of tokens where the codec is one of shapes.
    pub fn drawn(&self) -> Shape {
        match &self.net {
            Kind::Autoencoder(_) => self.sample,
            Kind::Shape(_) => self.latent,
        }
    }

    /// Whether what it decodes has a surface.
    pub fn is_shape(&self) -> bool {
        matches!(self.net, Kind::Shape(_))
    }

    /// The surface of the shape whose tokens [`Codec::decode`] gave, at `2^depth` cells to a side of the cube.
    ///
    /// # Errors
    /// A codec of something else; a field that is no number.
    pub fn surface(&self, tokens: &[f32], depth: u32, device: &Device) -> Result<Extracted, Error> {
        match (&self.net, &self.recipe.codec) {
            (Kind::Shape(net), CodecConfig::Shape(config)) => shape::surface(net, config, tokens, depth, device),
            _ => Err(Error::Usage(format!("{}: a codec of pictures has no surfaces", self.file.display()))),
        }
    }

    /// The signed distances, cut at the codec's truncation, of that shape at `points`.
    ///
    /// # Errors
    /// Those of [`Codec::surface`].
    pub fn distances(&self, tokens: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error> {
        match (&self.net, &self.recipe.codec) {
            (Kind::Shape(net), CodecConfig::Shape(config)) => {
                shape::distances(net, config, &shape::prepare(net, config, tokens, device), points)
            }
            _ => Err(Error::Usage(format!("{}: a codec of pictures has no surfaces", self.file.display()))),
        }
    }

    /// Rows `[b m]` of latents back to rows `[b n]` of samples, or of tokens: a shape has no row, its surface is asked for.
    pub fn decode(&self, rows: Tensor<2>) -> Tensor<2> {
        let [b, _] = rows.dims();
        match &self.net {
            Kind::Shape(_) => self.moments.colour(rows),
            Kind::Autoencoder(net) => {
                let [c, h, w] = self.picture(self.latent);
                net.decode(self.moments.colour(rows).reshape([b, c, h, w])).reshape([b, self.sample.numel()])
            }
        }
    }

    /// `[c h w]`, which [`Codec::open`] has seen.
    fn picture(&self, shape: Shape) -> [usize; 3] {
        shape.image().expect("an autoencoder is opened for pictures alone")
    }

    /// A codec just trained, whose moments are not known yet.
    pub(crate) fn fresh(net: Kind, recipe: CodecRecipe, sample: Shape, file: PathBuf) -> Result<Self, Error> {
        let latent = recipe.codec.latent(sample)?;
        let moments = Moments::none(latent);
        Ok(Self { net, recipe, sample, latent, moments, file, identity: String::new() })
    }
}
