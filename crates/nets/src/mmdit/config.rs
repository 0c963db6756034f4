//! Configuration of an MMDiT under the names of diffusers' `SD3Transformer2DModel`.

use super::Mmdit;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};

/// Sizes of an [`Mmdit`]; the defaults are diffusers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MmditConfig {
    /// Side of the largest trained latent. Only the saved table of positions counts; see `pos_embed_max_size`.
    pub sample_size: usize,
    /// Side of the square of latent pixels that becomes one token.
    pub patch_size: usize,
    /// Channels of the latent.
    pub in_channels: usize,
    /// Joint blocks.
    pub num_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a text token.
    pub joint_attention_dim: usize,
    /// Features a text token is brought to; the width of the network.
    pub caption_projection_dim: usize,
    /// Features of the pooled text.
    pub pooled_projection_dim: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Side of the table of positions, in tokens.
    pub pos_embed_max_size: usize,
    /// Blocks whose image has a second attention (SD3.5-medium: 0 to 12).
    pub dual_attention_layers: Vec<usize>,
    /// `rms_norm` where queries and keys are normalised (SD3.5).
    pub qk_norm: Option<String>,
}

impl Default for MmditConfig {
    fn default() -> Self {
        Self {
            sample_size: 128,
            patch_size: 2,
            in_channels: 16,
            num_layers: 18,
            attention_head_dim: 64,
            num_attention_heads: 18,
            joint_attention_dim: 4096,
            caption_projection_dim: 1152,
            pooled_projection_dim: 2048,
            out_channels: 16,
            pos_embed_max_size: 96,
            dual_attention_layers: Vec::new(),
            qk_norm: None,
        }
    }
}

impl Published for MmditConfig {
    const IDLE: &'static [&'static str] = &["sample_size"];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("patch_size", self.patch_size),
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("joint_attention_dim", self.joint_attention_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
            ("out_channels", self.out_channels),
            ("pos_embed_max_size", self.pos_embed_max_size),
        ] {
            positive(name, value)?;
        }
        only("caption_projection_dim", &self.caption_projection_dim, &[self.width()])?;
        only("qk_norm", &self.qk_norm.as_deref(), &[None, Some("rms_norm")])?;
        if let Some(layer) = self.dual_attention_layers.iter().find(|layer| **layer >= self.num_layers) {
            let blocks = self.num_layers;
            return Err(NetsError::config(format!("dual_attention_layers names block {layer}; there are {blocks}")));
        }
        Ok(())
    }
}

impl MmditConfig {
    /// Features of a token inside the network.
    pub fn width(&self) -> usize {
        self.attention_head_dim * self.num_attention_heads
    }

    /// Whether latents of `height` x `width` can be drawn.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a size that the patches do not divide or the table of positions does not hold.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), NetsError> {
        let (p, side) = (self.patch_size, self.pos_embed_max_size);
        let fits = |n: usize| n > 0 && n.is_multiple_of(p) && n / p <= side;
        if fits(height) && fits(width) {
            return Ok(());
        }
        let most = side * p;
        Err(NetsError::config(format!(
            "latents of {height}x{width} do not fit this network: each side must be a multiple of {p} and at most {most}"
        )))
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Mmdit, NetsError> {
        self.check()?;
        Ok(Mmdit::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Mmdit, NetsError> {
        let renamed = Renamed::new(source, |theirs| vec![(names::ours(theirs), Part::Whole)])?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}
