//! The directory of a run: where each file lies, and the lock that keeps a second writer out.
//!
//! ```text
//! runs/<name>/
//!   recipe.toml        the resolved recipe
//!   stats.jsonl        one JSON object per line: training, validation, events
//!   data.json          what was trained on, and what was found beside it and not used
//!   checkpoints/       000000012800.safetensors ...
//!   samples/           grids of fixed seeds
//!   events.out.tfevents.<time>.rectiflow
//!   lineage.json       its teacher and its pairs, to continue it without being told again
//!   report.html        a page of it
//!   .lock              held while a process trains here
//! ```

use crate::TrainError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The layout of a run; holds no file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run at `path`, whether it exists or not.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Creates the directory and its folders.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let run = Self(path.into());
        for folder in [run.0.clone(), run.checkpoints(), run.samples()] {
            std::fs::create_dir_all(&folder).map_err(TrainError::io("create", folder))?;
        }
        Ok(run)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.0.join("recipe.toml")
    }

    /// Statistics, one JSON object per line.
    pub fn stats(&self) -> PathBuf {
        self.0.join("stats.jsonl")
    }

    /// What was trained on.
    pub fn data(&self) -> PathBuf {
        self.0.join("data.json")
    }

    /// Folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Folder of sample grids.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples")
    }

    /// Writes `text` to `file` of the run through a temporary file, so that a killed process leaves the old or the
    /// new content, never a part.
    pub fn write(&self, file: &Path, text: &str) -> Result<(), TrainError> {
        replace_file(file, text.as_bytes())
    }

    /// Takes the lock and signs it; it is released when the value is dropped or the process ends, however it ends.
    pub fn lock(&self) -> Result<RunLock, TrainError> {
        let mut lock = self.hold()?;
        lock.sign()?;
        Ok(lock)
    }

    /// Refuses a place where no run can be: a file, or a folder that cannot be written. Changes nothing.
    pub fn check(path: &Path) -> Result<(), TrainError> {
        let mut folder = path;
        while !folder.exists() {
            folder = match folder.parent() {
                Some(above) if !above.as_os_str().is_empty() => above,
                _ => Path::new("."),
            };
        }
        let open = |folder: &Path| -> std::io::Result<()> {
            if !folder.is_dir() {
                return Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is a file"));
            }
            tempfile::tempfile_in(folder).map(drop)
        };
        open(folder).map_err(TrainError::io("write into", folder))
    }

    /// Takes away what [`RunDir::create`] made, where nothing was put into it.
    pub fn abandon(&self) {
        let _ = std::fs::remove_file(self.0.join(".lock"));
        for folder in [self.checkpoints(), self.samples(), self.0.clone()] {
            let _ = std::fs::remove_dir(folder); // refused where it is not empty
        }
    }

    /// Takes the lock without signing it: the folder stays as it is.
    pub fn hold(&self) -> Result<RunLock, TrainError> {
        let path = self.0.join(".lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(TrainError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { file, path }),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: a lock whose holder is not readable is still a lock.
                let _ = file.read_to_string(&mut holder);
                Err(TrainError::Locked { path: self.0.clone(), holder: holder.trim().parse().ok() })
            }
            Err(TryLockError::Error(error)) => Err(TrainError::Io { action: "lock", path, error }),
        }
    }
}

/// The right to write into a run directory.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    /// Says in the folder who trains there.
    pub fn sign(&mut self) -> Result<(), TrainError> {
        let file = &mut self.file;
        let write = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        write.map_err(TrainError::io("write", &self.path))
    }
}

/// Replaces a small file atomically: temporary file in the same folder, sync, rename.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut temporary = builder.tempfile_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(TrainError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_kept_out_until_the_first_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path().join("a")).unwrap();
        let lock = run.lock().unwrap();
        match run.lock() {
            Err(TrainError::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        run.lock().unwrap();
    }

    #[test]
    fn layout_exists_after_creation_and_files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path().join("a/b")).unwrap();
        assert!(run.checkpoints().is_dir() && run.samples().is_dir());
        run.write(&run.recipe(), "first, and rather long").unwrap();
        run.write(&run.recipe(), "second").unwrap();
        assert_eq!(std::fs::read_to_string(run.recipe()).unwrap(), "second");
        let left = std::fs::read_dir(run.path()).unwrap().flatten().filter(|e| e.file_name() != "recipe.toml").count();
        assert_eq!(left, 2, "the two folders and no temporary file");
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let error = RunDir::create("/proc/no/such").unwrap_err().to_string();
        assert!(error.contains("/proc/no/such"), "{error}");
    }
}
