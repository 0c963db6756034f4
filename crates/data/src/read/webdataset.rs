//! Webdataset shards: tar files whose members with one stem form a sample (`0001.jpg`, `0001.cls`, `0001.txt`, `0001.json`).

use super::annotation::{self, Annotation};
use super::tree::IMAGES;
use super::{Ask, Entry, Pixels, Source, folder::said};
use crate::found::Found;
use crate::{DataError, Result, Split, text};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AGAIN: &str = "download or copy it again";
const TEXTS: [&str; 4] = ["cls", "txt", "caption", "json"];

/// Those of `tars` that are `split` by their names or their folders', and whether they keep a test part apart.
pub(crate) fn part(mut tars: Vec<PathBuf>, split: Split) -> (Vec<PathBuf>, bool) {
    let is_test = |path: &PathBuf| {
        let names = [path.file_name(), path.parent().and_then(Path::file_name)];
        let names = names.map(|name| name.unwrap_or_default().to_string_lossy().to_lowercase());
        names.iter().any(|name| name.starts_with("test") || name.starts_with("val"))
    };
    let own_split = tars.iter().any(is_test) && !tars.iter().all(is_test);
    if own_split {
        tars.retain(|path| is_test(path) == (split == Split::Test));
    }
    (tars, own_split)
}

/// The members of one stem.
#[derive(Default)]
struct Parts {
    stem: String,
    images: Vec<Member>,
    texts: Vec<(String, Annotation)>,
}

struct Member {
    name: String,
    offset: u64,
    bytes: u64,
}

/// The samples of `tars`, in order.
pub(crate) fn open(tars: &[PathBuf], own_split: bool, ask: Ask) -> Result<Source> {
    let (mut entries, mut all, mut found) = (Vec::new(), Vec::new(), Found::default());
    for path in tars {
        shard(path, ask, &mut entries, &mut all, &mut found)?;
    }
    let (class_names, labels) = match tars.first() {
        Some(path) => annotation::classes(path, &all)?,
        None => Default::default(),
    };
    entries.iter_mut().zip(labels).for_each(|(entry, label)| entry.label = label);
    if class_names.is_empty() {
        let folders: BTreeSet<&str> =
            entries.iter().filter_map(|entry| entry.pixels.key()?.rsplit_once('/')).map(|(dir, _)| dir).collect();
        if let (Some(first), true) = (folders.first(), folders.len() > 1) {
            let why = "they say nothing here; unpack the archive to have them as classes";
            found.count("folders inside an archive", folders.len(), format!("{first}/"), why);
        }
    }
    Ok(Source { class_names, entries, own_split, found, ..Source::default() })
}

