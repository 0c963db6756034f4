//! Initial weights: every tensor is a pure function of the seed and its own name, so adding a layer changes no other.

use base::{Device, Key, Purpose, Tensor, TensorData};
use burn::module::{Param, ParamId};
use rand::RngExt;

/// A place in the tree of names, where parameters are drawn or only declared.
#[derive(Clone, Debug)]
pub struct Init {
    /// None declares parameters without values.
    seed: Option<u64>,
    path: u64,
    device: Device,
}

/// How a layer's weight and bias start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    /// PyTorch's default for linear layers and convolutions: weight and bias uniform within `1 / sqrt(fan_in)`.
    Torch,
    /// Glorot and Bengio (2010), eq. 16: weight uniform within `sqrt(6 / (fan_in + fan_out))`; bias zero.
    Xavier,
    /// Weight normal with this standard deviation; bias zero.
    Normal(f64),
    /// All zero: the layer's branch is absent until training moves it.
    Zero,
}

impl Init {
    /// The root of a network's names; parameters are created on `device`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { seed: Some(seed), ..Self::declared(device) }
    }

    /// The root of a network whose parameters have a name, a shape and no value until
    /// [`weights::load`](crate::weights::load) fills them. Nothing is drawn and nothing is allocated; asking such a
    /// parameter for its value before is a mistake of the program and panics.
    pub fn declared(device: &Device) -> Self {
        Self { seed: None, path: 0xcbf2_9ce4_8422_2325, device: device.clone() }
    }

    /// The place called `name` below this one.
    pub fn child(&self, name: impl std::fmt::Display) -> Self {
        // FNV-1a over the dotted path: short, stable across platforms and versions.
        let path = format!(".{name}")
            .bytes()
            .fold(self.path, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Self { path, ..self.clone() }
    }

    /// A number that identifies this place; dropout layers fold it into their key.
    pub fn id(&self) -> u64 {
        self.path
    }

    /// The parameter that `values` makes of this place's key, or a declared one.
    fn param<const D: usize>(&self, shape: [usize; D], values: impl FnOnce(Key) -> Vec<f32>) -> Param<Tensor<D>> {
        match self.seed {
            Some(seed) => {
                let values = values(Key::new(seed, Purpose::Init).fold(self.path));
                Param::from_data(TensorData::new(values, shape), &self.device)
            }
            None => {
                let none = |_: &Device, _| panic!("a declared parameter was read before weights::load filled it");
                Param::uninitialized(ParamId::new(), none, self.device.clone(), true, shape.into())
            }
        }
    }

    /// Normal numbers with mean zero.
    pub fn normal<const D: usize>(&self, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        self.param(shape, |key| key.normals(0, shape.iter().product()).map(|v| v * std as f32).collect())
    }

    /// Uniform numbers in `[-bound, bound)`.
    pub fn uniform<const D: usize>(&self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let bound = bound as f32;
        self.param(shape, |key| {
            let mut rng = key.at(0);
            (0..shape.iter().product::<usize>()).map(|_| (2.0 * rng.random::<f32>() - 1.0) * bound).collect()
        })
    }

    /// One value everywhere.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.param(shape, |_| vec![value; shape.iter().product()])
    }

    /// The `weight` of a layer with these fans.
    pub fn weight<const D: usize>(
        &self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
        how: Weights,
    ) -> Param<Tensor<D>> {
        let here = self.child("weight");
        match how {
            Weights::Torch => here.uniform(shape, (fan_in as f64).powf(-0.5)),
            Weights::Xavier => here.uniform(shape, (6.0 / (fan_in + fan_out) as f64).sqrt()),
            Weights::Normal(std) => here.normal(shape, std),
            Weights::Zero => here.constant(shape, 0.0),
        }
    }

    /// The `bias` of a layer with this fan-in.
    pub fn bias(&self, len: usize, fan_in: usize, how: Weights) -> Param<Tensor<1>> {
        let here = self.child("bias");
        match how {
            Weights::Torch => here.uniform([len], (fan_in as f64).powf(-0.5)),
            Weights::Xavier | Weights::Normal(_) | Weights::Zero => here.constant([len], 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
        param.val().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_tensor_depends_on_seed_and_name_alone() {
        let device = Device::flex();
        let init = Init::new(3, &device);
        let a = values(&init.child("a").normal([4], 1.0));
        let _ = init.child("b").normal([9], 1.0);
        assert_eq!(a, values(&Init::new(3, &device).child("a").normal([4], 1.0)));
        assert_ne!(a, values(&init.child("b").normal([4], 1.0)));
        assert_ne!(a, values(&Init::new(4, &device).child("a").normal([4], 1.0)));
        // "a.bc" and "ab.c" are different places.
        assert_ne!(init.child("a").child("bc").id(), init.child("ab").child("c").id());
    }

    #[test]
    fn torch_and_xavier_bounds() {
        let init = Init::new(0, &Device::flex());
        let largest = |how| values(&init.weight([64, 16], 16, 64, how)).into_iter().fold(0.0f32, |m, v| m.max(v.abs()));
        // 1024 uniform draws come within 2 % of their bound with probability 1 - 1e-9.
        for (how, bound) in [(Weights::Torch, 0.25), (Weights::Xavier, (6.0f32 / 80.0).sqrt())] {
            let found = largest(how);
            assert!(found <= bound && found > 0.98 * bound, "{how:?}: {found} against {bound}");
        }
        assert_eq!(largest(Weights::Zero), 0.0);
    }
}
