//! Configuration of the U-Net: ranges, sizes it accepts, and its cost.

use crate::condition::{ConditionConfig, Conditioner};
use crate::cost::{Cost, Tally};
use crate::init::Init;
use crate::net::positive;
use crate::{NetsError, Unet};
use base::Device;
use serde::{Deserialize, Serialize};

/// Diffusion Models Beat GANs on Image Synthesis.
pub const ADM: base::Paper = base::Paper::arxiv(
    "dhariwal2021diffusion",
    "Dhariwal, Prafulla and Nichol, Alex",
    "Diffusion Models Beat GANs on Image Synthesis",
    (2021, "2105.05233"),
    "NeurIPS 2021",
);

/// How a level changes resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Resampling {
    /// A 3x3 convolution with stride two down; nearest neighbour and a 3x3 convolution up.
    Conv {},
    /// A residual block that averages 2x2 (down) or repeats (up) between its convolutions and on its shortcut:
    /// "BigGAN" blocks in Song et al. (2021), `resblock_updown` in Dhariwal and Nichol (2021).
    Residual {},
}

/// Configuration of a [`Unet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels of the first level.
    pub channels: usize,
    /// Channels of each level as a multiple of `channels`; its length is the number of levels.
    pub multipliers: Vec<usize>,
    /// Residual blocks of each level on the way down; one more on the way up.
    pub blocks: usize,
    /// Downsampling factors (1, 2, 4, ... counted after `patch`) of the levels with self-attention. Where any is named
    /// the middle has it too.
    pub attention: Vec<usize>,
    /// Attention heads; must divide the channels of every level with attention.
    pub heads: usize,
    /// Probability with which elements before each block's second convolution are dropped in training.
    pub dropout: f64,
    /// Whether the embedding scales and shifts the second normalisation (FiLM, as in ADM) rather than being added
    /// before it (DDPM).
    pub scale_shift: bool,
    /// How levels change resolution.
    pub resampling: Resampling,
    /// Pixels are folded into channels in squares of this side first and unfolded at the end; 2 makes a network of the
    /// same width about four times cheaper.
    pub patch: usize,
    /// Whether sums of a block and its shortcut are divided by sqrt(2) (Song et al., 2021), which keeps variances.
    pub skip_rescale: bool,
    /// Most groups of a normalisation; the largest divisor of the channels up to this is used.
    pub groups: usize,
    /// The output is the map beside the sample, lowered number by number: `map - softplus(network)`. Over the logarithms of magnitudes,
    /// with `parameterization = { type = "data" }`, that is a mask on what the map shows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bounded: bool,
    /// Conditioning.
    pub condition: ConditionConfig,
}

impl Default for UnetConfig {
    /// The house's small network: 1.56 M parameters, made for 28x28 images on a CPU.
    fn default() -> Self {
        Self {
            channels: 48,
            multipliers: vec![1, 2],
            blocks: 1,
            attention: vec![],
            heads: 4,
            dropout: 0.0,
            scale_shift: true,
            resampling: Resampling::Conv {},
            patch: 1,
            skip_rescale: false,
            groups: 16,
            bounded: false,
            condition: ConditionConfig::default(),
        }
    }
}

