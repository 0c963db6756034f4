//! Configuration of the transformer: ranges, sizes it accepts, and its cost.

use crate::condition::{ConditionConfig, Conditioner, TIME_FEATURES};
use crate::cost::{Cost, Tally};
use crate::init::Init;
use crate::net::positive;
use crate::patches::Patches;
use crate::{Dit, NetsError};
use base::Device;
use serde::{Deserialize, Serialize};

/// Scalable Diffusion Models with Transformers.
pub const DIT: base::Paper = base::Paper::arxiv(
    "peebles2022scalable",
    "Peebles, William and Xie, Saining",
    "Scalable Diffusion Models with Transformers",
    (2022, "2212.09748"),
    "ICCV 2023",
);

/// How tokens know where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Positions {
    /// A learned vector per place.
    Learned {},
    /// Fixed sinusoids of the row in one half of the features and of the column in the other.
    SinCos {},
}

/// Configuration of a [`Dit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DitConfig {
    /// Side of the square of pixels that becomes one token.
    pub patch: usize,
    /// Features of a token; a multiple of 4 and of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of a block's perceptron as a multiple of `width`.
    pub mlp_ratio: usize,
    /// Whether queries and keys are normalised by root mean square (Esser et al., 2024, sec. 5.3.2).
    pub qk_norm: bool,
    /// How tokens know where they are.
    pub positions: Positions,
    /// Probability with which the outputs of attention and perceptron are dropped in training.
    pub dropout: f64,
    /// Conditioning.
    pub condition: ConditionConfig,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self {
            patch: 4,
            width: 192,
            depth: 6,
            heads: 3,
            mlp_ratio: 4,
            qk_norm: true,
            positions: Positions::SinCos {},
            dropout: 0.0,
            condition: ConditionConfig::default(),
        }
    }
}

impl DitConfig {
    fn patches(&self) -> Patches {
        let Self { patch, width, depth, heads, .. } = *self;
        Patches { name: "dit", patch, width, depth, heads }
    }

    /// Ranges, apart from what depends on the image size.
    pub fn check(&self) -> Result<(), NetsError> {
        self.patches().check()?;
        positive("dit.mlp_ratio", self.mlp_ratio)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(NetsError::config(format!("dit.dropout is {}; use a number in [0, 1)", self.dropout)));
        }
        self.condition.check_without_map("dit")
    }

    /// Rows and columns of tokens for images `[c h w]`, or why there are none.
    pub fn grid(&self, shape: [usize; 3]) -> Result<[usize; 2], NetsError> {
        self.check()?;
        self.patches().grid(shape)
    }

    /// The network for images `[c h w]` with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If a value is out of range or the shape does not divide; the message names both.
    pub fn init(&self, seed: u64, shape: [usize; 3], classes: usize, device: &Device) -> Result<Dit, NetsError> {
        self.build(&Init::new(seed, device), shape, classes)
    }

    pub(crate) fn build(&self, init: &Init, shape: [usize; 3], classes: usize) -> Result<Dit, NetsError> {
        let grid = self.grid(shape)?;
        Ok(Dit::new(self, init, shape[0], grid, classes))
    }

    /// Cost for images `[c h w]`.
    ///
    /// # Errors
    /// As for [`init`](Self::init). Token conditions are counted at one token per sample.
    pub fn cost(&self, shape: [usize; 3], classes: usize) -> Result<Cost, NetsError> {
        let [rows, columns] = self.grid(shape)?;
        let (n, d) = (rows * columns, self.width);
        let pixels = shape[0] * self.patch * self.patch;
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, TIME_FEATURES, d, classes);
        tally.kept(d); // the activated embedding
        tally.linear(n, pixels, d, true);
        if self.positions == (Positions::Learned {}) {
            tally.table(n, d);
        }
        for _ in 0..self.depth {
            tally.block(n * d, |tally| {
                tally.linear(1, d, 6 * d, true);
                tally.kept(n * d); // first normalisation
                tally.linear(n, d, 3 * d, true);
                if self.qk_norm {
                    tally.table(2, d / self.heads);
                    tally.kept(2 * n * d);
                }
                tally.attention(self.heads, n, n, d);
                tally.linear(n, d, d, true);
                tally.kept(n * d); // gated sum
                if self.condition.tokens > 0 {
                    tally.kept(n * d);
                    tally.linear(n, d, d, true);
                    tally.linear(1, self.condition.tokens, 2 * d, true);
                    tally.attention(self.heads, n, 1, d);
                    tally.linear(n, d, d, false);
                    tally.kept(n * d);
                }
                tally.kept(n * d); // second normalisation
                tally.linear(n, d, self.mlp_ratio * d, true);
                tally.kept(n * self.mlp_ratio * d);
                tally.linear(n, self.mlp_ratio * d, d, true);
                tally.kept(n * d); // gated sum
                if self.dropout > 0.0 {
                    tally.kept(4 * n * d);
                }
            });
        }
        tally.linear(1, d, 2 * d, true);
        tally.kept(n * d);
        tally.linear(n, d, pixels, true);
        Ok(tally.cost())
    }
}
