//! Logs of a run, each an observer of the engine's events.

pub mod mlflow;
mod numbers;
pub mod progress;
pub mod stats;
pub mod tensorboard;
mod track;
pub mod wandb;

pub use mlflow::Mlflow;
pub use progress::Progress;
pub use stats::Stats;
pub use tensorboard::EventFile;
pub use track::{MlflowConfig, TrackConfig, WandbConfig};
pub use wandb::Wandb;
