//! Configuration of FLUX.2's transformer under the names of diffusers' `Flux2Transformer2DModel`, and where its fused tensors go.

use super::Flux2;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Flux2`]; the defaults are diffusers', those of FLUX.2-dev.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flux2Config {
    /// One: latents come as squares of pixels already.
    pub patch_size: usize,
    /// Channels of the latent, a token each pixel.
    pub in_channels: usize,
    /// Channels of the answer; as `in_channels` where absent.
    pub out_channels: Option<usize>,
    /// Blocks of two streams.
    pub num_layers: usize,
    /// Blocks of one stream.
    pub num_single_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a text token.
    pub joint_attention_dim: usize,
    /// Sinusoids of a time.
    pub timestep_guidance_channels: usize,
    /// Hidden features of a perceptron to one outside.
    pub mlp_ratio: f64,
    /// Features of a head that turn with picture, row, column and place in the text; together the head's.
    pub axes_dims_rope: [usize; 4],
    /// Base of the angles' wavelengths.
    pub rope_theta: f64,
    /// Added to variances and mean squares.
    pub eps: f64,
    /// Whether the network has an ear for a guidance scale, as dev has; klein's pipeline tells it none, and it is not opened here.
    pub guidance_embeds: bool,
}

impl Default for Flux2Config {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 128,
            out_channels: None,
            num_layers: 8,
            num_single_layers: 48,
            attention_head_dim: 128,
            num_attention_heads: 48,
            joint_attention_dim: 15_360,
            timestep_guidance_channels: 256,
            mlp_ratio: 3.0,
            axes_dims_rope: [32; 4],
            rope_theta: 2000.0,
            eps: 1e-6,
            guidance_embeds: true,
        }
    }
}

impl Published for Flux2Config {
    const IDLE: &'static [&'static str] = &[];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("joint_attention_dim", self.joint_attention_dim),
            ("mlp_ratio, in features,", self.hidden()),
        ] {
            positive(name, value)?;
        }
        only("patch_size", &self.patch_size, &[1])?;
        only("out_channels", &self.out_channels.unwrap_or(self.in_channels), &[self.in_channels])?;
        only("timestep_guidance_channels", &self.timestep_guidance_channels, &[crate::condition::TIME_FEATURES])?;
        only("eps", &self.eps, &[1e-6])?;
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(NetsError::config(format!("rope_theta is {}; it must be a positive number", self.rope_theta)));
        }
        let (axes, size) = (self.axes_dims_rope, self.attention_head_dim);
        if axes.iter().any(|axis| *axis == 0 || axis % 2 != 0)
            || axes.iter().try_fold(0usize, |sum, axis| sum.checked_add(*axis)) != Some(size)
        {
            return Err(NetsError::config(format!(
                "axes_dims_rope is {axes:?}; it must be even numbers that make {size}"
            )));
        }
        Ok(())
    }
}

impl Flux2Config {
    /// Features of a token inside the network.
    pub fn width(&self) -> usize {
        self.attention_head_dim.saturating_mul(self.num_attention_heads)
    }

    /// Features inside a perceptron.
    pub fn hidden(&self) -> usize {
        (self.width() as f64 * self.mlp_ratio) as usize
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Flux2, NetsError> {
        self.check()?;
        Ok(Flux2::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names, where queries, keys and values of a block of one stream are stored
    /// with its perceptron, and a perceptron's gate with what it gates.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Flux2, NetsError> {
        let renamed = Renamed::new(source, |theirs| self.ours(theirs))?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }

    /// What of ours a tensor of diffusers holds.
    fn ours(&self, theirs: &str) -> Vec<(String, Part)> {
        let name = names::ours(theirs).replace("time_guidance_embed.timestep_embedder.", "time_embedder.");
        let rows = |stem: &str, part: &str, [first, count, of]: [usize; 3]| {
            (format!("{stem}.{part}.weight"), Part::Rows { first, count, of })
        };
        if name.starts_with("time_guidance_embed.guidance_embedder.") {
            return Vec::new();
        }
        if let Some(stem) = name.strip_suffix(".linear_in.weight") {
            return vec![rows(stem, "gate", [0, 1, 2]), rows(stem, "up", [1, 1, 2])];
        }
        if let Some(stem) = name.strip_suffix(".to_qkv_mlp_proj.weight") {
            // Rows are counted in the largest number that divides both widths.
            let (width, hidden) = (self.width(), self.hidden());
            let unit = divisor(width, hidden);
            let (d, m) = (width / unit, hidden / unit);
            let of = 3 * d + 2 * m;
            return vec![
                rows(stem, "to_q", [0, d, of]),
                rows(stem, "to_k", [d, d, of]),
                rows(stem, "to_v", [2 * d, d, of]),
                rows(stem, "gate", [3 * d, m, of]),
                rows(stem, "up", [3 * d + m, m, of]),
            ];
        }
        vec![(name.replace(".linear_out.", ".down."), Part::Whole)]
    }
}

/// The largest number that divides both.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_fused_tensor_are_all_somebodys() {
        let config = Flux2Config { mlp_ratio: 2.5, ..Flux2Config::default() };
        let parts = config.ours("single_transformer_blocks.3.attn.to_qkv_mlp_proj.weight");
        assert_eq!(parts[3].0, "single_transformer_blocks.3.attn.gate.weight");
        let mut next = 0;
        for (_, part) in parts {
            let Part::Rows { first, count, of } = part else { panic!("{part:?}") };
            assert_eq!((first, of), (next, 16));
            next += count;
        }
        assert_eq!(next, 16); // 3 x 2 and 2 x 5
    }
}
