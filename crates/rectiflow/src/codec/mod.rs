//! Codecs: samples to latents and back, so that a flow learns among few numbers what a decoder turns into many.
//!
//! A codec is trained like everything else (`verbs::codec`), opened from its run, and named by a flow's recipe (`codec = "runs/…"`).
//! From then on the flow's data are latents (`latents.rs`) and what it draws is decoded at the end of `sampling`; nothing between
//! the two knows of it.

mod config;
mod latents;
mod moments;
mod task;

pub use config::{CodecConfig, CodecRecipe, KlConfig};
pub(crate) use latents::encoded;
pub use latents::{latents, through};
pub use moments::Moments;
pub use task::{AutoencoderTask, divergence};

use crate::{Error, Recipe, device::Chosen, model::find};
use base::{Shape, Tensor};
use nets::Autoencoder;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{
    RunDir,
    checkpoint::{Which, load_weights},
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
enum Kind {
    /// Pictures.
    Autoencoder(Autoencoder),
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
        let CodecConfig::Autoencoder(kl) = &recipe.codec;
        let (sample, latent) = (subject.shape, kl.latent(subject.shape)?);
        moments.check(latent)?;
        let net = load_weights(kl.network(sample, None, &device.device)?, &checkpoint, Which::Best)?;
        let identity = checkpoint.checksum();
        Ok(Self { net: Kind::Autoencoder(net), recipe, sample, latent, moments, file, identity })
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
    pub fn encode(&self, rows: Tensor<2>) -> Tensor<2> {
        let [b, _] = rows.dims();
        match &self.net {
            Kind::Autoencoder(net) => {
                let [c, h, w] = self.picture(self.sample);
                let mean = net.encode(rows.reshape([b, c, h, w])).mean;
                self.moments.whiten(mean.reshape([b, self.latent.numel()]))
            }
        }
    }

    /// Rows `[b m]` of latents back to rows `[b n]` of samples.
    pub fn decode(&self, rows: Tensor<2>) -> Tensor<2> {
        let [b, _] = rows.dims();
        match &self.net {
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
    pub(crate) fn fresh(net: Autoencoder, recipe: CodecRecipe, sample: Shape, file: PathBuf) -> Result<Self, Error> {
        let CodecConfig::Autoencoder(kl) = &recipe.codec;
        let latent = kl.latent(sample)?;
        let moments = Moments::none(latent);
        Ok(Self { net: Kind::Autoencoder(net), recipe, sample, latent, moments, file, identity: String::new() })
    }
}
