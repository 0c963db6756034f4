//! The rows of a pair file as they stand there, and what their columns mean.

use super::{Pair, Said};
use crate::found::Found;
use crate::{DataError, Result, text};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A row, and its line.
type Row = (usize, Cells);

/// The cells of a row in their order, which is the order of the axes.
pub(super) struct Cells(Vec<(String, Value)>);

impl Cells {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                let mut cells = Vec::new();
                while let Some(cell) = map.next_entry()? {
                    cells.push(cell);
                }
                Ok(Cells(cells))
            }
        }
        from.deserialize_map(InOrder)
    }
}

const REMEDY: &str = "a row has path_A, path_B, prompt and on each axis A, B, same or invalid";

fn at(path: &Path, line: usize, what: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, format!("line {line}: {what}"), REMEDY)
}

/// The rows of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<Row>> {
    let content = text::read(path)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "jsonl" => {
            let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let row = |(number, line): (usize, &str)| match serde_json::from_str(line) {
                Ok(row) => Ok((number + 1, row)),
                Err(error) => Err(at(path, number + 1, error)),
            };
            lines.map(row).collect()
        }
        "csv" | "tsv" => {
            let delimiter = if ending == "tsv" { b'\t' } else { b',' };
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(content.as_bytes());
            let damaged = |e: csv::Error| DataError::malformed(path, e.to_string(), "mend that line");
            let header: Vec<String> = reader.headers().map_err(damaged)?.iter().map(|h| h.trim().into()).collect();
            let row = |row: csv::Result<csv::StringRecord>| {
                let row = row.map_err(damaged)?;
                let line = row.position().map_or(0, |position| position.line() as usize);
                let cells = header.iter().zip(&row).map(|(key, value)| (key.clone(), value.trim().into()));
                Ok((line, Cells(cells.collect())))
            };
            reader.records().map(row).collect()
        }
        other => {
            let what = format!("`.{other}` is no ending of pair files");
            Err(DataError::malformed(path, what, "save it as .csv, .tsv or .jsonl"))
        }
    }
}

/// The axes of the published files.
const PUBLISHED: [&str; 3] = ["VQ", "MQ", "TA"];

/// Columns that say something else than an axis.
const KNOWN: [&str; 7] = ["path_A", "path_B", "prompt", "fps_A", "fps_B", "num_frames_A", "num_frames_B"];

fn said(value: &Value) -> Option<Said> {
    let word = match value {
        Value::Null => return Some(Said::Invalid),
        Value::String(word) => word.trim().to_ascii_lowercase(),
        // The codes of the published training.
        Value::Number(code) => code.to_string(),
        _ => return None,
    };
    Some(match word.as_str() {
        "a" | "1" => Said::A,
        "b" | "-1" => Said::B,
        "same" | "tie" | "0" => Said::Same,
        "invalid" | "" | "22" => Said::Invalid,
        _ => return None,
    })
}

/// Whether a value is one of the words, and not only a number that could be one.
fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|word| word.trim().parse::<f64>().is_err())
}

