//! Configuration of Stable Diffusion's U-Net under the names of diffusers' `UNet2DConditionModel`.

use super::TextUnet;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A number for every level, or one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same everywhere.
    One(usize),
    /// Fine to coarse.
    Each(Vec<usize>),
}

impl PerLevel {
    pub(crate) fn at(&self, level: usize) -> usize {
        match self {
            Self::One(value) => *value,
            Self::Each(values) => values.get(level).copied().unwrap_or(0),
        }
    }
}

/// Sizes of a [`TextUnet`]; the defaults are diffusers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextUnetConfig {
    /// Side of the latents it draws when it is not told a size.
    pub sample_size: usize,
    /// Channels of the latent.
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Channels of each level, fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// `CrossAttnDownBlock2D` where a level reads text, else `DownBlock2D`.
    pub down_block_types: Vec<String>,
    /// `CrossAttnUpBlock2D` where a level reads text, else `UpBlock2D`.
    pub up_block_types: Vec<String>,
    /// `UNetMidBlock2DCrossAttn`.
    pub mid_block_type: String,
    /// Features of a text token.
    pub cross_attention_dim: usize,
    /// Heads, by an old mistake under this name.
    pub attention_head_dim: PerLevel,
    /// Groups of a normalisation.
    pub norm_num_groups: usize,
    /// Added to variances in residual blocks.
    pub norm_eps: f64,
    /// Transformer blocks of an attention.
    pub transformer_layers_per_block: usize,
    /// Before each transformer that reads text one that reads pixels alone (AudioLDM 2 and FlowSep; no key of diffusers' class).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub extra_self_attention: bool,
    /// Sinusoids of the guidance scale that the network is told, where it is (latent consistency models).
    pub time_cond_proj_dim: Option<usize>,
    /// Whether the attention's projections were stored as matrices or as 1x1 convolutions; read alike.
    pub use_linear_projection: bool,
    /// Settings with one value here.
    pub act_fn: String,
    #[allow(missing_docs)]
    pub center_input_sample: bool,
    #[allow(missing_docs)]
    pub flip_sin_to_cos: bool,
    #[allow(missing_docs)]
    pub freq_shift: usize,
    #[allow(missing_docs)]
    pub downsample_padding: usize,
    #[allow(missing_docs)]
    pub mid_block_scale_factor: f64,
    #[allow(missing_docs)]
    pub only_cross_attention: bool,
    #[allow(missing_docs)]
    pub dual_cross_attention: bool,
    #[allow(missing_docs)]
    pub resnet_time_scale_shift: String,
    #[allow(missing_docs)]
    pub resnet_out_scale_factor: f64,
    #[allow(missing_docs)]
    pub resnet_skip_time_act: bool,
    #[allow(missing_docs)]
    pub conv_in_kernel: usize,
    #[allow(missing_docs)]
    pub conv_out_kernel: usize,
    #[allow(missing_docs)]
    pub time_embedding_type: String,
    #[allow(missing_docs)]
    pub attention_type: String,
    /// What else the file says.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Keys that are null (or false) in networks built here.
const ABSENT: [&str; 13] = [
    "addition_embed_type",
    "addition_time_embed_dim",
    "class_embed_type",
    "cross_attention_norm",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "mid_block_only_cross_attention",
    "num_attention_heads",
    "num_class_embeds",
    "projection_class_embeddings_input_dim",
    "time_embedding_act_fn",
    "time_embedding_dim",
    "timestep_post_act",
];

impl Default for TextUnetConfig {
    fn default() -> Self {
        let types = |first: &str, last: &str| [first, first, first, last].map(str::to_owned).to_vec();
        let mut up = types("CrossAttnUpBlock2D", "UpBlock2D");
        up.reverse();
        Self {
            sample_size: 64,
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            down_block_types: types("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types: up,
            mid_block_type: "UNetMidBlock2DCrossAttn".into(),
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::One(8),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            transformer_layers_per_block: 1,
            extra_self_attention: false,
            time_cond_proj_dim: None,
            use_linear_projection: false,
            act_fn: "silu".into(),
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0,
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            only_cross_attention: false,
            dual_cross_attention: false,
            resnet_time_scale_shift: "default".into(),
            resnet_out_scale_factor: 1.0,
            resnet_skip_time_act: false,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            time_embedding_type: "positional".into(),
            attention_type: "default".into(),
            others: Map::new(),
        }
    }
}

impl Published for TextUnetConfig {
    const IDLE: &'static [&'static str] =
        &["addition_embed_type_num_heads", "class_embeddings_concat", "dropout", "upcast_attention"];

