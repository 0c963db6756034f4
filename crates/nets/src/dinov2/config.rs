//! Sizes of DINOv2 under the names of its published `config.json`.

use crate::NetsError;
use crate::net::positive;
use crate::published::{Published, only};
use serde::{Deserialize, Serialize};

/// Sizes of a [`Dinov2`](super::Dinov2); the defaults are transformers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dinov2Config {
    /// Features of a token.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; must divide the features.
    pub num_attention_heads: usize,
    /// Widening of the perceptrons.
    pub mlp_ratio: f64,
    /// `gelu`.
    pub hidden_act: String,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// Pixels of the pictures whose places are stored; others are interpolated.
    pub image_size: usize,
    /// Pixels of a patch to a side.
    pub patch_size: usize,
    /// Colours.
    pub num_channels: usize,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Where the scales after each part start.
    pub layerscale_value: f64,
    /// Whether perceptrons are SwiGLU, as the giant's.
    pub use_swiglu_ffn: bool,
}

impl Default for Dinov2Config {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4.0,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
            image_size: 224,
            patch_size: 14,
            num_channels: 3,
            qkv_bias: true,
            layerscale_value: 1.0,
            use_swiglu_ffn: false,
        }
    }
}

impl Published for Dinov2Config {
    const IDLE: &'static [&'static str] = &[
        "apply_layernorm",
        "architectures",
        "attention_probs_dropout_prob",
        "drop_path_rate",
        "dtype",
        "hidden_dropout_prob",
        "initializer_range",
        "model_type",
        "out_features",
        "out_indices",
        "reshape_hidden_states",
        "stage_names",
        "torch_dtype",
        "transformers_version",
        "use_mask_token",
    ];

    fn check(&self) -> Result<(), NetsError> {
        let (d, heads) = (self.hidden_size, self.num_attention_heads);
        for (name, value) in [
            ("hidden_size", d),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", heads),
            ("patch_size", self.patch_size),
            ("num_channels", self.num_channels),
            ("image_size / patch_size", self.image_size / self.patch_size.max(1)),
        ] {
            positive(name, value)?;
        }
        if !d.is_multiple_of(heads) {
            return Err(NetsError::config(format!(
                "num_attention_heads is {heads}, which does not divide {d} features"
            )));
        }
        let most = (1 << 20) as f64 / d as f64;
        if !(self.mlp_ratio * d as f64 >= 1.0 && self.mlp_ratio <= most) {
            return Err(NetsError::config(format!("mlp_ratio is {}; a perceptron has no such width", self.mlp_ratio)));
        }
        if self.image_size / self.patch_size > 1 << 10 {
            return Err(NetsError::config(format!("image_size is {}; that are too many patches", self.image_size)));
        }
        only("hidden_act", &self.hidden_act.as_str(), &["gelu"])
    }
}

impl Dinov2Config {
    /// Patches whose places are stored.
    pub fn places(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Tokens of a picture of `side` pixels.
    pub fn tokens(&self, side: usize) -> usize {
        1 + (side / self.patch_size).pow(2)
    }

    /// Hidden width of a perceptron; SwiGLU keeps two thirds, in eights.
    pub(super) fn hidden(&self) -> usize {
        let plain = (self.hidden_size as f64 * self.mlp_ratio) as usize;
        if self.use_swiglu_ffn { (plain * 2 / 3).div_ceil(8) * 8 } else { plain }
    }
}
