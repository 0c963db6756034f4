//! Kill -9 at random moments: the newest checkpoint and the pair store are always readable, and the resumed run ends
//! with the same bytes as one that was never interrupted.
//!
//! Each test starts itself as a child process (the tests `child_*`, which do nothing unless asked by the environment),
//! kills it after a random time, opens what it left, and starts the next one, until the run is over.

use crate::testing;

use base::{Device, Key, Purpose};
use data::pairs::{FORMAT, PairMeta, PairRecord, PairStore, PairWriter};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use testing::{TinyNet, TinySource, TinyTask};
use train::checkpoint::{CheckpointConfig, Folder};
use train::log::{Stats, stats};
use train::optim::OptimConfig;
use train::{RunDir, Setup, TrainConfig};

const RUN: &str = "RECTIFLOW_TEST_RUN";
/// Set for the last child, which may finish in peace.
const PEACE: &str = "RECTIFLOW_TEST_PEACE";
const KILLS: usize = 25;

/// A checkpoint every step: the child spends most of its life writing. In peace only the last one is written, which
/// does not change its bytes.
fn config(peace: bool) -> TrainConfig {
    TrainConfig {
        images: 60_000,
        batch: 8,
        log_every: 10,
        validate_every: 0,
        slow_step: 0.0,
        optim: OptimConfig { warmup: 800, ..OptimConfig::default() },
        checkpoint: CheckpointConfig { every: if peace { 0 } else { 8 }, keep_last: 3 },
        ..TrainConfig::default()
    }
}

