//! The words every room shares: conditions, shapes, times, counter-based randomness and what a network looks like from
//! outside.
//!
//! `flow` must not name a network and `nets` must not see a solver, yet both speak of conditions and times;
//! the few types they share live here, below both.

pub mod condition;
pub mod network;
pub mod paper;
pub mod random_stream;
pub mod rng;
pub mod shape;
pub mod tap;
pub mod terms;
pub mod times;

pub use condition::{Condition, ConditionError, Dense, NULL_CLASS, Tokens};
pub use network::{Network, Pass};
pub use paper::Paper;
pub use random_stream::RandomStream;
pub use rng::{Key, Purpose};
pub use shape::{Shape, ShapeError};
pub use tap::{Features, Tap, Taps};
pub use terms::Terms;
pub use times::Times;

pub use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
