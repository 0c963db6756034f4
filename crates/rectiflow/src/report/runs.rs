//! The page of one run, or of several side by side: how they ended, their curves, their samples over time, what sets them apart.

use super::{
    charts::{legend, thin},
    panels::{Panel, image, page},
    plot::{self, Labels, Series, Style},
    record::Record,
    viewer,
    words::{duration, grouped},
};
use crate::Error;
use maud::html;
use plotters::style::RGBColor;
use std::{collections::BTreeSet, path::Path};

/// Sheets of a run that are shown: its first, its last, and some between.
const SHEETS: usize = 6;

/// Meshes of a run that are shown at most.
const MESHES: usize = 8;
/// Bytes of a mesh at most: a page is one file, and each lies in it.
const HEAVIEST: u64 = 4 << 20;

/// Legible on white and on black.
const COLORS: [RGBColor; 6] = [
    RGBColor(107, 123, 246),
    RGBColor(24, 168, 148),
    RGBColor(228, 122, 58),
    RGBColor(214, 84, 140),
    RGBColor(150, 130, 60),
    RGBColor(120, 120, 130),
];

/// The page of `runs`. It needs no network and no other file.
///
/// # Errors
/// [`Error::Failure`] naming a sheet that cannot be read.
pub fn render(runs: &[Record]) -> Result<String, Error> {
    let runs = told_apart(runs);
    let (runs, names) = (&runs[..], runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>());
    let mut panels = vec![wide("Runs", table(runs), "Memory is the most that a process took while it trained.")];
    let losses = |what: fn(&Record) -> &[(f64, f64)], label: Labels, log: bool| {
        curve(runs, |run| what(run).to_vec(), label, log)
    };
    let training = "Smoothed. Losses of different recipes answer different questions; compare equal ones only.";
    let validation = "At fixed times and fixed noise, on samples not trained on.";
    let times = "The last time it was taken; 0 is noise, 1 the data.";
    let over = Labels { x: "samples seen (log scale)", y: "loss" };
    for (heading, text, found) in [
        ("Training loss", training, losses(|run| &run.training, over, true)),
        ("Validation loss", validation, losses(|run| &run.validation, over, true)),
        ("Validation loss by time", times, losses(|run| &run.by_time, Labels { x: "time", y: "loss" }, false)),
    ] {
        panels.extend(found.map(|body| Panel { heading: heading.into(), text: text.into(), body }));
    }
    let axes: BTreeSet<&String> = runs.iter().flat_map(|run| run.rewards.keys()).collect();
    for axis in axes {
        let of = |run: &Record| run.rewards.get(axis).cloned().unwrap_or_default();
        let body = curve(runs, of, Labels { x: "samples seen", y: "mean reward" }, false);
        let text =
            "Mean over the samples that the model drew at that point of its training, before it learned from them.";
        panels.extend(body.map(|body| Panel { heading: format!("Reward: {axis}"), text: text.into(), body }));
    }
    for run in runs {
        if let Some(body) = strip(run)? {
            let text = "The same noise and the same classes in every sheet; below each the samples seen until then.";
            panels.push(wide(&format!("Samples of {} over time", run.name), body, text));
        }
        if let Some(body) = turned(run)? {
            let text = "Those of the last sheet, or what the codec made of held-out shapes. Drag to turn, or use the arrow keys.";
            panels.push(wide(&format!("Meshes of {}", run.name), body, text));
        }
    }
    if runs.len() > 1 {
        let text = "Every key of the recipes that is not the same in all of them.";
        panels.push(wide("What sets them apart", differences(runs), text));
    }
    for run in runs {
        let body = html! { details data-wide { summary { "recipe.toml" } pre { (run.recipe) } } }.into_string();
        panels.push(Panel { heading: format!("Recipe of {}", run.name), text: run.folder.display().to_string(), body });
    }
    let said: Vec<String> = runs.iter().flat_map(warnings).collect();
    let said = if said.is_empty() { "no warnings".to_owned() } else { said.join("\n") };
    Ok(page(&names.join(", "), &said, &panels))
}

/// The runs, those of one name called by their folders.
fn told_apart(runs: &[Record]) -> Vec<Record> {
    let alone = |run: &Record| runs.iter().filter(|other| other.name == run.name).count() == 1;
    let called = |run: &Record| if alone(run) { run.name.clone() } else { run.folder.display().to_string() };
    runs.iter().map(|run| Record { name: called(run), ..run.clone() }).collect()
}

fn wide(heading: &str, body: String, text: &str) -> Panel {
    let body = html! { div data-wide { (maud::PreEscaped(body)) } }.into_string();
    Panel { heading: heading.into(), text: text.into(), body }
}

