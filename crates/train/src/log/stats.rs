//! `stats.jsonl`: one JSON object per line, flushed line by line.
//!
//! Every line has `kind` (`log`, `validation`, `checkpoint`, `warning`, `finished`), `images` and `seconds`. When a run
//! resumes, lines beyond its checkpoint and a torn last line are dropped, so that samples never run backwards.

use crate::TrainError;
use crate::event::{Event, Observer};
use crate::run_dir::replace_file;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Writes `stats.jsonl`.
#[derive(Debug)]
pub struct Stats {
    path: PathBuf,
    file: File,
    offset: f64,
}

impl Stats {
    /// Opens `path` to continue after `images` samples seen (0 for a new run).
    pub fn open(path: impl Into<PathBuf>, images: u64) -> Result<Self, TrainError> {
        let path = path.into();
        let mut kept = Vec::new();
        if images > 0 && path.exists() {
            kept = read(&path)?.into_iter().filter(|l| l["images"].as_u64().is_some_and(|i| i <= images)).collect();
        }
        let offset = kept.iter().filter_map(|l: &Value| l["seconds"].as_f64()).fold(0.0, f64::max);
        let text: String = kept.iter().map(|l| format!("{l}\n")).collect();
        replace_file(&path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path).map_err(TrainError::io("open", &path))?;
        Ok(Self { path, file, offset })
    }

    /// Appends one object.
    pub fn write(&mut self, line: &Value) -> Result<(), TrainError> {
        // One call for the whole line, so that a killed process tears at most the last one.
        let text = format!("{line}\n");
        self.file.write_all(text.as_bytes()).map_err(TrainError::io("write", &self.path))
    }
}

/// The lines of a `stats.jsonl`; a torn last line is left out.
pub fn read(path: &Path) -> Result<Vec<Value>, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

impl Observer for Stats {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        let seconds = |s: f64| s + self.offset;
        let line = match event {
            Event::Log(l) => json!({
                "kind": "log", "images": l.images, "seconds": seconds(l.seconds), "steps": l.steps, "loss": l.loss,
                "lr": l.lr, "gradient_norm": l.gradient_norm, "images_per_second": l.images_per_second,
                "memory": l.memory.current, "memory_peak": l.memory.peak,
            }),
            Event::Validation(v) => json!({
                "kind": "validation", "images": v.images, "seconds": seconds(v.seconds), "loss": v.loss,
                "by_time": v.by_time,
            }),
            Event::Checkpoint { images, seconds: s, path } => json!({
                "kind": "checkpoint", "images": images, "seconds": seconds(*s),
                "file": path.file_name().map(|n| n.to_string_lossy()),
            }),
            Event::Note { images, message } => json!({"kind": "note", "images": images, "message": message}),
            Event::Warning { images, seconds: s, message } => {
                json!({"kind": "warning", "images": images, "seconds": seconds(*s), "message": message})
            }
            Event::Finished { images, seconds: s, stopped } => {
                json!({"kind": "finished", "images": images, "seconds": seconds(*s), "stopped": stopped})
            }
            Event::Figures { images, values } => {
                let values: serde_json::Map<String, Value> =
                    values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({"kind": "figures", "images": images, "values": values})
            }
            Event::Started { .. } | Event::Samples { .. } | Event::Work(_) => return Ok(ControlFlow::Continue(())),
        };
        self.write(&line)?;
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_drops_what_the_checkpoint_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stats.jsonl");
        let mut stats = Stats::open(&path, 0).unwrap();
        for images in [10, 20, 30] {
            stats.write(&json!({"kind": "log", "images": images, "seconds": images as f64})).unwrap();
        }
        stats.file.write_all(b"{\"kind\": \"log\", \"ima").unwrap(); // killed in the middle of a line
        let mut stats = Stats::open(&path, 20).unwrap();
        assert_eq!(stats.offset, 20.0);
        let finished = Event::Finished { images: 25, seconds: 1.0, stopped: false };
        assert!(stats.event(&finished).unwrap().is_continue());
        let lines = read(&path).unwrap();
        let images: Vec<u64> = lines.iter().map(|l| l["images"].as_u64().unwrap()).collect();
        assert_eq!(images, [10, 20, 25]);
        assert_eq!(lines[2]["seconds"], 21.0);
        // A new run in the same place starts over.
        Stats::open(&path, 0).unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
