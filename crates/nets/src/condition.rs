//! The conditioning vector of a sample: its time, class and vector condition in one embedding.
//!
//! The time enters as sinusoids (Vaswani et al., 2017, sec. 3.5; Ho et al., 2020, app. B) through a two-layer
//! perceptron; class rows and the projected vector are added to it.

use crate::init::{Init, Weights};
use crate::layers::{Embedding, Linear};
use crate::{NetsError, cost::Tally};
use base::{Condition, Device, Tensor, TensorData};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Longest period of the time sinusoids, in units of scaled time.
const MAX_PERIOD: f64 = 10_000.0;
/// Sinusoids of the time, as in the published DiT.
pub(crate) const TIME_FEATURES: usize = 256;

/// What a network is conditioned on besides its classes, and how strongly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionConfig {
    /// Times in [0, 1] are multiplied by this before the sinusoids. 1000 is the diffusion literature's convention and
    /// separates times 0.001 apart; small values (about 16) make the network smoother in time.
    pub time_scale: f64,
    /// Standard deviation of the initial class rows. 1 suits small networks and short trainings; 0.02 large ones.
    pub class_std: f64,
    /// Width of the vector condition; 0 for none.
    pub vector: usize,
    /// Width of the token embeddings (DiT and MMDiT); 0 for none.
    pub tokens: usize,
    /// Channels of a map beside each sample ([`Condition::dense`]), as high and wide as the sample: the sound to separate, the
    /// picture to follow (U-Net only); 0 for none.
    pub dense: usize,
    /// Whether the network is told how far ahead in time its answer should hold ([`Condition::reach`]), as MeanFlow and
    /// shortcut models need. The new embedding starts at zero, so a trained network can be given it and answers as before.
    pub reach: bool,
}

impl Default for ConditionConfig {
    fn default() -> Self {
        Self { time_scale: 1000.0, class_std: 1.0, vector: 0, tokens: 0, dense: 0, reach: false }
    }
}

impl ConditionConfig {
    /// Ranges: `time_scale` positive, `class_std` not negative.
    pub fn check(&self) -> Result<(), NetsError> {
        if !(self.time_scale > 0.0 && self.time_scale.is_finite()) {
            return Err(NetsError::config(format!(
                "condition.time_scale is {}; use a positive number, 1000 by convention",
                self.time_scale
            )));
        }
        if !(self.class_std >= 0.0 && self.class_std.is_finite()) {
            return Err(NetsError::config(format!(
                "condition.class_std is {}; use a number from 0 up, 1 by default",
                self.class_std
            )));
        }
        Ok(())
    }

    /// As [`ConditionConfig::check`], for a network that reads no map.
    pub(crate) fn check_without_map(&self, network: &str) -> Result<(), NetsError> {
        match self.dense {
            0 => self.check(),
            _ => Err(NetsError::config(format!("{network} takes no map; set condition.dense = 0 or use a unet"))),
        }
    }
}

/// Sinusoids of scaled times: `t` `[b]` to `[b features]`, cosines before sines.
///
/// Feature pair `i` of `n = features / 2` turns with angular frequency `scale * 10000^(-i / n)`.
pub fn sinusoids(t: Tensor<1>, features: usize, scale: f64) -> Tensor<2> {
    let half = features / 2;
    let device = t.device();
    let frequencies: Vec<f32> =
        (0..half).map(|i| (scale * (-MAX_PERIOD.ln() * i as f64 / half as f64).exp()) as f32).collect();
    let frequencies = Tensor::<2>::from_data(TensorData::new(frequencies, [1, half]), &device);
    let angle = t.unsqueeze_dim::<2>(1) * frequencies; // [b half]
    Tensor::cat(vec![angle.clone().cos(), angle.sin()], 1)
}

/// Sinusoids, then a two-layer perceptron.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    /// Sinusoids to width.
    pub linear_1: Linear,
    /// Width to width.
    pub linear_2: Linear,
    /// Of a vector that is added to the sinusoids (a U-Net that is told its guidance).
    pub cond_proj: Option<Linear>,
    features: usize,
    scale: f64,
}

impl TimeEmbedding {
    /// `features` sinusoids (even) of times multiplied by `scale`, to `width`; `how` initialises the first layer, `last` the
    /// second.
    pub fn new(init: &Init, features: usize, width: usize, scale: f64, how: [Weights; 2]) -> Self {
        Self::through(init, [features, width, width], scale, how)
    }

    /// The same through another width: `[features, hidden, width]`.
    pub(crate) fn through(
        init: &Init,
        [features, hidden, width]: [usize; 3],
        scale: f64,
        [how, last]: [Weights; 2],
    ) -> Self {
        Self {
            linear_1: Linear::new(&init.child("linear_1"), features, hidden, how),
            linear_2: Linear::new(&init.child("linear_2"), hidden, width, last),
            cond_proj: None,
            features,
            scale,
        }
    }

