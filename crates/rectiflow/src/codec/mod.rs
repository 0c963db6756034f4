//! Codecs: samples to latents and back, so that a flow learns among few numbers what a decoder turns into many.
//!
//! A codec is trained like everything else (`verbs::codec`), opened from its run, and named by a flow's recipe (`task.codec = "runs/…"`).
//! From then on the flow's data are latents (`latents.rs`) and what it draws is decoded at the end of `sampling`; nothing between
//! the two knows of it.

mod autoencoder;
mod config;
mod gauge;
mod kind;
mod latents;
mod learned;
mod mel;
mod mixtures;
mod moments;
mod released;
mod rendering;
mod shape;
mod stream;
mod task;
mod triplane;
mod vocoder;

pub use autoencoder::KlConfig;
pub use config::{CodecConfig, CodecRecipe, Whitening};
pub(crate) use gauge::gauge_of;
pub(crate) use kind::{Coder, Kind, Solid, Views, Window};
pub(crate) use latents::{encoded, together, unencoded};
pub use latents::{latents, raw, readable, through};
pub use learned::{Learned, Loses};
pub use mel::MelCodecConfig;
pub(crate) use mixtures::{Beside, Mixtures};
pub use moments::Moments;
pub(crate) use rendering::{Glimpse, Renderer, Rendering};
pub use shape::{ShapeConfig, ShapeTask};
pub(crate) use stream::{Encoding, encode_batch};
pub use task::{AutoencoderTask, divergence};
pub use triplane::{TriplaneConfig, TriplaneTask};
pub use vocoder::{SegmentConfig, Vocoded, VocoderConfig, VocoderNet, VocoderTask, Way};

use crate::{Error, Recipe, device::Chosen, release::is_released, runs::find};
use base::{Device, Shape, Tensor};
use media::shape::{Extracted, Point};
use nets::NetConfig;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::RunDir;

/// Name of its stage in checkpoints.
pub const STAGE: &str = "codec";

