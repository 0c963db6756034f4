//! The training objective: the only place where path, parameterization, time law, loss and weighting meet.

use crate::{FlowError, Loss, Parameterization, Path, TimeConfig, Weighting, error::require, path::Ends, rows};
use base::{Condition, Key, Network, Pass, Tensor, Times};
use serde::{Deserialize, Serialize};

/// What a network is trained to predict, where, and how its errors count.
///
/// The default is rectified flow (2209.03003, eq. 1): linear path, velocity, uniform times, squared error. The losses of
/// stochastic interpolants (2303.08797, theorems 2.7–2.8) are its squared errors, which differ from the paper's quadratic
/// forms by a factor two and a constant.
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
    /// Looks at every pair twice, with `z` and with `-z`, and averages: what grows as `1/gamma` cancels between the two
    /// (2303.08797, appendix on antithetic sampling). Needs a path with a latent; needed by a direct score there.
    pub antithetic: bool,
}

impl Objective {
    /// Refuses settings out of range and combinations without meaning.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting, [`FlowError::Unreadable`] for an output the path has not got.
    pub fn check(&self) -> Result<(), FlowError> {
        self.path.check()?;
        self.parameterization.check(&self.path)?;
        self.time.check()?;
        self.loss.check()?;
        self.weighting.check()?;
        self.weighting.check_beside(&self.path, self.parameterization, &self.time)?;
        let latent = self.path.has_latent();
        let remedy = "there is no latent to reflect on this path; set antithetic = false";
        require(latent || !self.antithetic, "antithetic", self.antithetic, remedy)?;
        let score = self.parameterization == Parameterization::Score {};
        let remedy = "the target z/gamma of a direct score diverges at both ends and only pairs of z and -z cancel it: set \
                      antithetic = true, or train parameterization = { type = \"latent\" }, from which the score is read";
        require(!(latent && score) || self.antithetic, "antithetic", self.antithetic, remedy)
    }

    /// Training times of samples `indices`, held to where the parameterization is finite.
    pub fn times(&self, key: Key, indices: &[u64]) -> Times {
        self.parameterization.clamp(&self.path, &self.time.sample(key, indices))
    }

    /// The latents of samples `indices`, like `x1` `[b ...]` in shape and device, where the path has one; row `i` depends on
    /// `key` and `indices[i]` alone.
    pub fn latent<const D: usize>(&self, key: Key, indices: &[u64], x1: &Tensor<D>) -> Option<Tensor<D>> {
        self.path.has_latent().then(|| key.normal_tensor(indices, x1.dims(), &x1.device()))
    }

    /// The weighted loss of each pair, `[b]`: `x0`, `x1` are `[b ...]`, already coupled. For paths without latent.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if `x0`, `x1` and `times` disagree, [`FlowError::Setting`] if the path has a latent.
    pub fn loss<const D: usize>(
        &self,
        network: &dyn Network<D>,
        x0: Tensor<D>,
        x1: Tensor<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        self.loss_of(network, (x0, x1).into(), condition, times, pass)
    }

    /// The weighted loss of each pair with its latent, `[b]`.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if the ends and `times` disagree, [`FlowError::Setting`] if a latent is needed and missing.
    pub fn loss_of<const D: usize>(
        &self,
        network: &dyn Network<D>,
        ends: Ends<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        if self.antithetic {
            return self.reflected(network, ends, condition, times, pass);
        }
        let times = self.parameterization.clamp(&self.path, times);
        let point = self.path.point_of(ends, &times)?;
        let target = self.parameterization.target(&self.path, &point);
        let t = times.tensor(&point.xt.device());
        let output = network.predict(input(&self.path, point.xt, &times), t, condition, pass);
        let losses = self.loss.per_sample(output, target);
        Ok(match self.weighting.weights(&self.path, self.parameterization, &self.time, &times) {
            None => losses,
            Some(weights) => rows::scale(losses, weights),
        })
    }

    /// Mean of the losses at `z` and at `-z`, the network asked once about both.
    fn reflected<const D: usize>(
        &self,
        network: &dyn Network<D>,
        ends: Ends<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        let Some(z) = ends.z.filter(|_| self.path.has_latent()) else {
            let remedy = "it needs a path with a latent, and the latent beside the two ends";
            return Err(FlowError::Setting { setting: "antithetic", value: "true".into(), remedy });
        };
        let twice = |x: Tensor<D>| Tensor::cat(vec![x.clone(), x], 0);
        let both = Ends { x0: twice(ends.x0), x1: twice(ends.x1), z: Some(Tensor::cat(vec![z.clone(), -z], 0)) };
        // The same dropout masks on both sides: the two differ in the latent alone.
        let pass = match pass {
            Pass::Infer => Pass::Infer,
            Pass::Train { dropout, samples } => {
                Pass::Train { dropout: *dropout, samples: [samples.as_slice(), samples].concat() }
            }
        };
        let plain = Self { antithetic: false, ..self.clone() };
        let losses = plain.loss_of(network, both, &condition.cat(condition), &times.cat(times), &pass)?;
        let batch = times.len();
        Ok((losses.clone().narrow(0, 0, batch) + losses.narrow(0, batch, batch)) * 0.5)
    }
}

/// Points as a network sees them: scaled where the path's own scale is far from one.
pub(crate) fn input<const D: usize>(path: &Path, x: Tensor<D>, times: &Times) -> Tensor<D> {
    rows::scale(x, times.values().iter().map(|&t| path.input_scale(t)).collect())
}
