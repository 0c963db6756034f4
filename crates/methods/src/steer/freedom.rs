//! FreeDoM on a flow: the gradient through the network before every step of any solver, which asks for the velocity anew.
//!
//! Yu et al., "FreeDoM: training-free energy-guided conditional diffusion model", arXiv 2303.09833, algorithm 1, with its step
//! as `κ` and without the time travel of its algorithm 2. It stands between two steps of a [`Stepper`] and knows nothing of the
//! solver; the price is one more evaluation per step.

use super::ends::path_of;
use super::through::through;
use super::{Problem, Steered, check_kappa, check_window, gradient, within};
use crate::MethodError;
use base::Tensor;
use flow::{Solver, Stepper};
use serde::{Deserialize, Serialize};

/// FreeDoM: Training-Free Energy-Guided Conditional Diffusion Model.
pub const FREEDOM: base::Paper = base::Paper::arxiv(
    "yu2023freedom",
    "Yu, Jiwen and Wang, Yinhuai and Zhao, Chen and Ghanem, Bernard and Zhang, Jian",
    "FreeDoM: Training-Free Energy-Guided Conditional Diffusion Model",
    (2023, "2303.09833"),
    "ICCV 2023",
);

/// Settings of FreeDoM.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FreeDom {
    /// `κ`, in (0, 2).
    pub kappa: f64,
    /// The method of the steps, deterministic and on a fixed grid.
    pub solver: Solver,
    /// Times `[from, to]` (t = 1 at the data) whose steps are steered; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<(f64, f64)>,
    /// Whether the last step is steered too.
    pub last_step: bool,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

impl Default for FreeDom {
    fn default() -> Self {
        Self { kappa: 0.2, solver: Solver::Euler {}, window: None, last_step: false, unstable: false }
    }
}

impl FreeDom {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        check_kappa(self.kappa, self.unstable)?;
        check_window(self.window)?;
        Ok(self.solver.check()?)
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "freedom")?;
        let rate = self.kappa / problem.cost.curvature();
        let mut differentiated = 0;
        let steps = problem.schedule.steps();
        let mut stepper = Stepper::new(problem.field, x, problem.condition, &self.solver, problem.schedule, None)?;
        loop {
            problem.go_on()?;
            let (t, x) = (stepper.time(), stepper.state().clone());
            let last = stepper.done() + 1 >= steps;
            if stepper.done() < steps && within(self.window, t) && (self.last_step || !last) {
                let pulled = through(problem, path, &x, t, |data| Ok(gradient(problem.cost, data)))?.pulled;
                differentiated += 1;
                stepper.replace(x - pulled * rate)?;
            }
            if stepper.advance()?.is_none() {
                break;
            }
        }
        let solution = stepper.solution();
        Ok(Steered { x: solution.x, nfe: solution.nfe + differentiated, differentiated })
    }
}
