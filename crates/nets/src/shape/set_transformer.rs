//! The flow's network over sets of latent vectors: TripoSG (arXiv:2502.06608, sec. 3.1).
//!
//! Unlike a DiT it has no modulation: the time, with the class, is a token put before the others and dropped at the end. What the
//! blocks of the first half say is joined to what the second half hears, last to first, through `LN(Linear([skip, x]))` (the paper's
//! formula adds; its release joins, skip first and norm last, and so does this). Tokens have no positions, so any number will do.

use super::blocks::{Cross, LayerNorm, Within, perceptron, through};
use super::experts::{self, Experts, ExpertsConfig};
use super::eye::{Eye, EyeConfig};
use crate::condition::{ConditionConfig, Conditioner, TIME_FEATURES};
use crate::cost::{Cost, Tally};
use crate::init::{Init, Weights};
use crate::layers::FeedForward;
use crate::layers::Linear;
use crate::{NetsError, net::positive};
use base::{Condition, Device, Pass, Tensor, Tokens};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models.
pub const TRIPOSG: base::Paper = base::Paper::arxiv(
    "li2025triposg",
    "Li, Yangguang and Zou, Zi-Xin and Liu, Zexiang and others",
    "TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models",
    (2025, "2502.06608"),
    "arXiv",
);

/// Configuration of a [`SetTransformer`]. The release is 2048 wide in 16 heads, has 21 blocks and attends to 1024 numbers a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetTransformerConfig {
    /// Features of a token.
    pub width: usize,
    /// Heads; must divide the width.
    pub heads: usize,
    /// Blocks, an odd number: as many before the middle one as after it.
    pub depth: usize,
    /// Whether the first half is joined to the second.
    pub skip: bool,
    /// What reads a picture's patches before the blocks attend to them; without it they attend to tokens as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eye: Option<EyeConfig>,
    /// Experts in place of the perceptrons of the last blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertsConfig>,
    /// Conditioning; `tokens` is the width of what every block attends to, with an eye the numbers of a patch.
    pub condition: ConditionConfig,
}

impl Default for SetTransformerConfig {
    fn default() -> Self {
        let condition = ConditionConfig::default();
        Self { width: 128, heads: 4, depth: 7, skip: true, eye: None, experts: None, condition }
    }
}

impl SetTransformerConfig {
    /// Ranges: sizes positive, heads divide the width, depth odd.
    ///
    /// # Errors
    /// Names the key that is out of range.
    pub fn check(&self) -> Result<(), NetsError> {
        positive("set_transformer.width", self.width)?;
        positive("set_transformer.heads", self.heads)?;
        let Self { width, heads, depth, .. } = self;
        if !width.is_multiple_of(*heads) {
            let what = format!("set_transformer.width is {width}; it must be a multiple of heads, {heads}");
            return Err(NetsError::config(what));
        }
        if depth.is_multiple_of(2) || *depth > 1 << 10 {
            let what = format!(
                "set_transformer.depth is {depth}; use an odd number, a middle block and as many on either side"
            );
            return Err(NetsError::config(what));
        }
        if let Some(eye) = &self.eye {
            eye.check(self.condition.tokens)?;
        }
        if let Some(experts) = &self.experts {
            experts.check(depth / 2)?;
        }
        self.condition.check()
    }

    /// Numbers of a token that the blocks attend to; 0 for none.
    fn heard(&self) -> usize {
        if self.eye.is_some() { self.width } else { self.condition.tokens }
    }

    /// The experts of block `i`, where it has some.
    fn experts(&self, i: usize) -> Option<&ExpertsConfig> {
        self.experts.as_ref().filter(|experts| i + experts.blocks >= self.depth)
    }

    /// Of the parameter `name` of this network, the one that it begins as in a network of `theirs`, and the factor: they are the same but
    /// for experts here where there is a perceptron there. `None` where `theirs` is another network.
    pub(crate) fn begins_as(&self, theirs: &Self) -> Option<impl Fn(&str) -> (String, f32) + use<>> {
        let same = |config: &Self| Self { experts: None, ..config.clone() };
        let balanced = |config: &Self| config.experts.clone().map(|experts| ExpertsConfig { balance: 0.0, ..experts });
        let grown = theirs.experts.is_none();
        if same(self) != same(theirs) || !grown && balanced(self) != balanced(theirs) {
            return None;
        }
        let experts = self.experts.clone().filter(|_| grown);
        Some(move |name: &str| match &experts {
            Some(experts) => experts::begins_as(experts, name),
            None => (name.to_owned(), 1.0),
        })
    }

