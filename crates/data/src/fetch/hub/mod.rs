//! The Hugging Face hub, through the `hf-hub` crate and its cache, which other programs share: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_HUB_OFFLINE` and the login of its own client are honoured, partial files are continued.

mod choice;
pub mod models;
pub(super) mod sets;

use crate::{DataError, Result};
use hf_hub::{
    Cache,
    api::sync::{Api, ApiBuilder},
};
use std::path::{Component, Path, PathBuf};

/// Beginning of the name of anything on the hub: `hf:owner/name`.
pub(crate) const HUB: &str = "hf:";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the hub's files lie on this machine.
fn cache(name: &str) -> Result<Cache> {
    let folder = |name: &str| variable(name).map(PathBuf::from);
    let home = || folder("HF_HOME").map(|home| home.join("hub"));
    let user = || folder("HOME").or_else(|| folder("USERPROFILE")).map(|home| home.join(".cache"));
    let shared = || folder("XDG_CACHE_HOME").or_else(user).map(|cache| cache.join("huggingface").join("hub"));
    let found = folder("HF_HUB_CACHE").or_else(home).or_else(shared);
    let nowhere = || failed(name, "HF_HOME, XDG_CACHE_HOME and HOME are all unset", "set HF_HOME to a folder");
    Ok(Cache::new(found.ok_or_else(nowhere)?))
}

/// The hub over the network.
fn api(name: &str) -> Result<Api> {
    if variable("HF_HUB_OFFLINE").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")) {
        return Err(failed(name, "HF_HUB_OFFLINE is set", "unset it to use the network"));
    }
    let mut builder = ApiBuilder::from_cache(cache(name)?).with_progress(false).with_retries(3);
    if let Some(endpoint) = variable("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(token) = variable("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    builder.build().map_err(|error| network(name, &error))
}

fn network(name: &str, error: &dyn std::fmt::Display) -> DataError {
    let remedy = "check the name and the network; for what is private or asks for consent log in or set HF_TOKEN; behind a mirror set \
                  HF_ENDPOINT";
    failed(name, error, remedy)
}

fn failed(name: &str, what: impl std::fmt::Display, remedy: &str) -> DataError {
    DataError::Fetch { name: name.to_string(), what: what.to_string(), remedy: remedy.to_string() }
}

/// Whether a name from the network stays inside the folder that it will be put in.
fn is_inside(file: &str) -> bool {
    let path = Path::new(file);
    !file.contains('\\')
        && path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.file_name().is_some()
}

/// Whether a word can be an owner, a repository or a revision.
fn is_plain(word: &str) -> bool {
    let known = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.');
    !word.is_empty() && !word.starts_with('.') && word.chars().all(known)
}

/// Lets `place` be the file that lies in the cache at `cached`.
#[cfg(unix)]
fn link(cached: &Path, place: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(place.parent().unwrap_or(place))?;
    std::os::unix::fs::symlink(std::fs::canonicalize(cached)?, place)
}

#[cfg(not(unix))]
fn link(cached: &Path, place: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(place.parent().unwrap_or(place))?;
    std::fs::copy(cached, place).map(|_| ())
}
