//! From one data set to another, unpaired and without regard to classes (rectified flow, arXiv 2209.03003, §3.3).

use super::{Keys, Recipe};
use data::DataConfig;
use flow::Coupling;
use methods::Target;
use serde::{Deserialize, Serialize};

/// Carries the samples of `source` to those of `data`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transfer {
    /// The data set that flows start from in place of noise.
    pub source: DataConfig,
}

impl Keys for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn source(&self) -> Option<&DataConfig> {
        Some(&self.source)
    }

    /// What rests on Gaussian noise cannot start from a data set.
    fn check(&self, recipe: &Recipe) -> Result<(), String> {
        self.said(recipe).map_err(Into::into)
    }
}

impl Transfer {
    fn said(&self, recipe: &Recipe) -> Result<(), &'static str> {
        if self.source == recipe.data {
            return Err("task.source and data are the same set; give the one that flows start from with --source");
        }
        let first = recipe.path.at(0.0);
        if (first.alpha - 1.0).abs() + first.beta.abs() > 1e-9 || matches!(recipe.path, flow::Path::Mirror { .. }) {
            return Err(
                "task `transfer` starts from a data set, and this path does not begin at it (diffusion paths begin at \
                 noise, a mirror at the data themselves); set `path = { type = \"linear\" }`",
            );
        }
        if matches!(recipe.coupling, Coupling::Annealed { .. }) {
            return Err("annealing blends the source with fresh noise, and here the source is a data set; leave \
                        `reflow.annealing` out");
        }
        if matches!(recipe.target, Target::Guided(_)) {
            return Err(
                "`target` = guided follows its teacher from fresh noise, and here the source is a data set; leave \
                 `distill.target` out",
            );
        }
        if recipe.sample.path.is_some() {
            return Err(
                "`sample.path` changes the pace of a flow from Gaussian noise, and here the source is a data set; \
                 leave it out",
            );
        }
        if recipe.sample.guidance.scale != 1.0 || recipe.pairs.guidance.scale != 1.0 {
            return Err("guidance contrasts classes, and a flow between two data sets is learned without them; set \
                        `sample.guidance.scale` and `pairs.guidance.scale` to 1");
        }
        Ok(())
    }
}
