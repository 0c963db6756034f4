//! `slim`: the weights that samplers use, alone in a file to keep or to pass on.

use crate::{Error, model::find};
use std::{io::Write, path::Path};
use train::checkpoint::{Blob, CheckpointError, Meta, Which, beneath, encode};

/// Writes the weights `which` of the checkpoint at `from` to `to`, without the averages and the optimiser's moments: everything
/// that reads checkpoints reads it, only training cannot be continued from it. Returns its size in bytes.
///
/// # Errors
/// A checkpoint that cannot be read or lacks those weights; a place that cannot be written.
pub fn slim(from: &Path, which: Which, to: &Path) -> Result<u64, Error> {
    let checkpoint = find(from)?;
    let prefix = which.prefix(&checkpoint)?;
    let mut blobs = Vec::new();
    for info in checkpoint.infos(&prefix) {
        let data = checkpoint.read(&format!("{prefix}{}", info.name))?;
        blobs.push(Blob { info: train::params::Info { name: format!("raw.{}", info.name), ..info }, data });
    }
    // What corrections correct goes into the same file.
    if let Some(under) = beneath(&checkpoint)? {
        for info in under.infos("") {
            let data = under.read(&info.name)?;
            blobs.push(Blob { info, data });
        }
    }
    let meta = Meta { ema: Vec::new(), frozen: None, ..checkpoint.meta().clone() };
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
