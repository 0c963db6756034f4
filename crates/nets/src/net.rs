//! One type for every network a recipe can name.

use crate::{
    ConditionConfig, Cost, Dit, DitConfig, Init, JointDit, JointDitConfig, Mlp, MlpConfig, NetsError, SetTransformer,
    SetTransformerConfig, Triflow, TriflowConfig, Unet, UnetConfig, dit,
    released::{Released, ReleasedConfig},
    shape, triflow, unet, weights,
};
use base::{
    Condition, Device, Network, Paper, Pass, Shape, Tensor,
    paper::{DDPM, SD3},
};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// A network by configuration: `type = "mlp" | "unet" | "dit" | "mmdit" | "set_transformer" | "triflow" | "released"` and that network's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NetConfig {
    /// Multilayer perceptron over samples of any shape, each a vector.
    Mlp(MlpConfig),
    /// Convolutional U-Net over images.
    Unet(UnetConfig),
    /// Diffusion transformer over images.
    Dit(DitConfig),
    /// Transformer in which text and image attend together.
    Mmdit(JointDitConfig),
    /// Transformer over sets of vectors, whose order says nothing.
    SetTransformer(SetTransformerConfig),
    /// Three streams over three planes of features.
    Triflow(TriflowConfig),
    /// A released network under its authors' names, over latents.
    Released(Box<ReleasedConfig>),
}

impl Default for NetConfig {
    fn default() -> Self {
        Self::Unet(UnetConfig::default())
    }
}