fn warnings(run: &Record) -> Vec<String> {
    let torn = (run.torn > 0).then(|| format!("{}: torn lines of stats.jsonl left out: {}", run.name, run.torn));
    run.warnings.iter().map(|said| format!("{}: {said}", run.name)).chain(torn).collect()
}

fn table(runs: &[Record]) -> String {
    let last = |curve: &[(f64, f64)]| curve.last().map_or("–".to_owned(), |(_, loss)| format!("{loss:.4}"));
    let smoothed = |run: &Record| last(&plot::smooth(&run.training));
    html! {
        table {
            tr { @for head in ["run", "state", "data", "samples seen", "time", "a second", "memory", "training loss", "validation loss"] { th { (head) } } }
            @for run in runs {
                tr {
                    td { (run.name) } td { (run.end()) } td { (run.data) } td { (grouped(run.images)) }
                    td { (duration(run.seconds)) }
                    td { @if run.seconds > 0.0 { (format!("{:.1}", run.images as f64 / run.seconds)) } @else { "–" } }
                    td { @if run.memory_mb > 0.0 { (format!("{:.0} MB", run.memory_mb)) } @else { "–" } }
                    td { (smoothed(run)) } td { (last(&run.validation)) }
                }
            }
        }
    }
    .into_string()
}

/// One line to a run; `None` where no run has a point.
fn curve(runs: &[Record], what: impl Fn(&Record) -> Vec<(f64, f64)>, labels: Labels, log: bool) -> Option<String> {
    let line = |(at, run): (usize, &Record)| {
        let points = what(run);
        let many = points.len() > 60;
        Series {
            label: run.name.clone(),
            color: COLORS[at % COLORS.len()],
            points: if many { thin(&plot::smooth(&points)) } else { points },
            style: if many { Style::Line } else { Style::Dotted },
        }
    };
    let series: Vec<Series> = runs.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect();
    let drawn = if log { plot::lines(&series, labels, false, &[]) } else { plot::linear(&series, labels, false) }?;
    Some(drawn + &legend(&series).into_string())
}

fn strip(run: &Record) -> Result<Option<String>, Error> {
    if run.sheets.is_empty() {
        return Ok(None);
    }
    let last = run.sheets.len() - 1;
    let shown: BTreeSet<usize> =
        (0..SHEETS).map(|i| (i as f64 * last as f64 / (SHEETS - 1) as f64).round() as usize).collect();
    let mut figures = Vec::new();
    for at in shown {
        let (images, path) = &run.sheets[at];
        let png = std::fs::read(path).map_err(|error| Error::Failure(format!("{}: {error}", path.display())))?;
        figures.push((*images, image(&png, &format!("samples of {} after {images}", run.name))));
    }
    let strip = html! { div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:12px" {
        @for (images, body) in &figures { figure style="margin:0" { (maud::PreEscaped(body)) figcaption { (grouped(*images)) } } }
    } };
    Ok(Some(strip.into_string()))
}

/// The meshes of `run`, each to be turned.
fn turned(run: &Record) -> Result<Option<String>, Error> {
    let failed = |path: &Path, error: std::io::Error| Error::Failure(format!("{}: {error}", path.display()));
    let mut figures = Vec::new();
    for path in run.meshes.iter().take(MESHES) {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let size = std::fs::metadata(path).map_err(|error| failed(path, error))?.len();
        let body = match size > HEAVIEST {
            true => html! { p { "too large for a page: open the file" } },
            false => viewer::canvas(&std::fs::read(path).map_err(|error| failed(path, error))?, &name),
        };
        figures.push((name, body));
    }
    let strip = html! { div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:12px" {
        @for (name, body) in &figures { figure style="margin:0" { (body) figcaption { "samples/" (name) } } }
    } };
    Ok((!figures.is_empty()).then(|| strip.into_string()))
}

