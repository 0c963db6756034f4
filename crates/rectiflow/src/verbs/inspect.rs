//! `inspect`: what a checkpoint, a run, a pair store or a data set is.

use crate::{
    Error, Recipe,
    codec::Moments,
    facts::dataset,
    release::{Release, is_released, weighty},
    runs::{find, shipped},
    stage::task,
};
use data::DataConfig;
use serde_json::{Value, json};
use std::path::Path;
use train::{RunDir, checkpoint::Checkpoint};

/// Facts about whatever lies at `path` (images brought to `size`, where it is given), as JSON with `kind` = "checkpoint", "run", "released",
/// "released shapes", "pairs" or "data".
///
/// # Errors
/// A path that is none of these, or a damaged file: what is wrong with it.
pub fn inspect(path: &Path, size: Option<usize>) -> Result<Value, Error> {
    if shipped::is_named(path) {
        return Ok(checkpoint(&find(path)?));
    }
    if !path.exists() {
        return Err(Error::Failure(format!("{}: no such file or folder", path.display())));
    }
    if path.is_file() && path.extension().is_some_and(|e| e == "safetensors") && !is_released(path) {
        return Ok(checkpoint(&find(path)?));
    }
    if crate::released::shape::is_one(path) {
        return crate::released::shape::describe(path);
    }
    if is_released(path) {
        return released(path);
    }
    if RunDir::at(path).checkpoints().is_dir() {
        return run(path);
    }
    if let Some(pairs) = crate::pairs::describe(path)? {
        return Ok(pairs);
    }
    dataset(&DataConfig { size, ..DataConfig::at(path) })
}

/// A released model's parts.
fn released(path: &Path) -> Result<Value, Error> {
    let model = Release::open(path, None)?;
    let mut parts = Vec::new();
    for (name, classes, called) in weighty(model.family()) {
        if !model.holds(name) {
            continue;
        }
        let weights = model.weights(name, classes, called)?;
        let source = weights.source()?;
        let numbers = |tensor: &String| source.shape(tensor).unwrap_or_default().iter().product::<usize>();
        let parameters: usize = source.names().iter().map(numbers).sum();
        parts.push(json!({
            "name": name,
            "class": model.class_of(name),
            "file": weights.path().display().to_string(),
            "parameters": parameters,
            "tensors": source.names().len(),
        }));
    }
    Ok(json!({
        "kind": "released",
        "path": path.display().to_string(),
        "model": model.family().name(),
        "parts": parts,
        "about": "`rectiflow plan` says what drawing needs, `rectiflow sample --prompt` draws",
    }))
}

fn checkpoint(found: &Checkpoint) -> Value {
    let meta = found.meta();
    let numbers: usize = found.infos("raw.").iter().map(|info| info.shape.iter().product::<usize>()).sum();
    json!({
        "kind": "checkpoint",
        "file": found.path().display().to_string(),
        "bytes": found.size(),
        "checksum": "ok",
        "images": meta.images,
        "steps": meta.steps,
        "seed": meta.seed,
        "parameters": numbers,
        "tensors": found.infos("raw.").len(),
        "ema": meta.ema,
        "precision": meta.precision,
        "path": meta.path,
        "parameterization": meta.parameterization,
        "data_fingerprint": meta.data,
        "about": meta.extra,
        "recipe": meta.recipe,
    })
}

fn run(path: &Path) -> Result<Value, Error> {
    let folder = RunDir::at(path);
    let list = train::checkpoint::Folder::at(folder.checkpoints()).list()?;
    let lines = if folder.stats().is_file() { train::log::stats::read(&folder.stats())? } else { Vec::new() };
    let last = |kind: &str| lines.iter().rev().find(|line| line["kind"] == kind).cloned();
    Ok(json!({
        "kind": "run",
        "folder": path.display().to_string(),
        "checkpoints": list.iter().map(|(_, file)| file).collect::<Vec<_>>(),
        "last_log": last("log"),
        "last_validation": last("validation"),
        "latents": latents(path)?,
        "newest": if list.is_empty() { Value::Null } else { checkpoint(&find(path)?) },
    }))
}

