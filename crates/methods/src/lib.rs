//! Procedures that need more than one pass: generating pairs from a teacher, reflow, distillation.
//!
//! Rectified flow's loop (arXiv 2209.03003, algorithm 1) closes through files, never through calls: [`pairs::generate`]
//! hands chunks of `(x0, x1, label)` to a sink, a later stage reads them back as stored pairs, and [`reflow`] and
//! [`distill`] say, as a [`Stage`], what that later stage trains. Nothing here names a network, a file format or a device.

pub mod checks;
pub mod distill;
pub mod error;
pub mod guide;
pub mod pairs;
pub mod reflow;
pub mod stage;
pub mod stepsize;

pub use distill::DistillConfig;
pub use error::MethodError;
pub use guide::GuideConfig;
pub use pairs::{Labels, PairChunk, PairsConfig};
pub use reflow::ReflowConfig;
pub use stage::{Init, Stage};
pub use stepsize::StepsizeConfig;