fn differences(runs: &[Record]) -> String {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.keys.keys()).collect();
    let values = |key: &String| runs.iter().map(|run| run.keys.get(key).map(String::as_str)).collect::<Vec<_>>();
    let differ: Vec<_> =
        keys.into_iter().map(|key| (key, values(key))).filter(|(_, all)| all.iter().any(|v| *v != all[0])).collect();
    html! {
        @if differ.is_empty() { p { "nothing: the recipes are the same" } } @else { table {
            tr { th { "key" } @for run in runs { th { (run.name) } } }
            @for (key, values) in &differ { tr { td { code { (key) } } @for value in values { td { (value.unwrap_or("–")) } } } }
        } }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at: &Path, lr: f64, losses: &[(u64, f64)], more: &str) -> Record {
        std::fs::create_dir_all(at.join("samples")).unwrap();
        std::fs::write(at.join("recipe.toml"), format!("seed = 1\n[train.optim]\nlr = {lr}\n")).unwrap();
        let line = |(images, loss): &(u64, f64)| {
            format!(
                "{{\"kind\":\"log\",\"images\":{images},\"loss\":{loss},\"seconds\":{images},\"memory_peak\":2097152}}\n"
            )
        };
        std::fs::write(at.join("stats.jsonl"), losses.iter().map(line).collect::<String>() + more).unwrap();
        std::fs::write(at.join("samples/000000000032.png"), b"png").unwrap();
        Record::read(at).unwrap()
    }

    /// Mutants: a reward of the first run drawn for the second; other figures drawn as rewards.
    #[test]
    fn rewards_of_a_models_own_samples_are_drawn_by_axis() {
        let dir = tempfile::tempdir().unwrap();
        let said = |images: u64, value: f64| {
            format!(
                "{{\"kind\":\"figures\",\"images\":{images},\"values\":{{\"reward_match\":{value},\"margin\":1.0}}}}\n"
            )
        };
        let more = [said(32, 0.25), said(64, 0.5), said(64, 0.75)].concat();
        let a = run(&dir.path().join("a"), 0.001, &[(32, 3.0)], &more);
        assert_eq!(a.rewards.keys().collect::<Vec<_>>(), ["match"]);
        assert_eq!(a.rewards["match"], [(32.0, 0.25), (64.0, 0.75)]);
        let b = run(&dir.path().join("b"), 0.002, &[(32, 3.0)], "");
        assert!(render(std::slice::from_ref(&a)).unwrap().contains("Reward: match"));
        assert!(!render(&[b]).unwrap().contains("Reward"));
    }

    /// Mutants: meshes of an earlier sheet shown; the script left out, or twice where two runs have meshes; a heavy one put into the page.
    #[test]
    fn meshes_of_the_last_sheet_can_be_turned() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        for at in [&a, &b] {
            run(at, 0.001, &[(32, 3.0)], "");
        }
        let none = render(&[Record::read(&a).unwrap()]).unwrap();
        assert!(!none.contains("<canvas") && !none.contains("<script"));
        for (name, bytes) in [("000000000016-0", "old"), ("000000000032-0", "new"), ("000000000032-1", "two")] {
            std::fs::write(a.join(format!("samples/{name}.glb")), bytes).unwrap();
        }
        std::fs::write(b.join("samples/round-trip-0.glb"), vec![0; HEAVIEST as usize + 1]).unwrap();
        std::fs::write(b.join("samples/round-trip-1.glb"), "back").unwrap();
        let page = render(&[&a, &b].map(|at| Record::read(at).unwrap())).unwrap();
        let shown: Vec<&str> = page.split("data-glb=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(shown, ["bmV3", "dHdv", "YmFjaw=="]);
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("round-trip-0.glb") && page.contains("too large"));
        assert!(!page.contains("src=\"http") && !page.contains("href="), "it needs no other file");
    }

    /// Mutants: the earlier word of a continued run kept; keys that agree shown; a torn line taken for the end of the file.
    #[test]
    fn a_page_says_how_runs_ended_and_what_sets_them_apart() {
        let dir = tempfile::tempdir().unwrap();
        let end = "{\"kind\":\"finished\",\"images\":96,\"seconds\":48.0,\"stopped\":false}\n";
        let warned = "{\"kind\":\"warning\",\"images\":96,\"seconds\":1,\"message\":\"a <b>\"}\n{\"kind\": \"lo";
        let a = run(&dir.path().join("a"), 0.001, &[(32, 3.0), (64, 2.0), (64, 1.5), (96, 1.0)], end);
        let b = run(&dir.path().join("b"), 0.002, &[(32, 3.0)], warned);
        assert_eq!(a.training, [(32.0, 3.0), (64.0, 1.5), (96.0, 1.0)]);
        assert_eq!((a.end(), b.end(), b.torn, a.memory_mb), ("finished", "running, or killed", 1, 2.0));
        assert_eq!(a.sheets.len(), 1);
        let page = render(&[a.clone(), b]).unwrap();
        for part in [
            "<td>2.0</td>",
            "cG5n",
            "train.optim.lr",
            "0.002",
            "a &lt;b&gt;",
            "torn lines of stats.jsonl left out: 1",
            "<svg",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(!page.contains("<code>seed</code>"), "keys that are equal");
        assert!(!page.contains("src=\"http") && !page.contains("href="), "it needs no other file");
        assert!(!render(&[a]).unwrap().contains("What sets them apart"));
        let said = Record::read(dir.path()).unwrap_err().to_string();
        assert!(said.contains("recipe.toml") && said.contains("folder of a run"), "{said}");
    }
}
