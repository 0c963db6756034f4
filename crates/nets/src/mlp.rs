//! A multilayer perceptron for points and small vectors; the conditioning vector is added before every activation.

use crate::condition::{ConditionConfig, Conditioner};
use crate::cost::{Cost, Tally};
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::recompute;
use crate::{NetsError, net::positive};
use base::{Condition, Device, Network, Pass, Tensor};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Configuration of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    /// Hidden width, even.
    pub width: usize,
    /// Number of hidden-to-hidden layers.
    pub depth: usize,
    /// Conditioning. The default time scale is 16: fields over points are smooth in time.
    pub condition: ConditionConfig,
}

impl Default for MlpConfig {
    fn default() -> Self {
        let condition = ConditionConfig { time_scale: 16.0, ..ConditionConfig::default() };
        Self { width: 128, depth: 3, condition }
    }
}

impl MlpConfig {
    /// Ranges: `width` even and positive, no token condition.
    pub fn check(&self) -> Result<(), NetsError> {
        positive("mlp.width", self.width)?;
        if !self.width.is_multiple_of(2) {
            return Err(NetsError::config(format!("mlp.width is {}; it must be even", self.width)));
        }
        if self.condition.tokens > 0 {
            return Err(NetsError::config("mlp takes no tokens; set condition.tokens = 0 or use a dit"));
        }
        self.condition.check_without_map("mlp")
    }

    /// Cost for vectors of `features` numbers.
    pub fn cost(&self, features: usize, classes: usize) -> Cost {
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, self.width, self.width, classes);
        tally.linear(1, features, self.width, true);
        tally.kept(self.width);
        for _ in 0..self.depth {
            tally.block(self.width, |tally| {
                tally.linear(1, self.width, self.width, true);
                tally.kept(self.width);
            });
        }
        tally.linear(1, self.width, features, true);
        tally.cost()
    }

    /// The network for vectors of `features` numbers, with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If [`check`](Self::check) fails or `features` is zero.
    pub fn init(&self, seed: u64, features: usize, classes: usize, device: &Device) -> Result<Mlp, NetsError> {
        self.build(&Init::new(seed, device), features, classes)
    }

    pub(crate) fn build(&self, init: &Init, features: usize, classes: usize) -> Result<Mlp, NetsError> {
        self.check()?;
        positive("the number of features", features)?;
        let linear = |name: String, i, o| Linear::new(&init.child(name), i, o, Weights::Torch);
        Ok(Mlp {
            conditioner: Conditioner::new(init, &self.condition, self.width, self.width, classes, Weights::Torch),
            input: linear("input".into(), features, self.width),
            hidden: (0..self.depth).map(|i| linear(format!("hidden.{i}"), self.width, self.width)).collect(),
            output: linear("output".into(), self.width, features),
        })
    }
}

/// The network of [`MlpConfig`].
#[derive(Module, Debug)]
pub struct Mlp {
    /// Time, class and vector.
    pub conditioner: Conditioner,
    /// Features to width.
    pub input: Linear,
    /// Width to width.
    pub hidden: Vec<Linear>,
    /// Width to features.
    pub output: Linear,
}

impl Network<2> for Mlp {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        let embedding = self.conditioner.forward(t, condition);
        let mut h = kernels::silu(self.input.forward(x) + embedding.clone());
        for layer in &self.hidden {
            h = recompute::run(layer, h, &embedding, pass, |layer, h, e, _| kernels::silu(layer.forward(h) + e));
        }
        self.output.forward(h)
    }
}
