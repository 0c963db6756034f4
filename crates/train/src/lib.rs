//! The training room: one loop for base training, reflow and distillation, its checkpoints, averages and logs.
//!
//! | file | what |
//! |---|---|
//! | [`engine`] | the loop: [`train`], [`resume`] |
//! | [`task`], [`flow_task`], [`source`], [`streams`], [`point_source`] | what is minimised, where samples come from |
//! | [`state`], [`optim`], [`schedule`], [`ema`], [`params`] | weights and what updates them |
//! | [`checkpoint`] | complete, checksummed, atomic files |
//! | [`guard`], [`watchdog`], [`memory`] | what goes wrong, and what it costs |
//! | [`event`], [`log`], [`run_dir`] | what the outside sees |

#[cfg(test)]
extern crate self as train; // so that `testing.rs` reads the same inside and outside

pub mod checkpoint;
pub mod config;
pub mod ema;
pub mod engine;
pub mod error;
pub mod event;
pub mod flow_task;
pub mod guard;
pub mod log;
pub mod memory;
pub mod optim;
pub mod params;
pub mod point_source;
pub mod precision;
pub mod rows;
pub mod run_dir;
pub mod schedule;
pub mod source;
pub mod state;
pub mod streams;
pub mod task;
#[cfg(test)]
#[allow(dead_code)] // shared with the integration tests, which use more of it
mod testing;
pub mod watchdog;

pub use config::TrainConfig;
pub use engine::{Outcome, Setup, resume, train};
pub use error::{NotFinite, TrainError};
pub use event::{Event, Log, Observer, ValidationLog, Work};
pub use flow_task::FlowTask;
pub use optim::OptimConfig;
pub use point_source::PointSource;
pub use precision::TrainPrecision;
pub use rows::Rows;
pub use run_dir::RunDir;
pub use source::{Batch, Origin, Source};
pub use streams::{PairSource, SampleSource, TransferSource};
pub use task::{Ahead, Live, Samples, Still, Task, Turn};
