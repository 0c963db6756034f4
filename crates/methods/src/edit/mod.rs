//! Editing: a given sample asked for under another condition, with as much of itself kept as the edit allows.
//!
//! | method | what it keeps | evaluations | file |
//! |---|---|---|---|
//! | RF-Edit (arXiv 2411.04746) | the noise that leads to the sample, and values of its attention | two walks of a solver | [`rf_edit`] |
//! | FlowEdit (arXiv 2412.08629) | the sample itself: it is moved by the difference of two velocities | two per step | [`flow_edit`] |
//! | SDEdit (arXiv 2108.01073) | what noise leaves of it | one walk over the rest | [`sd_edit`] |
//!
//! Inversion alone (Euler's, RF-Solver's) is RF-Edit without features.

pub mod bus;
pub mod flow_edit;
pub mod rf_edit;
pub mod sd_edit;

pub use bus::{Bus, Heard, Keep, Parcel, Parts, Place};
pub use flow_edit::FlowEdit;
pub use rf_edit::{Edited, RfEdit};
pub use sd_edit::SdEdit;

use crate::MethodError;
use flow::Solver;
use serde::{Deserialize, Serialize};

/// A way of editing.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Editing {
    /// Back to the noise and forth again with shared features.
    RfEdit(RfEdit),
    /// The difference of two velocities.
    FlowEdit(FlowEdit),
    /// Noise, and out of it again.
    SdEdit(SdEdit),
}

impl Editing {
    /// The time from which it draws anew, where it has one: the later, the more is kept.
    pub fn start(&mut self) -> Option<&mut f64> {
        match self {
            Self::RfEdit(_) => None,
            Self::FlowEdit(edit) => Some(&mut edit.start),
            Self::SdEdit(edit) => Some(&mut edit.start),
        }
    }

    /// Name on the command line; RF-Edit without features is inversion alone.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RfEdit(edit) if edit.inject == 0 && edit.solver == (Solver::Euler {}) => "euler_inversion",
            Self::RfEdit(edit) if edit.inject == 0 => "inversion",
            Self::RfEdit(_) => "rf_edit",
            Self::FlowEdit(_) => "flow_edit",
            Self::SdEdit(_) => "sd_edit",
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`] or [`MethodError::Flow`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        match self {
            Self::RfEdit(edit) => Ok(edit.solver.check()?),
            Self::FlowEdit(edit) => edit.check(),
            Self::SdEdit(edit) => {
                edit.solver.check()?;
                check_start(edit.start)
            }
        }
    }
}

/// Refuses a starting time that is not between noise and data.
fn check_start(start: f64) -> Result<(), MethodError> {
    if (0.0..1.0).contains(&start) {
        return Ok(());
    }
    let remedy = "it must be at least 0 (all noise, nothing kept) and below 1 (nothing changed)";
    Err(MethodError::Setting { setting: "start", value: start.to_string(), remedy })
}
