//! A training stage as a value: what reflow and distillation hand to the one training loop.

use crate::Target;
use flow::{Coupling, Objective};
use serde::{Deserialize, Serialize};

/// Where a stage's weights start.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Fresh weights from the seed.
    Fresh,
    /// The averaged (EMA) weights of the teacher that made the pairs; fresh ones for a student of another network.
    Teacher,
}

/// Everything that tells one stage of training from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What is trained.
    pub objective: Objective,
    /// How source and data meet. Stored pairs are never mixed with fresh noise.
    pub coupling: Coupling,
    /// Where the weights start.
    pub init: Init,
    /// What the network is told to say.
    pub target: Target,
}

impl Stage {
    /// The first stage: data against fresh noise, from fresh weights.
    pub fn base(objective: Objective, coupling: Coupling) -> Self {
        Self { objective, coupling, init: Init::Fresh, target: Target::Path }
    }
}
