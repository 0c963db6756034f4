//! Reflow: train a rectified flow again on its own end points, which makes its paths straight.
//!
//! Rectified flow, arXiv 2209.03003, §2.2 and algorithm 1: start from the teacher's weights, train on stored pairs only
//! (mixing in fresh noise would bring the crossings back), times uniform. Improved training, arXiv 2405.20320, §4: the
//! remaining error sits at both ends of time, so a U-shaped law and a pseudo-Huber loss help. SlimFlow, arXiv 2407.12718,
//! §3.1: a student of another size cannot start from the teacher's weights; it starts fresh, from noise blended with fresh
//! noise (annealing), and few pairs go further when they are mirrored as well.

use crate::{Init, MethodError, Stage, Target};
use flow::coupling::Annealing;
use flow::{Coupling, Loss, Native, Objective, Parameterization, Path, Perceptual, TimeConfig, TimeLaw};
use serde::{Deserialize, Serialize};

/// Rectified Diffusion: Straightness Is Not Your Need in Rectified Flow.
pub const RECTIFIED_DIFFUSION: base::Paper = base::Paper::arxiv(
    "wang2024rectified",
    "Wang, Fu-Yun and Yang, Ling and Huang, Zhaoyang and Wang, Mengdi and Li, Hongsheng",
    "Rectified Diffusion: Straightness Is Not Your Need in Rectified Flow",
    (2024, "2410.07303"),
    "ICLR 2025",
);

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
    /// The reading in which errors are measured; the network's own output without. `data` is Rectified Diffusion's choice
    /// for noise networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Parameterization>,
    /// A perceptual distance beside the loss (LPIPS-Huber of 2-rectified flow++).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perceptual: Option<Perceptual>,
    /// Straightens a teacher of another path along the linear one: the network is wrapped, keeps its own inputs and output, and
    /// becomes a velocity there (the initialisation of 2-rectified flow++ from a diffusion model).
    pub linear: bool,
}

impl Default for ReflowConfig {
    fn default() -> Self {
        Self {
            time: TimeConfig::new(TimeLaw::UShaped { a: 4.0 }),
            loss: Loss::L2 {},
            annealing: None,
            flip: false,
            measure: None,
            perceptual: None,
            linear: false,
        }
    }
}

impl ReflowConfig {
    /// The reflow of 2209.03003: uniform times and squared error.
    pub fn plain() -> Self {
        Self { time: TimeConfig::new(TimeLaw::Uniform {}), ..Self::default() }
    }

    /// The stage that reflows a teacher trained with `teacher`, along the teacher's path or, wrapped, the linear one.
    ///
    /// # Errors
    /// [`MethodError::Teacher`] for a path with a latent, whose pairs are no function of their ends;
    /// [`MethodError::Flow`] if a setting is out of range.
    pub fn stage(&self, teacher: &Objective) -> Result<Stage, MethodError> {
        if teacher.path.has_latent() {
            return Err(MethodError::Teacher(format!(
                "reflow needs a teacher on a path between two points but this one was trained on `{}`, which mixes in a \
                 latent; train the base model with path = {{ type = \"linear\" }}",
                teacher.path.name()
            )));
        }
        let mut objective = Objective {
            time: self.time.clone(),
            loss: self.loss.clone(),
            measure: self.measure,
            perceptual: self.perceptual,
            ..teacher.clone()
        };
        if self.linear && teacher.path != (Path::Linear {}) {
            objective.native = Some(match &teacher.native {
                Some(native) => native.clone(),
                None => Native { path: teacher.path.clone(), parameterization: teacher.parameterization },
            });
            objective.path = Path::Linear {};
            objective.parameterization = Parameterization::Velocity {};
            objective.weighting = flow::Weighting::Uniform {};
        }
        objective.check()?;
        let coupling = match self.annealing {
            Some(schedule) => Coupling::Annealed { schedule },
            None => Coupling::Stored {},
        };
        coupling.check()?;
        Ok(Stage { objective, coupling, init: Init::Teacher, target: Target::Path })
    }
}
