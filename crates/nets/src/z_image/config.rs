//! Configuration of Z-Image's transformer under the names of diffusers' `ZImageTransformer2DModel`.

use super::ZImage;
use crate::NetsError;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use base::Device;
use serde::{Deserialize, Serialize};

/// Widest embedding of the time.
const EMBEDDING: usize = 256;

/// Sizes of a [`ZImage`]; the defaults are diffusers', those of the release with 6 B parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZImageConfig {
    /// Sides of the squares of latent pixels that become a token: one kind, of 2.
    pub all_patch_size: Vec<usize>,
    /// Frames of a token: 1.
    pub all_f_patch_size: Vec<usize>,
    /// Channels of a latent.
    pub in_channels: usize,
    /// Features of a token.
    pub dim: usize,
    /// Blocks that read text and image together.
    pub n_layers: usize,
    /// Blocks before them that read the image alone, and as many that read the text alone.
    pub n_refiner_layers: usize,
    /// Heads.
    pub n_heads: usize,
    /// Heads of keys and values; as many.
    pub n_kv_heads: usize,
    /// Added to mean squares.
    pub norm_eps: f64,
    /// Whether queries and keys are normalised; they are.
    pub qk_norm: bool,
    /// Features of a text token.
    pub cap_feat_dim: usize,
    /// Base of the angles' wavelengths.
    pub rope_theta: f64,
    /// Times are multiplied by this before their sinusoids.
    pub t_scale: f64,
    /// Features of a head that turn with a token's number in the text, row and column; together the head's.
    pub axes_dims: [usize; 3],
    /// Places along each of these.
    pub axes_lens: [usize; 3],
    /// Of networks that also read pictures, which are not built here.
    pub siglip_feat_dim: Option<usize>,
}

impl Default for ZImageConfig {
    fn default() -> Self {
        Self {
            all_patch_size: vec![2],
            all_f_patch_size: vec![1],
            in_channels: 16,
            dim: 3840,
            n_layers: 30,
            n_refiner_layers: 2,
            n_heads: 30,
            n_kv_heads: 30,
            norm_eps: 1e-5,
            qk_norm: true,
            cap_feat_dim: 2560,
            rope_theta: 256.0,
            t_scale: 1000.0,
            axes_dims: [32, 48, 48],
            axes_lens: [1024, 512, 512],
            siglip_feat_dim: None,
        }
    }
}

impl Published for ZImageConfig {
    const IDLE: &'static [&'static str] = &[];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("dim", self.dim),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("cap_feat_dim", self.cap_feat_dim),
        ] {
            positive(name, value)?;
        }
        only("all_patch_size", &&self.all_patch_size[..], &[&[2]])?;
        only("all_f_patch_size", &&self.all_f_patch_size[..], &[&[1]])?;
        only("n_kv_heads", &self.n_kv_heads, &[self.n_heads])?;
        only("qk_norm", &self.qk_norm, &[true])?;
        only("siglip_feat_dim", &self.siglip_feat_dim, &[None])?;
        let (axes, lengths) = (self.axes_dims, self.axes_lens);
        let head = axes.iter().try_fold(0usize, |sum, axis| sum.checked_add(*axis));
        if axes.iter().any(|axis| *axis == 0 || axis % 2 != 0)
            || head.and_then(|head| head.checked_mul(self.n_heads)) != Some(self.dim)
        {
            return Err(NetsError::config(format!(
                "axes_dims is {axes:?}; it must be even numbers whose sum times n_heads ({}) is dim ({})",
                self.n_heads, self.dim
            )));
        }
        if lengths.contains(&0) {
            return Err(NetsError::config(format!("axes_lens is {lengths:?}; each must be 1 or more")));
        }
        for (name, value) in [("norm_eps", self.norm_eps), ("t_scale", self.t_scale), ("rope_theta", self.rope_theta)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(NetsError::config(format!("{name} is {value}; it must be a positive number")));
            }
        }
        Ok(())
    }
}

impl ZImageConfig {
    /// Hidden width of the perceptrons.
    pub fn hidden(&self) -> usize {
        (self.dim as f64 / 3.0 * 8.0) as usize
    }

    /// Width of the time's embedding.
    pub(super) fn embedding(&self) -> usize {
        self.dim.min(EMBEDDING)
    }

    /// Whether latents of `height` x `width` can be drawn.
    ///
    /// # Errors
    /// [`NetsError::Config`] for sides that are not even or longer than there are places.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), NetsError> {
        let [_, rows, columns] = self.axes_lens;
        let fits = |n: usize, most: usize| n > 0 && n.is_multiple_of(2) && n / 2 <= most;
        if fits(height, rows) && fits(width, columns) {
            return Ok(());
        }
        Err(NetsError::config(format!(
            "latents of {height}x{width} do not fit this network: each side must be even, and at most {} high and {} wide",
            2 * rows,
            2 * columns
        )))
    }

    /// The network without values: its parameters have names and shapes.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<ZImage, NetsError> {
        self.check()?;
        Ok(ZImage::new(self, &Init::declared(device)))
    }

    /// The network with the weights of `source`, under diffusers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<ZImage, NetsError> {
        let renamed = Renamed::new(source, |theirs| vec![(ours(theirs), Part::Whole)])?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}

/// A tensor's name in diffusers under ours.
fn ours(theirs: &str) -> String {
    const PIECES: [(&str, &str); 12] = [
        ("all_x_embedder.2-1.", "x_embedder."),
        ("all_final_layer.2-1.adaLN_modulation.1.", "norm_out.linear."),
        ("all_final_layer.2-1.linear.", "proj_out."),
        ("t_embedder.mlp.0.", "t_embedder.linear_1."),
        ("t_embedder.mlp.2.", "t_embedder.linear_2."),
        ("cap_embedder.0.", "cap_norm."),
        ("cap_embedder.1.", "cap_embedder."),
        (".adaLN_modulation.0.", ".modulation.linear."),
        (".to_out.0.", ".to_out."),
        (".feed_forward.w1.", ".feed_forward.gate."),
        (".feed_forward.w2.", ".feed_forward.down."),
        (".feed_forward.w3.", ".feed_forward.up."),
    ];
    PIECES.iter().fold(theirs.to_owned(), |name, (old, new)| name.replace(old, new))
}