impl NetConfig {
    /// The network's name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::Unet(_) => "unet",
            Self::Dit(_) => "dit",
            Self::Mmdit(_) => "mmdit",
            Self::SetTransformer(_) => "set_transformer",
            Self::Triflow(_) => "triflow",
            Self::Released(_) => "released",
        }
    }

    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Mlp(_) => Vec::new(),
            Self::Unet(_) => vec![DDPM, unet::ADM],
            Self::Dit(_) => vec![dit::DIT],
            Self::Mmdit(_) => vec![dit::DIT, SD3],
            Self::SetTransformer(config) => {
                [shape::TRIPOSG].into_iter().chain(config.experts.as_ref().map(|_| shape::SWITCH)).collect()
            }
            Self::Triflow(_) => vec![triflow::TRIFLOW],
            Self::Released(config) => config.papers(),
        }
    }

    /// Ranges of the values, apart from what depends on the data's shape.
    ///
    /// # Errors
    /// Names the key, its value and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        match self {
            Self::Mlp(config) => config.check(),
            Self::Unet(config) => config.check(),
            Self::Dit(config) => config.check(),
            Self::Mmdit(config) => config.check(),
            Self::SetTransformer(config) => config.check(),
            Self::Triflow(config) => config.check(),
            Self::Released(config) => config.check(),
        }
    }

    /// What the network is conditioned on.
    pub fn condition(&self) -> &ConditionConfig {
        match self {
            Self::Mlp(config) => &config.condition,
            Self::Unet(config) => &config.condition,
            Self::Dit(config) => &config.condition,
            Self::Mmdit(config) => &config.condition,
            Self::SetTransformer(config) => &config.condition,
            Self::Triflow(config) => &config.condition,
            Self::Released(config) => &config.condition,
        }
    }

    /// Width of the vector condition, 0 for none.
    pub fn vector(&self) -> usize {
        self.condition().vector
    }

    /// Whether its blocks can run again for the gradient in place of what they keep.
    pub fn recomputes(&self) -> bool {
        match self {
            Self::Mlp(_) | Self::Unet(_) | Self::Dit(_) | Self::Mmdit(_) | Self::Released(_) => true,
            Self::SetTransformer(_) | Self::Triflow(_) => false,
        }
    }

    /// Whether the network is told how far ahead it looks.
    pub fn reaches(&self) -> bool {
        self.condition().reach
    }

    /// The same network, told (or not) how far ahead it looks.
    pub fn reaching(mut self, reach: bool) -> Self {
        match &mut self {
            Self::Mlp(config) => config.condition.reach = reach,
            Self::Unet(config) => config.condition.reach = reach,
            Self::Dit(config) => config.condition.reach = reach,
            Self::Mmdit(config) => config.condition.reach = reach,
            Self::SetTransformer(config) => config.condition.reach = reach,
            Self::Triflow(config) => config.condition.reach = reach,
            Self::Released(config) => config.condition.reach = reach,
        }
        self
    }

    /// A small network of the same kind, told nothing but classes: what a reward is read off.
    pub fn small(&self) -> Self {
        let condition = ConditionConfig::default();
        match self {
            Self::Unet(unet) => {
                Self::Unet(UnetConfig { channels: 16, multipliers: vec![1, 2], condition, ..unet.clone() })
            }
            Self::Dit(dit) => Self::Dit(DitConfig { depth: dit.depth.min(3), condition, ..dit.clone() }),
            Self::Mmdit(mmdit) => Self::Dit(DitConfig { depth: mmdit.depth.min(3), ..mmdit.without_text() }),
            Self::SetTransformer(set) => {
                let (depth, experts, eye) = (set.depth.min(3), None, None); // experts would have more blocks than are left
                Self::SetTransformer(SetTransformerConfig { depth, experts, eye, condition, ..set.clone() })
            }
            Self::Triflow(net) => Self::Triflow(TriflowConfig { condition, ..net.clone() }),
            // What a released network moves are small pictures.
            Self::Released(_) => Self::Dit(DitConfig { patch: 2, depth: 3, ..DitConfig::default() }),
            Self::Mlp(mlp) => Self::Mlp(MlpConfig { condition, ..mlp.clone() }),
        }
    }

    /// Initialises the network for samples of `shape` with `classes` classes (0 for none).
    /// Every parameter is a function of `seed` and its name. On an autodiff device the parameters require gradients;
    /// a network made on a plain device becomes trainable by `Module::train` and back by `Module::valid`.
    ///
    /// # Errors
    /// If a value is out of range or does not fit the shape.
    pub fn init(&self, seed: u64, shape: impl Into<Shape>, classes: usize, device: &Device) -> Result<Net, NetsError> {
        self.build(&Init::new(seed, device), shape.into(), classes)
    }

    /// The same network with its parameters [declared](Init::declared) only, for [`weights::load`](crate::weights::load) to fill:
    /// no random number is drawn, nothing is allocated.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn declare(&self, shape: impl Into<Shape>, classes: usize, device: &Device) -> Result<Net, NetsError> {
        self.build(&Init::declared(device), shape.into(), classes)
    }

    fn build(&self, init: &Init, shape: Shape, classes: usize) -> Result<Net, NetsError> {
        let kind = match self {
            Self::Mlp(config) => Kind::Mlp(config.build(init, shape.numel(), classes)?),
            Self::Unet(config) => Kind::Unet(config.build(init, self.image(shape)?, classes)?),
            Self::Dit(config) => Kind::Dit(config.build(init, self.image(shape)?, classes)?),
            Self::Mmdit(config) => Kind::Mmdit(config.build(init, self.image(shape)?, classes)?),
            Self::SetTransformer(config) => Kind::Set(config.build(init, set(shape)?[1], classes)?),
            Self::Triflow(config) => Kind::Triflow(config.build(init, planes(shape)?, classes)?),
            Self::Released(config) => Kind::Released(config.build(init, self.image(shape)?)?),
        };
        Ok(Net { kind, shape })
    }

    /// `[c h w]` for the networks that see images.
    fn image(&self, shape: Shape) -> Result<[usize; 3], NetsError> {
        let name = self.name();
        shape.image().map_err(|error| NetsError::config(format!("{error}, which a {name} needs; use an mlp for them")))
    }

    /// Whether a network of this configuration can begin at the answers of one of `theirs`: [`beginning_as`](Self::beginning_as), before either is
    /// there.
    pub fn begins_at(&self, theirs: &Self) -> bool {
        let theirs = theirs.clone().reaching(theirs.reaches() || self.reaches());
        match (self, &theirs) {
            (Self::SetTransformer(own), Self::SetTransformer(their)) => own.begins_as(their).is_some(),
            _ => *self == theirs,
        }
    }

    /// A network of this configuration for samples of `shape` that begins at the answers of `from`, which is one of `theirs`: the same, told or
    /// not yet told how far ahead it looks, with experts where there was a perceptron. What is new is drawn from `seed`. `None` where weights
    /// of `theirs` mean nothing here.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn beginning_as(
        &self,
        (theirs, from): (&Self, &Net),
        (seed, classes, shape): (u64, usize, Shape),
        device: &Device,
    ) -> Result<Option<Net>, NetsError> {
        if self == theirs && shape == from.shape() {
            return Ok(Some(from.clone()));
        }
        let theirs = theirs.clone().reaching(theirs.reaches() || self.reaches());
        let fresh = || self.init(seed, shape, classes, device);
        match (self, &theirs) {
            (Self::SetTransformer(own), Self::SetTransformer(their)) => match own.begins_as(their) {
                Some(whence) => Ok(Some(weights::graft_as(fresh()?, from, whence))),
                None => Ok(None),
            },
            _ if *self == theirs => Ok(Some(weights::graft(fresh()?, from))),
            _ => Ok(None),
        }
    }

    /// What the network costs for samples of `shape` with `classes` classes.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn cost(&self, shape: impl Into<Shape>, classes: usize) -> Result<Cost, NetsError> {
        self.check()?;
        let shape = shape.into();
        match self {
            Self::Mlp(config) => Ok(config.cost(shape.numel(), classes)),
            Self::Unet(config) => config.cost(self.image(shape)?, classes),
            Self::Dit(config) => config.cost(self.image(shape)?, classes),
            Self::Mmdit(config) => config.cost(self.image(shape)?, classes),
            Self::SetTransformer(config) => {
                let [tokens, channels] = set(shape)?;
                config.cost(tokens, channels, classes)
            }
            Self::Triflow(config) => config.cost(planes(shape)?, classes),
            Self::Released(config) => config.cost(self.image(shape)?),
        }
    }
}

