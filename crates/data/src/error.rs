//! What can go wrong with data: every error says what, in which file, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// An error of a data set, a loader, a download or a pair store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder is not there.
    #[error("{path}: not found; {remedy}")]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What to do.
        remedy: String,
    },
    /// A file is there but does not hold what it should: truncated, empty, of another format, inconsistent.
    #[error("{path}: {what}; {remedy}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Files of an image folder that are not readable images.
    #[error(
        "{first}: not a readable image ({reason}); {count} of {total} files are not: remove them, or in a recipe set `data.skip_unreadable = true`"
    )]
    Unreadable {
        /// The first such file, in name order.
        first: PathBuf,
        /// Why it could not be read.
        reason: String,
        /// How many there are.
        count: usize,
        /// Out of how many files.
        total: usize,
    },
    /// A number that is not finite, where data must be finite.
    #[error("{path}: {what} is {value}; {remedy}")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which number.
        what: String,
        /// NaN or an infinity.
        value: f32,
        /// What to do.
        remedy: String,
    },
    /// A setting that cannot be.
    #[error("data.{key}: {what}; {remedy}")]
    Config {
        /// The key, as in the recipe.
        key: &'static str,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// More samples in a batch than in the data set.
    #[error(
        "batch {batch} is larger than the data set {name} ({len} samples): lower the batch (`train.batch`) or use more data"
    )]
    BatchTooLarge {
        /// Samples in a batch.
        batch: usize,
        /// Samples in the data set.
        len: usize,
        /// The data set.
        name: String,
    },
    /// No such named data set.
    #[error(
        "no data set is named `{name}`{suggestion}; `rectiflow data list` shows the names, and a folder or file is given as `path`"
    )]
    UnknownName {
        /// The name.
        name: String,
        /// `: did you mean ...?`, or nothing.
        suggestion: String,
    },
    /// A named data set that was not fetched yet.
    #[error("data set `{name}` is not in {dir}; fetch it with `rectiflow data get {name}`")]
    NotFetched {
        /// Its name.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A download did not work.
    #[error("fetching {name}: {what}; {remedy}")]
    Fetch {
        /// The named set.
        name: String,
        /// What went wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A file whose contents are not the expected ones.
    #[error("{path}: sha256 is {found}, expected {expected}; delete it and fetch again")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Digest of the file.
        found: String,
        /// Digest it should have.
        expected: String,
    },
    /// The disk is full.
    #[error(
        "{path}: no space left on the device; free some space and run the same command again, what was written before is intact"
    )]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: read, write, create, ...
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread of the loader ended without saying why; a defect of a decoder.
    #[error("the loader of {name} stopped unexpectedly: {what}; please report it, with the file if you can")]
    LoaderStopped {
        /// The data set.
        name: String,
        /// What is known.
        what: String,
    },
}

impl DataError {
    /// An input/output error, sorted into missing, full disk and the rest.
    pub fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound if action == "read" => Self::Missing { path, remedy: "check the path".to_string() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, action, source },
        }
    }

    pub(crate) fn malformed(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn config(key: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Config { key, what: what.into(), remedy: remedy.into() }
    }
}
