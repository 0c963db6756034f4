//! SDEdit: noise is added to the sample, and drawn out again under another condition.
//!
//! Meng et al., "SDEdit: guided image synthesis and editing with stochastic differential equations", arXiv 2108.01073, §3, with
//! the flow's own solver for the way back.

use super::{Edited, check_start};
use crate::MethodError;
use crate::steer::ends::{Ends, path_of};
use base::{Condition, Tensor};
use flow::{Field, Schedule, Solver, solve};
use serde::{Deserialize, Serialize};

/// SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations.
pub const SD_EDIT: base::Paper = base::Paper::arxiv(
    "meng2021sdedit",
    "Meng, Chenlin and He, Yutong and Song, Yang and Song, Jiaming and Wu, Jiajun and Zhu, Jun-Yan and Ermon, Stefano",
    "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations",
    (2021, "2108.01073"),
    "ICLR 2022",
);

/// Settings of SDEdit.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SdEdit {
    /// The time it is noised to, in [0, 1): 0 keeps nothing.
    pub start: f64,
    /// The solver, deterministic.
    pub solver: Solver,
}

impl Default for SdEdit {
    fn default() -> Self {
        Self { start: 0.5, solver: Solver::RfSolver { order: 2 } }
    }
}

impl SdEdit {
    /// `x` `[b ...]` as it is under `target`, noised by `noise`.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for settings out of range; what the solver says.
    pub fn run<const D: usize>(
        &self,
        field: &dyn Field<D>,
        x: Tensor<D>,
        noise: Tensor<D>,
        target: &Condition,
        schedule: &Schedule,
    ) -> Result<Edited<D>, MethodError> {
        check_start(self.start)?;
        let path = path_of(field, "sd_edit")?;
        let later = schedule.times().iter().copied().filter(|t| *t > self.start);
        let rest = Schedule::new(std::iter::once(self.start).chain(later).collect())?;
        let x = Ends { source: noise, data: x }.at(path, self.start);
        let solution = solve(field, x, target, &self.solver, &rest, None)?;
        Ok(Edited { x: solution.x, nfe: solution.nfe, bytes: 0 })
    }
}
