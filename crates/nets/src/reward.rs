//! A reward: how good a sample is along several axes, read off any network of the house.
//!
//! After VideoAlign's latent reward (arXiv 2501.13918, §4.3), whose backbone is a part of the generator: the network's answer to a
//! noisy point is a feature map, a linear map and a SiLU make features of it, and each axis is one row on those. The network is
//! told the time, so a reward trained on noisy points knows them; a reward of clean data is asked at t = 1.
//!
//! An axis that asks (does the sample show what was asked for?) adds the product of the features with a row of its class, or with what a linear
//! map makes of its text's vector. The others never see a condition: their rewards are the same to the bit whatever was asked.

use crate::init::{Init, Weights};
use crate::layers::{Embedding, Linear};
use crate::{Net, NetConfig, NetsError};
use base::{Condition, Device, Network, Pass, Shape, Tensor};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// One axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it is called, in tables and in weights.
    pub name: String,
    /// Whether it depends on what was asked for.
    #[serde(default)]
    pub asks: bool,
}

/// Configuration of a [`Reward`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// The network underneath; it reads no condition.
    pub network: NetConfig,
    /// Features between the network and the axes.
    pub features: usize,
    /// The axes, at least one, in the order of verdicts.
    pub axes: Vec<Axis>,
    /// Width of the vector of a text that axes ask by; 0 where they ask by class.
    #[serde(skip_serializing_if = "is_zero")]
    pub vector: usize,
}

fn is_zero(width: &usize) -> bool {
    *width == 0
}

impl Default for RewardConfig {
    fn default() -> Self {
        let axes = vec![Axis { name: "quality".into(), asks: false }];
        Self { network: NetConfig::default(), features: 64, axes, vector: 0 }
    }
}

impl RewardConfig {
    /// Ranges, apart from what depends on the data's shape.
    ///
    /// # Errors
    /// Names the key, its value and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        crate::net::positive("reward.features", self.features)?;
        if self.axes.is_empty() {
            return Err(NetsError::config("reward.axes is empty; name at least one axis".to_string()));
        }
        for (i, axis) in self.axes.iter().enumerate() {
            if axis.name.is_empty() || self.axes[..i].iter().any(|other| other.name == axis.name) {
                let name = &axis.name;
                return Err(NetsError::config(format!(
                    "reward.axes: `{name}` is no name of its own; give each axis one"
                )));
            }
        }
        let condition = self.network.condition();
        if condition.vector > 0 || condition.tokens > 0 || condition.reach {
            return Err(NetsError::config(
                "reward.network reads a condition, and a reward's axes ask for themselves; leave network.condition out"
                    .to_string(),
            ));
        }
        self.network.check()
    }

    /// The reward for samples of `shape` in `classes` classes (0 for none).
    ///
    /// # Errors
    /// If a value is out of range or does not fit the shape; an axis that asks where there are no classes.
    pub fn init(
        &self,
        seed: u64,
        shape: impl Into<Shape>,
        classes: usize,
        device: &Device,
    ) -> Result<Reward, NetsError> {
        self.check()?;
        let shape = shape.into();
        let asking: Vec<bool> = self.axes.iter().map(|axis| axis.asks).collect();
        let count = asking.iter().filter(|asks| **asks).count();
        if count > 0 && classes == 0 && self.vector == 0 {
            return Err(NetsError::config(
                "reward.axes: an axis asks whether a sample shows its class or text, and these data have none; leave `asks` out"
                    .to_string(),
            ));
        }
        let init = Init::new(seed, device).child("reward");
        let width = self.features;
        let (by_class, by_text) = (count > 0 && self.vector == 0, count > 0 && self.vector > 0);
        let asked = || Embedding::new(&init.child("asked"), classes, count * width, (width as f64).powf(-0.5));
        let told = || Linear::new(&init.child("told"), self.vector, count * width, Weights::Torch);
        Ok(Reward {
            network: self.network.init(seed, shape, 0, device)?,
            features: Linear::new(&init.child("features"), shape.numel(), width, Weights::Torch),
            axes: Linear::new(&init.child("axes"), width, self.axes.len(), Weights::Torch),
            asked: by_class.then(asked),
            told: by_text.then(told),
            asking,
        })
    }
}

/// The network of [`RewardConfig`].
#[derive(Module, Debug)]
pub struct Reward {
    /// Underneath.
    pub network: Net,
    /// Its answer to features.
    pub features: Linear,
    /// Features to axes.
    pub axes: Linear,
    /// For each class a row on the features for every axis that asks.
    pub asked: Option<Embedding>,
    /// The same of a text's vector.
    pub told: Option<Linear>,
    #[module(skip)]
    asking: Vec<bool>,
}

