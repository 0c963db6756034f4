//! Every reader of users' files fed with damaged files for a while: no panic, no endless loop, no memory beyond a bound.
//!
//! ```sh
//! cargo bench --workspace --bench fuzz                      # a minute each
//! cargo bench --workspace --bench fuzz -- ply gguf --seconds 5
//! ```
//!
//! Each reader works in a process of its own, whose address space is bounded where the system can do that. What it reads lies on the
//! disk before it is read, so that whatever ends the process leaves its cause: it is kept in `fuzz-failures`, and the
//! process after it goes on with the next file. The same seed damages in the same way.

mod harm;
mod read;
mod readers;
mod seeds;

use readers::{READERS, Reader};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

/// Address space of a reader, in KiB: what decoded pictures may take by habit, several times over.
const SPACE: u64 = 6 << 20;
/// Seconds that one damaged file may take.
const PATIENCE: u64 = 20;
/// Failures of one reader after which it is left alone.
const ENOUGH: usize = 12;
const KEPT: &str = "fuzz-failures";

struct Asked {
    names: Vec<String>,
    seconds: f64,
    seed: u64,
    /// Set for the process that reads: its folder, and the number of its first file.
    child: Option<(PathBuf, u64)>,
}

fn asked() -> Result<Asked, Box<dyn Error>> {
    let mut asked = Asked { names: Vec::new(), seconds: 60.0, seed: 0, child: None };
    let mut words = env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seconds" => asked.seconds = value()?.parse()?,
            "--seed" => asked.seed = value()?.parse()?,
            "--child" => asked.child = Some((value()?.into(), value()?.parse()?)),
            _ => asked.names.push(word),
        }
    }
    let known = |name: &String| READERS.iter().any(|reader| reader.name == name);
    if let Some(name) = asked.names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = READERS.iter().map(|reader| reader.name).collect();
        return Err(format!("no reader `{name}`; there are {}", all.join(", ")).into());
    }
    Ok(asked)
}

/// Reads damaged files until the time is over; writes how many into `count` as it goes.
fn damage(reader: &Reader, asked: &Asked, folder: &Path, first: u64) -> Result<(), Box<dyn Error>> {
    let seeds = (reader.seeds)();
    let inside = folder.join("read");
    fs::create_dir_all(&inside)?;
    (reader.beside)(&inside)?;
    let path = inside.join(reader.file);
    let end = Instant::now() + Duration::from_secs_f64(asked.seconds);
    for seed in &seeds {
        fs::write(&path, seed)?;
        if first == 0 && !(reader.read)(&path) {
            return Err(format!("{}: a file that is whole is not read", reader.name).into());
        }
    }
    let mut number = first;
    while Instant::now() < end {
        fs::write(folder.join("count"), number.to_string())?;
        fs::write(&path, harm::damaged(&seeds, asked.seed, number))?;
        (reader.read)(&path);
        number += 1;
    }
    fs::write(folder.join("count"), number.to_string())?;
    fs::write(folder.join("peak"), peak().to_string())?;
    Ok(())
}

/// The most memory this process has had, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Runs one reader to the end of its time, in as many processes as it takes. How many files it read, the failures, and the peak.
fn run(reader: &Reader, asked: &Asked) -> Result<(u64, Vec<String>, u64), Box<dyn Error>> {
    // In memory where there is such a folder: ten times as many files.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let (mut first, mut failures) = (0, Vec::new());
    let end = Instant::now() + Duration::from_secs_f64(asked.seconds);
    while Instant::now() < end && failures.len() < ENOUGH {
        let left = (end - Instant::now()).as_secs_f64();
        let program = env::current_exe()?;
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {SPACE} 2>/dev/null; exec \"$0\" \"$@\"")])
            .arg(program)
            .args([reader.name, "--seconds", &left.to_string(), "--seed", &asked.seed.to_string(), "--child"])
            .arg(folder.path())
            .arg(first.to_string())
            .env("RAYON_NUM_THREADS", "1")
            .stderr(Stdio::from(fs::File::create(folder.path().join("said"))?))
            .spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            let began =
                fs::metadata(folder.path().join("count")).and_then(|m| m.modified()).unwrap_or(SystemTime::now());
            if began.elapsed().unwrap_or_default() > Duration::from_secs(PATIENCE) {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        if status.is_some_and(|status| status.success()) {
            break;
        }
        let said = fs::read_to_string(folder.path().join("said"))?;
        let Some(number) = fs::read_to_string(folder.path().join("count")).ok().and_then(|n| n.parse::<u64>().ok())
        else {
            return Err(format!("{}: {said}", reader.name).into());
        };
        let why = match status {
            None => format!("still reading after {PATIENCE} s"),
            Some(status) => format!("{status}: {}", said.lines().take(3).collect::<Vec<_>>().join(" ")),
        };
        fs::create_dir_all(KEPT)?;
        let kept = Path::new(KEPT).join(format!("{}-{number}-{}", reader.name, reader.file.replace('/', "-")));
        fs::copy(folder.path().join("read").join(reader.file), &kept)?;
        failures.push(format!("{}: {why}", kept.display()));
        first = number + 1;
    }
    let number = fs::read_to_string(folder.path().join("count"))?.parse()?;
    let peak = fs::read_to_string(folder.path().join("peak")).ok().and_then(|peak| peak.parse().ok()).unwrap_or(0);
    Ok((number, failures, peak))
}

fn tried() -> Result<usize, Box<dyn Error>> {
    let asked = asked()?;
    if let Some((folder, first)) = &asked.child {
        let reader = READERS.iter().find(|reader| asked.names.first().is_some_and(|name| name == reader.name));
        damage(reader.ok_or("a child without a reader")?, &asked, folder, *first)?;
        return Ok(0);
    }
    let mut failed = 0;
    println!("{:<16}{:>10}{:>10}{:>12}", "reader", "files", "failures", "peak MiB");
    for reader in READERS.iter().filter(|r| asked.names.is_empty() || asked.names.iter().any(|name| name == r.name)) {
        let (files, failures, peak) = run(reader, &asked)?;
        println!("{:<16}{files:>10}{:>10}{peak:>12}", reader.name, failures.len());
        failures.iter().for_each(|failure| println!("    {failure}"));
        failed += failures.len();
    }
    Ok(failed)
}

fn main() -> ExitCode {
    match tried() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} failures; their files are in {KEPT}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
