//! Stages of training: what any verb that trains does around the engine.
//!
//! [`Stage`] is a run in a folder, of any module on any task. [`Job`] is that of a flow: its recipe, its network, the stream it learns
//! from, who teaches it and what its sheets show. [`task`] opens what a recipe's task learns from.

mod job;
mod lineage;
mod record;
mod resume;
mod run;
mod stream;
pub(crate) mod task;

pub(crate) use job::Job;
pub(crate) use lineage::Lineage;
pub(crate) use record::DataRecord;
pub use resume::{Resume, TrainReport, place};
pub(crate) use run::{Learning, Stage};
pub(crate) use stream::{Stream, stream};
