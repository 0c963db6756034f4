//! Image folders: class folders, a flat folder with same-stem `.txt` captions, or a `metadata.jsonl` beside the images.

use super::{Entry, Pixels, Source};
use crate::{DataError, Result};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the file with one JSON object per image.
pub(crate) const METADATA: &str = "metadata.jsonl";

// Deeper than any sorted collection, shallower than a cycle of links.
const DEPTH: usize = 12;

/// The images of `dir`, in name order.
pub(crate) fn open_dir(dir: &Path) -> Result<Source> {
    let metadata = dir.join(METADATA);
    if metadata.is_file() {
        return with_metadata(dir, &metadata);
    }
    let mut files = Vec::new();
    walk(dir, DEPTH, &mut files)?;
    let captions: HashMap<PathBuf, PathBuf> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .map(|path| (path.with_extension(""), path.clone()))
        .collect();
    let stems: BTreeSet<PathBuf> =
        files.iter().filter(|path| !is_text(path)).map(|path| path.with_extension("")).collect();
    // A text without its image is a stranger and will be refused as one.
    files.retain(|path| !(is_text(path) && stems.contains(&path.with_extension(""))));

    let class = |path: &Path| {
        let inside = path.strip_prefix(dir).unwrap_or(path);
        let mut parts = inside.components();
        let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
        parts.next().map(|_| first)
    };
    let classes: BTreeSet<String> = files.iter().filter_map(|path| class(path)).collect();
    if let Some(stray) = files.iter().find(|path| class(path).is_none()).filter(|_| !classes.is_empty()) {
        let what = format!("lies beside the class folders of {}", dir.display());
        return Err(DataError::malformed(stray, what, "move it into a class folder, or all images into one folder"));
    }
    let class_names: Vec<String> = classes.into_iter().collect();
    let mut entries = Vec::with_capacity(files.len());
    for path in files {
        let label = class(&path).and_then(|name| class_names.binary_search(&name).ok()).map(|at| at as u32);
        let caption = captions.get(&path.with_extension("")).map(|text| caption(text)).transpose()?;
        entries.push(Entry { label, caption, pixels: file(dir, path)? });
    }
    Ok(Source { class_names, entries, own_split: false, ..Source::default() })
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "txt")
}

fn caption(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| DataError::io(path, "read", e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| DataError::malformed(path, "a caption that is not UTF-8 text", "save it as UTF-8"))?;
    Ok(text.trim().to_string())
}

fn file(dir: &Path, path: PathBuf) -> Result<Pixels> {
    let bytes = fs::metadata(&path).map_err(|e| DataError::io(&path, "read", e))?.len();
    let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    Ok(Pixels::File { path, name, bytes })
}

/// All files below `dir` in name order, hidden ones left out.
fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir).map_err(|e| DataError::io(dir, "read", e))? {
        let item = item.map_err(|e| DataError::io(dir, "read", e))?;
        if !item.file_name().to_string_lossy().starts_with('.') {
            names.push(item.path());
        }
    }
    names.sort();
    for path in names {
        let kind = fs::metadata(&path).map_err(|e| DataError::io(&path, "read", e))?;
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && depth == 0 {
            let what = format!("more than {DEPTH} folders deep, or a link to a folder above");
            return Err(DataError::malformed(&path, what, "name a folder nearer to the images"));
        } else if kind.is_dir() {
            walk(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

/// One line of `metadata.jsonl`; other keys are allowed, as other programs write them.
#[derive(Deserialize)]
struct Line {
    file_name: String,
    #[serde(alias = "caption")]
    text: Option<String>,
    #[serde(alias = "class")]
    label: Option<Label>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Number(u32),
    Name(String),
}

fn with_metadata(dir: &Path, metadata: &Path) -> Result<Source> {
    let text = fs::read_to_string(metadata).map_err(|e| DataError::io(metadata, "read", e))?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|e| {
            let what = format!("line {}: {e}", number + 1);
            DataError::malformed(metadata, what, "each line is {\"file_name\": ..., \"text\": ..., \"label\": ...}")
        })?;
        lines.push((number + 1, line));
    }
    let names: BTreeSet<&str> = lines.iter().filter_map(|(_, line)| line.label.as_ref()?.name()).collect();
    let numbers: Vec<u32> = lines.iter().filter_map(|(_, line)| line.label.as_ref()?.number()).collect();
    if !names.is_empty() && !numbers.is_empty() {
        return Err(DataError::malformed(metadata, "some labels are names, some are numbers", "use one kind"));
    }
    let class_names = if numbers.is_empty() {
        names.into_iter().map(String::from).collect::<Vec<_>>()
    } else {
        super::numbered_classes(metadata, &numbers)?
    };
    let mut entries = Vec::with_capacity(lines.len());
    for (number, line) in lines {
        let path = dir.join(&line.file_name);
        if !path.is_file() {
            let remedy = format!("{} names it in line {number}", metadata.display());
            return Err(DataError::Missing { path, remedy });
        }
        let label = line.label.and_then(|label| match label {
            Label::Number(number) => Some(number),
            Label::Name(name) => class_names.binary_search(&name).ok().map(|at| at as u32),
        });
        entries.push(Entry { label, caption: line.text, pixels: file(dir, path)? });
    }
    Ok(Source { class_names, entries, own_split: false, ..Source::default() })
}

impl Label {
    fn name(&self) -> Option<&str> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }

    fn number(&self) -> Option<u32> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}
