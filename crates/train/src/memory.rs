//! Memory of this process: resident now and at its peak, in bytes.

/// Resident memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now; 0 where the system does not say.
    pub current: u64,
    /// Largest resident size so far; 0 where the system does not say.
    pub peak: u64,
}

impl Memory {
    /// Asks the system.
    pub fn now() -> Self {
        let (current, mut peak) = from_status(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        if peak == 0 {
            peak = peak_from_rusage();
        }
        Self { current, peak: peak.max(current) }
    }
}

/// Reads `VmRSS` and `VmHWM` of Linux's `/proc/self/status`, given in kB.
fn from_status(status: &str) -> (u64, u64) {
    let field = |key: &str| -> u64 {
        let line = status.lines().find_map(|l| l.strip_prefix(key));
        let number = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
        number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (field("VmRSS"), field("VmHWM"))
}

#[cfg(unix)]
fn peak_from_rusage() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // macOS counts bytes, the other systems kilobytes.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.max_rss() as u64 * unit).unwrap_or(0)
}

#[cfg(not(unix))]
fn peak_from_rusage() -> u64 {
    0
}

/// Bytes for people: `1.23 GB`.
pub fn human_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields_are_kilobytes() {
        let status = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\n";
        assert_eq!(from_status(status), (1500 * 1024, 2000 * 1024));
        assert_eq!(from_status(""), (0, 0));
    }

    #[test]
    fn peak_grows_with_an_allocation() {
        let before = Memory::now();
        let block = vec![1u8; 64 << 20];
        let after = Memory::now();
        assert_eq!(block.iter().map(|b| *b as u64).sum::<u64>(), 64 << 20);
        if before.current > 0 {
            assert!(after.peak >= before.current + (60 << 20), "{before:?} {after:?}");
        }
        assert!(after.peak >= after.current);
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_234_000_000), "1.23 GB");
    }
}
