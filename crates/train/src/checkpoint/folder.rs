//! The checkpoints of a run: written atomically, thinned to the last few, the newest readable one found again.

use super::{Blob, Checkpoint, CheckpointError, Meta, encode};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const TEMPORARY: &str = ".tmp-";

/// When checkpoints are written and how many are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Samples between checkpoints; 0 writes only the last one.
    pub every: u64,
    /// How many of the newest checkpoints to keep; 0 keeps all.
    pub keep_last: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: 50_000, keep_last: 2 }
    }
}

/// The folder `checkpoints/` of a run.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// The newest readable checkpoint, and newer files that were skipped with the reason.
#[derive(Debug)]
pub struct Found {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Newer files that cannot be read.
    pub skipped: Vec<CheckpointError>,
}

impl Folder {
    /// Opens the folder, creating it if need be, and removes temporary files that a killed run left behind.
    /// The caller holds the run's lock.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let folder = Self(path.into());
        std::fs::create_dir_all(&folder.0).map_err(|e| folder.io("create", e))?;
        for entry in std::fs::read_dir(&folder.0).map_err(|e| folder.io("list", e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|error| CheckpointError::Io { action: "remove", path, error })?;
            }
        }
        Ok(folder)
    }

    /// A folder for reading, as it is.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn io(&self, action: &'static str, error: std::io::Error) -> CheckpointError {
        CheckpointError::Io { action, path: self.0.clone(), error }
    }

    /// The file of the checkpoint after `images` samples.
    pub fn file(&self, images: u64) -> PathBuf {
        self.0.join(format!("{images:012}.safetensors"))
    }

    /// Checkpoint files, oldest first. A folder that does not exist has none.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.io("list", e)),
        };
        let mut files = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_suffix(".safetensors").filter(|n| n.len() >= 12).and_then(|n| n.parse().ok());
            if let Some(images) = number {
                files.push((images, entry.path()));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes a checkpoint: temporary file, sync, rename, sync of the folder. Whatever happens on the way, a file
    /// with a checkpoint's name is complete, and older ones are removed only after the new one is safe.
    pub fn save(&self, meta: &Meta, blobs: &[Blob], keep_last: usize) -> Result<PathBuf, CheckpointError> {
        let path = self.file(meta.images);
        self.write(&path, meta, blobs)?;
        if keep_last > 0 {
            let files = self.list()?;
            for (_, old) in files.iter().rev().filter(|(_, p)| *p != path).skip(keep_last - 1) {
                std::fs::remove_file(old).map_err(|error| CheckpointError::Io {
                    action: "remove",
                    path: old.clone(),
                    error,
                })?;
            }
        }
        Ok(path)
    }

    /// One file, whole or not at all.
    pub(super) fn write(&self, path: &Path, meta: &Meta, blobs: &[Blob]) -> Result<(), CheckpointError> {
        let io = |error| CheckpointError::Io { action: "write", path: path.to_path_buf(), error };
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666)); // the umask still applies
        }
        let mut temporary = builder.tempfile_in(&self.0).map_err(io)?;
        let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        encode(meta, blobs, &mut writer).and_then(|_| writer.flush()).map_err(io)?;
        drop(writer);
        temporary.as_file().sync_all().map_err(io)?;
        temporary.persist(path).map_err(|e| io(e.error))?;
        self.sync().map_err(io)
    }

    /// Makes the rename durable. Windows has no such call and needs none.
    fn sync(&self) -> std::io::Result<()> {
        if cfg!(unix) { File::open(&self.0)?.sync_all() } else { Ok(()) }
    }

    /// The newest checkpoint that can be read, or `None` when there is no checkpoint at all.
    ///
    /// # Errors
    /// When there are files but none of them can be read: the newest file's error.
    pub fn latest(&self) -> Result<Option<Found>, CheckpointError> {
        let mut skipped = Vec::new();
        for (_, path) in self.list()?.iter().rev() {
            match Checkpoint::open(path) {
                Ok(checkpoint) => return Ok(Some(Found { checkpoint, skipped })),
                Err(error) => skipped.push(error),
            }
        }
        match skipped.into_iter().next() {
            Some(newest) => Err(newest),
            None => Ok(None),
        }
    }
}
