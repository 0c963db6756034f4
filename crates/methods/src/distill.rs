//! Distillation: train the few steps that will be taken, and nothing else.
//!
//! Rectified flow, arXiv 2209.03003, §2.2 and §5: last, after reflow, fit `z0 + v(z0, 0)` to the pairs (one step), or for
//! `k` steps the velocity at `t = 0, 1/k, ..., (k-1)/k`. On pairs that are pieces of the teacher's trajectories
//! (`pairs.generate.cuts`) the same loss fits the chord of every piece at its start: the straightening of BOSS (arXiv
//! 2312.16414, §3.2). Other [`Target`]s distil without stored pairs.

use crate::{Init, MethodError, Stage, Target};
use base::{Condition, Tensor};
use flow::{
    Field, FlowError, Loss, Objective, Parameterization, Path, Perceptual, ScheduleConfig, Solver, TimeConfig, TimeLaw,
    Weighting, solve,
};
use serde::{Deserialize, Serialize};

/// Settings of a distillation stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DistillConfig {
    /// Number of steps the student will take, at least 1.
    pub steps: usize,
    /// Loss; squared error by default.
    pub loss: Loss,
    /// What the student is told to say: the ends of its pairs unless another rule is named.
    pub target: Target,
    /// A perceptual distance beside the loss. The loss counts `t` beside it (arXiv 2405.20320, §4.2): the step from noise, at
    /// `t = 0`, is judged by the distance alone, as InstaFlow's (arXiv 2309.06380, §3.2) is by LPIPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perceptual: Option<Perceptual>,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self { steps: 1, loss: Loss::L2 {}, target: Target::Path, perceptual: None }
    }
}

impl DistillConfig {
    /// The times that are trained on pairs; with pieces of trajectories, the start of each piece.
    pub fn time(&self, cut: bool) -> TimeConfig {
        TimeConfig::new(match self.steps {
            _ if cut => TimeLaw::Constant { t: 0.0 },
            1 => TimeLaw::Constant { t: 0.0 },
            count => TimeLaw::Steps { count },
        })
    }

    /// The stage that distils a teacher trained with `teacher`, on pairs that are pieces of its trajectories if `cut`.
    ///
    /// # Errors
    /// [`MethodError::Teacher`] if the teacher's output says nothing about the data at t = 0 (noise, score) where pairs are
    /// trained there, or the target cannot serve it; [`MethodError::Setting`] or [`MethodError::Flow`] if a setting is out
    /// of range or two do not go together.
    pub fn stage(&self, teacher: &Objective, cut: bool) -> Result<Stage, MethodError> {
        let refuse = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        if let Target::Guided(_) = self.target
            && self.steps != 1
        {
            let remedy =
                "two steps of the teacher guide a student of one step; set distill.steps = 1 or leave the target out";
            return refuse("distill.target = guided with distill.steps", self.steps.to_string(), remedy);
        }
        if cut && !self.target.coupling().needs_pairs() {
            let remedy = "this target makes its own pieces of trajectories from data; leave the cuts out";
            return refuse("pairs.generate.cuts with distill.target", self.target.name().into(), remedy);
        }
        if cut && self.steps != 1 {
            let remedy = "the pieces of the trajectories are the steps; leave distill.steps at 1";
            return refuse("pairs.generate.cuts with distill.steps", self.steps.to_string(), remedy);
        }
        let mut objective = Objective {
            time: self.time(cut),
            loss: self.loss.clone(),
            weighting: Weighting::Uniform {},
            measure: None,
            perceptual: self.perceptual,
            ..teacher.clone()
        };
        let target = match &self.target {
            Target::Segments(rule) => {
                let rule = rule.over(&ScheduleConfig::Uniform {}, self.steps)?;
                objective.time = rule.time();
                Target::Segments(rule)
            }
            Target::Consistency(_) => {
                objective.time = TimeConfig::default();
                objective.measure = Some(Parameterization::Data {});
                self.target.clone()
            }
            Target::MeanFlow(_) | Target::Shortcut(_) => {
                objective.time = teacher.time.clone();
                self.target.clone()
            }
            Target::Path | Target::Guided(_) => {
                known_at_the_noise(teacher)?;
                self.target.clone()
            }
        };
        target.check(&objective)?;
        objective.check()?;
        Ok(Stage { coupling: target.coupling(), objective, init: Init::Teacher, target })
    }

    /// What the student predicts: `steps` Euler steps, `x0 + v(x0, 0)` for one; curved ones where the field knows a path that
    /// is not the linear one.
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
        let curved = field.frame().is_some_and(|frame| *frame.path != Path::Linear {});
        let solver = if curved { Solver::Ddim { eta: 0.0 } } else { Solver::Euler {} };
        Ok(solve(field, x0, condition, &solver, &schedule, None)?.x)
    }
}

/// Refuses outputs that say nothing about the data at t = 0.
fn known_at_the_noise(teacher: &Objective) -> Result<(), MethodError> {
    let silent = matches!(
        teacher.parameterization,
        Parameterization::Noise {} | Parameterization::Score {} | Parameterization::Latent {}
    );
    if silent && teacher.path.at(0.0).beta == 0.0 {
        return Err(MethodError::Teacher(format!(
            "distillation trains the output at t = 0, where a `{}` network says nothing about the data on path `{}`; use a \
             teacher with parameterization = {{ type = \"velocity\" }}",
            teacher.parameterization.name(),
            teacher.path.name()
        )));
    }
    Ok(())
}
