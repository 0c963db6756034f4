//! Low-rank adaptation: a network whose weights stay, with a trained correction of small rank beside each matrix.
//!
//! Hu et al., arXiv 2106.09685: `W + (1/r) B A` for every linear map and convolution (a kernel counts as one matrix of
//! `out` rows), `A` as PyTorch initialises a layer, `B` zero, so that training starts at the network itself. The scale is the
//! one of BOSS (arXiv 2312.16414, released code): `1/r`. Biases, gains and class rows stay.

use crate::init::{Init, Weights};
use crate::weights::{ParamVisit, TapeMap, map_on_tape, visit_named};
use crate::{Net, NetsError};
use base::{Condition, Device, Network, Pass, Tensor};
use burn::module::{Module, Param};
use serde::{Deserialize, Serialize};

/// Settings of an adaptation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of every correction, in 1..=1024; 4 in BOSS.
    pub rank: usize,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 4 }
    }
}

impl LoraConfig {
    /// Ranges.
    ///
    /// # Errors
    /// Names the key and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        if (1..=1024).contains(&self.rank) {
            return Ok(());
        }
        Err(NetsError::config(format!("lora.rank is {}; it must be in 1..=1024, 4 is customary", self.rank)))
    }

    /// `base` with corrections that are zero so far.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn init(&self, base: Net, seed: u64, device: &Device) -> Result<Lora, NetsError> {
        self.check()?;
        struct Shapes(Vec<(String, usize, usize)>);
        impl ParamVisit for Shapes {
            fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
                if is_matrix::<D>(name) {
                    let dims = tensor.dims();
                    self.0.push((name.to_owned(), dims[0], dims[1..].iter().product()));
                }
            }
        }
        let mut shapes = Shapes(Vec::new());
        visit_named(&base, &mut shapes);
        let init = Init::new(seed, device).child("lora");
        let factor = |(name, output, input): (String, usize, usize)| {
            let init = init.child(name);
            Factor {
                a: init.child("a").weight([self.rank, input], input, self.rank, Weights::Torch),
                b: init.child("b").weight([output, self.rank], self.rank, output, Weights::Zero),
            }
        };
        Ok(Lora { base, factors: shapes.0.into_iter().map(factor).collect() })
    }
}

/// Matrices and kernels of layers, but no table of rows.
fn is_matrix<const D: usize>(name: &str) -> bool {
    (D == 2 || D == 4) && name.ends_with("weight") && !name.ends_with("class_embedding.weight")
}

/// One correction, `B A`.
#[derive(Module, Debug)]
pub struct Factor {
    /// `[r, in]`.
    pub a: Param<Tensor<2>>,
    /// `[out, r]`.
    pub b: Param<Tensor<2>>,
}

/// A network with corrections.
#[derive(Module, Debug)]
pub struct Lora {
    /// The network, which is not trained.
    pub base: Net,
    /// One for each matrix, in the network's order.
    pub factors: Vec<Factor>,
}

impl Lora {
    /// The network with its corrections added in, like any other.
    pub fn merged(&self) -> Net {
        struct Add<'a>(std::slice::Iter<'a, Factor>);
        impl TapeMap for Add<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                // Off the tape: no gradient reaches the network's own weights.
                let own = tensor.detach();
                match self.0.as_slice() {
                    [factor, ..] if is_matrix::<D>(name) => {
                        self.0.next();
                        let (a, b) = (factor.a.val(), factor.b.val());
                        let rank = a.dims()[0] as f64;
                        let dims = own.dims();
                        own + (b.matmul(a) / rank).reshape(dims)
                    }
                    _ => own,
                }
            }
        }
        map_on_tape(self.base.clone(), &mut Add(self.factors.iter()))
    }
}

impl Network<2> for Lora {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        self.merged().predict(x, t, condition, pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MlpConfig, NetConfig, UnetConfig, weights::named_tensors};

    fn answer(net: &dyn Network<2>, device: &Device) -> Vec<f32> {
        let x = Tensor::<2>::ones([2, 16], device) * 0.3;
        let t = Tensor::<1>::from_floats([0.2, 0.7], device);
        net.predict(x, t, &Condition::none(), &Pass::Infer).inner().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn it_starts_at_the_network_and_only_the_corrections_learn() {
        let device = Device::flex();
        let unet = UnetConfig { channels: 8, multipliers: vec![1], groups: 4, ..UnetConfig::default() };
        for config in [NetConfig::Unet(unet), NetConfig::Mlp(MlpConfig { width: 16, ..MlpConfig::default() })] {
            let net = config.init(1, [1, 4, 4], 3, &device).unwrap();
            let lora = LoraConfig { rank: 2 }.init(net.clone(), 5, &device).unwrap();
            assert_eq!(answer(&lora, &device), answer(&net, &device));
            let lora = lora.train();
            let x = Tensor::<2>::ones([2, 16], &device.clone().autodiff());
            let t = Tensor::<1>::from_floats([0.2, 0.7], &device.clone().autodiff());
            let loss = lora.predict(x, t, &Condition::none(), &Pass::Infer).square().mean();
            let gradients = loss.backward();
            // B is zero, so A learns nothing yet and B does; the network itself never does.
            assert!(lora.factors.iter().any(|f| f.b.val().grad(&gradients).is_some()));
            struct None<'a>(&'a burn::tensor::Gradients);
            impl ParamVisit for None<'_> {
                fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
                    assert!(tensor.grad(self.0).is_none(), "{name} has a gradient");
                }
            }
            visit_named(&lora.base, &mut None(&gradients));
        }
    }

    #[test]
    fn merging_adds_the_product_over_the_rank() {
        let device = Device::flex();
        let net = NetConfig::Mlp(MlpConfig { width: 4, depth: 1, ..MlpConfig::default() });
        let net = net.init(1, [2], 0, &device).unwrap();
        let mut lora = LoraConfig { rank: 2 }.init(net.clone(), 5, &device).unwrap();
        for factor in &mut lora.factors {
            factor.b = Param::from_tensor(factor.b.val() + 1.0);
        }
        let (before, after) = (named_tensors(&net), named_tensors(&lora.merged()));
        let factors = named_tensors(&lora);
        let a = |i: usize| factors.iter().find(|(name, _, _)| *name == format!("factors.{i}.a")).unwrap().2.clone();
        let mut matrix = 0;
        for ((name, shape, old), (_, _, new)) in before.iter().zip(&after) {
            if shape.len() != 2 {
                assert_eq!(old, new, "{name}");
                continue;
            }
            let (a, columns) = (a(matrix), shape[1]);
            matrix += 1;
            for (i, (old, new)) in old.iter().zip(new).enumerate() {
                let wanted = old + 0.5 * (a[i % columns] + a[columns + i % columns]);
                assert!((new - wanted).abs() < 1e-6, "{name} {i}: {new} {wanted}");
            }
        }
        assert_eq!(matrix, lora.factors.len());
        assert!(LoraConfig { rank: 0 }.check().is_err());
    }
}