fn run(path: &Path, config: &TrainConfig) {
    let run = RunDir::create(path).unwrap();
    let _lock = run.lock().unwrap();
    let folder = Folder::create(run.checkpoints()).unwrap();
    let found = folder.latest().unwrap();
    let images = found.as_ref().map_or(0, |f| f.checkpoint.meta().images);
    let mut log = Stats::open(run.stats(), images).unwrap();
    let mut source = TinySource::new(8);
    let setup = Setup {
        config,
        task: &TinyTask { seed: 3 },
        source: &mut source,
        validation: None,
        seed: 3,
        recipe: String::new(),
        extra: BTreeMap::new(),
        checkpoints: Some(folder),
        ranks: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let network = TinyNet::new(1, 64, &Device::flex().autodiff());
    let outcome = match found {
        Some(found) => train::resume(network, found.checkpoint, setup, &mut log),
        None => train::train(network, setup, &mut log),
    };
    outcome.unwrap();
}

#[test]
fn child_trains() {
    if let Some(path) = std::env::var_os(RUN) {
        run(Path::new(&path), &config(std::env::var_os(PEACE).is_some()));
    }
}

fn start(test: &str, path: &Path, peace: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1"]).env(RUN, path).stdout(Stdio::null());
    if peace {
        command.env(PEACE, "1");
    }
    command.spawn().unwrap()
}

#[test]
fn killed_at_random_moments_the_run_ends_with_the_same_bytes() {
    let begun = Instant::now();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("killed");
    let folder = Folder::at(path.join("checkpoints"));
    let (mut kills, mut cursor) = (0, 0);
    let mut torn = 0;
    for life in 0..200 {
        let mut process = start("kill::child_trains", &path, false);
        // From during start-up to well into the steps; every start gets a little further on average.
        let wait = 0.002 + 0.15 * Key::new(5, Purpose::Probe).uniform(life);
        std::thread::sleep(Duration::from_secs_f64(wait));
        let ended = process.try_wait().unwrap();
        process.kill().unwrap(); // SIGKILL
        process.wait().unwrap();
        let Some(found) = folder.latest().unwrap_or_else(|e| panic!("life {life}: {e}")) else {
            kills += 1; // killed before the first checkpoint
            continue;
        };
        assert!(found.skipped.is_empty(), "life {life} left an unreadable checkpoint: {}", found.skipped[0]);
        let images = found.checkpoint.meta().images;
        assert!(images >= cursor, "life {life} went back from {cursor} to {images}");
        cursor = images;
        torn += usize::from(has_temporary(folder.path()));
        match ended {
            Some(status) => {
                assert!(status.success(), "life {life} failed: {status}");
                break;
            }
            None => kills += 1,
        }
        if kills >= KILLS {
            assert!(start("kill::child_trains", &path, true).wait().unwrap().success());
            break;
        }
    }
    assert!(kills >= KILLS, "only {kills} kills before the run was over: make it longer");
    assert!(torn > 0, "no kill fell into a write, so the test shows nothing");

    let reference = home.path().join("whole");
    let last = config(true).total_images().unwrap();
    run(&reference, &config(true));
    let read = |run: &Path| std::fs::read(Folder::at(run.join("checkpoints")).file(last)).unwrap();
    assert!(read(&reference) == read(&path), "the killed run ended with other bytes");

    // No temporary file survives, and the statistics count every log once.
    assert!(!has_temporary(folder.path()));
    let lines = stats::read(&RunDir::at(&path).stats()).unwrap();
    let images: Vec<u64> = lines.iter().filter(|l| l["kind"] == "log").map(|l| l["images"].as_u64().unwrap()).collect();
    assert_eq!(images, (80..=last).step_by(80).collect::<Vec<_>>());
    eprintln!("{kills} kills, {torn} of them inside a write, {:.1} s", begun.elapsed().as_secs_f64());
}

const PAIRS: u64 = 200_000;

/// Fills a pair store, 8 pairs a file.
fn write_pairs(path: &Path, count: u64) {
    let meta = PairMeta {
        format: FORMAT,
        teacher: "teacher".into(),
        path: "linear".into(),
        parameterization: "velocity".into(),
        solver: "euler".into(),
        schedule: "uniform".into(),
        steps: 1,
        precision: "f32".into(),
        guidance: 1.0,
        seed: 1,
        shape: [1, 8, 8].into(),
        classes: 10,
        data: String::new(),
        times: vec![0.0, 1.0],
        start: "noise".into(),
        inverted: 0.0,
        captions: false,
    };
    let mut writer = PairWriter::open(path, &meta, 0..count).unwrap().rows_per_shard(8);
    let key = Key::new(1, Purpose::Noise);
    for index in writer.missing(count as usize) {
        let x0: Vec<f32> = key.normals(index, 64).collect();
        let x1: Vec<f32> = x0.iter().map(|v| v.tanh()).collect();
        writer.push(PairRecord { index, x0: &x0, x1: &x1, class: (index % 10) as i64, caption: None }).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn child_writes_pairs() {
    if let Some(path) = std::env::var_os(RUN) {
        write_pairs(Path::new(&path), PAIRS);
    }
}

#[test]
fn killed_at_random_moments_the_pair_store_is_readable_and_continues() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("killed");
    let mut stored = 0;
    for life in 0..KILLS as u64 {
        let mut process = start("kill::child_writes_pairs", &path, false);
        let wait = 0.002 + 0.1 * Key::new(6, Purpose::Probe).uniform(life);
        std::thread::sleep(Duration::from_secs_f64(wait));
        assert!(process.try_wait().unwrap().is_none(), "the store was full before it could be killed: make it larger");
        process.kill().unwrap(); // SIGKILL
        process.wait().unwrap();
        let any = path.is_dir() && std::fs::read_dir(&path).unwrap().flatten().any(|e| !is_hidden(&e));
        if any {
            let store = PairStore::open(&path).unwrap_or_else(|e| panic!("life {life}: {e}"));
            assert!(store.len() >= stored, "life {life} lost pairs");
            stored = store.len();
        }
    }
    assert!(stored > 8, "the children never got anywhere");
    // Complete a little more in peace and compare with a store that was never interrupted.
    let count = stored as u64 + 20;
    write_pairs(&path, count);
    let whole = home.path().join("whole");
    write_pairs(&whole, count);
    let (killed, whole) = (PairStore::open(&path).unwrap(), PairStore::open(&whole).unwrap());
    assert_eq!((killed.len() as u64, killed.fingerprint()), (count, whole.fingerprint()));
}

fn is_hidden(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn has_temporary(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(".tmp-")).count() > 0
}
