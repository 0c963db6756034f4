//! Qwen-Image's transformer (Wu et al., 2025, arXiv 2508.02324, sec. 2.2) as a [`Flux`]: blocks of two streams alone, text tokens normalised
//! and of any number, no pooled text, places counted from the image's middle. Its configuration has diffusers' names.

use super::{Flux, FluxConfig};
use crate::init::Init;
use crate::layers::RmsNorm;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, names};
use base::Device;
use serde::{Deserialize, Serialize};

/// Qwen-Image.
pub const QWEN_IMAGE: base::Paper =
    base::Paper::arxiv("wu2025qwenimage", "{Qwen Team}", "Qwen-Image Technical Report", (2025, "2508.02324"), "arXiv");

/// Sizes of Qwen-Image's transformer; the defaults are diffusers', those of the release with 20 B parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QwenImageConfig {
    /// Side of the square of latent pixels that is one token: 2.
    pub patch_size: usize,
    /// Numbers of a token.
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: Option<usize>,
    /// Blocks.
    pub num_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a text token.
    pub joint_attention_dim: usize,
    /// Whether it is told a guidance scale: no release is.
    pub guidance_embeds: bool,
    /// Features of a head that turn with frame, row and column; together the head's.
    pub axes_dims_rope: [usize; 3],
    /// Of its kin that read pictures: not built here.
    pub zero_cond_t: bool,
    /// The same.
    pub use_additional_t_cond: bool,
    /// The same.
    pub use_layer3d_rope: bool,
}

impl Default for QwenImageConfig {
    fn default() -> Self {
        Self {
            patch_size: 2,
            in_channels: 64,
            out_channels: Some(16),
            num_layers: 60,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 3584,
            guidance_embeds: false,
            axes_dims_rope: [16, 56, 56],
            zero_cond_t: false,
            use_additional_t_cond: false,
            use_layer3d_rope: false,
        }
    }
}

impl Published for QwenImageConfig {
    const IDLE: &'static [&'static str] = &["pooled_projection_dim"];

    fn check(&self) -> Result<(), NetsError> {
        positive("joint_attention_dim", self.joint_attention_dim)?;
        only("patch_size", &self.patch_size, &[2])?;
        for (name, value) in [
            ("guidance_embeds", self.guidance_embeds),
            ("zero_cond_t", self.zero_cond_t),
            ("use_additional_t_cond", self.use_additional_t_cond),
            ("use_layer3d_rope", self.use_layer3d_rope),
        ] {
            only(name, &value, &[false])?;
        }
        only("out_channels", &self.out_channels.map(|c| 4 * c), &[Some(self.in_channels)])?;
        self.as_flux().check()
    }
}

impl QwenImageConfig {
    /// The sizes that it shares with FLUX.
    fn as_flux(&self) -> FluxConfig {
        FluxConfig {
            patch_size: 1,
            in_channels: self.in_channels,
            out_channels: None,
            num_layers: self.num_layers,
            num_single_layers: 0,
            attention_head_dim: self.attention_head_dim,
            num_attention_heads: self.num_attention_heads,
            joint_attention_dim: self.joint_attention_dim,
            pooled_projection_dim: 1, // see `declare`
            guidance_embeds: false,
            axes_dims_rope: self.axes_dims_rope,
        }
    }

    /// Features of a token inside the network.
    pub fn width(&self) -> usize {
        self.as_flux().width()
    }

    /// Whether latents of `height` x `width` can be drawn.
    ///
    /// # Errors
    /// [`NetsError::Config`] for a side that is not even.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), NetsError> {
        self.as_flux().check_size(height, width)
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Flux, NetsError> {
        self.check()?;
        let init = Init::declared(device);
        let sizes = FluxConfig { pooled_projection_dim: 0, ..self.as_flux() };
        let norm = RmsNorm::new(&init.child("txt_norm"), self.joint_attention_dim);
        Ok(Flux { txt_norm: Some(norm), centred: true, ..Flux::new(&sizes, &init) })
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Flux, NetsError> {
        let renamed = Renamed::new(source, |theirs| vec![(ours(theirs), Part::Whole)])?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}

/// A tensor's name in diffusers under ours.
fn ours(theirs: &str) -> String {
    const PIECES: [(&str, &str); 6] = [
        ("img_in.", "x_embedder."),
        ("txt_in.", "context_embedder."),
        (".img_mod.1.", ".norm1.linear."),
        (".txt_mod.1.", ".norm1_context.linear."),
        (".img_mlp.", ".ff."),
        (".txt_mlp.", ".ff_context."),
    ];
    names::ours(&PIECES.iter().fold(theirs.to_owned(), |name, (old, new)| name.replace(old, new)))
}

/// Places of `text` tokens, which follow each other from half the image's longer side on, the same along all axes, and of image tokens at
/// (0, row, column), counted from the middle.
pub(super) fn places(text: usize, [rows, columns]: [usize; 2]) -> impl Iterator<Item = [f64; 3]> {
    let first = rows.max(columns) / 2;
    let words = (0..text).map(move |i| [(first + i) as f64; 3]);
    let from_middle = |at: usize, all: usize| at as f64 - (all - all / 2) as f64;
    let image = (0..rows).flat_map(move |row| {
        (0..columns).map(move |column| [0.0, from_middle(row, rows), from_middle(column, columns)])
    });
    words.chain(image)
}
