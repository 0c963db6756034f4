//! Configuration of a KL autoencoder under the names of diffusers' `AutoencoderKL`.

use super::{Autoencoder, patched};
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};

/// Halvings of an image are counted in bits.
const LEVELS: usize = 8;

/// Sizes of an [`Autoencoder`]; the defaults are diffusers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoencoderConfig {
    /// Channels of an image.
    pub in_channels: usize,
    /// Channels of a decoded image.
    pub out_channels: usize,
    /// Channels of a latent: 4 in Stable Diffusion, 16 in SD3 and FLUX.
    pub latent_channels: usize,
    /// Channels of each level, fine to coarse; one halving of the image between two.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of a normalisation.
    pub norm_num_groups: usize,
    /// Activation; SiLU.
    pub act_fn: String,
    /// Latents are multiplied by this, so that their deviation is about one.
    pub scaling_factor: f64,
    /// Taken off latents before they are scaled; 0 where absent.
    pub shift_factor: Option<f64>,
    /// A 1x1 convolution after the encoder.
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the coarsest level attends.
    pub mid_block_add_attention: bool,
    /// Whether flows see squares of 2x2 latent pixels as one, normalised channel by channel, and what is added to their variances: FLUX.2's,
    /// whose files are read by [`PatchedConfig`](super::PatchedConfig).
    #[serde(skip)]
    pub normalised_patches: Option<f64>,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            act_fn: "silu".into(),
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
            normalised_patches: None,
        }
    }
}

impl Published for AutoencoderConfig {
    // The kinds of blocks are counted by `block_out_channels`; other kinds have other tensors, which loading would refuse.
    const IDLE: &'static [&'static str] = &["sample_size", "force_upcast", "down_block_types", "up_block_types"];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("latent_channels", self.latent_channels),
            ("layers_per_block", self.layers_per_block),
            ("norm_num_groups", self.norm_num_groups),
            ("block_out_channels' length", self.block_out_channels.len()),
        ] {
            positive(name, value)?;
        }
        if self.block_out_channels.len() > LEVELS {
            let levels = self.block_out_channels.len();
            return Err(NetsError::config(format!(
                "block_out_channels has {levels} levels; {LEVELS} at most are built here"
            )));
        }
        only("act_fn", &self.act_fn.as_str(), &["silu"])?;
        let groups = self.norm_num_groups;
        for &channels in &self.block_out_channels {
            positive("block_out_channels", channels)?;
            if !channels.is_multiple_of(groups) {
                return Err(NetsError::config(format!(
                    "block_out_channels has {channels}, which norm_num_groups = {groups} does not divide"
                )));
            }
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor != 0.0) {
            return Err(NetsError::config(format!("scaling_factor is {}; it must not be 0", self.scaling_factor)));
        }
        Ok(())
    }
}

impl AutoencoderConfig {
    /// Latent pixels along each side of one that flows see.
    fn patch(&self) -> usize {
        if self.normalised_patches.is_some() { patched::SIDE } else { 1 }
    }

    /// How many pixels of the image one of the latent stands for, along each side, as flows see it.
    pub fn factor(&self) -> usize {
        self.patch() << (self.block_out_channels.len() - 1)
    }

    /// Channels of a latent as flows see it.
    pub fn channels(&self) -> usize {
        self.latent_channels * self.patch() * self.patch()
    }

    /// Bytes that decoding a picture of `[h w]` pixels leaves on a tape, an estimate: of every residual block what goes in, twice what
    /// is normalised and twice what is convolved, and of every doubling what comes out.
    pub fn tape_bytes(&self, [h, w]: [usize; 2]) -> u64 {
        let blocks = self.layers_per_block as u64 + 1;
        let level = |(i, channels): (usize, &usize)| {
            let numbers = ((h >> i) * (w >> i) * channels) as u64;
            // The finest level gets twice its width from below, and so on.
            6 * blocks * numbers + 4 * numbers
        };
        4 * self.block_out_channels.iter().enumerate().map(level).sum::<u64>()
    }

    /// The network with parameters from `init`, to train or to fill.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn build(&self, init: &Init) -> Result<Autoencoder, NetsError> {
        self.check()?;
        Ok(Autoencoder::new(self, init))
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Autoencoder, NetsError> {
        self.build(&Init::declared(device))
    }

    /// The network with the weights of `source`, under diffusers' names, new or old.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Autoencoder, NetsError> {
        let renamed = Renamed::new(source, |theirs| {
            let name = names::attention(&names::ours(theirs));
            // The attention's layers were 1x1 convolutions once.
            let part = if name.contains(".attentions.") { Part::Matrix } else { Part::Whole };
            // How many batches its statistics are of is nobody's business.
            if name == "bn.num_batches_tracked" { Vec::new() } else { vec![(name, part)] }
        })?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}
