//! Released models of the hub: `hf:owner/name`, `hf:owner/name@revision`, and one file of many as `hf:owner/name/file`.
//!
//! Of a repository come the files that this program reads: of a model in diffusers' layout each part once, of weights that lie there
//! several times those in safetensors and at full length. Files that carry their own digest are checked against it.

use super::{HUB, api, cache, failed, is_inside, is_plain, network};
use crate::{Result, fetch::Progress, fingerprint::sha256};
use hf_hub::{Repo, RepoType, api::sync::ApiRepo};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What a model in diffusers' layout says of its parts in.
const INDEX: &str = "model_index.json";

/// Parts of models that nothing here reads.
const UNREAD: [&str; 2] = ["safety_checker", "feature_extractor"];

/// Endings of weights, best first.
const WEIGHTS: [&str; 4] = ["safetensors", "bin", "pt", "ckpt"];

/// Endings of the files beside them: configurations, vocabularies.
const BESIDE: [&str; 3] = ["json", "txt", "model"];

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

    fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, self.revision.clone())
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
    let here = cache(name)?;
    let at = |file: &str| here.repo(parsed.repo()).get(file);
    let missing = || failed(name, "it is not on this machine", &format!("fetch it with `rectiflow get {name}`"));
    match &parsed.file {
        Some(file) => at(file).ok_or_else(missing),
        None => {
            let known = [INDEX, "config.json"].iter().find_map(|file| at(file));
            known.and_then(|file| file.parent().map(Path::to_path_buf)).ok_or_else(missing)
        }
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

#[derive(Deserialize)]
struct Info {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
}

/// Fetches the model `name`; what is here already is not fetched again. `progress` hears the bytes of each file.
///
/// # Errors
/// A name that is none or that the hub does not know; no network; a repository whose files must be chosen from; damaged files.
pub fn get(name: &str, progress: &mut dyn FnMut(&Progress)) -> Result<Fetched> {
    let parsed = Name::parse(name)?;
    let repository = api(name)?.repo(parsed.repo());
    let files = listed(name, &repository)?;
    let wanted = match &parsed.file {
        Some(file) if files.contains_key(file) => vec![file.clone()],
        Some(file) => {
            let near =
                files.keys().map(|known| (strsim::jaro_winkler(known, file), known)).max_by(|a, b| a.0.total_cmp(&b.0));
            let near = near.map_or(String::new(), |(_, known)| format!("; the nearest name is {known}"));
            return Err(failed(name, format!("it has no file {file}{near}"), "name a file that it has"));
        }
        None => chosen(&files).ok_or_else(|| {
            let weights = files.keys().filter(|file| is_weights(file)).take(6);
            let weights = weights.map(|file| format!("hf:{}/{file}", parsed.repository)).collect::<Vec<_>>();
            let remedy = match weights.is_empty() {
                true => "name a model in diffusers' layout".to_string(),
                false => format!("name one of its files: {}", weights.join(", ")),
            };
            failed(name, "it is no model in diffusers' layout and no single part of one", &remedy)
        })?,
    };
    let mut last = PathBuf::new();
    for file in &wanted {
        let total = files[file];
        let mut heard = Heard { progress: &mut *progress, what: file, done: 0, total };
        let pointer = match cache(name)?.repo(parsed.repo()).get(file) {
            Some(here) => here,
            None => {
                let there = repository.download_with_progress(file, &mut heard);
                let pointer = there.map_err(|error| network(name, &format!("{file}: {error}")))?;
                whole(name, file, &pointer, progress)?;
                pointer
            }
        };
        last = pointer;
    }
    let place = if parsed.file.is_some() { last } else { find(name)? };
    let taken: BTreeSet<&String> = wanted.iter().collect();
    let bytes = wanted.iter().map(|file| files[file]).sum();
    let left = match parsed.file {
        Some(_) => Vec::new(),
        None => {
            files.iter().filter(|(file, _)| !taken.contains(file)).map(|(file, size)| (file.clone(), *size)).collect()
        }
    };
    Ok(Fetched { place, files: wanted.len(), bytes, left })
}

/// The files of a repository and their bytes, 0 where the hub does not say.
fn listed(name: &str, repository: &ApiRepo) -> Result<BTreeMap<String, u64>> {
    let asked = repository.info_request().query("blobs", "true").call();
    let text =
        asked.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(|error| network(name, &error))?;
    let info: Info = serde_json::from_str(&text)
        .map_err(|error| failed(name, format!("the hub's answer is no list of files: {error}"), "try again"))?;
    let named = info.siblings.into_iter().map(|file| (file.rfilename, file.size.unwrap_or(0)));
    Ok(named.filter(|(file, _)| is_inside(file)).collect())
}

fn ending(file: &str) -> &str {
    file.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn is_weights(file: &str) -> bool {
    WEIGHTS.contains(&ending(file)) || ending(file) == "gguf"
}

/// The files of a model that are read: with an index those of its parts, else those of a single part; nothing where it is neither.
fn chosen(files: &BTreeMap<String, u64>) -> Option<Vec<String>> {
    let index = files.contains_key(INDEX);
    if !index && !files.contains_key("config.json") {
        return None;
    }
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files.keys() {
        let (part, own) = file.rsplit_once('/').unwrap_or(("", file));
        let is_part = if index { !part.is_empty() && !part.contains('/') } else { part.is_empty() };
        if is_part && !UNREAD.contains(&part) && !own.starts_with('.') {
            parts.entry(part).or_default().push(file);
        }
    }
    let mut wanted: Vec<String> = Vec::new();
    for files in parts.values() {
        let plain = |file: &&&str| is_plain_weights(file);
        let best = WEIGHTS.iter().find(|kind| files.iter().filter(plain).any(|file| ending(file) == **kind));
        // Where there are halves alone, these are read.
        let halves = WEIGHTS.iter().find(|kind| files.iter().any(|file| ending(file) == **kind));
        let taken = |file: &&&str| match (best, halves) {
            (Some(kind), _) => ending(file) == *kind && is_plain_weights(file),
            (None, Some(kind)) => ending(file) == *kind,
            _ => false,
        };
        wanted.extend(files.iter().filter(|file| taken(file) || is_beside(file)).map(|file| file.to_string()));
    }
    if index {
        wanted.insert(0, INDEX.into());
    }
    Some(wanted)
}

/// Whether weights are neither a variant (`model.fp16.safetensors`, `model.non_ema.bin`) nor another program's.
fn is_plain_weights(file: &str) -> bool {
    let own = file.rsplit('/').next().unwrap_or(file);
    let stem = own.rsplit_once('.').map_or(own, |(stem, _)| stem);
    WEIGHTS.contains(&ending(file)) && !stem.contains('.') && !own.starts_with("flax") && !own.starts_with("training")
}

/// Whether a file says what weights are; lists of the pieces of variants do not.
fn is_beside(file: &str) -> bool {
    let variant = [".fp16.", ".bf16.", ".non_ema."].iter().any(|kind| file.contains(kind));
    BESIDE.contains(&ending(file)) && !variant
}

/// A file whose name in the cache is its sha256 is held to it; another is removed, so that the next fetch brings it anew.
fn whole(name: &str, file: &str, pointer: &Path, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
    let Ok(blob) = pointer.canonicalize() else { return Ok(()) };
    let digest = blob.file_name().and_then(|own| own.to_str()).unwrap_or_default();
    if digest.len() != 64 || !digest.bytes().all(|sign| sign.is_ascii_hexdigit()) {
        return Ok(());
    }
    progress(&Progress { stage: "verifying", what: file.to_string(), done: 0, total: 0 });
    if sha256(&blob)? == digest {
        return Ok(());
    }
    let _ = std::fs::remove_file(pointer); // a file that cannot be removed is found damaged again
    let _ = std::fs::remove_file(&blob);
    Err(failed(name, format!("{file} came damaged: its sha256 is not {digest}"), "fetch it again"))
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

    /// Mutants: both kinds of weights; halves beside whole ones; the single files at the root of a model in parts; what leaves the folder.
    #[test]
    fn each_part_comes_once() {
        let chosen = |files: &[&str]| {
            let files = files.iter().map(|file| (file.to_string(), 1)).collect();
            chosen(&files).map(|mut files| {
                files.sort();
                files.join(" ")
            })
        };
        let model = chosen(&[
            "README.md",
            "flux1-dev.safetensors",
            "model_index.json",
            "safety_checker/model.safetensors",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.fp16.safetensors.index.json",
            "text_encoder/model.safetensors",
            "text_encoder/pytorch_model.bin",
            "tokenizer/merges.txt",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            "unet/deep/er.safetensors",
            "vae/diffusion_pytorch_model.bin",
            "vae/diffusion_pytorch_model.fp16.bin",
            "vae_encoder/model.fp16.safetensors",
        ]);
        let wanted = "model_index.json scheduler/scheduler_config.json text_encoder/config.json text_encoder/model.safetensors \
                      tokenizer/merges.txt transformer/config.json transformer/diffusion_pytorch_model-00001-of-00002.safetensors \
                      transformer/diffusion_pytorch_model-00002-of-00002.safetensors \
                      transformer/diffusion_pytorch_model.safetensors.index.json vae/diffusion_pytorch_model.bin \
                      vae_encoder/model.fp16.safetensors";
        assert_eq!(model.as_deref(), Some(wanted));
        let part =
            chosen(&["config.json", "flax_model.msgpack", "model.safetensors", "pytorch_model.bin", "onnx/model.json"]);
        assert_eq!(part.as_deref(), Some("config.json model.safetensors"));
        assert_eq!(chosen(&["README.md", "a-Q4_0.gguf", "a-Q8_0.gguf"]), None);
    }
}
