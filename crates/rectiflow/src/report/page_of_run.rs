//! The page that a run leaves in its folder.

use super::{Record, page_of_runs};
use crate::Error;
use std::path::{Path, PathBuf};

/// Its name there.
pub const NAME: &str = "report.html";

/// Writes the page of the run in `folder` into it, and returns its place.
///
/// # Errors
/// A folder that is no run or cannot be written.
pub fn leave(folder: &Path) -> Result<PathBuf, Error> {
    let place = folder.join(NAME);
    media::atomic::write(&place, page_of_runs(&[Record::read(folder)?])?.as_bytes())?;
    Ok(place)
}
