//! The machine a run was made on, as far as it can be told without extra rights.

use serde::Serialize;

/// What a reader needs to judge seconds by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// Processor model.
    pub processor: String,
    /// Threads the run may use.
    pub threads: usize,
    /// Memory in gibibytes.
    pub memory_gb: f64,
    /// Operating system and architecture.
    pub system: String,
    /// Device the tensors lived on.
    pub device: String,
    /// Version of this program.
    pub version: String,
}

impl Machine {
    /// Looks at this machine; `device` is what the user chose.
    pub fn here(device: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string())
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal");
        let kib = kib.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".into()),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_gb: (kib.unwrap_or(0.0) / 1048576.0 * 10.0).round() / 10.0,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            device: device.into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// Largest resident memory of this process so far, in mebibytes; zero where the system does not say.
pub fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_known() {
        let machine = Machine::here("cpu");
        assert!(machine.threads >= 1 && machine.device == "cpu");
        #[cfg(target_os = "linux")]
        assert!(peak_memory_mb() > 1.0 && machine.memory_gb > 0.0);
    }
}
