//! Configuration of the three streams: ranges, sizes it accepts, and its cost.

use super::{Fuse, PLANES, Triflow};
use crate::NetsError;
use crate::condition::TIME_FEATURES;
use crate::condition::{ConditionConfig, Conditioner};
use crate::cost::{Cost, Tally};
use crate::init::Init;
use crate::net::positive;
use base::Device;
use serde::{Deserialize, Serialize};

/// Text tokens of a sample that costs are counted with: what `text.length` is where a recipe does not say.
const TEXT: usize = 16;

/// Configuration of a [`Triflow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriflowConfig {
    /// Side of the square of a plane's pixels that becomes one token.
    pub patch: usize,
    /// Features of a token; a multiple of 4 and of `heads`.
    pub width: usize,
    /// Heads.
    pub heads: usize,
    /// Latent tokens, which alone attend to one another.
    pub latents: usize,
    /// Stages in which latents and text keep weights of their own; one in the paper.
    pub joint: usize,
    /// Stages after them, in which they are one stream; two in the paper.
    pub stages: usize,
    /// Blocks of a stage between reading and writing; three in the paper.
    pub blocks: usize,
    /// Conditioning; `tokens` is the width of a text token, 0 where there is no text.
    pub condition: ConditionConfig,
}

impl Default for TriflowConfig {
    fn default() -> Self {
        let condition = ConditionConfig::default();
        Self { patch: 2, width: 128, heads: 4, latents: 64, joint: 1, stages: 2, blocks: 3, condition }
    }
}

impl TriflowConfig {
    /// Ranges, apart from what depends on the planes.
    ///
    /// # Errors
    /// Names the key that is out of range.
    pub fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("patch", self.patch),
            ("width", self.width),
            ("heads", self.heads),
            ("latents", self.latents),
            ("blocks", self.blocks),
        ] {
            positive(&format!("triflow.{name}"), value)?;
        }
        let wrong = |what: String| Err(NetsError::config(what));
        if !self.width.is_multiple_of(self.heads) || !self.width.is_multiple_of(4) {
            let (width, heads) = (self.width, self.heads);
            return wrong(format!(
                "triflow.width is {width}; it must be a multiple of 4 and of triflow.heads ({heads})"
            ));
        }
        let stages = self.joint.saturating_add(self.stages);
        if !(1..=1 << 10).contains(&stages) {
            return wrong(format!("triflow.joint and triflow.stages are {stages} together; use 1 to 1024"));
        }
        self.condition.check_without_map("triflow")
    }

    /// Rows and columns of a plane's tokens for planes `[3 c h w]`, or why there are none.
    fn grid(&self, [planes, c, h, w]: [usize; 4]) -> Result<[usize; 2], NetsError> {
        self.check()?;
        positive("the number of channels", c)?;
        let p = self.patch;
        if planes != PLANES {
            return Err(NetsError::config(format!("{planes} planes; a triflow moves three, [3 c h w]")));
        }
        if h == 0 || w == 0 || !h.is_multiple_of(p) || !w.is_multiple_of(p) {
            let what = format!(
                "planes of {h}x{w} do not divide into squares of triflow.patch = {p}; choose a patch that divides both"
            );
            return Err(NetsError::config(what));
        }
        Ok([h / p, w / p])
    }

    /// The network for planes `[3 c h w]` with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If a value is out of range or the planes do not divide.
    pub fn init(&self, seed: u64, shape: [usize; 4], classes: usize, device: &Device) -> Result<Triflow, NetsError> {
        self.build(&Init::new(seed, device), shape, classes)
    }

    pub(crate) fn build(&self, init: &Init, shape: [usize; 4], classes: usize) -> Result<Triflow, NetsError> {
        self.grid(shape)?;
        Ok(Triflow::new(self, init, shape[1], classes))
    }

    /// Cost for planes `[3 c h w]`, with captions of 16 tokens where it reads text.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn cost(&self, shape: [usize; 4], classes: usize) -> Result<Cost, NetsError> {
        let [rows, columns] = self.grid(shape)?;
        let (n, d, heads) = (PLANES * rows * columns, self.width, self.heads);
        let pixels = shape[1] * self.patch * self.patch;
        let text = 1 + if self.condition.tokens > 0 { TEXT } else { 0 };
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, TIME_FEATURES, d, classes);
        tally.kept(d); // the activated embedding
        tally.linear(n, pixels, d, true);
        tally.table(PLANES + self.latents, d);
        tally.linear(1, d, d, true);
        if self.condition.tokens > 0 {
            tally.linear(TEXT, self.condition.tokens, d, true);
        }
        for _ in 0..self.joint {
            Fuse::tally(&mut tally, d, heads, self.latents, n);
            for _ in 0..self.blocks {
                joint(&mut tally, d, heads, [self.latents, text]);
            }
            Fuse::tally(&mut tally, d, heads, n, self.latents);
        }
        let both = self.latents + text;
        for _ in 0..self.stages {
            Fuse::tally(&mut tally, d, heads, both, n);
            (0..self.blocks).for_each(|_| Fuse::tally(&mut tally, d, heads, both, both));
            Fuse::tally(&mut tally, d, heads, n, both);
        }
        tally.linear(1, d, 2 * d, true);
        tally.kept(n * d);
        tally.linear(n, d, pixels, true);
        Ok(tally.cost())
    }
}

/// A joint block over two streams of so many tokens.
fn joint(tally: &mut Tally, d: usize, heads: usize, streams: [usize; 2]) {
    let all: usize = streams.iter().sum();
    for n in streams {
        tally.linear(1, d, 6 * d, true);
        tally.kept(n * d); // first normalisation
        (0..4).for_each(|_| tally.linear(n, d, d, true)); // queries, keys, values, and back
        tally.table(2, d / heads);
        tally.kept(2 * n * d);
        tally.kept(2 * n * d); // gated sum, second normalisation
        tally.linear(n, d, 4 * d, true);
        tally.kept(n * 4 * d);
        tally.linear(n, 4 * d, d, true);
        tally.kept(n * d); // gated sum
    }
    tally.kept(3 * all * d); // joined queries, keys and values
    tally.attention(heads, all, all, d);
}