fn shard(path: &Path, ask: Ask, entries: &mut Vec<Entry>, all: &mut Vec<Annotation>, found: &mut Found) -> Result<()> {
    let broken = |e: std::io::Error| DataError::malformed(path, format!("not a whole tar file ({e})"), AGAIN);
    let file = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let length = file.metadata().map_err(|e| DataError::io(path, "read", e))?.len();
    if length == 0 {
        return Err(DataError::malformed(path, "the file is empty", AGAIN));
    }
    let mut archive = tar::Archive::new(BufReader::new(file));
    // Samples in the order of their first member; members of one sample may stand apart.
    let (mut samples, mut places): (Vec<Parts>, HashMap<String, usize>) = Default::default();
    for member in archive.entries_with_seek().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        if !member.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let (offset, bytes) = (member.raw_file_position(), member.size());
        if offset.saturating_add(bytes) > length {
            return Err(DataError::malformed(path, format!("truncated: it ends inside {name}"), AGAIN));
        }
        let base = name.rfind('/').map_or(0, |at| at + 1);
        if name[base..].starts_with('.') || name.starts_with("__MACOSX/") || name.contains("/__MACOSX/") {
            found.note("hidden or system files", name, "names that begin with a dot are passed over");
            continue;
        }
        // The stem ends at the first dot of the file's own name; folders may have dots.
        let dots = name[base..].find('.').zip(name.rfind('.').filter(|dot| *dot > base));
        let ending = dots.map(|(_, last)| name[last + 1..].to_lowercase()).unwrap_or_default();
        let is_image = IMAGES.contains(&&*ending);
        let (Some((first, _)), true) = (dots, is_image || TEXTS.contains(&&*ending)) else {
            found.note("members of a kind that is not read", name, "images, .cls, .txt, .caption and .json are");
            continue;
        };
        let stem = name[..base + first].to_string();
        let known = places.get(&stem).copied();
        let same =
            |parts: &Parts| parts.images.iter().any(|m| m.name == name) || parts.texts.iter().any(|(n, _)| *n == name);
        let place = match known.filter(|&place| !same(&samples[place])) {
            Some(place) => place,
            None => {
                samples.push(Parts { stem: stem.clone(), ..Parts::default() });
                places.insert(stem, samples.len() - 1);
                samples.len() - 1
            }
        };
        if is_image {
            samples[place].images.push(Member { name, offset, bytes });
            continue;
        }
        let at = path.join(&name);
        let mut content = Vec::new();
        member.read_to_end(&mut content).map_err(broken)?;
        let content = text::decode(&at, &content)?;
        samples[place].texts.push((name, said(&at, &content)?));
    }
    let (tar, before) = (Arc::new(path.to_path_buf()), entries.len());
    let empty = samples.iter().all(|sample| sample.images.is_empty());
    for sample in samples {
        finish(sample, &tar, ask, (&mut *entries, &mut *all), found, empty)?;
    }
    if entries.len() == before {
        let remedy = "a shard holds members such as 0001.jpg and 0001.txt";
        return Err(DataError::malformed(path, format!("no image in it{}", found.told()), remedy));
    }
    Ok(())
}

/// The sample, or the samples: where names have dots, one first stem may hold several (`a.1.png`, `a.1.txt`, `a.2.png`, ...).
fn finish(
    parts: Parts,
    tar: &Arc<PathBuf>,
    ask: Ask,
    (entries, all): (&mut Vec<Entry>, &mut Vec<Annotation>),
    found: &mut Found,
    empty: bool,
) -> Result<()> {
    let Parts { stem, mut images, texts } = parts;
    if images.is_empty() {
        if !ask.skip && !empty {
            let what = format!("sample {stem} has no image, only {}", texts.first().map_or("", |(name, _)| name));
            return Err(DataError::malformed(
                tar,
                what,
                "add it, remove its texts, or set `data.skip_unreadable = true`",
            ));
        }
        found.note("samples without an image", stem, "only their texts are there");
        return Ok(());
    }
    let cut = |name: &str| name[..name.rfind('.').unwrap_or(name.len())].to_string();
    let own = |image: &Member| texts.iter().filter(|(name, _)| cut(name) == cut(&image.name)).count();
    let shared = texts.iter().any(|(name, _)| cut(name) == stem);
    if images.len() > 1 && !shared && (texts.is_empty() || images.iter().any(|image| own(image) > 0)) {
        for image in images {
            let mut said = Annotation::default();
            for (_, more) in texts.iter().filter(|(name, _)| cut(name) == cut(&image.name)) {
                said = said.or(more.clone());
            }
            push(image, said, tar, entries, all);
        }
        return Ok(());
    }
    // Several images of one sample: the one named plainly, else the first.
    let chosen = images.iter().position(|image| cut(&image.name) == stem).unwrap_or(0);
    let image = images.remove(chosen);
    for other in images {
        found.note("further images of a sample", other.name, "one image of each is used");
    }
    // A plain text has the first word.
    let (plain, json): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|(name, _)| !name.to_lowercase().ends_with("json"));
    let said = plain.into_iter().chain(json).fold(Annotation::default(), |said, (_, more)| said.or(more));
    push(image, said, tar, entries, all);
    Ok(())
}

fn push(image: Member, said: Annotation, tar: &Arc<PathBuf>, entries: &mut Vec<Entry>, all: &mut Vec<Annotation>) {
    let Member { name, offset, bytes } = image;
    let pixels = Pixels::Member { tar: tar.clone(), name, offset, bytes };
    entries.push(Entry { label: None, caption: said.caption.clone(), pixels });
    all.push(said);
}
