//! Released models: a folder in diffusers' layout or a single file, opened as it came from its authors, and drawn from.
//!
//! Stable Diffusion 3 and 3.5 (Esser et al., 2024, arXiv 2403.03206), FLUX.1 (Black Forest Labs, 2024), InstaFlow (Liu et al., 2023,
//! arXiv 2309.06380), Stable Diffusion 1 and 2 (Rombach et al., 2022, arXiv 2112.10752) and Wan 2.1 (Wan Team, 2025, arXiv 2503.20314), which
//! draws clips. What they are on disk, and what a training needs of them, is [`release`](crate::release). Parts are opened when they are needed and
//! dropped when they have spoken: text encoders, then the network, then the autoencoder.
//!
//! Here the models' frame meets this project's: they count noise fractions ([`flow::schedule::Sigma`], 1 at the noise) and point
//! from data to noise; [`Flow`] is a [`flow::Field`] like any other, 0 at the noise, pointing to the data.

pub mod adapter;
mod begin;
mod beside;
mod clips;
mod codec;
pub mod convert;
mod draw;
mod field;
mod network;
mod noise;
mod pictures;
mod plan;
mod request;
pub mod shape;
mod steered;
mod torch;
mod written;

pub use crate::release::{
    Asked, Diffusion, Family, Folder, Release, encode, is_damaged, is_released, multistep, schedule,
};
use crate::release::{folder, part, single};
pub use begin::{Begins, Shown};
pub use beside::Beside;
pub(crate) use beside::Change;
pub use codec::Length;
pub use draw::{Drawn, Prepared, Sampled, draw, prepare, sample};
pub use field::{Flow, Prompted, SkipLayers};
pub use network::Network;
pub use noise::Generator;
pub(crate) use pictures::Pictures;
pub use plan::{PartPlan, ReleasedPlan, plan};
pub use request::ReleasedRequest;
pub(crate) use steered::steered;
pub use written::png;
