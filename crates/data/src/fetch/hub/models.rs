//! Released models of the hub: `hf:owner/name`, `hf:owner/name@revision`, and one file of many as `hf:owner/name/file`.
//!
//! A fetch asks once which revision a name stands for and takes all files of that one. What lies in the cache with the same content is linked
//! and not fetched; files that carry their sha256 are held to it at every fetch.

use super::{
    HUB, api, cache,
    choice::{CONFIG, INDEX, chosen, is_weights, parts_of},
    failed, is_inside, is_plain, link, network,
};
use crate::{DataError, Result, fetch::Progress, fingerprint::sha256};
use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiRepo},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A name of the hub taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    revision: String,
    file: Option<String>,
}

impl Name {
    fn parse(name: &str) -> Result<Self> {
        let wrong = || {
            failed(
                name,
                "it names no model of the hub",
                "write hf:OWNER/NAME, or hf:OWNER/NAME/FILE for one file of many",
            )
        };
        let rest = name.strip_prefix(HUB).ok_or_else(wrong)?;
        let mut words = rest.splitn(3, '/');
        let (owner, place) = (words.next().unwrap_or_default(), words.next().ok_or_else(wrong)?);
        let (place, revision) = place.split_once('@').unwrap_or((place, "main"));
        let file = words.next().map(str::to_string);
        if ![owner, place, revision].into_iter().all(is_plain) || !file.as_deref().is_none_or(is_inside) {
            return Err(wrong());
        }
        Ok(Self { repository: format!("{owner}/{place}"), revision: revision.into(), file })
    }

    /// The repository at a revision.
    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, revision.to_string())
    }

    /// Folders of revisions that are here, the one that the name stands for first, then the newest.
    fn snapshots(&self, cache: &Cache) -> Vec<PathBuf> {
        let home = cache.path().join(self.at(&self.revision).folder_name());
        let named =
            fs::read_to_string(home.join("refs").join(&self.revision)).unwrap_or_else(|_| self.revision.clone());
        let named = home.join("snapshots").join(named.trim());
        let mut found: Vec<PathBuf> = match (self.revision.as_str(), fs::read_dir(home.join("snapshots"))) {
            ("main", Ok(entries)) => {
                entries.flatten().map(|entry| entry.path()).filter(|path| *path != named).collect()
            }
            _ => Vec::new(),
        };
        found.sort_by_key(|path| std::cmp::Reverse(path.metadata().and_then(|facts| facts.modified()).ok()));
        std::iter::once(named).chain(found).collect()
    }
}

/// Whether `path` is a name of the hub and no file here.
pub fn is_name(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(HUB)) && !path.exists()
}

/// Where what was fetched as `name` lies: the folder of its snapshot, or its file.
///
/// # Errors
/// A name that is none; nothing fetched by it, with the command that fetches it.
pub fn find(name: &str) -> Result<PathBuf> {
    let parsed = Name::parse(name)?;
    let snapshots = parsed.snapshots(&cache(name)?);
    let missing = || failed(name, "it is not on this machine", &format!("fetch it with `rectiflow get {name}`"));
    let holding = |file: &str| snapshots.iter().find(|folder| folder.join(file).is_file());
    match &parsed.file {
        Some(file) => holding(file).map(|folder| folder.join(file)).ok_or_else(missing),
        None => holding(INDEX).or_else(|| holding(CONFIG)).cloned().ok_or_else(missing),
    }
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder of the snapshot, or the one file.
    pub place: PathBuf,
    /// Files of it.
    pub files: usize,
    /// Their bytes, where the hub says.
    pub bytes: u64,
    /// Files that were passed over, with their bytes.
    pub left: Vec<(String, u64)>,
}

