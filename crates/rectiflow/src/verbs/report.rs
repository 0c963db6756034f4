//! `report`: a page of one run, or of several side by side, from what lies in their folders.

use crate::{
    Error,
    report::{Record, page_of_run, page_of_runs},
};
use std::path::{Path, PathBuf};

/// Writes the page of `runs` to `output`, or into the folder of the one run where that is not said, and returns its place.
///
/// # Errors
/// [`Error::Usage`] for several runs without a place; [`Error::Failure`] for a folder that is no run, or a place that cannot be
/// written.
pub fn report(runs: &[PathBuf], output: Option<&Path>) -> Result<PathBuf, Error> {
    let place = match (output, runs) {
        (Some(output), _) => output.to_path_buf(),
        (None, [run]) => return page_of_run::leave(run),
        (None, _) => {
            return Err(Error::Usage("several runs have no folder of their own: say --output FILE.html".into()));
        }
    };
    crate::output::file(&place, &["html"])?;
    let records = runs.iter().map(|run| Record::read(run)).collect::<Result<Vec<_>, _>>()?;
    media::atomic::write(&place, page_of_runs(&records)?.as_bytes())?;
    Ok(place)
}