/// `[n d]` for the network that sees sets.
fn set(shape: Shape) -> Result<[usize; 2], NetsError> {
    let wrong = || {
        let what =
            format!("samples of shape {shape} are not sets [n d], which a set_transformer needs; use a unet or dit");
        NetsError::config(what)
    };
    shape.lengths().try_into().map_err(|_| wrong())
}

/// `[3 c h w]` for the network that sees planes.
fn planes(shape: Shape) -> Result<[usize; 4], NetsError> {
    let wrong = |error| NetsError::config(format!("{error}, which a triflow needs; use an mlp for them"));
    shape.axes("planes [3 c h w]").map_err(wrong)
}

/// A network of any kind for samples of one shape, over rows `[b n]`: the shape is restored at its door. Its parameters are
/// named as those of the network inside.
#[derive(Module, Debug)]
pub struct Net {
    kind: Kind,
    #[module(skip)]
    shape: Shape,
}

/// The network inside.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one per program; the difference is a few hundred bytes
enum Kind {
    /// See [`Mlp`].
    Mlp(Mlp),
    /// See [`Unet`].
    Unet(Unet),
    /// See [`Dit`].
    Dit(Dit),
    /// See [`JointDit`].
    Mmdit(JointDit),
    /// See [`SetTransformer`].
    Set(SetTransformer),
    /// See [`Triflow`].
    Triflow(Triflow),
    /// See [`Released`].
    Released(Released),
}

impl Net {
    /// A released network that has its weights, for latents of `shape`.
    pub fn released(net: Released, shape: Shape) -> Self {
        Self { kind: Kind::Released(net), shape }
    }

    /// The shape of the samples it was made for.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// `network` asked about rows `[b n]` as images `[b c h w]`.
    fn images(&self, x: Tensor<2>, network: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<2> {
        let [b, n] = x.dims();
        let [c, h, w] = self.shape.image().expect("networks of images are made for no other shape");
        network(x.reshape([b, c, h, w])).reshape([b, n])
    }
}

impl Net {
    /// How many attention layers it has, each with its number for [`base::Taps`] in the order of a forward pass.
    pub fn attentions(&self) -> usize {
        match &self.kind {
            Kind::Mlp(_) | Kind::Set(_) | Kind::Triflow(_) => 0,
            Kind::Unet(net) => {
                let levels = net.down_blocks.iter().chain([&net.mid_block]).chain(&net.up_blocks);
                levels.map(|level| level.attentions.len()).sum()
            }
            Kind::Dit(net) => net.blocks.len(),
            Kind::Mmdit(net) => net.blocks.len(),
            Kind::Released(net) => net.attentions(),
        }
    }
}

impl Network<2> for Net {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        match &self.kind {
            Kind::Mlp(net) => net.predict(x, t, condition, pass),
            Kind::Unet(net) => self.images(x, |x| net.predict(x, t.clone(), condition, pass)),
            Kind::Dit(net) => self.images(x, |x| net.predict(x, t.clone(), condition, pass)),
            Kind::Mmdit(net) => self.images(x, |x| net.predict(x, t.clone(), condition, pass)),
            Kind::Released(net) => self.images(x, |x| net.predict(x, t.clone(), condition, pass)),
            Kind::Set(net) => {
                let [b, n] = x.dims();
                let [tokens, channels] = set(self.shape).expect("networks of sets are made for no other shape");
                net.forward(x.reshape([b, tokens, channels]), t, condition, pass).reshape([b, n])
            }
            Kind::Triflow(net) => {
                let [b, n] = x.dims();
                let [p, c, h, w] = planes(self.shape).expect("networks of planes are made for no other shape");
                net.forward(x.reshape([b, p, c, h, w]), t, condition).reshape([b, n])
            }
        }
    }
}

pub(crate) fn positive(name: &str, value: usize) -> Result<(), NetsError> {
    if value == 0 {
        return Err(NetsError::config(format!("{name} is 0; use at least 1")));
    }
    // Far above any network there is, and low enough for its cost to be counted without overflow.
    if value > 1 << 20 {
        return Err(NetsError::config(format!("{name} is {value}; nothing that large can be built")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExpertsConfig, RewardConfig};

    /// The reward of a network with experts is one that can be built. Mutant: the experts kept, which are more blocks than the reward has.
    #[test]
    fn a_network_with_experts_has_a_reward_without() {
        let experts = Some(ExpertsConfig::default());
        let set =
            NetConfig::SetTransformer(SetTransformerConfig { depth: 21, experts, ..SetTransformerConfig::default() });
        set.check().unwrap();
        let reward = RewardConfig { network: set.small(), ..RewardConfig::default() };
        reward.network.check().unwrap();
        assert!(matches!(&reward.network, NetConfig::SetTransformer(set) if set.experts.is_none() && set.depth == 3));
    }
}
