//! Runs lose nothing, refused commands change nothing, and the files people really have are read or named.

use crate::common::{Serving, json, rectiflow, run};
use predicates::prelude::PredicateBooleanExt;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A folder of images of `side` pixels, each with its own colour.
fn pictures(names: &[&str], side: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    names.iter().enumerate().for_each(|(number, name)| picture(&dir.path().join(name), side, number as u8));
    dir
}

fn picture(path: &Path, side: u32, number: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(side, side, |x, y| image::Rgb([9 * x as u8, 9 * y as u8, 20 * number]))
        .save(path)
        .unwrap();
}

const CASE: [&str; 8] = ["a/0.png", "a/1.png", "A/0.png", "A/1.png", "b/0.png", "b/1.png", "B/0.png", "B/1.png"];

/// Overrides that make a network and its training tiny.
const TINY: [&str; 12] = [
    "--set",
    "data.holdout=0",
    "--set",
    "network.channels=8",
    "--set",
    "network.groups=4",
    "--set",
    "train.batch=4",
    "--set",
    "train.validate_every=0",
    "--set",
    "train.log_every=1",
];

fn train(data: &Path, images: u64, out: &Path) -> assert_cmd::Command {
    let mut command = rectiflow();
    command.arg("train").args(TINY).args(["--images", &images.to_string(), "--data"]).arg(data).arg("-o").arg(out);
    command
}

/// The same as a process that can be watched. `env` gives back the signals that whoever runs the tests in the background
/// ignores: the program leaves those alone.
fn start(data: &Path, images: u64, out: &Path) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,HUP").arg(env!("CARGO_BIN_EXE_rectiflow"));
    command.args(["--threads", "1", "train"]).args(TINY).args(["--images", &images.to_string(), "--data"]).arg(data);
    command.arg("-o").arg(out).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// How `child` ends, which must not take longer than two minutes.
fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn checkpoints(run: &Path) -> usize {
    fs::read_dir(run.join("checkpoints")).map_or(0, |files| files.count())
}

/// Every file below `dir` with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for item in fs::read_dir(dir).unwrap().flatten() {
        let path = item.path();
        if path.is_dir() {
            all.extend(content(&path))
        } else {
            drop(all.insert(path.clone(), fs::read(&path).unwrap()))
        }
    }
    all
}

#[test]
fn a_refused_resume_changes_no_file_and_a_moved_folder_resumes() {
    let (data, out) = (pictures(&CASE, 16), tempfile::tempdir().unwrap());
    let run = out.path().join("run");
    train(data.path(), 8, &run).assert().success();
    let before = content(&run);
    let more = |extra: &[&str]| {
        let mut command = rectiflow();
        command.arg("train").args(TINY).args(["--images", "16", "--resume", "latest"]).args(extra).arg("-o").arg(&run);
        command.output().unwrap()
    };
    // Other data, another seed, another network, no data: refused, and nothing has changed.
    let here = data.path().to_str().unwrap();
    for (extra, word) in [
        (&[][..], "trained with data"),
        (&["--data", here, "--seed", "7"], "seed"),
        (&["--data", here, "--set", "network.channels=16"], "another network"),
        (&["--data", "/nowhere"], "/nowhere"),
    ] {
        let output = more(extra);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{extra:?}: {said}");
        assert!(content(&run) == before, "{extra:?} changed the run");
    }
    // A refused new run leaves no folder.
    train(data.path(), 8, &out.path().join("never")).args(["--set", "train.batch=64"]).assert().failure();
    assert!(!out.path().join("never").exists());
    // The same samples under another name.
    let moved = out.path().join("moved here");
    for name in CASE {
        fs::create_dir_all(moved.join(name).parent().unwrap()).unwrap();
        fs::copy(data.path().join(name), moved.join(name)).unwrap();
    }
    train(&moved, 16, &run).args(["--resume", "latest"]).assert().success();
    assert!(fs::read_to_string(run.join("recipe.toml")).unwrap().contains("moved here"));
    let record: Value = serde_json::from_slice(&fs::read(run.join("data.json")).unwrap()).unwrap();
    assert_eq!((&record["samples"], &record["left_out"]), (&8.into(), &serde_json::json!([])));
}