/// Fetches the model `name`; what is here already is not fetched again. `progress` hears the bytes of each file.
///
/// # Errors
/// A name that is none or that the hub does not know; no network; a repository whose files must be chosen from; damaged files.
pub fn get(name: &str, progress: &mut dyn FnMut(&Progress)) -> Result<Fetched> {
    let parsed = Name::parse(name)?;
    let (api, cache) = (api(name)?, cache(name)?);
    let listed = List::ask(name, &api.repo(parsed.at(&parsed.revision)))?;
    let sha = listed.sha.as_deref().unwrap_or(&parsed.revision);
    if !is_plain(sha) {
        return Err(failed(name, format!("the hub calls its revision {sha:?}"), "ask another hub"));
    }
    let there = There { name, api: &api, cache: &cache, of: parsed.at(sha), sha };
    let snapshot = cache.repo(there.of.clone()).pointer_path(sha);
    let files = &listed.files;
    let wanted = match &parsed.file {
        Some(file) if files.contains_key(file) => vec![file.clone()],
        Some(file) => return Err(unknown(name, file, files)),
        None if files.contains_key(INDEX) => {
            there.bring(INDEX, files[INDEX], progress)?;
            let index = snapshot.join(INDEX);
            let index = fs::read(&index).map_err(|error| DataError::io(&index, "read", error))?;
            let none = || failed(name, format!("{INDEX} names no parts"), "name a model in diffusers' layout");
            let mut wanted = chosen(files.keys(), Some(&parts_of(&index).ok_or_else(none)?));
            wanted.push(INDEX.into());
            wanted
        }
        None if files.contains_key(CONFIG) => chosen(files.keys(), None),
        None => return Err(undecided(name, &parsed, files)),
    };
    for file in &wanted {
        there.bring(file, files[file], progress)?;
    }
    // Named last: until then the name stands for what was whole before.
    let named = cache.repo(parsed.at(&parsed.revision)).create_ref(sha);
    named.map_err(|error| DataError::io(cache.path(), "write", error))?;
    let taken: BTreeSet<&String> = wanted.iter().collect();
    let left = files.iter().filter(|(file, _)| parsed.file.is_none() && !taken.contains(file));
    Ok(Fetched {
        place: parsed.file.as_ref().map_or_else(|| snapshot.clone(), |file| snapshot.join(file)),
        files: wanted.len(),
        bytes: wanted.iter().map(|file| files[file]).sum(),
        left: left.map(|(file, size)| (file.clone(), *size)).collect(),
    })
}

