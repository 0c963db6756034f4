//! The released autoencoder: points of a surface to latent vectors, latent vectors to a field.
//!
//! The field that is handed on there is positive inside; what the last layer says is its negative, which is this project's sign and is not turned.

use super::blocks::{Block, EPSILON, Looks};
use super::ours;
use super::sizes::{TripoSgVaeConfig, count, divides, matrix};
use crate::NetsError;
use crate::init::{Init, Weights};
use crate::layers::{LayerNorm, Linear};
use crate::published::Published;
use crate::shape::{FEATURES, Moments, embed};
use crate::weights::{Renamed, Strict, TensorSource, load};
use base::{Device, Tensor};
use burn::module::Module;
use kernels::Precision;

/// Surface points to latent vectors.
#[derive(Module, Debug)]
pub struct TripoSgEncoder {
    /// Points and normals to features.
    pub proj_in: Linear,
    /// One across, from some points to all, then those within.
    pub blocks: Vec<Block>,
    /// After the last.
    pub norm_out: LayerNorm,
    /// Features to means and logarithms of variances.
    pub quant: Linear,
}

/// Latent vectors to a field.
#[derive(Module, Debug)]
pub struct TripoSgDecoder {
    /// Numbers of a latent vector to features.
    pub post_quant: Linear,
    /// Those within, then one across, from points to what they say.
    pub blocks: Vec<Block>,
    /// Points to features.
    pub proj_query: Linear,
    /// After the last.
    pub norm_out: LayerNorm,
    /// Features to the field.
    pub proj_out: Linear,
}

/// What latent vectors of one shape have to say, once for all points.
pub type Said = [Tensor<4>; 2];

/// The names of one half under ours; the other half's are left, and what belongs to neither is kept to be found.
fn half<'a, S: TensorSource + ?Sized>(
    source: &'a S,
    [own, other]: [[&'static str; 2]; 2],
) -> Result<Renamed<'a, S>, NetsError> {
    Renamed::new(source, move |theirs| match theirs {
        _ if other.iter().any(|prefix| theirs.starts_with(prefix)) => Vec::new(),
        _ => ours(theirs.strip_prefix(own[0]).unwrap_or(theirs)),
    })
}

/// Prefixes of the halves.
const ENCODER: [&str; 2] = ["encoder.", "quant."];
const DECODER: [&str; 2] = ["decoder.", "post_quant."];

impl TripoSgVaeConfig {
    fn looks(&self, width: usize, cross: bool) -> Result<Looks, NetsError> {
        let heads = self.num_attention_heads;
        divides(heads, width)?;
        Ok(Looks { width, context: width, heads, normed: false, norm_cross: cross })
    }

    /// The decoder with the weights of `source`, in the types they are stored in.
    ///
    /// # Errors
    /// Tensors that are missing, unexpected or of another shape, each by name; points that are told otherwise than here.
    pub fn decoder<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<TripoSgDecoder, NetsError> {
        self.check()?;
        let [width, channels] = matrix(source, "post_quant.weight")?;
        let depth = count(source, "decoder.blocks.");
        let (within, across) = (self.looks(width, false)?, self.looks(width, true)?);
        told(source, "decoder.proj_query.weight", FEATURES)?;
        let init = Init::declared(device);
        let list = init.child("blocks");
        let block = |i: usize| match i + 1 == depth {
            false => Block::new(&list.child(i), Some(within), None, width, false),
            true => Block::new(&list.child(i), None, Some(across), width, false),
        };
        let decoder = TripoSgDecoder {
            post_quant: Linear::new(&init.child("post_quant"), channels, width, Weights::Xavier),
            blocks: (0..depth).map(block).collect(),
            proj_query: Linear::new(&init.child("proj_query"), FEATURES, width, Weights::Xavier),
            norm_out: LayerNorm::new(&init.child("norm_out"), width, EPSILON),
            proj_out: Linear::new(&init.child("proj_out"), width, 1, Weights::Xavier),
        };
        load(decoder, &half(source, [DECODER, ENCODER])?, Strict::Exact)
    }

