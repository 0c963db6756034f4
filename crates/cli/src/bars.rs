//! What a verb tells while it works, drawn on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rectiflow::{Event, TrainBar, TrainEvent, TrainObserver};
use std::time::{Duration, Instant};

/// Where there is no terminal, long work says how far it is so often.
const APART: Duration = Duration::from_secs(60);

/// The listener of a terminal.
pub struct Bars {
    quiet: bool,
    train: Option<TrainBar>,
    work: Option<ProgressBar>,
    /// When its work began, or was last told of in a line.
    spoke: Instant,
}

impl Bars {
    /// `quiet` draws nothing.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, train: None, work: None, spoke: Instant::now() }
    }

    /// Draws an event.
    pub fn tell(&mut self, event: Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::Stage { name } => self.train = Some(TrainBar::new(name)),
            Event::Train(event) => {
                if let Some(bar) = &mut self.train {
                    // The bar never asks to stop and never fails.
                    let _ = bar.event(event);
                }
                if let TrainEvent::Finished { .. } = event {
                    self.train = None;
                }
            }
            Event::Begin { what, total } => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
                let style = "{prefix} {wide_bar:.cyan/dim} {pos}/{len} {per_sec}, {eta} left";
                bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(what.to_string());
                (self.work, self.spoke) = (Some(bar), Instant::now());
            }
            Event::Advance { done } => {
                if let Some(bar) = &self.work {
                    bar.set_position(done);
                    if bar.is_hidden() && self.spoke.elapsed() >= APART {
                        crate::say::line(format_args!("{}: {done} of {}", bar.prefix(), bar.length().unwrap_or(done)));
                        self.spoke = Instant::now();
                    }
                }
            }
            Event::End => {
                if let Some(bar) = self.work.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Note(line) | Event::Quote(line) => match &self.work {
                Some(bar) if !bar.is_hidden() => bar.println(line),
                _ => crate::say::line(line),
            },
        }
    }
}
