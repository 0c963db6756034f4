//! Tables of images: `metadata.jsonl`, `.json`, `.csv` or `.tsv` (also called `labels` or `captions`), one record an image, which
//! names its file and says its class or caption.

use super::annotation::{Annotation, Word, plain, says};
use crate::{DataError, Result, text};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What is said of one image, and where.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As written, relative to the table's folder.
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) said: Annotation,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) records: Vec<Record>,
}

const STEMS: [&str; 3] = ["metadata", "labels", "captions"];
const ENDINGS: [&str; 4] = ["jsonl", "json", "csv", "tsv"];
/// Keys of an image's file.
const FILES: [&str; 8] = ["file_name", "filename", "file", "image", "image_path", "image_file", "path", "img"];
const REMEDY: &str = "each line is {\"file_name\": ..., \"text\": ..., \"label\": ...}";

/// Place of a file of this name among tables, best first; `None` if it is no table.
pub(crate) fn rank(path: &Path) -> Option<usize> {
    let place = |list: &[&str], part: Option<&std::ffi::OsStr>| {
        let part = part?.to_str()?.to_ascii_lowercase();
        list.iter().position(|known| *known == part)
    };
    Some(place(&STEMS, path.file_stem())? * ENDINGS.len() + place(&ENDINGS, path.extension())?)
}

/// The records of the table at `path`.
pub(crate) fn read(path: &Path) -> Result<Table> {
    let content = text::read(path)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let records = match ending.as_str() {
        "jsonl" => lines(path, &content)?,
        "json" => document(path, &content)?,
        ending => columns(path, &content, ending == "tsv")?,
    };
    Ok(Table { path: path.to_path_buf(), records })
}

fn at(path: &Path, line: usize, what: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, format!("line {line}: {what}"), REMEDY)
}

fn lines(path: &Path, content: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (number, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let keys = serde_json::from_str(line).map_err(|e| at(path, number + 1, e))?;
        records.push(record(&keys).map_err(|what| at(path, number + 1, what))?.numbered(number + 1));
    }
    Ok(records)
}

/// A list of records, or an object from file names to captions or records.
fn document(path: &Path, content: &str) -> Result<Vec<Record>> {
    let wrong = |what: String| DataError::malformed(path, what, "it is a list of {\"file_name\": ..., \"text\": ...}");
    let named = |(place, (file, value)): (usize, (String, Value))| {
        let said = match value {
            Value::Object(keys) => Annotation::of(&keys),
            Value::String(caption) => Ok(Annotation { caption: Some(caption.trim().into()), ..Annotation::default() }),
            other => Annotation::of(&Map::from_iter([("label".to_string(), other)])),
        };
        said.map(|said| Record { file, line: place + 1, said })
    };
    let records: Result<Vec<Record>, String> = match serde_json::from_str(content).map_err(|e| wrong(e.to_string()))? {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(place, item)| match item {
                Value::Object(keys) => record(keys).map(|record| record.numbered(place + 1)),
                _ => Err(format!("item {} is no object", place + 1)),
            })
            .collect(),
        Value::Object(files) => files.into_iter().enumerate().map(named).collect(),
        _ => Err("neither a list nor an object".into()),
    };
    records.map_err(wrong)
}

fn record(keys: &Map<String, Value>) -> Result<Record, String> {
    let file = FILES.iter().find_map(|key| match keys.get(*key)? {
        Value::String(file) => Some(Ok(file.clone())),
        Value::Object(inner) => inner.get("path")?.as_str().map(|file| Ok(file.to_string())),
        other => Some(Err(format!("`{key}` is {other}; it should name the image's file"))),
    });
    let file = file.ok_or("it names no image (`file_name`)")??;
    Ok(Record { file, line: 0, said: Annotation::of(keys)? })
}

impl Record {
    fn numbered(self, line: usize) -> Self {
        Self { line, ..self }
    }
}

fn columns(path: &Path, content: &str, tabs: bool) -> Result<Vec<Record>> {
    let first = content.lines().next().unwrap_or_default();
    let delimiter = match (tabs, first.contains(','), first.contains(';')) {
        (true, ..) => b'\t',
        (_, false, true) => b';',
        _ => b',',
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(content.as_bytes());
    let damaged = |e: csv::Error| DataError::malformed(path, e.to_string(), "mend that line");
    let header: Vec<String> =
        reader.headers().map_err(damaged)?.iter().map(|h| h.trim().to_ascii_lowercase()).collect();
    let file = FILES.iter().find_map(|key| header.iter().position(|h| h == key));
    let (Some(file), true) = (file, header.iter().any(|h| says(h))) else {
        let what = format!("its first line names the columns {}", header.join(", "));
        return Err(DataError::malformed(path, what, "name them `file_name` and `text` or `label`"));
    };
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        let line = row.position().map_or(0, |position| position.line() as usize);
        let name = row.get(file).unwrap_or_default().trim().to_string();
        if name.is_empty() {
            return Err(at(path, line, "it names no image (`file_name`)"));
        }
        let keys = header.iter().zip(&row).filter(|(key, _)| says(key));
        let keys = keys.map(|(key, value)| (key.clone(), Value::from(value)));
        rows.push(Record {
            file: name,
            line,
            said: Annotation::of(&keys.collect()).map_err(|what| at(path, line, what))?,
        });
    }
    // Everything is text in such a file: labels are numbers if all of them are.
    let number = |row: &Record| match &row.said.label {
        Some(Word::Name(name)) => !matches!(plain(name), Some(Word::Name(_))),
        _ => true,
    };
    if rows.iter().all(number) {
        for row in &mut rows {
            if let Some(Word::Name(name)) = &row.said.label {
                row.said.label = plain(name);
            }
        }
    }
    Ok(rows)
}
