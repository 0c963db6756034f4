//! Data: readers, the loader, named data sets and the pair store. Host memory only; nothing here knows tensors.
//!
//! [`open`] turns a [`DataConfig`] into a [`Dataset`]; [`Loader`] turns a data set into an endless, resumable stream of
//! [`Batch`]es in [-1, 1].

pub mod clip;
mod config;
mod cut;
mod decode;
mod describe;
mod error;
pub mod fetch;
mod fingerprint;
mod finish;
mod found;
mod given;
mod jpeg;
mod lazy;
mod loader;
mod memory;
pub mod mixture;
mod moving;
mod open;
mod order;
pub mod pairs;
mod points;
pub mod preferences;
mod prefetch;
mod read;
mod sample;
pub mod sounds;
mod text;
mod write;

pub use config::{DataConfig, EMBEDDED, Fit, Label, Split};
pub use cut::{Cut, Seen, cut};
pub use describe::{Summary, describe, sizes};
pub use error::{DataError, Result};
pub use found::LeftOut;
pub use given::{Given, Grey, given, grey};
pub use loader::{Batch, Loader, LoaderConfig, Share, gather};
pub use memory::InMemory;
pub use moving::{CLIP, MOVING};
pub use open::{TestPart, open, open_test};
pub use points::Points;
pub use read::tree::is_picture;
pub use sample::{Dataset, Sample, Values, counterparts, denormalize, normalize};

/// The papers of the named sets.
pub fn papers() -> Vec<base::Paper> {
    vec![fetch::registry::FASHION_MNIST]
}
