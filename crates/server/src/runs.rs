//! Runs in the folder of `--runs`, looked at while they train: their curves and their sheets. Only what lies directly in that folder
//! and is a run is there; where it lies, what it was trained from and its recipe are not told.

use crate::{http::Reply, refusal::Refusal, server::Server};
use rectiflow::report::Record;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Points of a curve at most.
const POINTS: usize = 400;

/// The folders that are runs, by name.
fn folders(server: &Server) -> Vec<(String, PathBuf)> {
    let Some(folder) = &server.options.runs else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let run = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let is_run = path.join("recipe.toml").is_file() && path.join("stats.jsonl").is_file();
        Some((entry.file_name().into_string().ok()?, path)).filter(|_| is_run)
    };
    let mut found: Vec<_> = entries.flatten().filter_map(run).collect();
    found.sort();
    found
}

fn record(server: &Server, name: &str) -> Result<Record, Refusal> {
    let gone = || Refusal::new(404, "no_such_run", "there is no such run here");
    let (_, folder) = folders(server).into_iter().find(|(known, _)| known == name).ok_or_else(gone)?;
    Record::read(&folder).map_err(|error| {
        server.say(&format!("run {name}: {error}"));
        Refusal::new(500, "not_read", "this run cannot be read; the server's log says why")
    })
}

/// All of them, the one that was written last first.
pub fn all(server: &Server) -> Reply {
    let mut found: Vec<_> = folders(server)
        .into_iter()
        .map(|(name, folder)| {
            (std::fs::metadata(folder.join("stats.jsonl")).and_then(|about| about.modified()).ok(), name)
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    let all: Vec<Value> = found.into_iter().map(|(_, name)| json!({ "id": name, "object": "run" })).collect();
    Reply::json(200, &json!({ "object": "list", "data": all, "shown": server.options.runs.is_some() }))
}

/// One of them as it is now.
pub fn one(server: &Server, name: &str) -> Result<Reply, Refusal> {
    let record = record(server, name)?;
    let sheets: Vec<Value> = (record.sheets.iter())
        .filter_map(|(images, file)| Some(json!({ "images": images, "file": file.file_name()?.to_str()? })))
        .collect();
    let value = json!({
        "id": name, "object": "run", "images": record.images, "seconds": record.seconds, "end": record.end(),
        "running": record.stopped.is_none(), "training": thinned(&record.training), "validation": thinned(&record.validation),
        "warnings": record.warnings.len(), "sheets": sheets,
    });
    Ok(Reply::json(200, &value))
}

/// A sheet of it.
pub fn sheet(server: &Server, name: &str, file: &str) -> Result<Reply, Refusal> {
    let record = record(server, name)?;
    let found = record.sheets.into_iter().find(|(_, known)| known.file_name().is_some_and(|known| known == file));
    let bytes = found.and_then(|(_, path)| std::fs::read(path).ok()).ok_or_else(Refusal::nowhere)?;
    Ok(Reply::new(200, "image/png", bytes))
}

/// A curve as means of neighbours, few enough to draw.
fn thinned(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |piece: &[(f64, f64)]| {
        let count = piece.len() as f64;
        (piece.iter().map(|p| p.0).sum::<f64>() / count, piece.iter().map(|p| p.1).sum::<f64>() / count)
    };
    curve.chunks(curve.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: points left out in place of means; one too many.
    #[test]
    fn long_curves_are_thinned() {
        let curve: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 3))).collect();
        let thin = thinned(&curve);
        assert!(thin.len() <= POINTS && thin.len() > POINTS / 2);
        assert_eq!(thin[0], (1.0, 1.0));
        assert_eq!(thinned(&curve[..3]), curve[..3]);
        assert!(thinned(&[]).is_empty());
    }
}