    fn check(&self) -> Result<(), NetsError> {
        let levels = self.block_out_channels.len();
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("block_out_channels' length", levels),
            ("layers_per_block", self.layers_per_block),
            ("cross_attention_dim", self.cross_attention_dim),
            ("norm_num_groups", self.norm_num_groups),
            ("transformer_layers_per_block", self.transformer_layers_per_block),
        ] {
            positive(name, value)?;
        }
        if let Some(told) = self.time_cond_proj_dim.filter(|told| *told < 4) {
            return Err(NetsError::config(format!("time_cond_proj_dim is {told}; use 4 or more, or null")));
        }
        let given = |key: &&str| self.others.get(*key).filter(|value| **value != Value::Bool(false));
        if let Some((key, value)) = ABSENT.iter().find_map(|key| Some((key, given(key)?))) {
            return Err(NetsError::config(format!("{key} is {value}; this program builds null alone")));
        }
        only("down_block_types' length", &self.down_block_types.len(), &[levels])?;
        only("up_block_types' length", &self.up_block_types.len(), &[levels])?;
        for kind in &self.down_block_types {
            only("down_block_types", &kind.as_str(), &["CrossAttnDownBlock2D", "DownBlock2D"])?;
        }
        for kind in &self.up_block_types {
            only("up_block_types", &kind.as_str(), &["CrossAttnUpBlock2D", "UpBlock2D"])?;
        }
        only("mid_block_type", &self.mid_block_type.as_str(), &["UNetMidBlock2DCrossAttn"])?;
        only("norm_eps", &self.norm_eps, &[1e-5])?;
        only("act_fn", &self.act_fn.as_str(), &["silu"])?;
        only("center_input_sample", &self.center_input_sample, &[false])?;
        only("flip_sin_to_cos", &self.flip_sin_to_cos, &[true])?;
        only("freq_shift", &self.freq_shift, &[0])?;
        only("downsample_padding", &self.downsample_padding, &[1])?;
        only("mid_block_scale_factor", &self.mid_block_scale_factor, &[1.0])?;
        only("only_cross_attention", &self.only_cross_attention, &[false])?;
        only("dual_cross_attention", &self.dual_cross_attention, &[false])?;
        only("resnet_time_scale_shift", &self.resnet_time_scale_shift.as_str(), &["default"])?;
        only("resnet_out_scale_factor", &self.resnet_out_scale_factor, &[1.0])?;
        only("resnet_skip_time_act", &self.resnet_skip_time_act, &[false])?;
        only("conv_in_kernel", &self.conv_in_kernel, &[3])?;
        only("conv_out_kernel", &self.conv_out_kernel, &[3])?;
        only("time_embedding_type", &self.time_embedding_type.as_str(), &["positional"])?;
        only("attention_type", &self.attention_type.as_str(), &["default"])?;
        for (level, &channels) in self.block_out_channels.iter().enumerate() {
            positive("block_out_channels", channels)?;
            let (groups, heads) = (self.norm_num_groups, self.attention_head_dim.at(level));
            positive("attention_head_dim", heads)?;
            if !channels.is_multiple_of(groups) || !channels.is_multiple_of(heads) || !channels.is_multiple_of(2) {
                return Err(NetsError::config(format!(
                    "block_out_channels has {channels}, which norm_num_groups = {groups}, attention_head_dim = {heads} heads and \
                     2 must divide"
                )));
            }
        }
        Ok(())
    }
}

impl TextUnetConfig {
    /// Numbers that each attention of pixels to pixels moves between its tokens, in the order of a pass, for latents `[h w]`.
    pub fn attended(&self, [h, w]: [usize; 2]) -> Vec<usize> {
        let last = self.block_out_channels.len().saturating_sub(1);
        let level = |i: usize, blocks: usize| {
            let numbers = self.block_out_channels.get(i).map_or(0, |c| c * h.div_ceil(1 << i) * w.div_ceil(1 << i));
            let readers = blocks * (1 + usize::from(self.extra_self_attention));
            vec![numbers; readers * self.transformer_layers_per_block]
        };
        let reads = |types: &[String], i: usize| types.get(i).is_some_and(|kind| kind.starts_with("CrossAttn"));
        let down = (0..=last).filter(|i| reads(&self.down_block_types, *i)).map(|i| level(i, self.layers_per_block));
        let up = (0..=last).filter(|i| reads(&self.up_block_types, *i));
        let up = up.map(|i| level(last - i, self.layers_per_block + 1));
        down.chain([level(last, 1)]).chain(up).flatten().collect()
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<TextUnet, NetsError> {
        self.check()?;
        Ok(TextUnet::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<TextUnet, NetsError> {
        let renamed = Renamed::new(source, |theirs| {
            // Around an attention, 1x1 convolutions and matrices are the same.
            let around = theirs.contains(".proj_in.") || theirs.contains(".proj_out.");
            vec![(names::ours(theirs), if around { Part::Matrix } else { Part::Whole })]
        })?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}