impl UnetConfig {
    /// Ranges, apart from what depends on the image size.
    pub fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("unet.channels", self.channels),
            ("unet.multipliers (their number)", self.multipliers.len()),
            ("unet.blocks", self.blocks),
            ("unet.patch", self.patch),
            ("unet.groups", self.groups),
            ("unet.heads", self.heads),
        ] {
            positive(name, value)?;
        }
        for &multiplier in &self.multipliers {
            positive("an entry of unet.multipliers", multiplier)?;
        }
        if self.multipliers.len() > 16 {
            return Err(NetsError::config("unet.multipliers has more than 16 levels; no image is that large"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(NetsError::config(format!("unet.dropout is {}; use a number in [0, 1)", self.dropout)));
        }
        for &factor in &self.attention {
            if !(0..self.multipliers.len()).any(|level| 1 << level == factor) {
                let factors: Vec<usize> = (0..self.multipliers.len()).map(|level| 1 << level).collect();
                return Err(NetsError::config(format!(
                    "unet.attention names the downsampling factor {factor}; the levels have factors {factors:?}"
                )));
            }
        }
        for (level, width) in self.widths().into_iter().enumerate() {
            let attends = self.attends(level) || (level + 1 == self.multipliers.len() && self.middle_attends());
            if attends && !width.is_multiple_of(self.heads) {
                return Err(NetsError::config(format!(
                    "unet.heads is {}, which does not divide the {width} channels of level {level}",
                    self.heads
                )));
            }
        }
        if self.condition.tokens > 0 {
            return Err(NetsError::config("unet takes no tokens; set condition.tokens = 0 or use a dit"));
        }
        if self.condition.dense > 0 {
            positive("unet.condition.dense", self.condition.dense)?; // for what is too many
        }
        self.condition.check()
    }

    /// Whether images `[c h w]` of this shape can pass, and if not why.
    pub fn check_shape(&self, [c, h, w]: [usize; 3]) -> Result<(), NetsError> {
        self.check()?;
        positive("the number of image channels", c)?;
        if self.bounded && self.condition.dense != c {
            return Err(NetsError::config(format!(
                "unet.bounded keeps the output below a map of the sample's {c} channels, and condition.dense is {}; set it to {c}, or \
                 bounded = false",
                self.condition.dense
            )));
        }
        let step = self.patch << (self.multipliers.len() - 1);
        if h == 0 || w == 0 || !h.is_multiple_of(step) || !w.is_multiple_of(step) {
            let halvings = self.multipliers.len() - 1;
            return Err(NetsError::config(format!(
                "images of {h}x{w} do not divide by {step} (unet.patch {} and {halvings} halvings, one between each two \
                 of the {} entries of unet.multipliers); resize the images to a multiple of {step}, or use fewer levels \
                 or a smaller patch",
                self.patch,
                self.multipliers.len()
            )));
        }
        Ok(())
    }

    /// Channels of each level.
    pub fn widths(&self) -> Vec<usize> {
        self.multipliers.iter().map(|m| m * self.channels).collect()
    }

    /// Width of the conditioning vector.
    pub fn embedding(&self) -> usize {
        4 * self.channels
    }

    pub(super) fn attends(&self, level: usize) -> bool {
        self.attention.contains(&(1 << level))
    }

    pub(super) fn middle_attends(&self) -> bool {
        !self.attention.is_empty()
    }

    /// The network for images `[c h w]` with `classes` classes (0 for none).
    ///
    /// # Errors
    /// If a value is out of range or the shape does not divide; the message names both.
    pub fn init(&self, seed: u64, shape: [usize; 3], classes: usize, device: &Device) -> Result<Unet, NetsError> {
        self.build(&Init::new(seed, device), shape, classes)
    }

    pub(crate) fn build(&self, init: &Init, shape: [usize; 3], classes: usize) -> Result<Unet, NetsError> {
        self.check_shape(shape)?;
        Ok(Unet::new(self, init, shape, classes))
    }

    /// Cost for images `[c h w]`.
    ///
    /// # Errors
    /// As for [`init`](Self::init).
    pub fn cost(&self, shape: [usize; 3], classes: usize) -> Result<Cost, NetsError> {
        self.check_shape(shape)?;
        let [c, h, w] = shape;
        let mut tally = Tally::default();
        Conditioner::tally(&mut tally, &self.condition, 2 * self.channels, self.embedding(), classes);
        let folded = c * self.patch * self.patch;
        let mut pixels = h * w / (self.patch * self.patch);
        let widths = self.widths();
        let mut width = self.channels;
        let beside = self.condition.dense * self.patch * self.patch;
        tally.conv(pixels, folded + beside, width, 3);
        let mut skips = vec![width];
        for (level, &next) in widths.iter().enumerate() {
            for _ in 0..self.blocks {
                self.tally_block(&mut tally, width, next, pixels, pixels);
                width = next;
                if self.attends(level) {
                    self.tally_attention(&mut tally, width, pixels);
                }
                skips.push(width);
            }
            if level + 1 < widths.len() {
                self.tally_resample(&mut tally, width, pixels, pixels / 4);
                pixels /= 4;
                skips.push(width);
            }
        }
        self.tally_block(&mut tally, width, width, pixels, pixels);
        if self.middle_attends() {
            self.tally_attention(&mut tally, width, pixels);
        }
        self.tally_block(&mut tally, width, width, pixels, pixels);
        for (level, &next) in widths.iter().enumerate().rev() {
            for skip in skips.drain(skips.len() - self.blocks - 1..).rev() {
                tally.kept((width + skip) * pixels); // the concatenation
                self.tally_block(&mut tally, width + skip, next, pixels, pixels);
                width = next;
                if self.attends(level) {
                    self.tally_attention(&mut tally, width, pixels);
                }
            }
            if level > 0 {
                self.tally_resample(&mut tally, width, pixels, pixels * 4);
                pixels *= 4;
            }
        }
        tally.group_norm(width, pixels);
        tally.conv(pixels, width, folded, 3);
        Ok(tally.cost())
    }

    fn tally_block(&self, tally: &mut Tally, input: usize, output: usize, before: usize, after: usize) {
        tally.block(output * after, |tally| self.tally_inside(tally, input, output, before, after));
    }

    fn tally_inside(&self, tally: &mut Tally, input: usize, output: usize, before: usize, after: usize) {
        tally.group_norm(input, before);
        if before != after {
            tally.kept(2 * input * after); // both branches resampled
        }
        tally.conv(after, input, output, 3);
        tally.linear(1, self.embedding(), if self.scale_shift { 2 * output } else { output }, true);
        tally.group_norm(output, after);
        if self.dropout > 0.0 {
            tally.kept(2 * output * after);
        }
        tally.conv(after, output, output, 3);
        if input != output {
            tally.conv(after, input, output, 1);
        }
        tally.kept(output * after); // the sum
    }

    fn tally_resample(&self, tally: &mut Tally, width: usize, before: usize, after: usize) {
        match self.resampling {
            Resampling::Residual {} => self.tally_block(tally, width, width, before, after),
            Resampling::Conv {} => {
                if after > before {
                    tally.kept(width * after);
                }
                tally.conv(after, width, width, 3);
            }
        }
    }

    fn tally_attention(&self, tally: &mut Tally, width: usize, pixels: usize) {
        tally.block(width * pixels, |tally| {
            tally.group_norm(width, pixels);
            tally.linear(pixels, width, 3 * width, true);
            tally.attention(self.heads, pixels, pixels, width);
            tally.linear(pixels, width, width, true);
            tally.kept(width * pixels);
        });
    }
}
