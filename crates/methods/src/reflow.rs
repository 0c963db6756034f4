//! Reflow: train a rectified flow again on its own end points, which makes its paths straight.
//!
//! Rectified flow, arXiv 2209.03003, §2.2 and algorithm 1: start from the teacher's weights, train on stored pairs only
//! (mixing in fresh noise would bring the crossings back), times uniform. Improved training, arXiv 2405.20320, §4: the
//! remaining error sits at both ends of time, so a U-shaped law and a pseudo-Huber loss help. SlimFlow, arXiv 2407.12718,
//! §3.1: a student of another size cannot start from the teacher's weights; it starts fresh, from noise blended with fresh
//! noise (annealing), and few pairs go further when they are mirrored as well.

use crate::{Init, MethodError, Stage};
use flow::coupling::Annealing;
use flow::{Coupling, Loss, Objective, Path, TimeConfig, TimeLaw};
use serde::{Deserialize, Serialize};

/// Settings of a reflow stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ReflowConfig {
    /// Training times; U-shaped with a = 4 by default.
    pub time: TimeConfig,
    /// Loss; squared error by default.
    pub loss: Loss,
    /// How fresh noise gives way to the stored noise of the pairs; none by default. For students that start fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annealing: Option<Annealing>,
    /// Whether pairs are mirrored left to right, both ends together, with probability one half. For teachers that were
    /// themselves trained on mirrored images.
    pub flip: bool,
}

impl Default for ReflowConfig {
    fn default() -> Self {
        Self { time: TimeConfig::new(TimeLaw::UShaped { a: 4.0 }), loss: Loss::L2 {}, annealing: None, flip: false }
    }
}

impl ReflowConfig {
    /// The reflow of 2209.03003: uniform times and squared error.
    pub fn plain() -> Self {
        Self { time: TimeConfig::new(TimeLaw::Uniform {}), ..Self::default() }
    }

    /// The stage that reflows a teacher trained with `teacher`.
    ///
    /// # Errors
    /// [`MethodError::Teacher`] if its path is not linear: reflow straightens only the linear path.
    pub fn stage(&self, teacher: &Objective) -> Result<Stage, MethodError> {
        require_linear(teacher, "reflow")?;
        let objective = Objective { time: self.time.clone(), loss: self.loss.clone(), ..teacher.clone() };
        objective.check()?;
        let coupling = match self.annealing {
            Some(schedule) => Coupling::Annealed { schedule },
            None => Coupling::Stored {},
        };
        coupling.check()?;
        Ok(Stage { objective, coupling, init: Init::Teacher })
    }
}

/// Refuses a teacher on a path other than the linear one.
pub(crate) fn require_linear(teacher: &Objective, stage: &str) -> Result<(), MethodError> {
    match teacher.path {
        Path::Linear {} => Ok(()),
        _ => Err(MethodError::Teacher(format!(
            "{stage} needs a teacher on the linear path but this one was trained on `{}`: its trajectories cannot become \
             straight; train the base model with path = {{ type = \"linear\" }}",
            teacher.path.name()
        ))),
    }
}
