//! Our side of `benches/versus-pytorch/run`: one process per workload that waits for its turns.
//!
//! `export DIR DEVICE [NETWORK]...` writes weights, inputs, outputs and gradients of every network (or of these) for the peer to
//! check itself against.
//! `work WORKLOAD PRECISION DEVICE` reads lines `PHASE SECONDS` and answers each with the median milliseconds of that phase and the
//! number of runs; at the end of input it prints its peak memory in MB. Only one of the processes works at a time.

mod conv_unet;
mod networks;
mod others;

use base::Device;
use kernels::Precision;
use rectiflow::device::choose;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: kernels::allocator::MiMalloc = kernels::allocator::MiMalloc;

/// What is timed, by name.
pub type Phases = Vec<(&'static str, Box<dyn FnMut()>)>;

/// Runs after which a median means something.
const LEAST: usize = 3;
/// Milliseconds after which a run has warmed itself up.
const LONG: f64 = 1e4;

fn main() -> Result<(), Box<dyn Error>> {
    kernels::allocator::keep_pages(); // as the program itself does
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["export", folder, device, ref networks @ ..] => {
            networks::export(folder.as_ref(), &choose(device)?.device, networks)
        }
        ["work", workload, precision, device] => {
            let device = choose(device)?.device;
            rectiflow::device::on_a_worker(|| work(workload, precision, &device).map_err(|error| error.to_string()))
                .map_err(Into::into)
        }
        _ => {
            println!("this is half of a comparison: run benches/versus-pytorch/run");
            Ok(())
        }
    }
}

fn work(workload: &str, precision: &str, device: &Device) -> Result<(), Box<dyn Error>> {
    let precision = match precision {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        other => return Err(format!("no precision `{other}`").into()),
    };
    let mut phases = match others::phases(workload, device)? {
        Some(phases) => phases,
        None => networks::phases(workload, precision, device)?.ok_or_else(|| format!("no workload `{workload}`"))?,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (phase, seconds) = line.split_once(' ').ok_or("a line is `PHASE SECONDS`")?;
        let found = phases.iter_mut().find(|(name, _)| *name == phase);
        let (_, run) = found.ok_or_else(|| format!("{workload} has no phase `{phase}`"))?;
        let (median, count) = time(run, seconds.parse()?);
        println!("{median} {count}");
        std::io::stdout().flush()?;
    }
    println!("{}", peak_megabytes()?);
    Ok(())
}

/// Median milliseconds of runs of about `seconds` altogether, after one that is not counted unless it was long, and their
/// number.
fn time(run: &mut dyn FnMut(), seconds: f64) -> (f64, usize) {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    let first = once();
    if first > LONG {
        return (first, 1);
    }
    let (begun, mut each) = (Instant::now(), Vec::new());
    while each.len() < LEAST || begun.elapsed().as_secs_f64() < seconds {
        each.push(once());
    }
    each.sort_by(f64::total_cmp);
    (each[each.len() / 2], each.len())
}

/// The most memory this process ever held.
fn peak_megabytes() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("an empty VmHWM")?.parse()?;
    Ok(kilobytes / 1024.0)
}