    /// Cost for `tokens` vectors of `channels` numbers.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn cost(&self, tokens: usize, channels: usize, classes: usize) -> Result<Cost, NetsError> {
        self.check()?;
        let (d, n) = (self.width, tokens + 1);
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, TIME_FEATURES, d, classes);
        let norm = |tally: &mut Tally| {
            tally.table(2, d);
            tally.kept(n * d);
        };
        tally.linear(tokens, channels, d, true);
        if let Some(eye) = &self.eye {
            eye.tally(&mut tally, [n, self.condition.tokens, d], self.heads);
        }
        for i in 0..self.depth {
            tally.block(n * d, |tally| {
                if self.skip && i > self.depth / 2 {
                    tally.kept(n * 2 * d);
                    tally.linear(n, 2 * d, d, true);
                    norm(tally);
                }
                norm(tally);
                tally.linear(n, d, 3 * d, false);
                tally.table(2, d / self.heads);
                tally.kept(2 * n * d);
                tally.attention(self.heads, n, n, d);
                tally.linear(n, d, d, true);
                if self.condition.tokens > 0 {
                    // Counted for as many condition tokens as there are latent ones.
                    norm(tally);
                    tally.linear(n, d, d, false);
                    tally.linear(n, self.heard(), 2 * d, false);
                    tally.table(2, d / self.heads);
                    tally.attention(self.heads, n, n, d);
                    tally.linear(n, d, d, true);
                }
                norm(tally);
                match self.experts(i) {
                    Some(experts) => experts.tally(tally, n, d),
                    None => experts::dense(tally, n, d),
                }
            });
        }
        norm(&mut tally);
        tally.linear(tokens, d, channels, true);
        Ok(tally.cost())
    }

    /// The network for tokens of `channels` numbers with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If [`check`](Self::check) fails or `channels` is 0.
    pub fn init(
        &self,
        seed: u64,
        channels: usize,
        classes: usize,
        device: &Device,
    ) -> Result<SetTransformer, NetsError> {
        self.build(&Init::new(seed, device), channels, classes)
    }

    pub(crate) fn build(&self, init: &Init, channels: usize, classes: usize) -> Result<SetTransformer, NetsError> {
        self.check()?;
        positive("the number of channels", channels)?;
        let (d, half) = (self.width, self.depth / 2);
        let eye = |eye: &EyeConfig| Eye::new(&init.child("eye"), eye, [self.condition.tokens, d], self.heads);
        let block =
            |i: usize| SetBlock::new(&init.child("blocks").child(i), self, self.skip && i > half, self.experts(i));
        Ok(SetTransformer {
            conditioner: Conditioner::new(init, &self.condition, TIME_FEATURES, d, classes, Weights::Normal(0.02)),
            eye: self.eye.as_ref().map(eye),
            input: Linear::new(&init.child("input"), channels, d, Weights::Xavier),
            blocks: (0..self.depth).map(block).collect(),
            norm: LayerNorm::new(&init.child("norm"), d),
            output: Linear::new(&init.child("output"), d, channels, Weights::Zero),
            balance: self.experts.as_ref().map_or(0.0, |experts| experts.balance),
        })
    }
}

/// What joins a skip to a block's input.
#[derive(Module, Debug)]
pub struct Join {
    linear: Linear,
    norm: LayerNorm,
}

/// What a block adds last.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // a few to a network
pub enum Voice {
    /// One perceptron for all tokens.
    Dense(FeedForward),
    /// Several, and who chooses among them.
    Experts(Experts),
}

/// Self-attention, attention to the condition's tokens, perceptron.
#[derive(Module, Debug)]
pub struct SetBlock {
    join: Option<Join>,
    norm1: LayerNorm,
    attn: Within,
    norm_cross: Option<LayerNorm>,
    cross: Option<Cross>,
    norm2: LayerNorm,
    ff: Voice,
}

impl SetBlock {
    fn new(init: &Init, config: &SetTransformerConfig, joined: bool, experts: Option<&ExpertsConfig>) -> Self {
        let (d, heads, tokens) = (config.width, config.heads, config.heard());
        let norm = |name: &str| LayerNorm::new(&init.child(name), d);
        Self {
            join: joined.then(|| Join {
                linear: Linear::new(&init.child("join"), 2 * d, d, Weights::Xavier),
                norm: norm("join_norm"),
            }),
            norm1: norm("norm1"),
            attn: Within::new(&init.child("attn"), d, heads, true),
            norm_cross: (tokens > 0).then(|| norm("norm_cross")),
            cross: (tokens > 0).then(|| Cross::new(&init.child("cross"), d, tokens, heads, true)),
            norm2: norm("norm2"),
            ff: match experts {
                None => Voice::Dense(perceptron(&init.child("ff"), d)),
                Some(experts) => Voice::Experts(Experts::new(&init.child("ff"), experts, d)),
            },
        }
    }

    /// What the block makes of `x`; how uneven its experts were chosen goes to `balance`, where that is asked.
    fn forward(
        &self,
        x: Tensor<3>,
        skip: Option<Tensor<3>>,
        tokens: Option<&Tokens>,
        balance: Option<&mut Vec<Tensor<1>>>,
    ) -> Tensor<3> {
        let mut x = x;
        if let (Some(join), Some(skip)) = (&self.join, skip) {
            x = join.norm.forward(join.linear.forward(Tensor::cat(vec![skip, x], 2)));
        }
        x = x.clone() + self.attn.forward(self.norm1.forward(x));
        if let (Some(norm), Some(cross), Some(tokens)) = (&self.norm_cross, &self.cross, tokens) {
            x = x.clone() + cross.forward(norm.forward(x), tokens.embedding.clone(), Some(tokens.mask.clone()));
        }
        match &self.ff {
            Voice::Dense(ff) => through(ff, &self.norm2, x),
            Voice::Experts(experts) => {
                let (said, uneven) = experts.forward(self.norm2.forward(x.clone()), balance.is_some());
                if let Some(balance) = balance {
                    balance.extend(uneven);
                }
                x + said
            }
        }
    }
}

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
    use super::*;
    use base::{Key, Purpose};

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
