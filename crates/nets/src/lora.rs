//! Low-rank adaptation: a network whose weights stay, with a trained correction of small rank inside each layer.
//!
//! Hu et al., arXiv 2106.09685: `y = W x + s B (A x)` for every linear map and every convolution of any rank (a kernel counts as
//! one matrix of `out` rows), `A` as PyTorch initialises a layer, `B` zero, so that training starts at the network itself.
//! `s = alpha / rank`; alpha 1 is the scale of BOSS (arXiv 2312.16414, released code). Biases, gains and class rows stay. The
//! factors live in the layers ([`LowRank`]); this file puts them there, and adds them into the weights at the end.

use crate::init::{Init, Weights};
use crate::layers::LowRank;
use crate::{NetsError, weights};
use base::{Device, Tensor};
use burn::module::{Module, ModuleVisitor, Param, Reparameterizer};
use serde::{Deserialize, Serialize};

/// LoRA: Low-Rank Adaptation of Large Language Models.
pub const LORA: base::Paper = base::Paper::arxiv(
    "hu2021lora",
    "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and Wang, Shean and Wang, Lu and Chen, Weizhu",
    "LoRA: Low-Rank Adaptation of Large Language Models",
    (2021, "2106.09685"),
    "ICLR 2022",
);

/// Settings of an adaptation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of every correction, in 1..=1024; 4 in BOSS.
    pub rank: usize,
    /// How far a correction counts: it is scaled by `alpha / rank`. Twice the rank is customary in alignment.
    pub alpha: f64,
    /// Which layers: parts of their names between dots, `*` for any letters of one: `attn`, `attn.to_q`, `blocks.*.ff`. All without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 1.0, targets: Vec::new() }
    }
}

impl LoraConfig {
    /// Ranges.
    ///
    /// # Errors
    /// Names the key and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        if !(1..=1024).contains(&self.rank) {
            return Err(NetsError::config(format!(
                "lora.rank is {}; it must be in 1..=1024, 4 is customary",
                self.rank
            )));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(NetsError::config(format!("lora.alpha is {}; it must be a positive number", self.alpha)));
        }
        Ok(())
    }

    /// `network` with corrections that are zero so far; they alone learn.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn init<M: Module>(&self, network: M, seed: u64, device: &Device) -> Result<M, NetsError> {
        self.check()?;
        let layers = layers(&network);
        let idle = self.targets.iter().find(|target| !layers.iter().flatten().any(|name| fits(target, name)));
        if let Some(idle) = idle {
            let some: Vec<&str> = layers.iter().flatten().map(|name| name.trim_end_matches(".weight")).collect();
            let (first, last) = (some.first().unwrap_or(&""), some.last().unwrap_or(&""));
            return Err(NetsError::config(format!(
                "lora.targets: no layer of this network is called `{idle}`; its layers are `{first}` to `{last}`"
            )));
        }
        let chosen = |name: String| Some(name).filter(|name| is_target(&self.targets, name));
        let layers = layers.into_iter().map(|name| name.and_then(chosen)).collect();
        let init = Init::new(seed, device).child("lora");
        Ok(network.apply_reparameterization(Attach { rank: self.rank, alpha: self.alpha, init, layers, at: 0 }))
    }
}

/// `network` with its corrections added into its weights, all of which learn again: one like any other.
pub fn merged<M: Module>(network: M) -> M {
    network.materialize().set_require_grad(true)
}

/// Whether the layer whose weight is called `name` is one of `targets`; every one where there is none.
fn is_target(targets: &[String], name: &str) -> bool {
    targets.is_empty() || targets.iter().any(|target| fits(target, name))
}

/// Whether parts of `name` that stand one after another are those of `target`.
fn fits(target: &str, name: &str) -> bool {
    let (wanted, parts): (Vec<&str>, Vec<&str>) = (target.split('.').collect(), name.split('.').collect());
    let same = |(wanted, part): (&&str, &&str)| match wanted.split_once('*') {
        None => wanted == part,
        Some((start, end)) => part.len() >= start.len() + end.len() && part.starts_with(start) && part.ends_with(end),
    };
    parts.windows(wanted.len()).any(|parts| wanted.iter().zip(parts).all(same))
}

/// Numbers that corrections of `targets` (all without) have for each rank, of a network that may be only declared.
pub fn numbers<M: Module>(network: &M, targets: &[String]) -> usize {
    let of = |((_, shape), layer): ((String, Vec<usize>), Option<String>)| {
        let chosen = layer.is_some_and(|name| is_target(targets, &name));
        if chosen { shape[0] + shape[1..].iter().product::<usize>() } else { 0 }
    };
    weights::named_shapes(network).into_iter().zip(layers(network)).map(of).sum()
}

