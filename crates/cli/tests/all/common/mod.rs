//! The program under test, and one tiny trained run that all tests share.

#![allow(dead_code)] // each test program uses its own part

use assert_cmd::Command;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::OnceLock,
};
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

/// Where a program that serves says it listens, and all that it said until then.
fn said_first(out: impl Read) -> (SocketAddr, String) {
    let (mut lines, mut said) = (BufReader::new(out), String::new());
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).expect("a line");
        said += &line;
        if line.contains("http://") || read == 0 {
            let address = line.split('/').nth(2).and_then(|place| place.parse().ok());
            return (address.unwrap_or_else(|| panic!("it says where it listens: {said}")), said);
        }
    }
}

/// The program while it serves; ends with its value.
pub struct Serving {
    child: Child,
    address: SocketAddr,
    /// What is sent as its key.
    pub key: &'static str,
}

impl Serving {
    /// `serve MODEL` on a free port.
    pub fn start(model: &Path, variables: &[(&str, &Path)]) -> Self {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("rectiflow"));
        command.args(["--threads", "2", "serve", "--listen", "127.0.0.1:0"]).arg(model);
        command.envs(variables.iter().copied());
        Self::of(command).0
    }

    /// A command that serves, and what it said before it did.
    pub fn of(mut command: std::process::Command) -> (Self, String) {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let (address, said) = said_first(child.stderr.as_mut().expect("it is piped"));
        (Self { child, address, key: "" }, said)
    }

    /// Ends it as the system does when memory is short: at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn ask(&self, line: &str, body: &str) -> Vec<u8> {
        let (host, key) = (self.address, self.key);
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n");
        let request = match body.len() {
            0 => format!("{head}\r\n"),
            length => format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"),
        };
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        answer.split_off(head + 4)
    }

    /// What stands at `path`.
    pub fn get(&self, path: &str) -> Vec<u8> {
        self.ask(&format!("GET {path}"), "")
    }

    /// What comes back for the JSON `body`.
    pub fn post(&self, path: &str, body: &str) -> Vec<u8> {
        self.ask(&format!("POST {path}"), body)
    }

    /// Asks it to end as a service manager does, and says with which code it did.
    pub fn terminate(&mut self) -> Option<i32> {
        let asked = std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
    }
}
