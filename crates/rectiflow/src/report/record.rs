//! What a run's folder says of itself, read for a page: its recipe, its numbers over time, its sheets.

use crate::Error;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use train::RunDir;

/// A run as its files tell it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The resolved recipe, as it stands in the folder.
    pub recipe: String,
    /// Its values by dotted key.
    pub keys: BTreeMap<String, String>,
    /// `(images seen, training loss)`.
    pub training: Vec<(f64, f64)>,
    /// `(images seen, validation loss)`.
    pub validation: Vec<(f64, f64)>,
    /// `(time on the path, validation loss there)` the last time it was taken.
    pub by_time: Vec<(f64, f64)>,
    /// By axis `(images seen, mean reward of what the model then drew)`, of alignments that draw as they learn.
    pub rewards: BTreeMap<String, Vec<(f64, f64)>>,
    /// Samples (or pairs, or whatever the run sees) so far.
    pub images: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Most memory it took, in mebibytes; zero where nothing was logged.
    pub memory_mb: f64,
    /// Warnings, in order.
    pub warnings: Vec<String>,
    /// What the run is trained on, as `data.json` names it; empty without one.
    pub data: String,
    /// How it ended: `None` while it runs, or where it was killed.
    pub stopped: Option<bool>,
    /// Sheets of samples: `(images seen, PNG file)`, oldest first.
    pub sheets: Vec<(u64, PathBuf)>,
    /// Meshes beside the last of them, or those that a codec gave back, in the order of their names.
    pub meshes: Vec<PathBuf>,
    /// Lines of `stats.jsonl` that say nothing: torn by a kill.
    pub torn: usize,
}

impl Record {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    /// [`Error::Failure`] where the folder is no run: without `recipe.toml` or `stats.jsonl`.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let run = RunDir::at(folder);
        let text = |file: PathBuf| {
            std::fs::read_to_string(&file).map_err(|error| {
                let remedy = "give the folder of a run: what `train`, `reflow` or `distill` wrote";
                Error::Failure(format!("{}: {error}; {remedy}", file.display()))
            })
        };
        let (recipe, stats) = (text(run.recipe())?, text(run.stats())?);
        let table: toml::Table =
            recipe.parse().map_err(|error| Error::Failure(format!("{}: {error}", run.recipe().display())))?;
        let mut keys = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut keys);
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let data = std::fs::read_to_string(run.data()).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let data = data.map_or_else(String::new, |data| {
            let of = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
            let count = |key: &str| data[key].as_u64().map_or("?".to_owned(), |count| count.to_string());
            format!("{}, {} samples, {} held out", of("name"), count("samples"), count("held_out"))
        });
        let mut record = Self { name, folder: folder.to_path_buf(), recipe, keys, data, ..Self::default() };
        stats.lines().filter(|line| !line.trim().is_empty()).for_each(|line| match serde_json::from_str(line) {
            Ok(line) => record.hear(&line),
            Err(_) => record.torn += 1,
        });
        record.sheets = sheets(&run.samples());
        record.meshes = meshes(&run.samples(), record.sheets.last().map(|(seen, _)| *seen));
        Ok(record)
    }

    /// One line of `stats.jsonl`. A run that was continued says what it had said before it was stopped once more; the later word
    /// counts.
    fn hear(&mut self, line: &Value) {
        let number = |key: &str| line[key].as_f64();
        let images = number("images").unwrap_or(0.0);
        let point = |curve: &mut Vec<(f64, f64)>, value: f64| {
            while curve.last().is_some_and(|(at, _)| *at >= images) {
                curve.pop();
            }
            curve.push((images, value));
        };
        match line["kind"].as_str() {
            Some("log") => {
                number("loss").into_iter().for_each(|loss| point(&mut self.training, loss));
                self.memory_mb = self.memory_mb.max(number("memory_peak").unwrap_or(0.0) / 1_048_576.0);
                self.stopped = None;
            }
            Some("validation") => {
                number("loss").into_iter().for_each(|loss| point(&mut self.validation, loss));
                let pair = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_f64()?));
                if let Some(list) = line["by_time"].as_array() {
                    self.by_time = list.iter().filter_map(pair).collect();
                }
            }
            Some("figures") => {
                let values = line["values"].as_object().into_iter().flatten();
                for (name, value) in values {
                    if let (Some(axis), Some(value)) = (name.strip_prefix("reward_"), value.as_f64()) {
                        point(self.rewards.entry(axis.to_owned()).or_default(), value);
                    }
                }
            }
            Some("warning") => self.warnings.extend(line["message"].as_str().map(str::to_owned)),
            Some("finished") => self.stopped = line["stopped"].as_bool(),
            _ => {}
        }
        self.images = images as u64;
        self.seconds = number("seconds").unwrap_or(self.seconds);
    }

    /// How it ended, in words.
    pub fn end(&self) -> &'static str {
        match self.stopped {
            Some(false) => "finished",
            Some(true) => "stopped before its end",
            None => "running, or killed",
        }
    }
}

/// `value` and all below it, by dotted key.
fn flatten(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into);
            }
        }
        other => {
            into.insert(prefix.to_owned(), other.to_string());
        }
    }
}

/// The meshes of `folder` that stand beside its `last` sheet, whose name they begin with, or came back of a codec. Those of earlier sheets
/// are not what the last one shows, where it shows none.
fn meshes(folder: &Path, last: Option<u64>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let shown = |path: &Path| {
        let when = path.file_stem().and_then(|stem| Some(stem.to_str()?.rsplit_once('-')?.0.to_owned()));
        when.is_some_and(|when| when == "round-trip" || last.is_some() && when.parse().ok() == last)
    };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "glb") && shown(path));
    found.sort();
    found
}

/// The PNG files of `folder` whose name is a number of images, in order.
fn sheets(folder: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let sheet = |path: PathBuf| {
        let images = path.file_stem()?.to_str()?.parse().ok()?;
        path.extension().is_some_and(|ending| ending == "png").then_some((images, path))
    };
    let mut found: Vec<_> = entries.filter_map(|entry| sheet(entry.ok()?.path())).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the highest number there is; meshes of every sheet; a codec's left out.
    #[test]
    fn meshes_are_those_of_the_last_sheet() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["000000001600-0.glb", "000000001600-1.glb", "000000003200.png", "000000001600.png"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |last: Option<u64>| {
            let files = meshes(folder.path(), last).into_iter();
            files.map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let last = sheets(folder.path()).last().map(|(seen, _)| *seen);
        assert_eq!((last, found(last)), (Some(3200), vec![]));
        assert_eq!(found(Some(1600)), ["000000001600-0.glb", "000000001600-1.glb"]);
        std::fs::write(folder.path().join("round-trip-0.glb"), "").unwrap();
        assert_eq!(found(None), ["round-trip-0.glb"]);
    }
}
