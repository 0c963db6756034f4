//! Released models: a folder in diffusers' layout or a single file, opened as it came from its authors, and drawn from.
//!
//! Stable Diffusion 3 and 3.5 (Esser et al., 2024, arXiv 2403.03206), FLUX.1 (Black Forest Labs, 2024) InstaFlow (Liu et al., 2023,
//! arXiv 2309.06380) and Stable Diffusion 1 and 2 (Rombach et al., 2022, arXiv 2112.10752). A folder says what it is in `model_index.json`; each part is read from its own folder by its own configuration. Parts are opened when they are
//! needed and dropped when they have spoken: text encoders, then the network, then the autoencoder.
//!
//! Here the models' frame meets this project's: they count noise fractions ([`flow::schedule::Sigma`], 1 at the noise) and point
//! from data to noise; [`Flow`] is a [`flow::Field`] like any other, 0 at the noise, pointing to the data.

mod begin;
pub mod convert;
mod diffusion;
mod draw;
mod field;
mod folder;
mod network;
mod noise;
mod part;
mod pictures;
mod plan;
mod release;
mod request;
mod single;
mod steered;
mod text;
mod times;
mod torch;

pub use diffusion::Diffusion;
pub use draw::{Drawn, Prepared, Sampled, draw, png, prepare, sample};
pub use field::{Flow, Prompted, SkipLayers};
pub use folder::Folder;
pub use network::Network;
pub use noise::Generator;
pub use pictures::Beside;
pub(crate) use pictures::{Change, Pictures};
pub use plan::{PartPlan, ReleasedPlan, plan};
pub use release::Release;
pub use request::ReleasedRequest;
pub(crate) use steered::steered;
pub use text::{Asked, encode};
pub use times::schedule;

use crate::Error;
use std::path::Path;

/// Models this program draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 3, 3.5 medium and large.
    Sd3,
    /// FLUX.1 schnell and dev.
    Flux,
    /// InstaFlow and 2-rectified flow on Stable Diffusion 1.5's parts.
    InstaFlow,
    /// Stable Diffusion 1.x and 2.x.
    StableDiffusion,
}

impl Family {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd3 => "Stable Diffusion 3",
            Self::Flux => "FLUX",
            Self::InstaFlow => "InstaFlow",
            Self::StableDiffusion => "Stable Diffusion",
        }
    }

    /// What `model_index.json` calls a model's pipeline.
    ///
    /// # Errors
    /// A pipeline that is not drawn from here, with those that are.
    pub fn of(folder: &Folder) -> Result<Self, Error> {
        match folder.class() {
            "StableDiffusion3Pipeline" => Ok(Self::Sd3),
            "FluxPipeline" => Ok(Self::Flux),
            "RectifiedFlowPipeline" => Ok(Self::InstaFlow),
            "StableDiffusionPipeline" => Ok(Self::StableDiffusion),
            other => Err(Error::Failure(format!(
                "{}: it is a {other}; StableDiffusion3Pipeline, FluxPipeline, StableDiffusionPipeline and RectifiedFlowPipeline can be drawn from",
                folder.path().join(folder::INDEX).display()
            ))),
        }
    }
}

/// Whether `path` is a released model's folder or single file rather than a run or a checkpoint.
pub fn is_released(path: &Path) -> bool {
    // Nothing else here is kept in GGUF, so that a damaged file is told as such.
    let gguf = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    path.join(folder::INDEX).is_file() || gguf || single::Single::is_one(path)
}

/// Whether `path` is a file of weights by its ending that cannot be opened: [`sample`] and [`plan`] say why.
pub fn is_damaged(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let weights = ["safetensors", "ckpt", "pt", "bin"].iter().any(|known| ending == *known);
    weights && path.is_file() && nets::weights::Stored::open(path).is_err()
}