    /// The same without biases.
    pub(crate) fn unbiased(self) -> Self {
        let bare = |layer: Linear| Linear { bias: None, ..layer };
        Self { linear_1: bare(self.linear_1), linear_2: bare(self.linear_2), ..self }
    }

    /// The same with an ear for a vector of `features` numbers beside the time.
    pub(crate) fn told(self, init: &Init, features: usize) -> Self {
        let layer = Linear::without_bias(&init.child("cond_proj"), features, self.features, Weights::Zero);
        Self { cond_proj: Some(layer), ..self }
    }

    /// `[b]` to `[b width]`.
    pub fn forward(&self, t: Tensor<1>) -> Tensor<2> {
        self.beside(t, None)
    }

    /// `[b]`, and a vector `[b features]` where there is an ear for one, to `[b width]`.
    pub(crate) fn beside(&self, t: Tensor<1>, vector: Option<Tensor<2>>) -> Tensor<2> {
        let mut x = sinusoids(t, self.features, self.scale);
        if let (Some(layer), Some(vector)) = (&self.cond_proj, vector) {
            x = x + layer.forward(vector);
        }
        let y = self.linear_1.forward(x);
        self.linear_2.forward(kernels::silu(y))
    }
}

/// Time, class and vector to one vector per sample.
#[derive(Module, Debug)]
pub struct Conditioner {
    /// The time's share.
    pub time_embedding: TimeEmbedding,
    /// The class's share; absent when there are no classes.
    pub class_embedding: Option<Embedding>,
    /// The vector's share, without a bias so that zeros mean no condition.
    pub vector_embedding: Option<Linear>,
    /// The reach's share, zero at first.
    pub reach_embedding: Option<TimeEmbedding>,
}

impl Conditioner {
    /// `features` sinusoids (even) to `width`; `how` initialises the linear layers.
    pub fn new(
        init: &Init,
        config: &ConditionConfig,
        features: usize,
        width: usize,
        classes: usize,
        how: Weights,
    ) -> Self {
        let times = |name: &str, last: Weights| {
            TimeEmbedding::new(&init.child(name), features, width, config.time_scale, [how, last])
        };
        Self {
            time_embedding: times("time_embedding", how),
            class_embedding: (classes > 0)
                .then(|| Embedding::new(&init.child("class_embedding"), classes, width, config.class_std)),
            vector_embedding: (config.vector > 0)
                .then(|| Linear::without_bias(&init.child("vector_embedding"), config.vector, width, how)),
            reach_embedding: config.reach.then(|| times("reach_embedding", Weights::Zero)),
        }
    }

    pub(crate) fn tally(tally: &mut Tally, config: &ConditionConfig, features: usize, width: usize, classes: usize) {
        for _ in 0..1 + usize::from(config.reach) {
            tally.linear(1, features, width, true);
            tally.kept(width); // the activation between the two
            tally.linear(1, width, width, true);
        }
        if classes > 0 {
            tally.table(classes + 1, width);
        }
        if config.vector > 0 {
            tally.linear(1, config.vector, width, false);
        }
    }

    /// `[b width]` from times `[b]`. An absent class or vector is the null condition.
    pub fn forward(&self, t: Tensor<1>, condition: &Condition) -> Tensor<2> {
        let none = t.zeros_like();
        let mut y = self.time_embedding.forward(t);
        if let Some(embedding) = &self.reach_embedding {
            y = y + embedding.forward(condition.reach.clone().unwrap_or(none));
        }
        if let Some(table) = &self.class_embedding {
            y = y + match &condition.class {
                Some(class) => table.forward(class.clone()),
                None => table.null(),
            };
        }
        if let (Some(linear), Some(vector)) = (&self.vector_embedding, &condition.vector) {
            y = y + linear.forward(vector.clone());
        }
        y
    }

    /// The device the weights live on.
    pub fn device(&self) -> Device {
        self.time_embedding.linear_1.weight.val().device()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinusoids_match_their_formula_in_f64() {
        let t = [0.0f32, 0.37, 1.0];
        let got: Vec<f32> =
            sinusoids(Tensor::from_floats(t, &Device::flex()), 6, 1000.0).into_data().try_to_vec().unwrap();
        for (row, &t) in got.chunks(6).zip(&t) {
            for i in 0..3 {
                let angle = 1000.0 * f64::from(t) * 10_000f64.powf(-(i as f64) / 3.0);
                // The angle reaches 1000 rad, where an f32 step is 6e-5.
                assert!((f64::from(row[i]) - angle.cos()).abs() < 2e-4);
                assert!((f64::from(row[3 + i]) - angle.sin()).abs() < 2e-4);
            }
        }
    }
}
