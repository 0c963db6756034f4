//! Data sets of the Hugging Face hub, named `hf:owner/name`: every image, array, tar and caption file of the repository.
//!
//! Downloads go through the `hf-hub` crate and its cache (`HF_HOME`, `HF_ENDPOINT` and the login token are honoured, partial
//! files are continued); the folder here holds links to that cache.

use super::{Origin, Progress};
use crate::write::create_dir;
use crate::{DataError, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use std::fs;
use std::path::{Component, Path};

const ENDINGS: [&str; 14] = [
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".gif",
    ".txt",
    ".tar",
    ".npy",
    ".npz",
    "metadata.jsonl",
    "ubyte",
    "ubyte.gz",
    ".bin",
];

/// Fetches the repository of `name` into `dir`.
pub(super) fn get(name: &str, dir: &Path, origin: &Origin, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
    let fail =
        |what: String, remedy: &str| DataError::Fetch { name: name.to_string(), what, remedy: remedy.to_string() };
    if *origin != Origin::Network {
        return Err(fail(
            "a local copy was given for a name of the hub".to_string(),
            "open the copy as `path` instead",
        ));
    }
    if std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| value == "1" || value.eq_ignore_ascii_case("true")) {
        return Err(fail("HF_HUB_OFFLINE is set".to_string(), "unset it to use the network"));
    }
    let network = |e: ApiError| {
        let remedy =
            "check the name and the network; for a private set log in or set HF_TOKEN; behind a mirror set HF_ENDPOINT";
        fail(e.to_string(), remedy)
    };
    let mut builder = ApiBuilder::from_env().with_progress(false).with_retries(3);
    if let Ok(token) = std::env::var("HF_TOKEN") {
        builder = builder.with_token(Some(token).filter(|token| !token.is_empty()));
    }
    let repository = name.trim_start_matches(super::registry::HUB).to_string();
    let repository = builder.build().map_err(network)?.dataset(repository);
    let names = repository.info().map_err(network)?.siblings.into_iter().map(|sibling| sibling.rfilename);
    let wanted: Vec<String> = names.filter(|file| is_wanted(file)).collect();
    if wanted.is_empty() {
        let what = "no images, arrays or tars among its files".to_string();
        return Err(fail(what, "sets of parquet files are not read yet: convert them to a folder of images"));
    }
    for (done, file) in wanted.iter().enumerate() {
        progress(&Progress { stage: "downloading", what: file.clone(), done: done as u64, total: wanted.len() as u64 });
        let cached = repository.get(file).map_err(network)?;
        let path = dir.join(file);
        create_dir(path.parent().unwrap_or(dir))?;
        if !path.exists() {
            link(&cached, &path).map_err(|e| DataError::io(&path, "write", e))?;
        }
    }
    Ok(())
}

/// Whether a file belongs to the data, and stays inside the folder it will be put in.
fn is_wanted(file: &str) -> bool {
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    let lower = file.to_lowercase();
    inside && !lower.starts_with('.') && ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(unix)]
fn link(cached: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(fs::canonicalize(cached)?, path)
}

#[cfg(not(unix))]
fn link(cached: &Path, path: &Path) -> std::io::Result<()> {
    fs::copy(cached, path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn names_from_the_network_cannot_leave_the_folder() {
        assert!(is_wanted("train/a.png") && is_wanted("data/0001.tar") && is_wanted("metadata.jsonl"));
        assert!(!is_wanted("../a.png") && !is_wanted("/etc/a.png") && !is_wanted("README.md"));
    }
}
