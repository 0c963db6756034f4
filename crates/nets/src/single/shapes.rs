//! Configurations read off the shapes of tensors under diffusers' and transformers' names.
//!
//! Shapes leave a few things open (into how many heads a width is parted, how a head turns, groups, scales). Those are taken from a
//! configuration that is known and describes tensors of the same shapes, else they are what every released model has.

use super::count;
use crate::text::{ClipConfig, T5Config};
use crate::text_unet::PerLevel;
use crate::weights::TensorSource;
use crate::{AutoencoderConfig, FluxConfig, MmditConfig, NetsError, TextUnetConfig};
use serde_json::Map;
use std::collections::BTreeSet;

/// Names and shapes of a source.
struct Shapes<'a> {
    source: &'a dyn TensorSource,
    names: BTreeSet<String>,
}

impl<'a> Shapes<'a> {
    fn of(source: &'a dyn TensorSource) -> Self {
        Self { source, names: source.names().into_iter().collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The length of an axis.
    fn axis(&self, name: &str, axis: usize) -> Result<usize, NetsError> {
        let shape = self.source.shape(name);
        shape.and_then(|shape| shape.get(axis).copied()).ok_or_else(|| NetsError::Tensor {
            name: name.to_owned(),
            problem: "is not in the file, or of another rank; without it the network's sizes cannot be told".into(),
        })
    }

    fn count(&self, place: &str) -> usize {
        count(&self.names, place)
    }
}

/// `width` in heads of 64, as every released model of its kind has.
fn heads(width: usize, what: &str) -> Result<usize, NetsError> {
    if width >= 64 && width.is_multiple_of(64) {
        return Ok(width / 64);
    }
    Err(NetsError::config(format!(
        "{what} is {width} wide, which is no multiple of 64: its heads cannot be told from its shapes; a configuration of the same \
         sizes beside it says them"
    )))
}

/// An MMDiT's sizes.
///
/// # Errors
/// Tensors that are missing, or heads that cannot be told.
pub fn mmdit(source: &dyn TensorSource, known: Option<&MmditConfig>) -> Result<MmditConfig, NetsError> {
    let shapes = Shapes::of(source);
    let width = shapes.axis("pos_embed.proj.weight", 0)?;
    let patch = shapes.axis("pos_embed.proj.weight", 2)?;
    let places = shapes.axis("pos_embed.pos_embed", 1)?;
    let num_layers = shapes.count("transformer_blocks.");
    let norm = "transformer_blocks.0.attn.norm_k.weight";
    let out = shapes.axis("proj_out.weight", 0)?;
    let dual = (0..num_layers).filter(|i| shapes.has(&format!("transformer_blocks.{i}.attn2.to_q.weight")));
    let found = MmditConfig {
        patch_size: patch,
        in_channels: shapes.axis("pos_embed.proj.weight", 1)?,
        num_layers,
        joint_attention_dim: shapes.axis("context_embedder.weight", 1)?,
        caption_projection_dim: width,
        pooled_projection_dim: shapes.axis("time_text_embed.text_embedder.linear_1.weight", 1)?,
        out_channels: out.checked_div(patch * patch).unwrap_or(0),
        pos_embed_max_size: places.isqrt(),
        dual_attention_layers: dual.collect(),
        qk_norm: shapes.has(norm).then(|| "rms_norm".into()),
        ..MmditConfig::default()
    };
    let normed = if shapes.has(norm) { Some(shapes.axis(norm, 0)?) } else { None };
    if let Some(known) = known.filter(|known| known.width() == width) {
        let fits = normed.is_none_or(|size| size == known.attention_head_dim);
        let (size, heads) = (known.attention_head_dim, known.num_attention_heads);
        let same = MmditConfig {
            attention_head_dim: size,
            num_attention_heads: heads,
            sample_size: known.sample_size,
            ..found.clone()
        };
        if fits && same == *known {
            return Ok(same);
        }
    }
    let (size, heads) = match normed {
        Some(size) => (size, width.checked_div(size).unwrap_or(0)),
        None => (64, heads(width, "the network")?),
    };
    Ok(MmditConfig { attention_head_dim: size, num_attention_heads: heads, ..found })
}

/// FLUX's sizes.
///
/// # Errors
/// Tensors that are missing, or a head of which it cannot be told how it turns.
pub fn flux(source: &dyn TensorSource, known: Option<&FluxConfig>) -> Result<FluxConfig, NetsError> {
    let shapes = Shapes::of(source);
    let size = shapes.axis("transformer_blocks.0.attn.norm_q.weight", 0)?;
    let width = shapes.axis("x_embedder.weight", 0)?;
    let found = FluxConfig {
        in_channels: shapes.axis("x_embedder.weight", 1)?,
        num_layers: shapes.count("transformer_blocks."),
        num_single_layers: shapes.count("single_transformer_blocks."),
        attention_head_dim: size,
        num_attention_heads: width.checked_div(size).unwrap_or(0),
        joint_attention_dim: shapes.axis("context_embedder.weight", 1)?,
        pooled_projection_dim: shapes.axis("time_text_embed.text_embedder.linear_1.weight", 1)?,
        guidance_embeds: shapes.has("time_text_embed.guidance_embedder.linear_1.weight"),
        ..FluxConfig::default()
    };
    // dev and schnell turn alike, whichever is known.
    match known.filter(|known| known.attention_head_dim == size).map(|known| known.axes_dims_rope) {
        Some(axes) => Ok(FluxConfig { axes_dims_rope: axes, ..found }),
        None if size == 128 => Ok(found),
        None => Err(NetsError::config(format!(
            "a head has {size} features and FLUX's have 128: how many turn with row and column cannot be told from shapes; a \
             configuration of the same sizes beside it says them (axes_dims_rope)"
        ))),
    }
}

/// The sizes of Stable Diffusion's U-Net.
///
/// # Errors
/// Tensors that are missing, or heads that cannot be told.
pub fn unet(source: &dyn TensorSource, known: Option<&TextUnetConfig>) -> Result<TextUnetConfig, NetsError> {
    let shapes = Shapes::of(source);
    let levels = shapes.count("down_blocks.");
    let width = |level: usize| shapes.axis(&format!("down_blocks.{level}.resnets.0.conv1.weight"), 0);
    let widths: Vec<usize> = (0..levels).map(width).collect::<Result<_, _>>()?;
    let reads = |side: &str, level: usize| shapes.has(&format!("{side}_blocks.{level}.attentions.0.norm.weight"));
    let kind = |side: &str, level: usize, name: &str| match reads(side, level) {
        true => format!("CrossAttn{name}"),
        false => name.to_owned(),
    };
    // The last of the middle's transformers reads text; one before it reads pixels alone.
    let extra_self_attention = shapes.has("mid_block.attentions.1.norm.weight");
    let reader = if extra_self_attention { "mid_block.attentions.1." } else { "mid_block.attentions.0." };
    let text = shapes.axis(&format!("{reader}transformer_blocks.0.attn2.to_k.weight"), 1)?;
    let found = TextUnetConfig {
        in_channels: shapes.axis("conv_in.weight", 1)?,
        out_channels: shapes.axis("conv_out.weight", 0)?,
        block_out_channels: widths.clone(),
        layers_per_block: shapes.count("down_blocks.0.resnets."),
        down_block_types: (0..levels).map(|level| kind("down", level, "DownBlock2D")).collect(),
        up_block_types: (0..levels).map(|level| kind("up", level, "UpBlock2D")).collect(),
        cross_attention_dim: text,
        transformer_layers_per_block: shapes.count(&format!("{reader}transformer_blocks.")),
        extra_self_attention,
        use_linear_projection: shapes.source.shape(&format!("{reader}proj_in.weight")).is_some_and(|s| s.len() == 2),
        ..TextUnetConfig::default()
    };
    if let Some(known) = known {
        let same = TextUnetConfig {
            sample_size: found.sample_size,
            attention_head_dim: found.attention_head_dim.clone(),
            norm_num_groups: found.norm_num_groups,
            use_linear_projection: found.use_linear_projection,
            others: Map::new(),
            ..known.clone()
        };
        if same == found {
            return Ok(known.clone());
        }
    }
    if extra_self_attention {
        // Heads of 32 features, as AudioLDM 2 and FlowSep have.
        let heads = PerLevel::Each(widths.iter().map(|width| (width / 32).max(1)).collect());
        return Ok(TextUnetConfig { attention_head_dim: heads, ..found });
    }
    // Stable Diffusion 1 has eight heads everywhere, 2 heads of 64 features.
    let heads = match text {
        1024 => PerLevel::Each(widths.iter().map(|width| heads(*width, "a level")).collect::<Result<_, _>>()?),
        _ => PerLevel::One(8),
    };
    Ok(TextUnetConfig { attention_head_dim: heads, ..found })
}

/// An autoencoder's sizes; `scales` are its scale and shift where nobody says.
///
/// # Errors
/// Tensors that are missing.
pub fn autoencoder(
    source: &dyn TensorSource,
    known: Option<&AutoencoderConfig>,
    (scaling_factor, shift_factor): (f64, Option<f64>),
) -> Result<AutoencoderConfig, NetsError> {
    let shapes = Shapes::of(source);
    let width = |level: usize| shapes.axis(&format!("encoder.down_blocks.{level}.resnets.0.conv1.weight"), 0);
    let attention = ["to_q", "query"].iter().any(|name| {
        let name = format!("decoder.mid_block.attentions.0.{name}.weight");
        shapes.has(&name)
    });
    let found = AutoencoderConfig {
        in_channels: shapes.axis("encoder.conv_in.weight", 1)?,
        out_channels: shapes.axis("decoder.conv_out.weight", 0)?,
        latent_channels: shapes.axis("decoder.conv_in.weight", 1)?,
        block_out_channels: (0..shapes.count("encoder.down_blocks.")).map(width).collect::<Result<_, _>>()?,
        layers_per_block: shapes.count("encoder.down_blocks.0.resnets."),
        scaling_factor,
        shift_factor,
        use_quant_conv: shapes.has("quant_conv.weight"),
        use_post_quant_conv: shapes.has("post_quant_conv.weight"),
        mid_block_add_attention: attention,
        ..AutoencoderConfig::default()
    };
    let fits = |known: &&AutoencoderConfig| {
        let same = AutoencoderConfig {
            norm_num_groups: found.norm_num_groups,
            scaling_factor,
            shift_factor,
            ..(*known).clone()
        };
        same == found
    };
    Ok(known.filter(fits).cloned().unwrap_or(found))
}

/// A CLIP encoder's sizes, whose names have no `text_model.` before them; `large` is OpenCLIP's.
///
/// # Errors
/// Tensors that are missing, or heads that cannot be told.
pub fn clip(source: &dyn TensorSource, known: Option<&ClipConfig>, large: bool) -> Result<ClipConfig, NetsError> {
    let shapes = Shapes::of(source);
    let before = if shapes.has("embeddings.token_embedding.weight") { "" } else { "text_model." };
    let axis = |name: &str, axis: usize| shapes.axis(&format!("{before}{name}"), axis);
    let width = axis("embeddings.token_embedding.weight", 1)?;
    let found = ClipConfig {
        vocab_size: axis("embeddings.token_embedding.weight", 0)?,
        hidden_size: width,
        intermediate_size: axis("encoder.layers.0.mlp.fc1.weight", 0)?,
        num_hidden_layers: shapes.count(&format!("{before}encoder.layers.")),
        max_position_embeddings: axis("embeddings.position_embedding.weight", 0)?,
        hidden_act: if large { "gelu" } else { "quick_gelu" }.into(),
        // The greatest id, which is the last word of every CLIP vocabulary.
        eos_token_id: 2,
        projection_dim: shapes.axis("text_projection.weight", 0).unwrap_or(width),
        ..ClipConfig::default()
    };
    if let Some(known) = known {
        let same = ClipConfig {
            num_attention_heads: found.num_attention_heads,
            hidden_act: found.hidden_act.clone(),
            layer_norm_eps: found.layer_norm_eps,
            eos_token_id: found.eos_token_id,
            projection_dim: found.projection_dim,
            ..known.clone()
        };
        if same == found {
            return Ok(ClipConfig { projection_dim: found.projection_dim, ..known.clone() });
        }
    }
    Ok(ClipConfig { num_attention_heads: heads(width, "the text encoder")?, ..found })
}

/// A T5 encoder's sizes; its heads stand in its table of distances.
///
/// # Errors
/// Tensors that are missing.
pub fn t5(source: &dyn TensorSource) -> Result<T5Config, NetsError> {
    let shapes = Shapes::of(source);
    let table = if shapes.has("shared.weight") { "shared.weight" } else { "encoder.embed_tokens.weight" };
    let first = "encoder.block.0.layer.0.SelfAttention.";
    let heads = shapes.axis(&format!("{first}relative_attention_bias.weight"), 1)?;
    Ok(T5Config {
        vocab_size: shapes.axis(table, 0)?,
        d_model: shapes.axis(table, 1)?,
        d_kv: shapes.axis(&format!("{first}q.weight"), 0)?.checked_div(heads).unwrap_or(0),
        d_ff: shapes.axis("encoder.block.0.layer.1.DenseReluDense.wo.weight", 1)?,
        num_layers: shapes.count("encoder.block."),
        num_heads: heads,
        relative_attention_num_buckets: shapes.axis(&format!("{first}relative_attention_bias.weight"), 0)?,
        feed_forward_proj: "gated-gelu".into(),
        ..T5Config::default()
    })
}
