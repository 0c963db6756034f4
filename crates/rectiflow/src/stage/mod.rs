//! Stages of training a flow: all that stands between a recipe and its run.
//!
//! [`Job`] is a stage of a flow: its recipe, its network, the stream it learns from, who teaches it and what its sheets show. [`task`]
//! opens what a recipe's task learns from.

mod begin;
mod job;
mod stream;
pub(crate) mod task;

pub(crate) use crate::runs::{DataRecord, Lineage, Stage};
pub use crate::runs::{Resume, TrainReport, place};
pub(crate) use begin::Beginning;
pub(crate) use job::{Job, Terms};
pub(crate) use stream::{Stream, order, stream};
