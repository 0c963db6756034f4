//! The program under test, and one tiny trained run that all tests share.

#![allow(dead_code)] // each test program uses its own part

use assert_cmd::Command;
use std::{path::PathBuf, sync::OnceLock};
use tempfile::TempDir;

/// The program, two threads, no inherited settings.
pub fn rectiflow() -> Command {
    let mut command = Command::cargo_bin("rectiflow").expect("the binary is built with its tests");
    command.env_remove("RUST_BACKTRACE").args(["--threads", "2"]);
    command
}

/// Overrides that make a network and its training tiny.
pub const TINY: &[&str] = &[
    "network.channels=8",
    "network.patch=2",
    "data.limit=96",
    "train.images=64",
    "train.batch=16",
    "train.validate_every=32",
    "train.validation_samples=8",
    "train.checkpoint.every=32",
    "sample.steps=2",
];

/// `train` with the tiny overrides.
pub fn train_tiny() -> Command {
    let mut command = rectiflow();
    command.arg("train");
    for set in TINY {
        command.args(["--set", set]);
    }
    command
}

/// A finished tiny run.
pub fn run() -> PathBuf {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    let folder = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        train_tiny().arg("-o").arg(folder.path().join("base")).assert().success();
        folder
    });
    folder.path().join("base")
}

/// The newest checkpoint file of [`run`].
pub fn checkpoint() -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(run().join("checkpoints"))
        .expect("the run has checkpoints")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files.pop().expect("at least one checkpoint")
}

/// What the program prints with `--json`.
pub fn json(command: &mut assert_cmd::Command) -> serde_json::Value {
    let output = command.args(["--json", "--quiet"]).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("--json prints JSON and nothing else")
}
