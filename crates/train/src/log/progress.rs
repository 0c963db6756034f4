//! The progress bar: images and steps per second, loss, learning rate, time left and memory.

use crate::TrainError;
use crate::event::{Event, Log, Observer};
use crate::memory::human_bytes;
use indicatif::{FormattedDuration, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

/// Draws the engine's events on a terminal; where there is none, one plain line per log event.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    name: String,
}

impl Progress {
    /// A bar on standard error, labelled `name` ("base", "reflow", ...).
    pub fn new(name: &str) -> Self {
        Self::with_target(name, ProgressDrawTarget::stderr_with_hz(5))
    }

    /// A bar on a chosen target.
    pub fn with_target(name: &str, target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        let style = ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {percent:>3}% {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_prefix(name.to_string());
        Self { bar, name: name.to_string() }
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            // A closed pipe or a full disk under the log does not stop training.
            let _ = writeln!(std::io::stderr(), "{}: {line}", self.name);
        } else {
            self.bar.println(line);
        }
    }
}

/// The figures of a log event as one line.
pub fn line(log: &Log) -> String {
    let left = match log.seconds_left {
        Some(seconds) => format!("{} left", FormattedDuration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))),
        None => "time left unknown".to_string(),
    };
    format!(
        "loss {:.4} | {:.1} img/s, {:.2} it/s | {left} | {} images | lr {:.2e} | {} (peak {})",
        log.loss,
        log.images_per_second,
        log.steps_per_second,
        log.images,
        log.lr,
        human_bytes(log.memory.current),
        human_bytes(log.memory.peak),
    )
}

impl Observer for Progress {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        match event {
            Event::Log(log) => {
                self.bar.set_position((log.progress.clamp(0.0, 1.0) * 1000.0) as u64);
                if self.bar.is_hidden() { self.say(&line(log)) } else { self.bar.set_message(line(log)) }
            }
            Event::Validation(v) => self.say(&format!("validation loss {:.4} after {} images", v.loss, v.images)),
            Event::Figures { values, .. } => {
                let each = |(name, value): &(String, f64)| format!("{name} {value:.4}");
                self.say(&values.iter().map(each).collect::<Vec<_>>().join(", "));
            }
            Event::Warning { message, .. } => self.say(&format!("warning: {message}")),
            Event::Started { images, parameters, .. } if *images > 0 => {
                self.say(&format!("continuing after {images} images ({parameters} parameters)"));
            }
            Event::Finished { images, seconds, stopped } => {
                self.bar.finish_and_clear();
                let how = if *stopped { "stopped" } else { "finished" };
                let seconds = HumanDuration(Duration::from_secs_f64(*seconds));
                self.say(&format!("{how} after {images} images, {seconds:#}"));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn the_line_shows_speed_loss_time_left_and_memory() {
        let log = Log {
            images: 6400,
            steps: 100,
            loss: 0.1234,
            lr: 1e-3,
            gradient_norm: 1.0,
            seconds: 10.0,
            images_per_second: 640.0,
            steps_per_second: 10.0,
            seconds_left: Some(90.0),
            progress: 0.1,
            memory: Memory { current: 500_000_000, peak: 1_500_000_000 },
        };
        let mut progress = Progress::with_target("base", ProgressDrawTarget::hidden());
        assert!(progress.event(&Event::Log(log)).unwrap().is_continue());
        assert_eq!(progress.bar.position(), 100, "a tenth of a thousand");
        let shown = line(&log);
        for part in ["loss 0.1234", "640.0 img/s", "10.00 it/s", "00:01:30 left", "500.00 MB", "1.50 GB"] {
            assert!(shown.contains(part), "`{part}` is not in: {shown}");
        }
    }
}