/// The name of every float parameter in order, where it is the weight of a linear map or a convolution.
fn layers<M: Module>(network: &M) -> Vec<Option<String>> {
    struct Layers {
        containers: Vec<String>,
        found: Vec<bool>,
    }
    impl ModuleVisitor for Layers {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.containers.push(format!("{container}.{name}"));
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.containers.pop();
        }

        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            let place = self.containers.last().map_or("", String::as_str);
            let layer = place.starts_with("Struct:Linear.") || place.starts_with("Struct:Conv");
            self.found.push(D >= 2 && layer && place.ends_with(".weight"));
        }
    }
    let mut layers = Layers { containers: Vec::new(), found: Vec::new() };
    network.visit(&mut layers);
    let names = weights::named_shapes(network).into_iter().map(|(name, _)| name);
    names.zip(layers.found).map(|(name, layer)| layer.then_some(name)).collect()
}

/// Freezes every parameter and hangs factors on the weights of layers.
struct Attach {
    rank: usize,
    alpha: f64,
    init: Init,
    layers: Vec<Option<String>>,
    at: usize,
}

impl Reparameterizer for Attach {
    type Reparam = LowRank;

    fn reparameterize<const D: usize>(
        &mut self,
        _: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LowRank>) {
        let name = self.layers.get(self.at).cloned().flatten();
        self.at += 1;
        let dims = param.dims();
        let frozen = param.set_require_grad(false);
        let factors = name.map(|name| {
            let (output, input, rank) = (dims[0], dims[1..].iter().product(), self.rank);
            let init = self.init.child(name);
            LowRank {
                a: init.child("a").weight([rank, input], input, rank, Weights::Torch),
                b: init.child("b").weight([output, rank], rank, output, Weights::Zero),
                scale: self.alpha / rank as f64,
            }
        });
        (frozen, factors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{ParamMap, map_named, named_tensors};
    use crate::{ConditionConfig, DitConfig, JointDitConfig, MlpConfig, Net, NetConfig, UnetConfig};
    use base::{Condition, Network, Pass};

    fn networks() -> Vec<Net> {
        let unet = UnetConfig { channels: 8, multipliers: vec![1, 2], groups: 4, ..UnetConfig::default() };
        let dit = DitConfig { patch: 2, width: 16, depth: 2, heads: 2, ..DitConfig::default() };
        let mlp = MlpConfig { width: 16, ..MlpConfig::default() };
        [NetConfig::Unet(unet), NetConfig::Dit(dit), NetConfig::Mlp(mlp)]
            .iter()
            .map(|config| shaken(config.init(1, [1, 4, 4], 3, &Device::flex()).unwrap(), "", 0.3))
            .collect()
    }

    /// Every parameter whose name ends so moved by numbers of its own, so that nothing is zero by construction.
    fn shaken<M: Module>(network: M, end: &str, by: f64) -> M {
        struct Shake<'a>(&'a str, f64);
        impl ParamMap for Shake<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if !name.ends_with(self.0) {
                    return tensor;
                }
                let noise = Init::new(9, &tensor.device()).child(name).normal(tensor.dims(), self.1);
                tensor + noise.val().inner()
            }
        }
        map_named(network, &mut Shake(end, by))
    }

    fn answer(net: &Net, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..32).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::<2>::from_data(base::TensorData::new(values, [2, 16]), device);
        let t = Tensor::<1>::from_floats([0.2, 0.7], device);
        net.predict(x, t, &Condition::classes(&[1, -1], device), &Pass::Infer)
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.inner().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn it_starts_at_the_network_and_only_the_corrections_learn() {
        let device = Device::flex();
        for net in networks() {
            let lora =
                LoraConfig { rank: 2, alpha: 1.0, ..LoraConfig::default() }.init(net.clone(), 5, &device).unwrap();
            assert_eq!(values(answer(&lora, &device)), values(answer(&net, &device)));
            let lora = lora.train();
            let gradients = answer(&lora, &device.clone().autodiff()).square().mean().backward();
            // B is zero, so A learns nothing yet and every B does; the network's own weights never do.
            struct Seen<'a>(&'a burn::tensor::Gradients, usize);
            impl weights::ParamVisit for Seen<'_> {
                fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
                    let gradient = tensor.grad(self.0);
                    let learns = name.ends_with("lora.a") || name.ends_with("lora.b");
                    assert_eq!(gradient.is_some(), learns, "{name}");
                    if name.ends_with("lora.b") {
                        let largest: f32 = gradient.unwrap().abs().max().into_scalar();
                        assert!(largest > 0.0, "{name}: its gradient is zero");
                        self.1 += 1;
                    }
                }
            }
            let mut seen = Seen(&gradients, 0);
            weights::visit_named(&lora, &mut seen);
            let wanted = layers(&net).iter().flatten().count();
            assert!(seen.1 == wanted && wanted > 4, "{} of {wanted}", seen.1);
        }
    }

    #[test]
    fn what_is_merged_answers_as_the_layers_do() {
        let device = Device::flex();
        for net in networks() {
            let lora =
                LoraConfig { rank: 3, alpha: 2.0, ..LoraConfig::default() }.init(net.clone(), 5, &device).unwrap();
            let lora = shaken(lora, "lora.b", 0.2);
            let (before, apart) = (values(answer(&net, &device)), values(answer(&lora, &device)));
            let whole = merged(lora);
            assert_eq!(weights::named_shapes(&whole), weights::named_shapes(&net));
            let largest = apart.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest > 1e-2, "the correction changes nothing: {largest}");
            for (one, other) in apart.iter().zip(values(answer(&whole, &device))) {
                // Two orders of summation through some ten layers of values of order 1.
                assert!((one - other).abs() < 1e-4 * (1.0 + one.abs()), "{one} {other}");
            }
            // And it learns again, like the network it came from.
            let learning = |net: Net| {
                let net = net.train();
                let gradients = answer(&net, &device.clone().autodiff()).square().mean().backward();
                struct Learns<'a>(&'a burn::tensor::Gradients, usize);
                impl weights::ParamVisit for Learns<'_> {
                    fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
                        self.1 += usize::from(tensor.grad(self.0).is_some());
                    }
                }
                let mut learns = Learns(&gradients, 0);
                weights::visit_named(&net, &mut learns);
                learns.1
            };
            assert_eq!(learning(whole), learning(net));
        }
    }

    #[test]
    fn merging_adds_the_product_times_alpha_over_the_rank() {
        let device = Device::flex();
        let net = NetConfig::Mlp(MlpConfig { width: 4, depth: 1, ..MlpConfig::default() });
        let net = net.init(1, [2], 0, &device).unwrap();
        let lora = LoraConfig { rank: 2, alpha: 3.0, ..LoraConfig::default() }.init(net.clone(), 5, &device).unwrap();
        struct Ones;
        impl ParamMap for Ones {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if name.ends_with("lora.b") { tensor.ones_like() } else { tensor }
            }
        }
        let lora = map_named(lora, &mut Ones);
        let (before, factors, after) = (named_tensors(&net), named_tensors(&lora), named_tensors(&merged(lora)));
        let mut matrices = 0;
        for ((name, shape, old), (_, _, new)) in before.iter().zip(&after) {
            if shape.len() != 2 {
                assert_eq!(old, new, "{name}");
                continue;
            }
            let a = &factors.iter().find(|(factor, _, _)| *factor == format!("{name}.lora.a")).unwrap().2;
            let columns = shape[1];
            matrices += 1;
            for (i, (old, new)) in old.iter().zip(new).enumerate() {
                let wanted = old + 1.5 * (a[i % columns] + a[columns + i % columns]);
                assert!((new - wanted).abs() < 1e-6, "{name} {i}: {new} {wanted}");
            }
        }
        assert_eq!(matrices, layers(&net).iter().flatten().count());
    }

    /// A layer that knows nothing of corrections, with a kernel of rank 5.
    #[derive(Module, Debug)]
    struct Conv3d {
        weight: Param<Tensor<5>>,
    }

    #[test]
    fn a_layer_that_asks_for_none_is_corrected_too() {
        let device = Device::flex();
        let layer = Conv3d { weight: Init::new(1, &device).normal([4, 2, 3, 3, 3], 0.2) };
        let lora = LoraConfig { rank: 2, alpha: 2.0, ..LoraConfig::default() }.init(layer.clone(), 3, &device).unwrap();
        let lora = shaken(lora, "lora.b", 0.3);
        let difference = (lora.weight.val() - layer.weight.val()).abs().max().into_scalar::<f32>();
        assert!(difference > 0.05, "{difference}");
        let lora = lora.train();
        let gradients = lora.weight.val().square().sum().backward();
        let low = lora.weight.reparameterization::<LowRank>().unwrap();
        assert!(lora.weight.base().grad(&gradients).is_none());
        assert!(low.a.val().grad(&gradients).is_some() && low.b.val().grad(&gradients).is_some());
        assert_eq!((low.a.dims(), low.b.dims()), ([2, 54], [4, 2]));
    }

    #[test]
    fn what_corrections_cost_is_known_beforehand() {
        let device = Device::flex();
        let unet = UnetConfig { channels: 8, multipliers: vec![1, 2], groups: 4, ..UnetConfig::default() };
        let condition = ConditionConfig { tokens: 5, ..ConditionConfig::default() };
        for config in [
            NetConfig::Unet(unet),
            NetConfig::Dit(DitConfig::default()),
            NetConfig::Mmdit(JointDitConfig { condition, ..JointDitConfig::default() }),
            NetConfig::Mlp(MlpConfig::default()),
        ] {
            let net = config.init(1, [1, 4, 4], 3, &device).unwrap();
            let before = net.num_params();
            let lora = LoraConfig { rank: 3, alpha: 1.0, ..LoraConfig::default() }.init(net, 5, &device).unwrap();
            assert_eq!(lora.num_params() - before, 3 * config.cost([1, 4, 4], 3).unwrap().adapted, "{}", config.name());
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(LoraConfig { rank: 0, alpha: 1.0, ..LoraConfig::default() }.check().is_err());
        assert!(LoraConfig { rank: 4, alpha: f64::NAN, ..LoraConfig::default() }.check().is_err());
        assert!(LoraConfig::default().check().is_ok());
    }
}
