//! The library's face: a [`Recipe`], the [`verbs`] that act on it, and the [`report`] of what came out.
//!
//! Everything the program can do is a function here, told what to do by plain values and telling how it goes through a
//! [`Context`]; the program adds only arguments, bars and exit codes.

pub mod align;
mod asked;
mod assets;
pub mod codec;
pub mod context;
pub mod device;
pub mod error;
mod facts;
mod host;
pub mod judge;
pub mod machine;
pub mod memory;
pub mod model;
pub mod one_more_step;
pub mod output;
pub mod pairs;
mod perceptual;
mod pictures;
pub mod pipeline;
pub mod recipe;
pub mod released;
pub mod report;
pub mod restoring;
pub mod round_trip;
mod runs;
pub mod sampling;
pub mod scheduler_config;
pub mod schedules;
pub mod separator;
pub mod serving;
pub mod shapes;
mod sheets;
pub mod sound;
mod stage;
pub mod start;
mod streams;
mod subject;
pub mod symmetry;
mod taught;
pub mod toy;
pub mod verbs;
pub mod words;

pub use context::{Context, Event};
pub use error::Error;
pub use kernels::Precision;
#[cfg(feature = "mimalloc")]
pub use kernels::allocator;
pub use model::Model;
pub use recipe::Recipe;
pub use start::Start;

/// The training room's terminal bar, for faces that have a terminal.
pub use train::log::Progress as TrainBar;
/// What the training loop tells, and the trait of those it tells.
pub use train::{Event as TrainEvent, Observer as TrainObserver};
