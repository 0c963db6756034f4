//! Distillation: train the few steps that will be taken, and nothing else.
//!
//! Rectified flow, arXiv 2209.03003, §2.2 and §5: last, after reflow, fit `z0 + v(z0, 0)` to the pairs (one step), or for
//! `k` steps the velocity at `t = 0, 1/k, ..., (k-1)/k`. The loss at those times is the ordinary one: on a linear path
//! `|x1 - x0 - v(x_t, t)|²`.

use crate::{GuideConfig, Init, MethodError, Stage, reflow::require_linear};
use base::{Condition, Tensor};
use flow::{
    Coupling, Field, FlowError, Loss, Objective, Parameterization, ScheduleConfig, Solver, TimeConfig, TimeLaw,
    Weighting, solve,
};
use serde::{Deserialize, Serialize};

/// Settings of a distillation stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DistillConfig {
    /// Number of Euler steps the student will take, at least 1.
    pub steps: usize,
    /// Loss; squared error by default.
    pub loss: Loss,
    /// Two steps of the teacher from fresh noise as further targets (SlimFlow); none by default, for one step only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guide: Option<GuideConfig>,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self { steps: 1, loss: Loss::L2 {}, guide: None }
    }
}

impl DistillConfig {
    /// The times that are trained.
    pub fn time(&self) -> TimeConfig {
        TimeConfig::new(match self.steps {
            1 => TimeLaw::Constant { t: 0.0 },
            count => TimeLaw::Steps { count },
        })
    }

    /// The stage that distils a teacher trained with `teacher`.
    ///
    /// # Errors
    /// [`MethodError::Teacher`] if its path is not linear or its output says nothing about the data at t = 0 (noise,
    /// score); [`MethodError::Flow`] if a setting is out of range.
    pub fn stage(&self, teacher: &Objective) -> Result<Stage, MethodError> {
        require_linear(teacher, "distillation")?;
        let known = matches!(teacher.parameterization, Parameterization::Velocity {} | Parameterization::Data {});
        if !known {
            return Err(MethodError::Teacher(format!(
                "distillation trains the output at t = 0, where a `{}` network says nothing about the data; use a \
                 teacher with parameterization = {{ type = \"velocity\" }}",
                teacher.parameterization.name()
            )));
        }
        if let Some(guide) = &self.guide {
            guide.check()?;
            if self.steps != 1 {
                return Err(MethodError::Setting {
                    setting: "distill.guide with distill.steps",
                    value: self.steps.to_string(),
                    remedy: "two steps of the teacher guide a student of one step; set distill.steps = 1 or leave \
                             distill.guide out",
                });
            }
        }
        let objective = Objective {
            time: self.time(),
            loss: self.loss.clone(),
            weighting: Weighting::Uniform {},
            ..teacher.clone()
        };
        objective.check()?;
        Ok(Stage { objective, coupling: Coupling::Stored {}, init: Init::Teacher })
    }

    /// What the student predicts: `steps` Euler steps, `x0 + v(x0, 0)` for one.
    ///
    /// # Errors
    /// Those of [`solve`].
    pub fn predict<const D: usize>(
        &self,
        field: &dyn Field<D>,
        x0: Tensor<D>,
        condition: &Condition,
    ) -> Result<Tensor<D>, FlowError> {
        let schedule = ScheduleConfig::Uniform {}.build(self.steps)?;
        Ok(solve(field, x0, condition, &Solver::Euler {}, &schedule, None)?.x)
    }
}