/// A trained codec.
pub struct Codec {
    coder: Box<dyn Coder>,
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
        let subject = crate::subject::Subject::from_extra(&meta.extra, &file)?;
        // A kind that has no latents says so before they are looked for.
        let (sample, latent) = (subject.shape, recipe.codec.latent(subject.shape)?);
        let moments = Moments::read(&Moments::place(RunDir::at(place).path()))?;
        moments.check(latent)?;
        let coder = recipe.codec.kind().load(sample, &checkpoint, &device.device)?;
        let identity = checkpoint.checksum();
        Ok(Self { coder, recipe, sample, latent, moments, file, identity })
    }

    /// The codec that `recipe` names, as seen from here or from beside the run in `folder`; `None` where it names none.
    ///
    /// # Errors
    /// Those of [`Codec::open`].
    pub fn of(recipe: &Recipe, folder: Option<&Path>, device: &Chosen) -> Result<Option<Arc<Self>>, Error> {
        let Some(place) = recipe.task.codec() else { return Ok(None) };
        if is_released(place) {
            return released::open(place, &recipe.data, device).map(|codec| Some(Arc::new(codec)));
        }
        if !place.exists() && matches!(recipe.network, NetConfig::Released(_)) {
            return Err(Error::Failure(format!(
                "{}: the released model that this run was trained from is gone, and its autoencoder and readers of prompts with it; \
                 bring it back to that place",
                place.display()
            )));
        }
        // A run that was moved together with its codec finds it beside itself.
        let beside = folder.and_then(Path::parent).zip(place.file_name()).map(|(folder, name)| folder.join(name));
        let place = match beside {
            Some(beside) if !place.is_dir() && beside.is_dir() => beside,
            _ => place.into(),
        };
        Self::open(&place, device).map(|codec| Some(Arc::new(codec)))
    }

    /// Rows `[b n]` of samples to rows `[b m]` of latents, each channel of mean 0 and deviation 1 over the training data.
    ///
    /// # Errors
    /// Rows that cannot be read back from their device, where the codec chooses among their points.
    pub fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(self.moments.whiten(self.coder.encode(rows)?))
    }

    /// Rows `[b m]` of such latents back to rows of shape [`Codec::drawn`].
    pub fn decode(&self, rows: Tensor<2>) -> Tensor<2> {
        self.coder.decode(self.moments.colour(rows))
    }

    /// The same rows as latents of their own widths: what [`Codec::surface`] reads.
    pub fn raw(&self, rows: Tensor<2>) -> Tensor<2> {
        self.moments.colour(rows)
    }

    /// The shape of what [`Codec::decode`] gives: of a sample, and of tokens where only a shape's surface can be seen.
    pub fn drawn(&self) -> Shape {
        self.coder.drawn()
    }

    /// The folder of its run.
    pub(crate) fn run(&self) -> &Path {
        self.file.parent().and_then(Path::parent).unwrap_or(&self.file)
    }

    /// Bytes that decoding one latent leaves on a tape, an estimate; 0 where that is not known.
    pub(crate) fn tape_bytes(&self) -> u64 {
        self.coder.tape_bytes()
    }

    /// Whether its latents have a surface.
    pub fn has_surface(&self) -> bool {
        self.coder.solid().is_some()
    }

    /// Whether what it decodes are pictures or views, and not tokens that nobody can look at.
    pub fn is_seen(&self) -> bool {
        !self.has_surface() || self.drawn() == self.sample
    }

    /// The shape of what sample sheets show of it; none where they show meshes.
    pub(crate) fn on_sheets(&self) -> Option<Shape> {
        self.is_seen().then(|| self.drawn())
    }

    /// The surface of the shape that one latent of [`Codec::raw`] stands for, at `2^depth` cells to a side of the cube.
    ///
    /// # Errors
    /// A codec of something else; a field that is no number.
    pub fn surface(&self, latent: &[f32], depth: u32, device: &Device) -> Result<Extracted, Error> {
        self.solid()?.surface(latent, self.moments.offset, depth, device)
    }

    /// The field of that shape at `points`, negative inside: signed distances where the codec knows them.
    ///
    /// # Errors
    /// Those of [`Codec::surface`].
    pub fn field(&self, latent: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error> {
        let said = self.solid()?.field(latent, points, device)?;
        Ok(said.into_iter().map(|said| said - self.moments.offset).collect())
    }

    fn solid(&self) -> Result<&dyn Solid, Error> {
        let none = || Error::Usage(format!("{}: a codec of pictures has no surfaces", self.file.display()));
        self.coder.solid().ok_or_else(none)
    }

    /// Which numbers of whitened latents belong to what is shown (1), and which lie around it (0).
    ///
    /// # Errors
    /// A codec that cannot tell.
    pub fn object(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let none = || {
            let file = self.file.display();
            Error::Usage(format!(
                "{file}: this codec cannot tell an object from what is around it; leave task.latents.w_bg at 1"
            ))
        };
        self.coder.object(self.moments.colour(rows)).ok_or_else(none)?
    }

    /// What whitened latents look like, where they are views of something.
    ///
    /// # Errors
    /// A codec of something else.
    pub(crate) fn views(&self) -> Result<&dyn Views, Error> {
        self.coder.views().ok_or_else(|| {
            let file = self.file.display();
            Error::Usage(format!("{file}: this codec renders no views of its samples; leave `task.latents.render` out"))
        })
    }

    /// A codec just trained, whose moments are not known yet.
    pub(crate) fn fresh(
        coder: Box<dyn Coder>,
        recipe: CodecRecipe,
        sample: Shape,
        file: PathBuf,
    ) -> Result<Self, Error> {
        let latent = recipe.codec.latent(sample)?;
        let moments = Moments::none(latent);
        Ok(Self { coder, recipe, sample, latent, moments, file, identity: String::new() })
    }
}
