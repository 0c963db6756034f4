//! Configuration of Wan's transformer under the names of diffusers' `WanTransformer3DModel`.

use super::Wan;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Sizes of a [`Wan`]; the defaults are diffusers', those of Wan 2.1 with 14 B parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WanConfig {
    /// Frames, rows and columns of the latent that are one token.
    pub patch_size: [usize; 3],
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Channels of a latent.
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Features of a text token.
    pub text_dim: usize,
    /// Sinusoids of the time.
    pub freq_dim: usize,
    /// Hidden width of a block's perceptron.
    pub ffn_dim: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Whether tokens are normalised before they ask the text.
    pub cross_attn_norm: bool,
    /// Queries and keys are normalised over all heads together.
    pub qk_norm: String,
    /// Added to variances.
    pub eps: f64,
    /// Places along an axis that can be turned to.
    pub rope_max_seq_len: usize,
    /// What else the file says: other networks of the family, which are refused by it.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Default for WanConfig {
    fn default() -> Self {
        Self {
            patch_size: [1, 2, 2],
            num_attention_heads: 40,
            attention_head_dim: 128,
            in_channels: 16,
            out_channels: 16,
            text_dim: 4096,
            freq_dim: 256,
            ffn_dim: 13_824,
            num_layers: 40,
            cross_attn_norm: true,
            qk_norm: "rms_norm_across_heads".into(),
            eps: 1e-6,
            rope_max_seq_len: 1024,
            others: Map::new(),
        }
    }
}

impl Published for WanConfig {
    const IDLE: &'static [&'static str] = &[];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("text_dim", self.text_dim),
            ("freq_dim", self.freq_dim),
            ("ffn_dim", self.ffn_dim),
            ("num_layers", self.num_layers),
            ("rope_max_seq_len", self.rope_max_seq_len),
        ] {
            positive(name, value)?;
        }
        if let Some((key, value)) = self.others.iter().find(|(_, value)| !value.is_null()) {
            return Err(NetsError::config(format!(
                "{key} is {value}, which Wan's text-to-video network does not have; networks that read a picture (image_dim, \
                 added_kv_proj_dim, pos_embed_seq_len) are not built here"
            )));
        }
        let [frames, rows, columns] = self.patch_size;
        if frames == 0 || rows == 0 || rows != columns || frames.max(rows) > 64 {
            return Err(NetsError::config(format!(
                "patch_size is {:?}; this program builds square patches such as [1, 2, 2]",
                self.patch_size
            )));
        }
        only("out_channels", &self.out_channels, &[self.in_channels])?;
        only("qk_norm", &self.qk_norm.as_str(), &["rms_norm_across_heads"])?;
        only("eps", &self.eps, &[1e-6])?; // the one that normalisations here add
        if !self.attention_head_dim.is_multiple_of(2) || self.attention_head_dim < 6 || !self.freq_dim.is_multiple_of(2)
        {
            return Err(NetsError::config(format!(
                "attention_head_dim is {} and freq_dim {}; both must be even, and a head has 6 features at least",
                self.attention_head_dim, self.freq_dim
            )));
        }
        Ok(())
    }
}

impl WanConfig {
    /// Features of a token inside the network.
    pub fn width(&self) -> usize {
        self.attention_head_dim.saturating_mul(self.num_attention_heads)
    }

    /// Features of a head that turn with frame, row and column; together the head's.
    pub(super) fn axes(&self) -> [usize; 3] {
        let side = 2 * (self.attention_head_dim / 6);
        [self.attention_head_dim - 2 * side, side, side]
    }

    /// Tokens of a latent of `[f h w]`.
    pub fn tokens(&self, size: [usize; 3]) -> usize {
        size.iter().zip(self.patch_size).map(|(n, patch)| n / patch).product()
    }

    /// Whether latents of `[f h w]` can be drawn.
    ///
    /// # Errors
    /// [`NetsError::Config`] with the axis that does not fit.
    pub fn check_size(&self, size: [usize; 3]) -> Result<(), NetsError> {
        for ((name, n), patch) in ["frames", "rows", "columns"].iter().zip(size).zip(self.patch_size) {
            if n == 0 || !n.is_multiple_of(patch) || n / patch > self.rope_max_seq_len {
                let most = self.rope_max_seq_len.saturating_mul(patch);
                return Err(NetsError::config(format!(
                    "latents of {n} {name} do not fit this network: use a multiple of {patch}, at most {most}"
                )));
            }
        }
        Ok(())
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Wan, NetsError> {
        self.check()?;
        Ok(Wan::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Wan, NetsError> {
        let renamed = Renamed::new(source, |theirs| vec![(names::ours(theirs), Part::Whole)])?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}
