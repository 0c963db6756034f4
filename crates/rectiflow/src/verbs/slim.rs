//! `slim`: the weights that samplers use, alone in a file to keep or to pass on.

use crate::{Error, model::find, recipe::Layers, released::convert::Numbers};
use std::{
    io::Write,
    path::{Path, PathBuf},
};
use train::checkpoint::{Blob, Checkpoint, CheckpointError, Meta, Which, beneath, encode};

/// What to keep of a checkpoint.
#[derive(Clone, Debug)]
pub struct SlimRequest {
    /// A checkpoint's file or a run's folder.
    pub from: PathBuf,
    /// Which of its weights.
    pub which: Which,
    /// Numbers to write; as they are where absent.
    pub numbers: Option<Numbers>,
    /// Keys of `sample` in the recipe that goes with them: how they are drawn with where nobody says otherwise.
    pub set: Vec<String>,
    /// The file to write.
    pub to: PathBuf,
}

/// Writes the weights of a checkpoint without the averages and the optimiser's moments: everything that reads checkpoints reads it,
/// only training cannot be continued from it. Returns its size in bytes.
///
/// # Errors
/// A checkpoint that cannot be read or lacks those weights; numbers that are too large for halves; a key that is not of `sample`; a
/// place that cannot be written.
pub fn slim(request: &SlimRequest) -> Result<u64, Error> {
    let SlimRequest { from, which, numbers, set, to } = request;
    let checkpoint = find(from)?;
    let prefix = which.prefix(&checkpoint)?;
    let turned = |checkpoint: &Checkpoint, name: &str| match numbers {
        None => Ok(checkpoint.stored(name)?),
        Some(numbers) => numbers
            .turn(checkpoint.read(name)?)
            .map_err(|problem| Error::Failure(format!("{}: `{name}` {problem}", checkpoint.path().display()))),
    };
    let mut blobs = Vec::new();
    for info in checkpoint.infos(&prefix) {
        let data = turned(&checkpoint, &format!("{prefix}{}", info.name))?;
        blobs.push(Blob { info: train::params::Info { name: format!("raw.{}", info.name), ..info }, data });
    }
    // What corrections correct goes into the same file.
    if let Some(under) = beneath(&checkpoint)? {
        for info in under.infos("") {
            let data = turned(&under, &info.name)?;
            blobs.push(Blob { info, data });
        }
    }
    let recipe = drawn_with(&checkpoint.meta().recipe, &checkpoint.path().display().to_string(), set)?;
    let meta = Meta { ema: Vec::new(), frozen: None, recipe, ..checkpoint.meta().clone() };
    let io = |error| Error::from(CheckpointError::Io { action: "write", path: to.to_path_buf(), error });
    // Beside its place first: what bears the name is whole.
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io)?;
    let part = folder.join(format!(".slim-{}", std::process::id()));
    let written = std::fs::File::create(&part).and_then(|file| {
        let mut writer = std::io::BufWriter::new(file);
        let bytes = encode(&meta, &blobs, &mut writer)?;
        writer.flush()?;
        std::fs::rename(&part, to)?;
        Ok(bytes)
    });
    written.map_err(|error| {
        let _ = std::fs::remove_file(&part); // what is left of it helps nobody
        io(error)
    })
}

/// `recipe` with other keys of `sample`.
fn drawn_with(recipe: &str, file: &str, set: &[String]) -> Result<String, Error> {
    if set.is_empty() {
        return Ok(recipe.to_string());
    }
    if let Some(other) = set.iter().find(|assignment| !assignment.trim_start().starts_with("sample.")) {
        return Err(Error::Usage(format!(
            "--set {other}: what was trained cannot be changed afterwards, only keys of `sample` (sample.steps=4)"
        )));
    }
    let layers = Layers::new().text(recipe, &format!("recipe inside {file}"))?;
    Ok(set.iter().try_fold(layers, |layers, assignment| layers.set(assignment))?.build()?.to_toml())
}