/// How the latents of a codec's run are whitened; nothing of other runs.
fn latents(path: &Path) -> Result<Value, Error> {
    let place = Moments::place(path);
    if !place.is_file() {
        return Ok(Value::Null);
    }
    let moments = Moments::read(&place)?;
    let how = match (&moments.mixing, moments.mark()) {
        (Some(_), _) => "zca",
        (None, "") => "channels",
        (None, _) => "none",
    };
    Ok(json!({ "whitening": how, "channels": moments.mean.len(), "condition": moments.condition() }))
}

/// Facts about what a recipe trains on: images, latents, or the recordings that are mixed.
///
/// # Errors
/// Data that cannot be read.
pub fn trained_on(recipe: &Recipe) -> Result<Value, Error> {
    task::of(&recipe.task).facts(recipe)
}

/// Items of a list that are shown.
const LISTED: usize = 20;

/// [`inspect`]'s facts as lines of text.
pub fn text(facts: &Value) -> String {
    fn lines(value: &Value, indent: usize, out: &mut String) {
        let Value::Object(map) = value else { return };
        for (key, value) in map {
            let pad = " ".repeat(indent);
            match value {
                Value::Object(_) => {
                    *out += &format!("{pad}{key}\n");
                    lines(value, indent + 2, out);
                }
                Value::String(text) if text.contains('\n') => {
                    *out += &format!("{pad}{key}\n");
                    text.lines().for_each(|line| *out += &format!("{pad}  {line}\n"));
                }
                Value::String(text) => *out += &format!("{pad}{key:<18} {text}\n"),
                Value::Null => {}
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    let shown = items.iter().take(LISTED).map(item).collect::<Vec<_>>();
                    shown.iter().for_each(|line| *out += &format!("{pad}{key:<18} {line}\n"));
                    if items.len() > LISTED {
                        *out += &format!("{pad}{key:<18} and {} more\n", items.len() - LISTED);
                    }
                }
                Value::Array(items) if items.is_empty() => {}
                other => *out += &format!("{pad}{key:<18} {}\n", word(other)),
            }
        }
    }
    /// An object of a list in one line: a thing left out as a sentence, anything else by its values.
    fn item(item: &Value) -> String {
        if let Ok(kind) = serde_json::from_value::<data::LeftOut>(item.clone()) {
            return kind.to_string();
        }
        item.as_object().map_or_else(|| word(item), |keys| keys.values().map(word).collect::<Vec<_>>().join("  "))
    }
    let mut out = String::new();
    lines(facts, 0, &mut out);
    out
}

/// A value as people read it: four digits of a fraction, and pairs in a list side by side. `--json` has all of it.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            if value != 0.0 && !(1e-4..1e5).contains(&value.abs()) {
                return format!("{value:.3e}");
            }
            let digits = (3 - value.abs().max(1e-4).log10().floor() as i32).clamp(1, 7) as usize;
            format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').into()
        }
        Value::Array(items) if items.iter().all(Value::is_array) => {
            let pair = |pair: &Value| pair.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(" ");
            items.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => format!("[{}]", items.iter().map(word).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Mutants: digits counted from the point; whole numbers cut; a class and its count on different sides.
    #[test]
    fn values_are_written_for_people() {
        let written = |value: Value| word(&value);
        assert_eq!(written(json!(0.629_787_83)), "0.6298");
        assert_eq!(written(json!(12.345_678)), "12.35");
        assert_eq!(written(json!(0.000_123_456)), "0.0001235");
        assert_eq!(
            [json!(0.0), json!(2.0), json!(-0.5), json!(10.0), json!(98_765.4)].map(written).join(" "),
            "0 2 -0.5 10 98765.4"
        );
        assert_eq!([json!(9.095e-94), json!(1.5e9), json!(200_000)].map(written).join(" "), "9.095e-94 1.500e9 200000");
        assert_eq!(written(json!([["cat", 12], ["dog", 3]])), "cat 12, dog 3");
        assert_eq!(written(json!([3, 64, 64])), "[3, 64, 64]");
    }
}
