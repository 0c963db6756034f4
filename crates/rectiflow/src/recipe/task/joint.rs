//! Two networks on one path, trained beside each other and read together (verb `toy`): on paths with two sides and a latent no
//! single output gives both velocity and score (arXiv 2303.08797, §2.4).

use super::{Keys, Recipe};
use flow::{JointField, Parameterization};
use serde::{Deserialize, Serialize};

/// Draws points by two networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Joint {
    /// What the second network outputs; the first says the recipe's `parameterization`.
    pub second: Parameterization,
}

impl Keys for Joint {
    fn name(&self) -> &'static str {
        "joint"
    }

    fn second(&self) -> Option<Parameterization> {
        Some(self.second)
    }

    fn check(&self, recipe: &Recipe) -> Result<(), String> {
        if recipe.needs_pairs() {
            return Err(
                "task `joint` is for flows learned from data, not from a teacher's pairs; set `coupling = { type = \
                        \"independent\" }`"
                    .into(),
            );
        }
        let both = JointField::new(recipe.path.clone(), (&(), recipe.parameterization), (&(), self.second));
        both.map(drop).map_err(|error| format!("task.second: {error}"))
    }
}
