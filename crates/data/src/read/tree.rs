//! Everything below a folder, sorted by what it is. Readers choose from here, and whatever they do not choose is known.

use crate::found::Found;
use crate::{DataError, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

// Deeper than any sorted collection, shallower than a cycle of links.
const DEPTH: usize = 12;

/// What a file is, by its name; by its first bytes where the name does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    /// A caption or label beside an image.
    Text,
    /// See [`super::table`].
    Table,
    /// A tar.
    Shard,
    Parquet,
    /// An archive that is not read.
    Archive,
    /// An npy or npz file.
    Array,
    Other,
}

/// Endings of images that are read, and of those that are images nevertheless: silence about them would lose them.
pub(crate) const IMAGES: [&str; 24] = [
    "png", "jpg", "jpeg", "webp", "bmp", "gif", "jpe", "jfif", "dib", "apng", "tif", "tiff", "avif", "heic", "heif",
    "jxl", "jp2", "ppm", "pgm", "pbm", "pnm", "tga", "qoi", "exr",
];
/// Whether a file is a picture, by its ending.
pub fn is_picture(file: &Path) -> bool {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| IMAGES.contains(&ending.as_str()))
}
const TEXTS: [&str; 4] = ["txt", "caption", "cls", "json"];
const ARCHIVES: [&str; 8] = ["zip", "tgz", "gz", "bz2", "xz", "zst", "7z", "rar"];

/// A file.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// The files below `top`, in name order.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) top: PathBuf,
    pub(crate) items: Vec<Item>,
    pub(crate) folders: Vec<PathBuf>,
    /// What is passed over whatever the layout: hidden files, broken links.
    pub(crate) found: Found,
}

impl Tree {
    /// Looks through `top`.
    pub(crate) fn new(top: &Path) -> Result<Self> {
        let mut tree = Self { top: top.to_path_buf(), items: Vec::new(), folders: Vec::new(), found: Found::default() };
        tree.walk(top, DEPTH)?;
        Ok(tree)
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    /// What messages call a file of it.
    pub(crate) fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.top).unwrap_or(path).display().to_string()
    }

    fn walk(&mut self, dir: &Path, depth: usize) -> Result<()> {
        let mut paths = Vec::new();
        for item in fs::read_dir(dir).map_err(|e| DataError::io(dir, "read", e))? {
            paths.push(item.map_err(|e| DataError::io(dir, "read", e))?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || matches!(name.as_str(), "__MACOSX" | "@eaDir") {
                self.found.note(
                    "hidden or system files",
                    self.name(&path),
                    "names that begin with a dot are passed over",
                );
                continue;
            }
            let kind = match fs::metadata(&path) {
                Ok(kind) => kind,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound || is_link(&path) => {
                    self.found.note("broken links", self.name(&path), "what they point to is not there");
                    continue;
                }
                Err(error) => return Err(DataError::io(&path, "read", error)),
            };
            if kind.is_file() {
                let kind = kind_of(&path);
                self.items.push(Item { path, kind });
            } else if kind.is_dir() && is_link(&path) && leads_up(&path, dir) {
                self.found.note(
                    "links to a folder above",
                    self.name(&path),
                    "they hold nothing that is not there already",
                );
            } else if kind.is_dir() && depth == 0 {
                let what = format!("more than {DEPTH} folders deep, or a cycle of links");
                return Err(DataError::malformed(&path, what, "name a folder nearer to the images"));
            } else if kind.is_dir() {
                self.folders.push(path.clone());
                self.walk(&path, depth - 1)?;
            } else {
                self.found.note("pipes and devices", self.name(&path), "only files are read");
            }
        }
        Ok(())
    }
}

/// Whether the folder that `link` in `dir` points to is `dir` or holds it.
fn leads_up(link: &Path, dir: &Path) -> bool {
    let [target, dir] = [link, dir].map(fs::canonicalize);
    target.is_ok_and(|target| dir.is_ok_and(|dir| dir.starts_with(target)))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_symlink())
}

fn kind_of(path: &Path) -> Kind {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let is = |list: &[&str]| list.contains(&ending.as_str());
    if is(&IMAGES) {
        Kind::Image
    } else if super::table::rank(path).is_some() {
        Kind::Table
    } else if is(&TEXTS) {
        Kind::Text
    } else if ending == "tar" {
        Kind::Shard
    } else if ending == "parquet" {
        Kind::Parquet
    } else if is(&ARCHIVES) {
        Kind::Archive
    } else if ending == "npy" || ending == "npz" {
        Kind::Array
    } else if begins_as_image(path) {
        Kind::Image
    } else {
        Kind::Other
    }
}

/// Whether an image without the ending of one is one.
pub(crate) fn begins_as_image(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
    // BMP's two letters begin many a text.
    read.is_ok()
        && image::guess_format(&start).is_ok_and(|format| format.reading_enabled() && format != image::ImageFormat::Bmp)
}
