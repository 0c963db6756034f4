//! Configuration of the MMDiT that is trained here: ranges, sizes it accepts, and its cost.

use super::JointDit;
use crate::condition::{ConditionConfig, Conditioner, TIME_FEATURES};
use crate::cost::{Cost, Tally};
use crate::init::Init;
use crate::patches::Patches;
use crate::{DitConfig, NetsError};
use base::Device;
use serde::{Deserialize, Serialize};

/// Text tokens of a sample that costs are counted with: what `text.length` is where a recipe does not say.
const TEXT: usize = 16;

/// Configuration of a [`JointDit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointDitConfig {
    /// Side of the square of pixels that becomes one token.
    pub patch: usize,
    /// Features of a token; a multiple of 4 and of `heads`. Its authors have 64 for each block.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; its authors have one for each block.
    pub heads: usize,
    /// Whether queries and keys are normalised by root mean square (sec. 5.3.2).
    pub qk_norm: bool,
    /// Conditioning; `tokens` is the width of a text token and has to be given.
    pub condition: ConditionConfig,
}

impl Default for JointDitConfig {
    fn default() -> Self {
        Self { patch: 4, width: 192, depth: 4, heads: 3, qk_norm: true, condition: ConditionConfig::default() }
    }
}

impl JointDitConfig {
    fn patches(&self) -> Patches {
        let Self { patch, width, depth, heads, .. } = *self;
        Patches { name: "mmdit", patch, width, depth, heads }
    }

    /// Ranges, apart from what depends on the image size.
    pub fn check(&self) -> Result<(), NetsError> {
        self.patches().check()?;
        if self.condition.tokens == 0 {
            return Err(NetsError::config(
                "mmdit.condition.tokens is 0, and an mmdit joins text and image: give the width of a text token (384 for minilm), \
                 or use a dit"
                    .to_string(),
            ));
        }
        self.condition.check_without_map("mmdit")
    }

    /// A transformer of its size that reads no text.
    pub fn without_text(&self) -> DitConfig {
        let Self { patch, width, depth, heads, qk_norm, .. } = *self;
        DitConfig { patch, width, depth, heads, qk_norm, ..DitConfig::default() }
    }

    /// Rows and columns of tokens for images `[c h w]`, or why there are none.
    fn grid(&self, shape: [usize; 3]) -> Result<[usize; 2], NetsError> {
        self.check()?;
        self.patches().grid(shape)
    }

    /// The network for images `[c h w]` with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If a value is out of range or the shape does not divide; the message names both.
    pub fn init(&self, seed: u64, shape: [usize; 3], classes: usize, device: &Device) -> Result<JointDit, NetsError> {
        self.build(&Init::new(seed, device), shape, classes)
    }

    pub(crate) fn build(&self, init: &Init, shape: [usize; 3], classes: usize) -> Result<JointDit, NetsError> {
        self.grid(shape)?;
        Ok(JointDit::new(self, init, shape[0], classes))
    }

    /// Cost for images `[c h w]` with captions of 16 tokens.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn cost(&self, shape: [usize; 3], classes: usize) -> Result<Cost, NetsError> {
        let [rows, columns] = self.grid(shape)?;
        let (n, d) = (rows * columns, self.width);
        let pixels = shape[0] * self.patch * self.patch;
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, TIME_FEATURES, d, classes);
        tally.kept(d); // the activated embedding
        tally.linear(n, pixels, d, true);
        tally.linear(TEXT, self.condition.tokens, d, true);
        for block in 1..=self.depth {
            let goes_on = block < self.depth; // the last block drops the text
            tally.block((n + TEXT) * d, |tally| {
                for (rows, whole) in [(n, true), (TEXT, goes_on)] {
                    tally.linear(1, d, if whole { 6 * d } else { 2 * d }, true);
                    tally.kept(rows * d); // first normalisation
                    // Keys and values, and queries.
                    for _ in 0..if whole { 3 } else { 2 } {
                        tally.linear(rows, d, d, true);
                    }
                    if self.qk_norm {
                        let normalised = if whole { 2 } else { 1 };
                        tally.table(normalised, d / self.heads);
                        tally.kept(normalised * rows * d);
                    }
                    if whole {
                        tally.linear(rows, d, d, true);
                        tally.kept(2 * rows * d); // gated sum, second normalisation
                        tally.linear(rows, d, 4 * d, true);
                        tally.kept(rows * 4 * d);
                        tally.linear(rows, 4 * d, d, true);
                        tally.kept(rows * d); // gated sum
                    }
                }
                let asking = if goes_on { n + TEXT } else { n };
                tally.kept((asking + 2 * (n + TEXT)) * d); // joined queries, keys and values
                tally.attention(self.heads, asking, n + TEXT, d);
            });
        }
        tally.linear(1, d, 2 * d, true);
        tally.kept(n * d);
        tally.linear(n, d, pixels, true);
        Ok(tally.cost())
    }
}