/// The axes, the rows as pairs, and what is not used.
pub(super) fn understood(
    path: &Path,
    rows: &[Row],
    named: Option<&[String]>,
) -> Result<(Vec<String>, Vec<Pair>, Found)> {
    if rows.is_empty() {
        return Err(DataError::malformed(path, "no row", "label some pairs with `rectiflow label`"));
    }
    // As they stand in the first row, those that only others have behind them.
    let mut columns: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    rows.iter().flat_map(|(_, row)| &row.0).for_each(|(key, _)| {
        if seen.insert(key.as_str()) {
            columns.push(key);
        }
    });
    for needed in ["path_A", "path_B"] {
        if !seen.contains(needed) {
            let what = format!("no column `{needed}`; there are {}", listed(&columns));
            return Err(DataError::malformed(path, what, REMEDY));
        }
    }
    let others: Vec<&str> =
        columns.iter().copied().filter(|key| !KNOWN.contains(key) && !key.starts_with("MOS_")).collect();
    let is_axis = |key: &str| {
        let values = || rows.iter().filter_map(|(_, row)| row.get(key));
        // In a column of the published names another word is a slip, which is told with its line.
        let only = PUBLISHED.contains(&key) || values().all(|value| said(value).is_some());
        only && values().any(|v| is_word(v) && v.as_str() != Some("") && said(v).is_some())
    };
    let axes: Vec<String> = match named {
        None => others.iter().copied().filter(|key| is_axis(key)).map(String::from).collect(),
        Some(named) => {
            if let Some(missing) = named.iter().find(|axis| !others.contains(&axis.as_str())) {
                let what = format!("no axis `{missing}`; its other columns are {}", listed(&others));
                return Err(DataError::malformed(path, what, "name axes that are there"));
            }
            named.to_vec()
        }
    };
    if axes.is_empty() {
        let what = format!("no column says A, B, same or invalid alone; there are {}", listed(&columns));
        return Err(DataError::malformed(path, what, REMEDY));
    }
    let mut found = Found::default();
    let scores: Vec<String> =
        axes.iter().flat_map(|axis| ["A", "B"].map(|side| format!("MOS_{side}_{axis}"))).collect();
    for key in columns.iter().filter(|key| !KNOWN.contains(key)) {
        if !axes.iter().chain(&scores).any(|used| used == key) {
            found.note("columns", *key, "neither an axis nor known; name axes to have them used");
        }
    }
    let read = |(line, row): &Row| match pair(row, &axes) {
        Ok(pair) => Ok(Pair { line: *line, ..pair }),
        Err(what) => Err(at(path, *line, what)),
    };
    let pairs = rows.iter().map(read).collect::<Result<_>>()?;
    Ok((axes, pairs, found))
}

fn listed(columns: &[&str]) -> String {
    if columns.is_empty() { "none".into() } else { columns.join(", ") }
}

/// A number that may stand in quotes; none where nothing stands.
fn number(row: &Cells, key: &str) -> Result<Option<f64>, String> {
    let value = match row.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    let found = value.filter(|number| number.is_finite());
    found.map(Some).ok_or_else(|| format!("`{key}` is {}, no number", row.get(key).unwrap_or(&Value::Null)))
}

fn pair(row: &Cells, axes: &[String]) -> Result<Pair, String> {
    let path = |key: &str| match row.get(key) {
        Some(Value::String(path)) if !path.is_empty() => Ok(path.clone()),
        _ => Err(format!("`{key}` names no file")),
    };
    let answer = |axis: &String| match row.get(axis) {
        None => Ok(Said::Invalid),
        Some(value) => said(value).ok_or_else(|| format!("`{axis}` is {value}; it is A, B, same or invalid")),
    };
    let positive = |key: &str| match number(row, key)? {
        Some(number) if number <= 0.0 => Err(format!("`{key}` is {number}; it is above 0")),
        number => Ok(number),
    };
    let prompt = match row.get("prompt") {
        Some(Value::String(prompt)) => prompt.trim().to_string(),
        None | Some(Value::Null) => String::new(),
        Some(Value::Number(class)) => class.to_string(),
        Some(other) => return Err(format!("`prompt` is {other}, no text")),
    };
    let score = |side: &str| -> Result<Option<Vec<f64>>, String> {
        axes.iter().map(|axis| number(row, &format!("MOS_{side}_{axis}"))).collect()
    };
    let frames = |key: &str| positive(key).map(|number| number.map(|number| number as usize));
    Ok(Pair {
        line: 0,
        paths: [path("path_A")?, path("path_B")?],
        prompt,
        said: axes.iter().map(answer).collect::<Result<_, _>>()?,
        scores: score("A")?.zip(score("B")?).map(|(a, b)| [a, b]),
        fps: [positive("fps_A")?, positive("fps_B")?],
        frames: [frames("num_frames_A")?, frames("num_frames_B")?],
    })
}
