//! Where a run continues, and how it ended.

use super::find;
use crate::Error;
use ::train::{
    Outcome, RunDir,
    checkpoint::{Checkpoint, Folder},
};
use burn::module::Module;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where a run continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The newest readable checkpoint; from the start where there is none.
    Latest,
    /// This checkpoint.
    File(PathBuf),
}

impl Resume {
    /// `latest` or a file.
    pub fn parse(text: &str) -> Self {
        if text == "latest" { Self::Latest } else { Self::File(text.into()) }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The run's folder.
    pub folder: PathBuf,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Training samples seen.
    pub images: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Numbers in the network.
    pub parameters: u64,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

pub(crate) fn report<M: Module>(outcome: Outcome<M>, folder: &Path) -> Result<TrainReport, Error> {
    let Outcome { state, stopped, checkpoint, .. } = outcome;
    let nothing = || Error::Failure(format!("{}: training ended without a checkpoint", folder.display()));
    Ok(TrainReport {
        folder: folder.into(),
        checkpoint: checkpoint.ok_or_else(nothing)?,
        images: state.images,
        seconds: state.seconds,
        parameters: state.parameters(),
        stopped,
    })
}

/// Of a rank that another led: the folder is that one's.
pub(crate) fn followed<M: Module>(outcome: Outcome<M>, folder: &Path) -> Result<TrainReport, Error> {
    let checkpoint = RunDir::at(folder).checkpoints();
    report(Outcome { checkpoint: Some(checkpoint), ..outcome }, folder)
}

/// Refuses a folder where a run cannot be, or that holds another one.
///
/// # Errors
/// [`Error::Usage`] or what the system says.
pub fn place(folder: &Path, resume: Option<&Resume>) -> Result<(), Error> {
    RunDir::check(folder)?;
    starting_point(folder, resume).map(drop)
}

/// The checkpoint to continue from; a folder that already holds a run is not overwritten.
pub(crate) fn starting_point(folder: &Path, resume: Option<&Resume>) -> Result<Option<Checkpoint>, Error> {
    let run = Folder::at(RunDir::at(folder).checkpoints());
    match resume {
        Some(Resume::File(file)) => find(file).map(Some),
        Some(Resume::Latest) => Ok(run.latest()?.map(|found| found.checkpoint)),
        None if run.list()?.is_empty() => Ok(None),
        None => Err(Error::Usage(format!(
            "{} already holds a run: continue it with --resume latest, or choose another --output-dir",
            folder.display()
        ))),
    }
}
