//! Logs of a run, each an observer of the engine's events.

pub mod progress;
pub mod stats;
pub mod tensorboard;

pub use progress::Progress;
pub use stats::Stats;
pub use tensorboard::EventFile;
