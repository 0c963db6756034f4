//! RF-Solver (Wang et al. 2024, arXiv 2411.04746): the Taylor step with derivatives by differences, as the tableaus it amounts to.
//!
//! The step of order 2 is the explicit midpoint rule, which is how it is computed: the published form divides a difference of
//! velocities by the step and loses digits in low precision.

use super::method::Method;
use super::stepper::{Plan, Run};
use super::{Tableau, fixed, tableau};
use crate::{FlowError, error::require};
use base::Paper;

const PAPER: Paper = Paper::arxiv(
    "wang2024taming",
    "Wang, Jiangshan and Pu, Junfu and Qi, Zhongang and others",
    "Taming Rectified Flow for Inversion and Editing",
    (2024, "2411.04746"),
    "ICML 2025",
);

/// RF-Solver.
pub(super) struct RfSolver {
    /// 2 or 3.
    pub order: u8,
}

impl RfSolver {
    fn of_order(&self) -> &'static Tableau {
        if self.order == 3 { &tableau::RF_SOLVER_3 } else { &tableau::MIDPOINT }
    }
}

impl Method for RfSolver {
    fn name(&self) -> &'static str {
        "rf_solver"
    }

    fn order(&self) -> Option<f64> {
        Some(f64::from(self.order))
    }

    fn papers(&self) -> Vec<Paper> {
        vec![PAPER]
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(steps * self.of_order().b.len())
    }

    fn check(&self) -> Result<(), FlowError> {
        require((2..=3).contains(&self.order), "solver.order", self.order, "it must be 2 or 3")
    }

    fn tableau(&self) -> Option<&'static Tableau> {
        Some(self.of_order())
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        Ok(fixed::plan(self.of_order(), run))
    }
}
