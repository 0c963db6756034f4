//! Emoji of the npm packages `emoji-datasource-*`: `emoji.json` beside one tar of PNGs, the same file names in every style.
//!
//! Classes are the top-level categories, captions the names. The skin tones of one emoji form a group, so that no part of a
//! split sees another tone of what it is judged on.

use super::{Ask, Entry, Pixels, Source, webdataset};
use crate::found::Found;
use crate::{DataError, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const JSON: &str = "emoji.json";
const AGAIN: &str = "fetch the set again";

/// What is read of an entry of `emoji.json`.
#[derive(Deserialize)]
struct Emoji {
    name: String,
    image: String,
    category: String,
    #[serde(default)]
    skin_variations: BTreeMap<String, Variation>,
}

#[derive(Deserialize)]
struct Variation {
    image: String,
}

/// The tar of images, if `dir` is such a set.
pub(crate) fn find(dir: &Path) -> Option<PathBuf> {
    let tar = dir.join("emoji.tar");
    (dir.join(JSON).is_file() && tar.is_file()).then_some(tar)
}

/// The emoji in `tar` with what the JSON beside it says of them, in its order.
pub(crate) fn open(dir: &Path, tar: &Path, ask: Ask) -> Result<Source> {
    let json = dir.join(JSON);
    let text = std::fs::read(&json).map_err(|e| DataError::io(&json, "read", e))?;
    let emoji: Vec<Emoji> = serde_json::from_slice(&text)
        .map_err(|e| DataError::malformed(&json, format!("not the list of emoji it should be ({e})"), AGAIN))?;
    let name = |entry: &Entry| match &entry.pixels {
        Pixels::Member { name, .. } => name.clone(),
        _ => String::new(),
    };
    let images = webdataset::open(&[tar.to_path_buf()], false, ask)?.entries;
    let mut images: HashMap<String, Entry> = images.into_iter().map(|entry| (name(&entry), entry)).collect();
    let classes: BTreeSet<&str> = emoji.iter().map(|emoji| emoji.category.as_str()).collect();
    let class_names: Vec<String> = classes.into_iter().map(String::from).collect();
    let (mut entries, mut groups) = (Vec::new(), Vec::new());
    for (group, emoji) in emoji.iter().enumerate() {
        let label = class_names.binary_search(&emoji.category).ok().map(|at| at as u32);
        let tones = emoji.skin_variations.iter().map(|(tone, variation)| (&variation.image, Some(tone)));
        for (image, tone) in std::iter::once((&emoji.image, None)).chain(tones) {
            // Not every style has drawn every emoji.
            let Some(entry) = images.remove(image) else { continue };
            let name = emoji.name.to_lowercase();
            let caption = Some(tone.map_or(name.clone(), |tone| format!("{name}, skin tone {}", tone.to_lowercase())));
            entries.push(Entry { label, caption, ..entry });
            groups.push(group as u32);
        }
    }
    if entries.is_empty() {
        return Err(DataError::malformed(&json, "none of its images is in emoji.tar", AGAIN));
    }
    let mut found = Found::default();
    let mut strangers: Vec<String> = images.into_keys().collect();
    strangers.sort();
    strangers.into_iter().for_each(|name| found.note("images of emoji.tar", name, "emoji.json does not name them"));
    Ok(Source { class_names, entries, own_split: false, groups, found })
}
