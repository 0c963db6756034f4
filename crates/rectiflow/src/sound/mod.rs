//! Sound: from recordings with labels to networks that hear one of them in a mixture (FlowSep, arXiv:2409.07614).
//!
//! The task `separate` turns the recordings of `[data]` into mixtures made on the fly ([`MixtureSource`]). The data point
//! is the mel picture of the sound asked for, the map beside it ([`base::Condition::dense`]) that of the mixture, the class or
//! caption the query. Everything else, from couplings to solvers, is that of any flow. The way back to sound is [`crate::separator`].

mod analysis;
mod instruments;
mod library;
mod pictures;
mod segments;
mod source;

pub use analysis::Analysis;
pub use library::{LibraryConfig, Part, library, prepare};
pub(crate) use library::{PEAK, read};
pub use pictures::MelPictures;
pub use segments::Segments;
pub use source::{MixtureSource, held_out, libraries};

use crate::{Error, recipe::Separate};
use data::DataConfig;

pub(crate) use crate::recipe::check_recordings;

/// How a flow that draws pictures of sound hears: the keys it shares with task `separate`, and the recordings its codec learned from.
#[derive(Clone, Debug)]
pub(crate) struct Hearing {
    pub task: Separate,
    pub data: DataConfig,
}

/// The recordings of `data`, for the errors that name them.
///
/// # Errors
/// [`Error::Usage`] where none are named.
pub(crate) fn place(data: &DataConfig) -> Result<String, Error> {
    let path = data.path.as_ref().map(|path| path.to_string_lossy().into_owned());
    path.or_else(|| data.name.clone()).ok_or_else(|| Error::Usage("no recordings are named: give --data".into()))
}
