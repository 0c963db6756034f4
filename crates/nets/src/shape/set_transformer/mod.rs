//! The flow's network over sets of latent vectors: TripoSG (arXiv:2502.06608, sec. 3.1).
//!
//! Unlike a DiT it has no modulation: the time, with the class, is a token put before the others and dropped at the end. What the
//! blocks of the first half say is joined to what the second half hears, last to first, through `LN(Linear([skip, x]))` (the paper's
//! formula adds; its release joins, skip first and norm last, and so does this). Tokens have no positions, so any number will do.

mod block;
mod config;

pub use block::{Join, SetBlock, Voice};
pub use config::SetTransformerConfig;

use super::blocks::{Cross, LayerNorm};
use super::eye::Eye;
use crate::condition::Conditioner;
use crate::layers::Linear;
use base::{Condition, Pass, Tensor, Tokens};
use burn::module::Module;

/// TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models.
pub const TRIPOSG: base::Paper = base::Paper::arxiv(
    "li2025triposg",
    "Li, Yangguang and Zou, Zi-Xin and Liu, Zexiang and others",
    "TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models",
    (2025, "2502.06608"),
    "arXiv",
);

/// The network of [`SetTransformerConfig`].
#[derive(Module, Debug)]
pub struct SetTransformer {
    /// Time, class and vector to the first token.
    pub conditioner: Conditioner,
    eye: Option<Eye>,
    input: Linear,
    blocks: Vec<SetBlock>,
    norm: LayerNorm,
    output: Linear,
    balance: f64,
}

impl SetTransformer {
    /// What the network says of the set `x` `[b m channels]` at times `t` `[b]`: the same shape, 0 before training. Experts leave how
    /// unevenly they were chosen as a term of a training pass.
    pub fn forward(&self, x: Tensor<3>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<3> {
        let [b, m, _] = x.dims();
        let first = self.conditioner.forward(t, condition).unsqueeze_dim::<3>(1); // [b 1 d]
        let mut h = Tensor::cat(vec![first, self.input.forward(x)], 1); // [b 1+m d]
        // Nothing said is one token that nobody hears, so that no caption and the null that guidance asks about are the same.
        let silent = |cross: &Cross| Tokens {
            embedding: Tensor::zeros([b, 1, cross.kv.weight.val().dims()[1]], &h.device()),
            mask: Tensor::<2>::zeros([b, 1], &h.device()).greater_elem(0.5),
        };
        let reader = self.blocks.iter().find_map(|block| block.cross.as_ref());
        let said = condition
            .tokens
            .as_ref()
            .map(|said| self.eye.as_ref().map_or_else(|| said.clone(), |eye| eye.forward(said)));
        let tokens = said.or_else(|| reader.map(silent));
        let half = self.blocks.len() / 2;
        let mut skips = Vec::new();
        let terms = pass.terms().filter(|_| self.balance > 0.0);
        let mut balance = terms.map(|_| Vec::new());
        for (i, block) in self.blocks.iter().enumerate() {
            let skip = if i > half { skips.pop() } else { None };
            h = block.forward(h, skip, tokens.as_ref(), balance.as_mut());
            if i < half {
                skips.push(h.clone());
            }
        }
        let uneven = balance.unwrap_or_default().into_iter().reduce(|sum, block| sum + block);
        if let (Some(terms), Some(uneven)) = (terms, uneven) {
            terms.add(uneven * self.balance);
        }
        self.output.forward(self.norm.forward(h).narrow(1, 1, m))
    }
}

#[cfg(test)]
mod tests {
    use super::super::eye::EyeConfig;
    use super::*;
    use crate::condition::ConditionConfig;
    use crate::init::{Init, Weights};
    use base::{Device, Key, Purpose};

    fn noise(fold: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
        let rows: Vec<u64> = (0..shape[0] as u64).collect();
        Key::new(2, Purpose::Noise).fold(fold).normal_tensor(&rows, shape, device)
    }