impl Reward {
    /// Rewards `[b axes]` of points `x` `[b n]` at times `t` `[b]`, asked for the classes or the texts' vectors of `condition`.
    ///
    /// # Errors
    /// An axis that asks by class and is told none (the null class is one), or by text and is told no vector.
    pub fn rewards(
        &self,
        x: Tensor<2>,
        t: Tensor<1>,
        condition: &Condition,
        pass: &Pass,
    ) -> Result<Tensor<2>, NetsError> {
        let lacks = |what: &str| NetsError::config(format!("a reward's axis asks by {what}, and is told none"));
        let rows = match (&self.asked, &self.told) {
            (Some(asked), _) => Some(asked.forward(condition.class.clone().ok_or_else(|| lacks("the class"))?)),
            (None, Some(told)) => {
                Some(told.forward(condition.vector.clone().ok_or_else(|| lacks("the vector of a text"))?))
            }
            (None, None) => None,
        };
        let map = self.network.predict(x, t, &Condition::none(), pass);
        let features = self.features.activated(map, kernels::Activation::Silu); // [b f]
        let plain = self.axes.forward(features.clone()); // [b axes]
        let Some(rows) = rows else { return Ok(plain) };
        let [b, f] = features.dims();
        let rows = rows.reshape([b as i32, -1, f as i32]); // [b asking f]
        let match_of = (rows * features.unsqueeze_dim::<3>(1)).sum_dim(2).squeeze_dim::<2>(2); // [b asking]
        // Column by column, so that an axis that does not ask keeps its very bits.
        let mut next = 0;
        let columns = self.asking.iter().enumerate().map(|(i, asks)| {
            let own = plain.clone().narrow(1, i, 1);
            if !asks {
                return own;
            }
            next += 1;
            own + match_of.clone().narrow(1, next - 1, 1)
        });
        Ok(Tensor::cat(columns.collect(), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DitConfig, MlpConfig, UnetConfig};

    fn config(network: NetConfig) -> RewardConfig {
        let axis = |name: &str, asks| Axis { name: name.into(), asks };
        RewardConfig {
            network,
            features: 16,
            axes: vec![axis("quality", false), axis("match", true), axis("motion", false)],
            vector: 0,
        }
    }

    fn networks() -> Vec<NetConfig> {
        vec![
            NetConfig::Mlp(MlpConfig { width: 16, ..MlpConfig::default() }),
            NetConfig::Unet(UnetConfig { channels: 8, multipliers: vec![1], groups: 4, ..UnetConfig::default() }),
            NetConfig::Dit(DitConfig { patch: 2, width: 16, depth: 1, heads: 2, ..DitConfig::default() }),
        ]
    }

    fn points(device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..32).map(|i| (i as f32 * 0.37).sin()).collect();
        Tensor::from_data(base::TensorData::new(values, [2, 16]), device)
    }

    fn columns(rewards: Tensor<2>) -> [Vec<f32>; 3] {
        [0, 1, 2].map(|i| rewards.clone().narrow(1, i, 1).inner().into_data().try_to_vec().unwrap())
    }

    #[test]
    fn what_was_asked_moves_only_the_axes_that_ask() {
        let device = Device::flex();
        for network in networks() {
            let reward = config(network).init(3, [1, 4, 4], 5, &device).unwrap();
            let t = Tensor::<1>::from_floats([0.4, 1.0], &device);
            let of = |classes: [i64; 2]| {
                let asked = Condition::classes(&classes, &device);
                columns(reward.rewards(points(&device), t.clone(), &asked, &Pass::Infer).unwrap())
            };
            let ([quality, asked, motion], other) = (of([0, 4]), of([2, -1]));
            assert_eq!((&quality, &motion), (&other[0], &other[2]), "to the bit");
            assert!(asked.iter().zip(&other[1]).all(|(a, b)| a != b), "{asked:?} {other:?}");
        }
    }

    /// Mutants: the text's rows added to every axis; texts read as class rows.
    #[test]
    fn a_text_moves_only_the_axes_that_ask() {
        let device = Device::flex();
        for network in networks() {
            let reward = RewardConfig { vector: 3, ..config(network) }.init(3, [1, 4, 4], 0, &device).unwrap();
            assert!(reward.asked.is_none());
            let t = Tensor::<1>::from_floats([0.4, 1.0], &device);
            let of = |vectors: [[f32; 3]; 2]| {
                let vector = Some(Tensor::<2>::from_floats(vectors, &device));
                let condition = Condition { vector, ..Condition::none() };
                columns(reward.rewards(points(&device), t.clone(), &condition, &Pass::Infer).unwrap())
            };
            let ([quality, asked, motion], other) =
                (of([[0.1, 0.2, 0.3], [1.0, -1.0, 0.0]]), of([[0.5, 0.2, 0.3], [0.0, 0.0, 0.0]]));
            assert_eq!((&quality, &motion), (&other[0], &other[2]), "to the bit");
            assert!(asked.iter().zip(&other[1]).all(|(a, b)| a != b), "{asked:?} {other:?}");
        }
    }

    /// Mutant: a condition that is not there, or of the other kind, passed over (an axis that asks trains blind).
    #[test]
    fn an_axis_that_asks_is_told_by_what_it_asks() {
        let device = Device::flex();
        let vector = Some(Tensor::<2>::zeros([2, 3], &device));
        let (text, class) = (Condition { vector, ..Condition::none() }, Condition::classes(&[0, -1], &device));
        let mlp = || networks().remove(0);
        let of = |config: RewardConfig, condition: &Condition| {
            let reward = config.init(3, [1, 4, 4], 5, &device).unwrap();
            let t = Tensor::<1>::from_floats([0.4, 1.0], &device);
            reward.rewards(points(&device), t, condition, &Pass::Infer).map(|_| ()).map_err(|error| error.to_string())
        };
        let by_text = || RewardConfig { vector: 3, ..config(mlp()) };
        assert!(of(config(mlp()), &class).is_ok() && of(by_text(), &text).is_ok());
        for wrong in [&text, &Condition::none()] {
            assert!(of(config(mlp()), wrong).unwrap_err().contains("the class"));
        }
        for wrong in [&class, &Condition::none()] {
            assert!(of(by_text(), wrong).unwrap_err().contains("vector of a text"));
        }
        let quiet = RewardConfig { axes: vec![Axis { name: "quality".into(), asks: false }], ..config(mlp()) };
        assert!(of(quiet, &Condition::none()).is_ok());
    }

    #[test]
    fn it_learns_in_every_part_and_knows_the_time() {
        let device = Device::flex().autodiff();
        for network in networks() {
            let reward = config(network).init(3, [1, 4, 4], 5, &device).unwrap();
            let at = |t: f32| {
                let t = Tensor::<1>::from_floats([t, t], &device);
                reward.rewards(points(&device), t, &Condition::classes(&[1, 2], &device), &Pass::Infer).unwrap()
            };
            let gradients = at(0.3).square().sum().backward();
            for part in [&reward.features, &reward.axes] {
                assert!(part.weight.val().grad(&gradients).is_some());
            }
            assert!(reward.asked.as_ref().unwrap().weight.val().grad(&gradients).is_some());
            // A fresh U-Net or transformer answers zero; its last layer still learns, and then the rest.
            struct Reached<'a>(&'a burn::tensor::Gradients, usize);
            impl crate::weights::ParamVisit for Reached<'_> {
                fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
                    let some = tensor.grad(self.0).is_some_and(|g| g.abs().max().into_scalar::<f32>() > 0.0);
                    self.1 += usize::from(some);
                }
            }
            let mut reached = Reached(&gradients, 0);
            crate::weights::visit_named(&reward.network, &mut reached);
            assert!(reached.1 > 0);
        }
        let mlp = networks().remove(0);
        let reward = config(mlp).init(3, [1, 4, 4], 5, &Device::flex()).unwrap();
        let at = |t: f32| {
            let t = Tensor::<1>::from_floats([t, t], &Device::flex());
            let asked = Condition::classes(&[1, 2], &Device::flex());
            columns(reward.rewards(points(&Device::flex()), t, &asked, &Pass::Infer).unwrap())
        };
        assert_ne!(at(0.2), at(0.9));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let device = Device::flex();
        let mlp = || NetConfig::Mlp(MlpConfig { width: 16, ..MlpConfig::default() });
        let said = |config: RewardConfig, classes| config.init(1, [16], classes, &device).unwrap_err().to_string();
        assert!(said(config(mlp()), 0).contains("these data have none"));
        assert!(said(RewardConfig { axes: vec![], ..config(mlp()) }, 3).contains("at least one axis"));
        let twice = vec![Axis { name: "a".into(), asks: false }; 2];
        assert!(said(RewardConfig { axes: twice, ..config(mlp()) }, 3).contains("no name of its own"));
    }
}
