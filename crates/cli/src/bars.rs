//! What a verb tells while it works, drawn on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rectiflow::{Event, TrainBar, TrainEvent, TrainObserver};

/// The listener of a terminal.
pub struct Bars {
    quiet: bool,
    train: Option<TrainBar>,
    work: Option<ProgressBar>,
}

impl Bars {
    /// `quiet` draws nothing.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, train: None, work: None }
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
                self.work = Some(bar);
            }
            Event::Advance { done } => {
                if let Some(bar) = &self.work {
                    bar.set_position(done);
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
