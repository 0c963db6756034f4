//! What leaves the program for human eyes and ears and other programs: image grids, PNG with its generation parameters
//! inside, sample sets as npy and safetensors; shapes, from and to mesh files; and sound with its spectra ([`audio`]).
//!
//! Nothing here knows a network or a tensor: images arrive as host numbers in [-1, 1].
//!
//! ```
//! use media::{Grid, Images};
//! let images = Images::new(vec![0.0; 4 * 28 * 28], 4, [1, 28, 28])?;
//! let sheet = Grid { columns: 2, ..Grid::default() }.draw(&images);
//! let file = tempfile::tempdir()?;
//! media::png::save(&file.path().join("grid.png"), &sheet, &[("parameters", "Steps: 1, Seed: 0")])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod animation;
pub mod arrays;
pub mod atomic;
pub mod audio;
pub mod canvas;
pub mod grid;
pub mod images;
pub mod lettering;
pub mod png;
pub mod shape;
pub mod y4m;

pub use canvas::Canvas;
pub use grid::Grid;
pub use images::{Bitmap, Images};

use std::path::{Path, PathBuf};

/// Why a file of samples could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The file system refused: no permission, no such folder, no space left.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done: "write", "read", "create the folder".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The numbers do not fill the shape.
    #[error("{count} numbers do not make {images} images of shape {shape:?} [c h w]")]
    Shape {
        /// Numbers given.
        count: usize,
        /// Images expected.
        images: usize,
        /// `[c h w]` expected.
        shape: [usize; 3],
    },
    /// Only grey (1 channel) and colour (3 channels) images can become a PNG.
    #[error("an image of {0} channels cannot become a PNG (1 or 3 can); write it as npy or safetensors instead")]
    Channels(usize),
    /// A file that is there but is not what it should be.
    #[error("{} is not a readable {kind} file: {reason}", path.display())]
    Format {
        /// "PNG", "npy", "safetensors", "WAV" ...
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that was asked for and cannot be.
    #[error("{what}; {remedy}")]
    Setting {
        /// What cannot be.
        what: String,
        /// What can.
        remedy: String,
    },
}

impl MediaError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn setting(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Setting { what: what.into(), remedy: remedy.into() }
    }
}

/// The way out of the common refusals, appended to the system's own words.
fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::*;
    match error.kind() {
        StorageFull | QuotaExceeded => "; free some space or choose another folder with --output",
        PermissionDenied | ReadOnlyFilesystem => "; choose a folder you may write to with --output",
        NotADirectory => "; a part of that path is a file, not a folder",
        _ => "",
    }
}
