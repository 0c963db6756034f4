//! Files that are either whole or not there: written beside their place, synced, then renamed.

use crate::{DataError, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Ending of a file that is being written.
pub(crate) const PART: &str = ".part";

/// Where `path` is while it is being written. The process number keeps two writers apart.
fn part(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}{PART}", std::process::id()))
}

/// Makes `bytes` the content of `path`: after a crash at any moment the file is the old one or the new one.
///
/// # Errors
/// [`DataError::DiskFull`], or what the system says; the unfinished file is removed then.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        sync_parent(path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&part); // the write's own error is the one to tell
        DataError::io(path, "write", e)
    })
}

/// Makes a rename into the folder of `path` survive a power cut. Only unix lets a folder be synced.
pub(crate) fn sync_parent(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Creates a folder and those above it.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| DataError::io(dir, "create", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old").unwrap();
        // A folder where the unfinished file would go makes creating it fail.
        fs::create_dir(part(&path)).unwrap();
        assert!(matches!(write_atomic(&path, b"new"), Err(DataError::Io { action: "write", .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_space_is_told_as_such() {
        let error = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        assert!(matches!(DataError::io(Path::new("x"), "write", error), DataError::DiskFull { .. }));
    }
}
