//! The progress bar: samples and steps per second, loss, learning rate, time left and memory.

use crate::TrainError;
use crate::event::{Event, Log, Observer};
use crate::memory::human_bytes;
use indicatif::{FormattedDuration, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Where there is no terminal, figures come so far apart at least: a night's log stays readable.
pub const APART: Duration = Duration::from_secs(60);

/// Draws the engine's events on a terminal; where there is none, a plain line of figures at first, then once in [`APART`], and at the end.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    name: String,
    spoke: Option<Instant>,
    /// The last figures, unless they were said.
    held: Option<String>,
    explained: bool,
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
        Self { bar, name: name.to_string(), spoke: None, held: None, explained: false }
    }

    /// Whether it is time for a line of figures where there is no bar.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.spoke.is_none_or(|spoke| now.duration_since(spoke) >= APART);
        if due {
            self.spoke = Some(now);
        }
        due
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

/// What the two losses are, said once.
const EXPLAINED: &str = "  (the loss on samples held out of training, at fixed times and with the averaged weights; it is noisy, never near 0, and \
                         compares runs of one recipe only: look at samples, or ask `rectiflow eval`)";

/// The figures of a log event as one line.
pub fn line(log: &Log) -> String {
    let left = match log.seconds_left {
        Some(seconds) => format!("{} left", FormattedDuration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))),
        None => "time left unknown".to_string(),
    };
    format!(
        "loss {:.4} | {:.1} samples/s, {:.2} it/s | {left} | {} samples | lr {:.2e} | {} (peak {})",
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
                if !self.bar.is_hidden() {
                    self.bar.set_message(line(log));
                } else if self.is_due(Instant::now()) {
                    self.held = None;
                    self.say(&line(log));
                } else {
                    self.held = Some(line(log));
                }
            }
            Event::Validation(v) => {
                self.say(&format!("validation loss {:.4} after {} samples", v.loss, v.images));
                if !std::mem::replace(&mut self.explained, true) {
                    self.say(EXPLAINED);
                }
            }
            Event::Figures { values, .. } => {
                let each = |(name, value): &(String, f64)| format!("{name} {value:.4}");
                self.say(&values.iter().map(each).collect::<Vec<_>>().join(", "));
            }
            Event::Note { message, .. } => self.say(message),
            Event::Warning { message, .. } => self.say(&format!("warning: {message}")),
            Event::Started { images, parameters, .. } if *images > 0 => {
                self.say(&format!("continuing after {images} samples ({parameters} parameters)"));
            }
            Event::Finished { images, seconds, stopped } => {
                self.bar.finish_and_clear();
                if let Some(line) = self.held.take() {
                    self.say(&line);
                }
                let how = if *stopped { "stopped" } else { "finished" };
                let seconds = HumanDuration(Duration::from_secs_f64(*seconds));
                self.say(&format!("{how} after {images} samples, {seconds:#}"));
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

    /// Mutants: every line; none after the first; the clock not set again.
    #[test]
    fn figures_come_a_minute_apart() {
        let mut progress = Progress::with_target("base", ProgressDrawTarget::hidden());
        let began = Instant::now();
        let spoken = [0, 1, 59, 60, 61, 119, 120, 500, 559, 560]
            .map(|second| progress.is_due(began + Duration::from_secs(second)));
        assert_eq!(spoken, [true, false, false, true, false, false, true, true, false, true]);
    }

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
        // The first was said; what comes right after it is kept for the end.
        assert_eq!(progress.held, None);
        let _ = progress.event(&Event::Log(log)).unwrap();
        assert_eq!(progress.held.as_deref(), Some(line(&log).as_str()));
        let _ = progress.event(&Event::Finished { images: 6400, seconds: 10.0, stopped: false }).unwrap();
        assert_eq!(progress.held, None);
        let shown = line(&log);
        for part in ["loss 0.1234", "640.0 samples/s", "10.00 it/s", "00:01:30 left", "500.00 MB", "1.50 GB"] {
            assert!(shown.contains(part), "`{part}` is not in: {shown}");
        }
    }
}
