//! The training objective: the only place where path, parameterization, time law, loss and weighting meet.

use crate::{FlowError, Loss, Parameterization, Path, TimeConfig, Weighting, rows};
use base::{Condition, Key, Network, Pass, Tensor, Times};
use serde::{Deserialize, Serialize};

/// What a network is trained to predict, where, and how its errors count.
///
/// The default is rectified flow (2209.03003, eq. 1): linear path, velocity, uniform times, squared error.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// The path between source and data.
    pub path: Path,
    /// What the network outputs.
    pub parameterization: Parameterization,
    /// Distribution of training times.
    pub time: TimeConfig,
    /// Distance between output and target.
    pub loss: Loss,
    /// Weight of the loss over time.
    pub weighting: Weighting,
}

impl Objective {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        self.path.check()?;
        self.time.check()?;
        self.loss.check()?;
        self.weighting.check()
    }

    /// Training times of samples `indices`, held to where the parameterization is finite.
    pub fn times(&self, key: Key, indices: &[u64]) -> Times {
        self.parameterization.clamp(&self.path, &self.time.sample(key, indices))
    }

    /// The weighted loss of each pair, `[b]`: `x0`, `x1` are `[b ...]`, already coupled.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if `x0`, `x1` and `times` disagree.
    pub fn loss<const D: usize>(
        &self,
        network: &dyn Network<D>,
        x0: Tensor<D>,
        x1: Tensor<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        let times = self.parameterization.clamp(&self.path, times);
        let point = self.path.point(x0, x1, &times)?;
        let target = self.parameterization.target(&self.path, &point);
        let t = times.tensor(&point.xt.device());
        let output = network.predict(point.xt, t, condition, pass);
        let losses = self.loss.per_sample(output, target);
        Ok(match self.weighting.weights(&self.path, self.parameterization, &times) {
            None => losses,
            Some(weights) => rows::scale(losses, weights),
        })
    }
}
