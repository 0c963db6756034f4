//! Webdataset shards: tar files whose members with one stem form a sample (`0001.jpg`, `0001.cls`, `0001.txt`, `0001.json`).

use super::{Entry, Pixels, Source, numbered_classes};
use crate::{DataError, Result, Split};
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const IMAGES: [&str; 6] = ["png", "jpg", "jpeg", "webp", "bmp", "gif"];
const AGAIN: &str = "download or copy it again";

/// The shards of `split` in `dir`, in name order; empty if there are none.
pub(crate) fn find(dir: &Path, split: Split) -> Result<(Vec<PathBuf>, bool)> {
    let mut tars = Vec::new();
    for item in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, "read", e))? {
        let path = item.map_err(|e| DataError::io(dir, "read", e))?.path();
        if path.extension().is_some_and(|ending| ending == "tar") {
            tars.push(path);
        }
    }
    tars.sort();
    let is_test = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.starts_with("test") || name.starts_with("val")
    };
    let own_split = tars.iter().any(is_test) && !tars.iter().all(is_test);
    if own_split {
        tars.retain(|path| is_test(path) == (split == Split::Test));
    }
    Ok((tars, own_split))
}

/// A sample being put together.
#[derive(Default)]
struct Parts {
    stem: String,
    image: Option<(String, u64, u64)>,
    label: Option<u32>,
    caption: Option<String>,
}

/// The samples of `tars`, in order.
pub(crate) fn open(tars: &[PathBuf], own_split: bool) -> Result<Source> {
    let mut entries = Vec::new();
    for path in tars {
        shard(path, &mut entries)?;
    }
    let labels: Vec<u32> = entries.iter().filter_map(|entry: &Entry| entry.label).collect();
    let class_names = match tars.first() {
        Some(path) => numbered_classes(path, &labels)?,
        None => Vec::new(),
    };
    Ok(Source { class_names, entries, own_split, ..Source::default() })
}

fn shard(path: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    let broken = |e: std::io::Error| DataError::malformed(path, format!("not a whole tar file ({e})"), AGAIN);
    let file = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let length = file.metadata().map_err(|e| DataError::io(path, "read", e))?.len();
    if length == 0 {
        return Err(DataError::malformed(path, "the file is empty", AGAIN));
    }
    let tar = Arc::new(path.to_path_buf());
    let mut archive = tar::Archive::new(BufReader::new(file));
    let (mut parts, before) = (Parts::default(), entries.len());
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
        // The stem ends at the first dot of the file's own name; folders may have dots.
        let base = name.rfind('/').map_or(0, |at| at + 1);
        let Some(dot) = name[base..].find('.').map(|at| base + at) else { continue };
        let (stem, ending) = (&name[..dot], name[dot + 1..].to_lowercase());
        if parts.stem != stem {
            finish(std::mem::take(&mut parts), &tar, entries)?;
            parts.stem = stem.to_string();
        }
        if IMAGES.contains(&ending.as_str()) {
            parts.image = Some((name, offset, bytes));
        } else if ["cls", "txt", "json"].contains(&ending.as_str()) {
            let mut text = String::new();
            member.read_to_string(&mut text).map_err(|e| {
                DataError::malformed(&path.join(&name), format!("not readable as text ({e})"), "mend the shard")
            })?;
            annotate(&mut parts, &ending, &text, &path.join(&name))?;
        }
    }
    finish(parts, &tar, entries)?;
    if entries.len() == before {
        return Err(DataError::malformed(
            path,
            "no image in it",
            "a shard holds members such as 0001.jpg and 0001.txt",
        ));
    }
    Ok(())
}

fn annotate(parts: &mut Parts, ending: &str, text: &str, member: &Path) -> Result<()> {
    let bad = |what: String| DataError::malformed(member, what, "mend the shard");
    let number = |value: &str| value.parse().map_err(|_| bad(format!("class `{value}` is not a number")));
    match ending {
        "cls" => parts.label = Some(number(text.trim())?),
        "txt" => parts.caption = Some(text.trim().to_string()),
        _ => {
            let value: Value = serde_json::from_str(text).map_err(|e| bad(format!("not JSON ({e})")))?;
            let caption = value.get("caption").or(value.get("text")).and_then(Value::as_str);
            parts.caption = parts.caption.take().or(caption.map(String::from));
            if let Some(label) = value.get("label").or(value.get("cls")).and_then(Value::as_u64) {
                parts.label = parts.label.or(Some(number(&label.to_string())?));
            }
        }
    }
    Ok(())
}

fn finish(parts: Parts, tar: &Arc<PathBuf>, entries: &mut Vec<Entry>) -> Result<()> {
    let Some((name, offset, bytes)) = parts.image else {
        if parts.label.is_some() || parts.caption.is_some() {
            let what = format!("sample {} has no image", parts.stem);
            return Err(DataError::malformed(tar, what, "members of one sample must stand together"));
        }
        return Ok(());
    };
    let pixels = Pixels::Member { tar: tar.clone(), name, offset, bytes };
    entries.push(Entry { label: parts.label, caption: parts.caption, pixels });
    Ok(())
}