#[cfg(unix)]
#[test]
fn every_signal_that_asks_to_stop_leaves_a_checkpoint() {
    let (data, out) = (pictures(&CASE, 16), tempfile::tempdir().unwrap());
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let run = out.path().join(signal);
        let mut child = start(data.path(), 4_000_000, &run).spawn().unwrap();
        let begun = Instant::now();
        while fs::read(run.join("stats.jsonl")).map_or(true, |lines| lines.is_empty()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "training never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        let killed = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(ended(&mut child).code(), Some(code), "SIG{signal}");
        assert_eq!(checkpoints(&run), 1, "SIG{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_lost_log_stops_nothing() {
    let (data, out) = (pictures(&CASE, 16), tempfile::tempdir().unwrap());
    // The reader of the log goes away.
    let run = out.path().join("pipe");
    let mut child = start(data.path(), 40, &run).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    log.read_line(&mut line).unwrap();
    assert!(line.contains("8 images of"), "{line}");
    drop(log);
    assert_eq!((child.wait().unwrap().code(), checkpoints(&run)), (Some(0), 1));
    // No room for the log.
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let run = out.path().join("full");
    let code = start(data.path(), 40, &run).stdout(full()).stderr(full()).status().unwrap().code();
    assert_eq!((code, checkpoints(&run)), (Some(0), 1));
    // A result that cannot be written is an ordinary error.
    let list = Command::new(env!("CARGO_BIN_EXE_rectiflow")).args(["data", "list"]).stdout(full()).output().unwrap();
    assert_eq!(list.status.code(), Some(1));
    let said = String::from_utf8_lossy(&list.stderr).into_owned();
    assert!(said.contains("cannot be written to standard output") && !said.contains("bug"), "{said}");
}

#[test]
fn a_dry_run_refuses_what_the_run_refuses() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "x").unwrap();
    let (single, strip) = (pictures(&["a.png"], 16), pictures(&["a.png", "b.png"], 15));
    let held_out = pictures(&["0.png", "1.png", "2.png"], 16);
    // Whichever part it falls into.
    fs::write(held_out.path().join("2.png"), "junk").unwrap();
    let cases: [(&Path, &[&str], &Path); 5] = [
        (single.path(), &["--set", "train.batch=64"], &out.path().join("a")),
        (strip.path(), &["--set", "train.batch=1"], &out.path().join("b")),
        (
            held_out.path(),
            &["--set", "train.batch=1", "--set", "train.validate_every=1", "--set", "data.holdout=0.3"],
            &out.path().join("c"),
        ),
        (single.path(), &["--set", "train.batch=1"], &file),
        (single.path(), &["--set", "train.batch=1"], &run()),
    ];
    for (data, extra, folder) in cases {
        let said = |dry: &[&str]| {
            let output = train(data, 4, folder).args(extra).args(dry).output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (dry, real) = (said(&["--dry-run"]), said(&[]));
        assert!(dry.0 != Some(0) && dry == real, "{dry:?} {real:?}");
    }
    // What both accept: a single image, with a word about what is not watched.
    let mut ok = train(single.path(), 2, &out.path().join("one"));
    ok.args(["--set", "train.batch=1", "--set", "train.validate_every=1"]);
    ok.assert().success().stderr(predicates::str::contains("no validation loss"));
}

#[test]
fn samples_go_where_they_are_asked_or_are_refused_before_they_are_drawn() {
    let out = tempfile::tempdir().unwrap();
    let sample = |output: &Path, extra: &[&str]| {
        let mut command = rectiflow();
        command.arg("sample").arg(run()).arg("-o").arg(output).args(extra);
        command.output().unwrap()
    };
    fs::create_dir(out.path().join("o.d")).unwrap();
    for name in ["samples-0.5", "o.d", "plain"] {
        assert!(sample(&out.path().join(name), &["-n", "2", "--steps", "1"]).status.success());
        assert_eq!(fs::read_dir(out.path().join(name)).unwrap().count(), 2, "{name}");
    }
    for (name, code) in [("x.jpg", 2), ("o.d/0.jpeg", 2), ("plain/000000.png/a.png", 1)] {
        for dry in [&[][..], &["--dry-run"]] {
            // So many that drawing them first would be noticed.
            let output = sample(&out.path().join(name), &[dry, &["-n", "2000", "--steps", "1000"]].concat());
            assert_eq!(output.status.code(), Some(code), "{name} {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn names_of_classes_are_taken_whole() {
    let (data, out) = (
        pictures(&["cat, tabby/0.png", "cat, tabby/1.png", "none/0.png", "none/1.png"], 16),
        tempfile::tempdir().unwrap(),
    );
    let run = out.path().join("run");
    train(data.path(), 4, &run).assert().success();
    for (class, numbers) in
        [("cat, tabby", "[0,0]"), ("none,cat, tabby", "[1,0]"), ("none", "[1,1]"), ("-1", "[-1,-1]")]
    {
        let sheet = out.path().join("s.png");
        rectiflow()
            .arg("sample")
            .arg(&run)
            .args(["-n", "2", "--steps", "1", "--class", class, "-o"])
            .arg(&sheet)
            .assert()
            .success();
        let text = String::from_utf8_lossy(&fs::read(&sheet).unwrap()).into_owned();
        assert!(text.contains(&format!("\"classes\":{numbers}")), "{class}: {text:.600}");
    }
}

#[test]
fn photos_of_several_sizes_are_shown_and_scored_at_one() {
    let out = tempfile::tempdir().unwrap();
    let mixed = pictures(&["0.png", "1.png", "2.png", "3.png"], 16);
    picture(&mixed.path().join("4.png"), 20, 4);
    fs::write(mixed.path().join("notes.md"), "words").unwrap();
    let sheet = out.path().join("d.png");
    let facts = json(rectiflow().args(["data", "show", "-o"]).arg(&sheet).arg(mixed.path()));
    assert_eq!(facts["sizes"], serde_json::json!([{"size": "16x16", "count": 4}, {"size": "20x20", "count": 1}]));
    assert_eq!((&facts["samples"], &facts["held_out"], sheet.is_file()), (&5.into(), &1.into(), true));
    assert_eq!(facts["left_out"][0]["first"], serde_json::json!(["notes.md"]));
    rectiflow()
        .arg("inspect")
        .arg(mixed.path())
        .assert()
        .success()
        .stdout(predicates::str::contains("16x16").and(predicates::str::contains("notes.md")));
    let facts = json(rectiflow().arg("inspect").arg(mixed.path()).args(["--size", "8"]));
    assert_eq!(facts["shape"], serde_json::json!([3, 8, 8]));
    let score = |extra: &[&str]| {
        let mut command = rectiflow();
        command
            .arg("score")
            .arg(mixed.path())
            .arg("--data")
            .arg(mixed.path())
            .args(["--features", "pixels"])
            .args(extra);
        command
    };
    score(&[]).assert().failure().stderr(predicates::str::contains("--size"));
    score(&["--size", "8"])
        .assert()
        .success()
        .stdout(predicates::str::contains("samples   5; the data hold out no two real ones"));
}

#[test]
fn own_arrays_are_read_back() {
    let out = tempfile::tempdir().unwrap();
    let own = out.path().join("own.npy");
    // One step of a model that has seen 64 images: noise, a third of it outside [-1, 1].
    rectiflow().arg("sample").arg(run()).args(["-n", "32", "--steps", "1", "-o"]).arg(&own).assert().success();
    rectiflow().arg("score").arg(&own).args(["--features", "pixels", "--reference", "200"]).assert().success();
    let facts = json(rectiflow().arg("inspect").arg(&own));
    assert_eq!(facts["samples"], 32);
}

#[test]
fn what_is_not_used_is_told_at_the_start_and_kept_in_the_run() {
    let (data, out) =
        (pictures(&["car/0.png", "car/1.png", "train/0.png", "train/1.png"], 16), tempfile::tempdir().unwrap());
    fs::write(data.path().join("README.md"), "words").unwrap();
    fs::write(data.path().join("old.zip"), "PK").unwrap();
    let run = out.path().join("run");
    let told = "4 images of";
    train(data.path(), 4, &run)
        .assert()
        .success()
        .stderr(predicates::str::contains(told).and(predicates::str::contains("2 classes")))
        .stderr(predicates::str::contains("not used: 1 files that are no images (README.md)"))
        .stderr(predicates::str::contains("old.zip"));
    let record: Value = serde_json::from_slice(&fs::read(run.join("data.json")).unwrap()).unwrap();
    assert_eq!(record["left_out"].as_array().unwrap().len(), 2);
    assert_eq!(record["classes"], serde_json::json!([["car", 2], ["train", 2]]));
}

/// Mutants: a job called done before its files are written; jobs that waited forgotten; results read from memory alone; a place in
/// the address read as one of the disk.
#[test]
fn jobs_outlive_a_server_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let serve = || {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("rectiflow"));
        command.args(["--threads", "1", "serve", "--listen", "127.0.0.1:0", "--queue", "200", "--batch-size", "1"]);
        command.args(["--max-steps", "1000", "--state"]).arg(&state).arg(run()).env("RECTIFLOW_API_KEY", "open");
        let (mut server, said) = Serving::of(command);
        server.key = "open";
        (server, said)
    };
    let read = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).expect("JSON");
    let (mut server, _) = serve();
    let submit = |seed: u64| {
        let job = read(server.post("/api/jobs", &format!(r#"{{"seed":{seed},"steps":40,"class":"Bag"}}"#)));
        job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_string()
    };
    let ids: Vec<String> = (0..100).map(submit).collect();
    let status = |server: &Serving, id: &str| read(server.get(&format!("/api/jobs/{id}")))["status"].clone();
    while status(&server, &ids[9]) != "done" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let picture = |server: &Serving, id: &str| server.get(&format!("/api/jobs/{id}/results/0.png"));
    let before: Vec<Vec<u8>> = ids[..10].iter().map(|id| picture(&server, id)).collect();
    server.kill();
    // What a path that was put together from the request would reach.
    for place in [folder.path().join("0.png"), folder.path().join("job.json"), state.join("0.png")] {
        std::fs::write(place, "a secret").unwrap();
    }
    let begun = Instant::now();
    let (server, said) = serve();
    assert!(said.contains("100 jobs of before are kept"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let listed = read(server.get("/api/jobs"));
    let words: Vec<&str> = listed["data"].as_array().unwrap().iter().filter_map(|job| job["status"].as_str()).collect();
    let (done, interrupted) = (words.iter().filter(|w| **w == "done"), words.iter().filter(|w| **w == "interrupted"));
    let (done, interrupted) = (done.count(), interrupted.count());
    assert!(done >= 10 && interrupted > 0 && done + interrupted == 100, "{words:?}");
    for (id, before) in ids.iter().zip(&before) {
        assert!(status(&server, id) == "done" && picture(&server, id) == *before);
    }
    assert!(before[0].starts_with(b"\x89PNG") && status(&server, &ids[99]) == "interrupted");
    let events = String::from_utf8(server.get(&format!("/api/jobs/{}/events", ids[99]))).unwrap();
    assert!(events.starts_with("event: interrupted"), "{events}");
    for path in
        ["/api/jobs/..", "/api/jobs/../results/0.png", "/api/jobs/%2e%2e/results/0.png", "/api/jobs/./results/0.png"]
    {
        assert!(!String::from_utf8_lossy(&server.get(path)).contains("a secret"), "{path}");
    }
    // It is drawn again as it would have been.
    let again =
        read(server.post("/api/jobs", r#"{"seed":0,"steps":40,"class":"Bag"}"#))["id"].as_str().unwrap().to_string();
    while status(&server, &again) != "done" {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(picture(&server, &again) == before[0]);
}
