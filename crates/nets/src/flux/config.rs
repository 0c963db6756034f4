//! Configuration of FLUX's transformer under the names of diffusers' `FluxTransformer2DModel`.

use super::Flux;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Flux`]; the defaults are diffusers', those of FLUX.1-schnell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FluxConfig {
    /// One: latents are packed into tokens before the network.
    pub patch_size: usize,
    /// Numbers of a token: the 2x2 pixels of every channel of the latent.
    pub in_channels: usize,
    /// Numbers of a token of the answer; as `in_channels` where absent.
    pub out_channels: Option<usize>,
    /// Joint ("double") blocks.
    pub num_layers: usize,
    /// Single-stream blocks.
    pub num_single_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a text token.
    pub joint_attention_dim: usize,
    /// Features of the pooled text.
    pub pooled_projection_dim: usize,
    /// Whether the network is told the guidance scale that was distilled into it (dev).
    pub guidance_embeds: bool,
    /// Features of a head that turn with text position, row and column; together the head's.
    pub axes_dims_rope: [usize; 3],
}

impl Default for FluxConfig {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 64,
            out_channels: None,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: [16, 56, 56],
        }
    }
}

impl Published for FluxConfig {
    const IDLE: &'static [&'static str] = &[];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("joint_attention_dim", self.joint_attention_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
        ] {
            positive(name, value)?;
        }
        only("patch_size", &self.patch_size, &[1])?;
        only("out_channels", &self.out_channels.unwrap_or(self.in_channels), &[self.in_channels])?;
        let axes = self.axes_dims_rope;
        if !self.in_channels.is_multiple_of(4) {
            let given = self.in_channels;
            return Err(NetsError::config(format!(
                "in_channels is {given}; a token is 2x2 pixels, use a multiple of 4"
            )));
        }
        if axes.iter().any(|axis| *axis == 0 || axis % 2 != 0)
            || axes.iter().try_fold(0usize, |sum, axis| sum.checked_add(*axis)) != Some(self.attention_head_dim)
        {
            let size = self.attention_head_dim;
            return Err(NetsError::config(format!(
                "axes_dims_rope is {axes:?}; it must be even numbers that make {size}"
            )));
        }
        Ok(())
    }
}

impl FluxConfig {
    /// Features of a token inside the network.
    pub fn width(&self) -> usize {
        self.attention_head_dim * self.num_attention_heads
    }

    /// Whether latents of `height` x `width` can be drawn.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a side that is not even.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), NetsError> {
        if [height, width].iter().all(|n| *n > 0 && n.is_multiple_of(2)) {
            return Ok(());
        }
        Err(NetsError::config(format!("latents of {height}x{width} do not fit this network: each side must be even")))
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Flux, NetsError> {
        self.check()?;
        Ok(Flux::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Flux, NetsError> {
        let renamed = Renamed::new(source, |theirs| vec![(names::ours(theirs), Part::Whole)])?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}
