//! Signals that ask to stop: Ctrl-C, SIGTERM (`docker stop`, Slurm) and SIGHUP (a closed terminal). The first asks for a checkpoint
//! and an end; a second Ctrl-C or SIGTERM ends at once.

use crate::say;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, Ordering},
};

/// The signal that came first; 0 for none.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// The exit code of a program that stopped because it was asked to.
pub fn exit_code() -> u8 {
    let signal = FIRST.load(Ordering::Relaxed);
    u8::try_from(128 + if signal == 0 { 2 } else { signal }).unwrap_or(130)
}

fn heard(signal: i32, name: &str, stop: &AtomicBool) {
    if !stop.swap(true, Ordering::Relaxed) {
        FIRST.store(signal, Ordering::Relaxed);
        say::line(format_args!("\n{name}: stopping after this step (Ctrl-C to stop at once)"));
    } else if name != "hangup" {
        // A closing terminal says so twice, and is in no hurry.
        std::process::exit(i32::from(exit_code()));
    }
}

/// Sets `stop` at the first signal.
#[cfg(unix)]
pub fn watch(stop: Arc<AtomicBool>) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut all = vec![(SIGINT, "interrupt"), (SIGTERM, "termination"), (SIGHUP, "hangup")];
    all.retain(|(signal, _)| !is_ignored(*signal));
    // Without a handler a signal still stops the program, only less gently.
    let Ok(mut signals) = signal_hook::iterator::Signals::new(all.iter().map(|(signal, _)| signal)) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let name = all.iter().find(|(known, _)| *known == signal).map_or("signal", |(_, name)| name);
            heard(signal, name, &stop);
        }
    });
}

/// Whether whoever started this program had the signal ignored, as `nohup` does: then it stays so.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Sets `stop` at the first Ctrl-C.
#[cfg(not(unix))]
pub fn watch(stop: Arc<AtomicBool>) {
    let _ = ctrlc::set_handler(move || heard(2, "interrupt", &stop));
}