    fn values(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// A network whose last layer is not zero, so that there is something to see.
    fn network(config: &SetTransformerConfig, device: &Device) -> SetTransformer {
        let mut net = config.init(5, 6, 3, device).unwrap();
        net.output = Linear::new(&Init::new(9, device).child("output"), config.width, 6, Weights::Xavier);
        net
    }

    fn small() -> SetTransformerConfig {
        SetTransformerConfig { width: 32, heads: 4, depth: 5, ..SetTransformerConfig::default() }
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_set_goes_in_and_comes_out_in_its_order_at_any_size() {
        let device = Device::flex();
        let net = network(&small(), &device);
        let t = Tensor::<1>::from_floats([0.2, 0.7], &device);
        let condition = Condition::classes(&[1, 2], &device);
        for tokens in [4, 11] {
            let x = noise(0, [2, tokens, 6], &device);
            let plain = values(net.forward(x.clone(), t.clone(), &condition, &Pass::Infer));
            assert_eq!(plain.len(), 2 * tokens * 6);
            let turned = values(net.forward(x.flip([1]), t.clone(), &condition, &Pass::Infer).flip([1]));
            assert!(apart(&plain, &turned) < 1e-5);
        }
        let fresh = small().init(5, 6, 3, &device).unwrap();
        assert!(
            values(fresh.forward(noise(0, [2, 4, 6], &device), t, &condition, &Pass::Infer)).iter().all(|&v| v == 0.0)
        );
    }

    #[test]
    fn time_class_and_tokens_are_heard() {
        let device = Device::flex();
        let condition = ConditionConfig { tokens: 7, ..ConditionConfig::default() };
        let net = network(&SetTransformerConfig { condition, ..small() }, &device);
        let x = noise(0, [1, 5, 6], &device);
        let tokens = |fold: u64, real: i32| Tokens {
            embedding: noise(fold, [1, 3, 7], &device),
            mask: Tensor::<2, base::Int>::from_ints([[real, real, 0]], &device).bool(),
        };
        let at = |time: f32, class: i64, tokens: Option<Tokens>| {
            let condition = Condition { tokens, ..Condition::classes(&[class], &device) };
            values(net.forward(x.clone(), Tensor::from_floats([time], &device), &condition, &Pass::Infer))
        };
        let plain = at(0.3, 1, None);
        assert!(apart(&plain, &at(0.6, 1, None)) > 1e-3);
        assert!(apart(&plain, &at(0.3, 2, None)) > 1e-3);
        assert!(apart(&plain, &at(0.3, 1, Some(tokens(1, 1)))) > 1e-3);
        assert!(apart(&at(0.3, 1, Some(tokens(1, 1))), &at(0.3, 1, Some(tokens(2, 1)))) > 1e-3);
        // Masked tokens are not heard, whatever they say.
        assert_eq!(at(0.3, 1, Some(tokens(1, 0))), at(0.3, 1, Some(tokens(2, 0))));
    }

    /// A picture is heard by what is in it and where; its null is no picture. Mutants: patches without their places; the mask left
    /// at the eye's door.
    #[test]
    fn pictures_are_seen_patch_by_patch() {
        let device = Device::flex();
        let condition = ConditionConfig { tokens: 6, ..ConditionConfig::default() };
        let config = SetTransformerConfig { eye: Some(EyeConfig { depth: 1 }), condition, ..small() };
        let net = network(&config, &device);
        let x = noise(0, [1, 5, 6], &device);
        let patches = |embedding: Tensor<3>, seen: bool| Tokens {
            mask: Tensor::<2>::full([1, embedding.dims()[1]], f32::from(u8::from(seen)), &device).greater_elem(0.5),
            embedding,
        };
        let at = |tokens: Option<Tokens>| {
            let condition = Condition { tokens, ..Condition::classes(&[1], &device) };
            values(net.forward(x.clone(), Tensor::from_floats([0.4], &device), &condition, &Pass::Infer))
        };
        let picture = noise(3, [1, 4, 6], &device);
        let seen = at(Some(patches(picture.clone(), true)));
        assert!(apart(&seen, &at(Some(patches(noise(4, [1, 4, 6], &device), true)))) > 1e-3);
        assert!(apart(&seen, &at(Some(patches(picture.clone().flip([1]), true)))) > 1e-3, "places");
        let none = at(None);
        assert!(apart(&seen, &none) > 1e-3);
        assert_eq!(none, at(Some(patches(picture, false))));
    }

    #[test]
    fn skips_join_the_last_of_the_first_half_to_the_first_of_the_second() {
        let device = Device::flex();
        let mut net = network(&small(), &device);
        let x = noise(0, [1, 4, 6], &device);
        let condition = Condition::classes(&[0], &device);
        let t = Tensor::<1>::from_floats([0.5], &device);
        // By hand, from the blocks themselves: 0, 1 | 2 | 3 hears 1, 4 hears 0.
        let first = net.conditioner.forward(t.clone(), &condition).unsqueeze_dim::<3>(1);
        let mut h = vec![Tensor::cat(vec![first, net.input.forward(x.clone())], 1)];
        for (i, skip) in [(0, None), (1, None), (2, None), (3, Some(2)), (4, Some(1))] {
            let skip: Option<Tensor<3>> = skip.map(|at: usize| h[at].clone());
            h.push(net.blocks[i].forward(h[i].clone(), skip, None, None));
        }
        let by_hand = values(net.output.forward(net.norm.forward(h[5].clone()).narrow(1, 1, 4)));
        let whole = values(net.forward(x.clone(), t.clone(), &condition, &Pass::Infer));
        assert_eq!(whole, by_hand);
        // The skip comes first: silence the half of the linear map that hears it, and block 1 still reaches block 3 through 2 alone.
        let join = net.blocks[3].join.as_mut().unwrap();
        let weight = join.linear.weight.val();
        let silent = Tensor::cat(vec![weight.clone().narrow(1, 0, 32) * 0.0, weight.narrow(1, 32, 32)], 1);
        join.linear.weight = burn::module::Param::from_tensor(silent);
        let heard = |net: &SetTransformer, skip: u64| {
            values(net.blocks[3].forward(h[3].clone(), Some(noise(skip, [1, 5, 32], &device)), None, None))
        };
        assert_eq!(heard(&net, 7), heard(&net, 8));
    }

    #[test]
    fn parameters_are_counted_and_nonsense_is_refused() {
        let device = Device::flex();
        for skip in [true, false] {
            for tokens in [0, 7] {
                let condition = ConditionConfig { tokens, ..ConditionConfig::default() };
                let config = SetTransformerConfig { skip, condition, ..small() };
                let net = config.init(0, 6, 3, &device).unwrap();
                assert_eq!(config.cost(10, 6, 3).unwrap().parameters, net.num_params(), "skip {skip}, tokens {tokens}");
            }
        }
        let condition = ConditionConfig { tokens: 7, ..ConditionConfig::default() };
        let seeing = SetTransformerConfig { eye: Some(EyeConfig { depth: 2 }), condition, ..small() };
        let net = seeing.init(0, 6, 3, &device).unwrap();
        assert_eq!(seeing.cost(10, 6, 3).unwrap().parameters, net.num_params());
        for (config, key) in [
            (SetTransformerConfig { depth: 4, ..small() }, "depth"),
            (SetTransformerConfig { heads: 5, ..small() }, "width"),
            (SetTransformerConfig { width: 0, ..small() }, "width"),
            (SetTransformerConfig { eye: Some(EyeConfig::default()), ..small() }, "condition.tokens"),
        ] {
            assert!(config.init(0, 6, 3, &device).unwrap_err().to_string().contains(key));
        }
    }
}
