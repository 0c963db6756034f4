//! Whole files or none: write to a temporary neighbour, sync it, rename it over the name.
//!
//! A reader (or a program started after a crash) never sees half a file, because rename within one folder is atomic.

use crate::MediaError;
use std::{fs, io::Write, path::Path};

/// Puts `bytes` at `path`, creating its folder. An interrupted call leaves the old file, if any, untouched.
///
/// # Errors
/// [`MediaError::Io`] where the folder cannot be made or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), MediaError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(MediaError::io("create the folder", folder))?;
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(folder)
        .map_err(MediaError::io("write in the folder", folder))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(MediaError::io("write", path))?;
    readable_by_others(file.path()).map_err(MediaError::io("write", path))?;
    file.persist(path).map_err(|error| error.error).map_err(MediaError::io("write", path))?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Temporary files are private by default; a finished result has the usual permissions.
#[cfg(unix)]
fn readable_by_others(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_into_new_folders_and_leaves_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file.bin");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_a_file_is_an_error_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        let message = write(&file.join("x.png"), b"x").unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_and_names_the_remedy() {
        // /dev/full accepts opening and refuses every byte; a symbolic link cannot be the temporary file, so the
        // message is tested on the error alone.
        let error = MediaError::io("write", Path::new("x.png"))(std::io::Error::from_raw_os_error(28));
        let message = error.to_string();
        assert!(message.contains("x.png") && message.contains("free some space"), "{message}");
    }
}