    /// The encoder with the weights of `source`.
    ///
    /// # Errors
    /// Those of [`decoder`](Self::decoder).
    pub fn encoder<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<TripoSgEncoder, NetsError> {
        self.check()?;
        let [moments, width] = matrix(source, "quant.weight")?;
        let depth = count(source, "encoder.blocks.");
        let (within, across) = (self.looks(width, false)?, self.looks(width, true)?);
        told(source, "encoder.proj_in.weight", FEATURES + 3)?;
        let init = Init::declared(device);
        let list = init.child("blocks");
        let block = |i: usize| match i {
            0 => Block::new(&list.child(i), None, Some(across), width, false),
            _ => Block::new(&list.child(i), Some(within), None, width, false),
        };
        let encoder = TripoSgEncoder {
            proj_in: Linear::new(&init.child("proj_in"), FEATURES + 3, width, Weights::Xavier),
            blocks: (0..depth).map(block).collect(),
            norm_out: LayerNorm::new(&init.child("norm_out"), width, EPSILON),
            quant: Linear::new(&init.child("quant"), width, moments, Weights::Xavier),
        };
        load(encoder, &half(source, [ENCODER, DECODER])?, Strict::Exact)
    }
}

/// Refuses points that are told by another number of sinusoids.
fn told<S: TensorSource + ?Sized>(source: &S, name: &str, wanted: usize) -> Result<(), NetsError> {
    match matrix(source, name)? {
        [_, found] if found == wanted => Ok(()),
        [_, found] => Err(NetsError::Tensor {
            name: name.into(),
            problem: format!("reads {found} numbers of a point; this program tells it by {wanted} (8 octaves)"),
        }),
    }
}

impl TripoSgEncoder {
    /// `cloud` `[b p 6]` (points and unit normals) and `anchors` `[b m 6]`, some of them: a latent vector for each anchor.
    pub fn forward(&self, cloud: Tensor<3>, anchors: Tensor<3>) -> Moments {
        let read = |six: Tensor<3>| {
            let (points, normals) = (six.clone().narrow(2, 0, 3), six.narrow(2, 3, 3));
            self.proj_in.forward(Tensor::cat(vec![embed(points), normals], 2))
        };
        let cloud = read(cloud);
        let x = self.blocks.iter().fold(read(anchors), |x, block| block.forward(x, None, block.seen(cloud.clone())));
        let moments = self.quant.forward(self.norm_out.forward(x));
        let channels = moments.dims()[2] / 2;
        Moments {
            mean: moments.clone().narrow(2, 0, channels),
            log_variance: moments.narrow(2, channels, channels).clamp(-30.0, 20.0),
        }
    }
}

impl TripoSgDecoder {
    /// Numbers of a latent vector.
    pub fn channels(&self) -> usize {
        self.post_quant.weight.dims()[1]
    }

    /// What latent vectors `[b m channels]` have to say, once for all points; `None` of a decoder without blocks.
    pub fn prepare(&self, latents: Tensor<3>) -> Option<Said> {
        let (last, within) = self.blocks.split_last()?;
        last.seen(within.iter().fold(self.post_quant.forward(latents), |x, block| block.forward(x, None, None)))
    }

    /// The field at `points` `[b n 3]`, negative inside: `[b n]`. Each point is answered for itself.
    pub fn field(&self, said: &Said, points: Tensor<3>) -> Tensor<2> {
        // Points in full even where products are in halves: 8 digits are a cell of 512 near the rim.
        let mut x = Precision::F32.scope(|| self.proj_query.forward(embed(points)));
        if let Some(last) = self.blocks.last() {
            x = last.forward(x, None, Some(said.clone()));
        }
        let y: Tensor<3> = self.proj_out.forward(self.norm_out.forward(x)); // [b n 1]
        y.squeeze_dim::<2>(2)
    }
}
