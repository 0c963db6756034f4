//! Where results go, checked before the work that makes them.

use crate::Error;
use std::path::{Path, PathBuf};

/// Where samples go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A sheet.
    Png(PathBuf),
    /// One array.
    Npy(PathBuf),
    /// One array with labels and metadata.
    Safetensors(PathBuf),
    /// A mesh; of several samples a file for each, numbered, and a sheet of pictures.
    Mesh(PathBuf),
    /// A file for each.
    Folder(PathBuf),
}

impl Output {
    /// What `path` asks for: an existing folder or a name that ends in `/` is a folder, else the ending says it. An ending that
    /// begins with a digit is none: `samples-0.5` is a folder.
    ///
    /// # Errors
    /// [`Error::Usage`] for an ending that is not written, [`Error::Failure`] for a place that cannot be.
    pub fn parse(path: &Path) -> Result<Self, Error> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let is_folder = path.is_dir()
            || path.as_os_str().to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
            || !ending.starts_with(|first: char| first.is_ascii_alphabetic());
        let output = match ending.as_str() {
            _ if is_folder => Self::Folder(path.into()),
            "png" => Self::Png(path.into()),
            "npy" => Self::Npy(path.into()),
            "safetensors" => Self::Safetensors(path.into()),
            other if media::shape::write::ENDINGS.contains(&other) => Self::Mesh(path.into()),
            other => {
                return Err(Error::Usage(format!(
                    "--output {}: cannot write `.{other}`; use .png, .npy, .safetensors, for shapes .glb, .obj, .ply or \
                     .stl, or a folder for single samples (an existing one, or a name that ends in /)",
                    path.display()
                )));
            }
        };
        match &output {
            Self::Folder(folder) => writable(folder, folder)?,
            _ => writable(path, path.parent().unwrap_or(Path::new("")))?,
        }
        Ok(output)
    }
}

/// Refuses a file `path` that could not be written, or whose ending is none of `endings`.
///
/// # Errors
/// As [`Output::parse`].
pub fn file(path: &Path, endings: &[&str]) -> Result<(), Error> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if !endings.is_empty() && !endings.contains(&ending.as_str()) {
        let known = endings.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" or ");
        return Err(Error::Usage(format!("--output {}: a file that ends in {known} is written", path.display())));
    }
    if path.is_dir() {
        return Err(Error::Usage(format!("--output {}: it is a folder; name a file in it", path.display())));
    }
    writable(path, path.parent().unwrap_or(Path::new("")))
}

/// Refuses a folder `path` in which no file could be made; it may be still to be created.
///
/// # Errors
/// As [`Output::parse`].
pub fn folder(path: &Path) -> Result<(), Error> {
    writable(path, path)
}

/// Refuses `path` if no file can be made in `folder`, which may be still to be created. Changes nothing.
fn writable(path: &Path, folder: &Path) -> Result<(), Error> {
    let mut folder = folder;
    while !folder.as_os_str().is_empty() && !folder.exists() {
        folder = folder.parent().unwrap_or(Path::new(""));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let wrong = |why: String| Error::Failure(format!("--output {}: {why}; choose another place", path.display()));
    if !folder.is_dir() {
        return Err(wrong(format!("{} is a file, not a folder", folder.display())));
    }
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(format!("{} cannot be written into ({error})", folder.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_have_dots_and_endings_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("o.d")).unwrap();
        std::fs::write(at("file"), "x").unwrap();
        for name in ["o.d", "samples-0.5", "samples", "new.png/", "deep/er/samples"] {
            assert_eq!(Output::parse(&at(name)).unwrap(), Output::Folder(at(name)), "{name}");
        }
        assert_eq!(Output::parse(&at("a.PNG")).unwrap(), Output::Png(at("a.PNG")));
        assert_eq!(Output::parse(&at("v0.5.npy")).unwrap(), Output::Npy(at("v0.5.npy")));
        let refused = |path: PathBuf| Output::parse(&path).unwrap_err();
        assert!(matches!(refused(at("x.jpg")), Error::Usage(text) if text.contains(".jpg")));
        assert!(matches!(refused(at("file/a.png")), Error::Failure(text) if text.contains("is a file")));
        assert!(matches!(refused("/proc/x/a.png".into()), Error::Failure(_)));
        assert!(
            file(&at("a.jpg"), &["png"]).is_err()
                && file(&at("o.d"), &[]).is_err()
                && file(&at("a.png"), &["png"]).is_ok()
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "a check leaves nothing behind");
    }
}
