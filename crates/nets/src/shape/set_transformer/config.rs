//! What a set transformer is made of, what it costs, and what it may begin as.

use super::{LayerNorm, SetBlock, SetTransformer};
use crate::condition::{ConditionConfig, Conditioner, TIME_FEATURES};
use crate::cost::{Cost, Tally};
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::shape::experts::{self, ExpertsConfig};
use crate::shape::eye::{Eye, EyeConfig};
use crate::{NetsError, net::positive};
use base::Device;
use serde::{Deserialize, Serialize};

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
    pub(super) fn heard(&self) -> usize {
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
