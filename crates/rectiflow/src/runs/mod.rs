//! Runs: folders that training fills, found again, begun, continued and ended.
//!
//! [`find`] says which checkpoint a path means. [`Stage`] is a run of the engine in a folder, of any module on any task.

mod lineage;
mod record;
mod resume;
pub mod shipped;
mod stage;
mod tracking;

pub(crate) use lineage::Lineage;
pub(crate) use record::{DataRecord, unheard};
pub(crate) use resume::starting_point;
pub use resume::{Resume, TrainReport, place};
pub(crate) use stage::{DrawnSheet, Learning, Sheet, Stage};

use crate::Error;
use std::path::Path;
use train::{
    RunDir,
    checkpoint::{Checkpoint, Folder, Which},
};

/// The checkpoint at `path`: the file itself, or the newest of a run's folder.
///
/// # Errors
/// Where there is none that can be read.
pub fn find(path: &Path) -> Result<Checkpoint, Error> {
    if shipped::is_named(path) {
        return shipped::checkpoint();
    }
    if !path.exists() {
        let remedy = "give a run's folder (runs/NAME), a checkpoint file, or `demo` for the model in this program";
        return Err(Error::Failure(format!("{}: no such file or folder; {remedy}", path.display())));
    }
    if path.is_file() {
        return Ok(Checkpoint::open(path)?);
    }
    let run = RunDir::at(path);
    let folder = if run.checkpoints().is_dir() { run.checkpoints() } else { path.to_path_buf() };
    let none = || Error::Failure(format!("{} holds no checkpoint; train a model into it first", path.display()));
    Ok(Folder::at(folder).latest()?.ok_or_else(none)?.checkpoint)
}

/// `raw`, a decay, or the recipe's first average.
///
/// # Errors
/// [`Error::Usage`] for anything else.
pub fn which(text: Option<&str>) -> Result<Which, Error> {
    match text {
        None => Ok(Which::Best),
        Some("raw") => Ok(Which::Raw),
        Some(text) => {
            let refused = || Error::Usage(format!("--ema {text}: give a decay such as 0.999, or `raw`"));
            text.parse().map(Which::Ema).map_err(|_| refused())
        }
    }
}