fn unknown(name: &str, file: &str, files: &BTreeMap<String, u64>) -> DataError {
    let near = files.keys().map(|known| (strsim::jaro_winkler(known, file), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let near = near.map_or(String::new(), |(_, known)| format!("; the nearest name is {known}"));
    failed(name, format!("it has no file {file}{near}"), "name a file that it has")
}

fn undecided(name: &str, parsed: &Name, files: &BTreeMap<String, u64>) -> DataError {
    let weights = files.keys().filter(|file| is_weights(file)).take(6);
    let weights: Vec<String> = weights.map(|file| format!("{HUB}{}/{file}", parsed.repository)).collect();
    let remedy = match weights.is_empty() {
        true => "name a model in diffusers' layout".to_string(),
        false => format!("name one of its files: {}", weights.join(", ")),
    };
    failed(name, "it is no model in diffusers' layout and no single part of one", &remedy)
}

/// What a repository holds.
struct List {
    /// The revision that its name stands for.
    sha: Option<String>,
    /// Files and their bytes, 0 where the hub does not say.
    files: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    sha: Option<String>,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
}

impl List {
    fn ask(name: &str, repository: &ApiRepo) -> Result<Self> {
        let asked = repository.info_request().query("blobs", "true").call();
        let text =
            asked.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(|error| network(name, &error))?;
        let wrong = |error| failed(name, format!("the hub's answer is no list of files: {error}"), "try again");
        let info: Info = serde_json::from_str(&text).map_err(wrong)?;
        let named = info.siblings.into_iter().map(|file| (file.rfilename, file.size.unwrap_or(0)));
        Ok(Self { sha: info.sha, files: named.filter(|(file, _)| is_inside(file)).collect() })
    }
}

/// One revision of a repository, there and here.
struct There<'a> {
    name: &'a str,
    api: &'a Api,
    cache: &'a Cache,
    of: Repo,
    sha: &'a str,
}

impl There<'_> {
    /// Sees to it that `file` is in the snapshot, and whole.
    fn bring(&self, file: &str, total: u64, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
        let (repository, here) = (self.api.repo(self.of.clone()), self.cache.repo(self.of.clone()));
        let told = |error: &dyn std::fmt::Display| network(self.name, &format!("{file}: {error}"));
        let pointer = here.pointer_path(self.sha).join(file);
        if !pointer.exists() {
            let facts = self.api.metadata(&repository.url(file)).map_err(|error| told(&error))?;
            // Both become names of files here.
            if !is_plain(facts.etag()) || facts.commit_hash() != self.sha {
                return Err(told(&format!(
                    "its digest {:?} or revision {:?} is none",
                    facts.etag(),
                    facts.commit_hash()
                )));
            }
            let blob = here.blob_path(facts.etag());
            if blob.is_file() {
                link(&blob, &pointer).map_err(|error| DataError::io(&pointer, "write", error))?;
            } else {
                let mut heard = Heard { progress: &mut *progress, what: file, done: 0, total };
                repository.download_with_progress(file, &mut heard).map_err(|error| told(&error))?;
                // The client names every revision that it fetches from.
                let named = self.cache.path().join(self.of.folder_name()).join("refs").join(self.sha);
                let _ = fs::remove_file(named); // it says nothing wrong
            }
        }
        self.whole(file, &pointer, progress)
    }

    /// A file whose name in the cache is its sha256 is held to it; another is removed, so that the next fetch brings it anew.
    fn whole(&self, file: &str, pointer: &Path, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
        let Ok(blob) = pointer.canonicalize() else { return Ok(()) };
        let digest = blob.file_name().and_then(|own| own.to_str()).unwrap_or_default();
        if digest.len() != 64 || !digest.bytes().all(|sign| sign.is_ascii_hexdigit()) {
            return Ok(());
        }
        progress(&Progress { stage: "verifying", what: file.to_string(), done: 0, total: 0 });
        if sha256(&blob)? == digest {
            return Ok(());
        }
        let _ = fs::remove_file(pointer); // a file that cannot be removed is found damaged again
        let _ = fs::remove_file(&blob);
        Err(failed(self.name, format!("{file} came damaged: its sha256 is not {digest}"), "fetch it again"))
    }
}

/// Hears the bytes of one file.
struct Heard<'a> {
    progress: &'a mut dyn FnMut(&Progress),
    what: &'a str,
    done: u64,
    total: u64,
}

impl hf_hub::api::Progress for &mut Heard<'_> {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        let (what, done, total) = (self.what.to_string(), self.done, self.total);
        (self.progress)(&Progress { stage: "downloading", what, done, total });
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let name = |text| Name::parse(text).ok().map(|name| (name.repository, name.revision, name.file));
        let of = |repository: &str, revision: &str, file: Option<&str>| {
            Some((repository.to_string(), revision.to_string(), file.map(str::to_string)))
        };
        assert_eq!(name("hf:own-er/na.me"), of("own-er/na.me", "main", None));
        assert_eq!(name("hf:a/b@v1.0"), of("a/b", "v1.0", None));
        assert_eq!(name("hf:a/b@c/d/e.gguf"), of("a/b", "c", Some("d/e.gguf")));
        for wrong in
            ["a/b", "hf:a", "hf:/b", "hf:a/", "hf:../b", "hf:a/..", "hf:a/b/../c", "hf:a/b@", "hf:a b/c", "hf:a/b//c"]
        {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
