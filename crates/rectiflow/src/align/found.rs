//! The samples of a folder, each with what it was asked to show.

use crate::Error;
use data::clip;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture or an animation, whatever its file is.
    Picture,
    /// A folder of frames.
    Frames,
    /// A sound.
    Sound,
}

/// Something to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file, or the folder of frames.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// What it was asked to show; empty where nothing says.
    pub prompt: String,
}

/// Folders deep at most.
const DEEP: usize = 16;

/// The samples below `folder` in the order of their names, and lines about what else is there, but for `output`, which is the program's own.
/// With `folders_are_clips` the innermost folders are clips, and their pictures frames.
///
/// # Errors
/// A folder that is not there or cannot be read.
pub fn find(folder: &Path, output: &Path, folders_are_clips: bool) -> Result<(Vec<Sample>, Vec<String>), Error> {
    if !folder.is_dir() {
        return Err(Error::Failure(format!(
            "{}: no such folder; give the one that the samples lie in",
            folder.display()
        )));
    }
    let output = std::path::absolute(output).ok();
    let mut search = Search { folder, output, folders_are_clips, samples: Vec::new(), passed: BTreeMap::new() };
    search.walk(folder, "", 0)?;
    let told = search.passed.iter().map(|(what, (count, first))| {
        format!(
            "{}: passed over: {count} {what} ({}{})",
            folder.display(),
            first.join(", "),
            if *count > 5 { ", ..." } else { "" }
        )
    });
    Ok((search.samples, told.collect()))
}

struct Search<'a> {
    folder: &'a Path,
    output: Option<PathBuf>,
    folders_are_clips: bool,
    samples: Vec<Sample>,
    passed: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Search<'_> {
    fn walk(&mut self, folder: &Path, prompt: &str, depth: usize) -> Result<(), Error> {
        let io = |error| data::DataError::io(folder, "read", error);
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            entries.push(entry.map_err(io)?.path());
        }
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || (self.output.is_some() && std::path::absolute(&path).ok() == self.output) {
                continue;
            }
            if path.is_dir() {
                if depth == DEEP {
                    self.pass("folders too deep", &path);
                } else if self.folders_are_clips && innermost(&path) {
                    self.keep(path, Kind::Frames, prompt);
                } else {
                    let below = if prompt.is_empty() { name } else { format!("{prompt}/{name}") };
                    self.walk(&path, &below, depth + 1)?;
                }
            } else if media::audio::is_sound(&path) {
                self.keep(path, Kind::Sound, prompt);
            } else if clip::is_picture(&path) {
                self.keep(path, Kind::Picture, prompt);
            } else if !(name.ends_with(".txt") && is_beside(&path)) {
                self.pass("files that are neither pictures nor sounds", &path);
            }
        }
        Ok(())
    }

    fn pass(&mut self, what: &'static str, path: &Path) {
        let (count, first) = self.passed.entry(what).or_default();
        *count += 1;
        if first.len() < 5 {
            first.push(path.strip_prefix(self.folder).unwrap_or(path).display().to_string());
        }
    }

    fn keep(&mut self, path: PathBuf, kind: Kind, folder: &str) {
        let prompt = said(&path).unwrap_or_else(|| folder.to_string());
        self.samples.push(Sample { path, kind, prompt });
    }
}

/// Whether a folder holds files alone, a picture among them.
fn innermost(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    !paths.iter().any(|path| path.is_dir()) && paths.iter().any(|path| clip::is_picture(path))
}

/// Whether a text stands beside a sample of its name.
fn is_beside(text: &Path) -> bool {
    let Some(Ok(entries)) = text.parent().map(fs::read_dir) else { return false };
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.any(|path| path != text && path.file_stem() == text.file_stem())
}

/// What the text beside a sample says it was asked for, or what this program wrote into its PNG.
fn said(path: &Path) -> Option<String> {
    let beside =
        if path.is_dir() { PathBuf::from(format!("{}.txt", path.display())) } else { path.with_extension("txt") };
    if let Ok(text) = fs::read_to_string(beside) {
        let text = text.trim();
        return (!text.is_empty()).then(|| text.to_string());
    }
    let chunks = media::png::read_text(path).ok()?;
    let of = |wanted: &str| chunks.iter().find(|(key, _)| key == wanted).map(|(_, text)| text.as_str());
    let Some(note) = of("rectiflow") else { return of("parameters").and_then(prompt_of) };
    let note: serde_json::Value = serde_json::from_str(note).ok()?;
    let first = |key: &str| note[key].get(0)?.as_str().filter(|text| !text.is_empty()).map(String::from);
    first("prompts").or_else(|| first("class_names"))
}

/// The prompt of the line that pictures and clips of released models bear, as programs of the field write it.
fn prompt_of(line: &str) -> Option<String> {
    let end = ["\nNegative prompt: ", "\nSteps: "].iter().filter_map(|mark| line.find(mark)).min()?;
    let prompt = line[..end].trim();
    (!prompt.is_empty()).then(|| prompt.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the negative prompt taken for a part of the prompt; a line without settings taken for a prompt.
    #[test]
    fn a_picture_of_a_released_model_says_its_prompt() {
        let line = "a red fox\nin the snow\nNegative prompt: blurry\nSteps: 4, Sampler: euler";
        assert_eq!(prompt_of(line).as_deref(), Some("a red fox\nin the snow"));
        assert_eq!(prompt_of("a cat\nSteps: 4, Sampler: euler").as_deref(), Some("a cat"));
        assert_eq!((prompt_of("\nSteps: 4"), prompt_of("words of somebody")), (None, None));
    }
}
