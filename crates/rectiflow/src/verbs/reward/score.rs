//! `reward score`: what every sample of a folder is worth on each axis, as a table for other programs.

use crate::{
    Context, Error,
    align::{Scored, judge::weights, judge_of},
    output,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// A reward's run or file, or `oracle:…`.
    pub judge: String,
    /// The model whose samples they are; a reward knows without.
    pub model: Option<PathBuf>,
    /// The folder.
    pub input: PathBuf,
    /// Whether the innermost folders are clips.
    pub folders_are_clips: bool,
    /// Weights of the axes in their mean; all one without.
    pub weights: Option<String>,
    /// Whether samples that cannot be used are left out instead of refused.
    pub skip: bool,
    /// `.csv` or `.jsonl`.
    pub output: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreReport {
    /// Who judged.
    pub judge: String,
    /// Samples.
    pub count: usize,
    /// Name, mean and deviation of each axis.
    pub axes: Vec<(String, f64, f64)>,
    /// The best and the worst sample of all axes together.
    pub ends: [PathBuf; 2],
    /// The table.
    pub output: PathBuf,
}

/// The column of all axes together.
const MEAN: &str = "mean";

/// Judges a folder and writes the table.
///
/// # Errors
/// A place that cannot be written, before any work; those of opening, reading and judging.
pub fn score(request: &ScoreRequest, context: &mut Context) -> Result<ScoreReport, Error> {
    output::file(&request.output, &["csv", "jsonl"])?;
    let (judge, subject) = judge_of(&request.judge, request.model.as_deref(), context)?;
    let weights = weights(request.weights.as_deref(), &judge.axes())?;
    let of = (request.input.as_path(), request.output.as_path(), request.folders_are_clips);
    let scored = Scored::of((&judge, &subject), of, request.skip, context)?;
    // Axes have no unit in common: together they count in their deviations over these samples.
    let all = scored.scores.weighted(&weights);
    let lines =
        table(&scored, &all, request.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")));
    media::atomic::write(&request.output, lines.as_bytes())?;
    let order = |a: &usize, b: &usize| all[*a].total_cmp(&all[*b]);
    let end = |at: Option<usize>| at.map(|i| scored.paths[i].clone()).unwrap_or_default();
    let numbers = 0..all.len();
    let axes =
        scored.scores.axes.iter().zip(scored.scores.moments()).map(|(name, [mean, std])| (name.clone(), mean, std));
    Ok(ScoreReport {
        judge: judge.label(),
        count: all.len(),
        axes: axes.collect(),
        ends: [end(numbers.clone().max_by(order)), end(numbers.min_by(order))],
        output: request.output.clone(),
    })
}

fn table(scored: &Scored, all: &[f64], csv: bool) -> String {
    let axes = &scored.scores.axes;
    let mut lines = String::new();
    if csv {
        let names = axes.iter().map(|axis| cell(axis)).collect::<Vec<_>>().join(",");
        lines += &format!("path,prompt,{names},{MEAN}\n");
    }
    for (i, path) in scored.paths.iter().enumerate() {
        let (path, prompt) = (path.display().to_string(), &scored.prompts[i]);
        if csv {
            let numbers: Vec<String> = scored.scores.of(i).iter().chain([&all[i]]).map(f64::to_string).collect();
            lines += &format!("{},{},{}\n", cell(&path), cell(prompt), numbers.join(","));
            continue;
        }
        let mut row = Map::from_iter([("path".to_string(), json!(path)), ("prompt".to_string(), json!(prompt))]);
        for (axis, value) in axes.iter().zip(scored.scores.of(i)) {
            row.insert(axis.clone(), json!(value));
        }
        row.insert(MEAN.into(), json!(all[i]));
        lines += &format!("{}\n", Value::Object(row));
    }
    lines
}

/// A cell of a table, in quotes where it must be (RFC 4180).
fn cell(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

impl std::fmt::Display for ScoreReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} samples, judged by {}", self.count, self.judge)?;
        for (axis, mean, deviation) in &self.axes {
            writeln!(f, "{axis:<12} {mean:.4}, deviation {deviation:.4}")?;
        }
        let shown = |path: &Path| path.display().to_string();
        writeln!(f, "best {}, worst {}: {}", shown(&self.ends[0]), shown(&self.ends[1]), shown(&self.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::Scores;

    /// Mutants: quotes left out, the mean in place of the last axis.
    #[test]
    fn a_table_is_read_back_as_it_was() {
        let scores = Scores { axes: vec!["VQ".into(), "TA".into()], values: vec![0.5, -1.0, 2.0, 0.25] };
        let scored = Scored {
            paths: vec!["a,b.png".into(), "c.png".into()],
            prompts: vec!["a \"dog\"".into(), String::new()],
            scores,
        };
        let csv = table(&scored, &[7.0, 8.0], true);
        assert_eq!(csv, "path,prompt,VQ,TA,mean\n\"a,b.png\",\"a \"\"dog\"\"\",0.5,-1,7\nc.png,,2,0.25,8\n");
        let rows: Vec<Value> =
            table(&scored, &[7.0, 8.0], false).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0], json!({ "path": "a,b.png", "prompt": "a \"dog\"", "VQ": 0.5, "TA": -1.0, "mean": 7.0 }));
    }
}
