//! An autoencoder of shapes: a cloud of surface points becomes a set of latent vectors, a set of latent vectors a signed distance.
//! TripoSG (Li et al. 2025, arXiv:2502.06608, sec. 3.2), after 3DShape2VecSet (arXiv:2301.11445).
//!
//! Tokens carry no positional code, so that a codec trained on few decodes many. The field is the distance divided by
//! [`ShapeCodecConfig::truncation`] and cut at ±1, negative inside (the release exports it inside-positive).

pub(crate) mod blocks;
mod embedding;
mod experts;
mod eye;
pub mod losses;
mod set_transformer;

pub use blocks::{Cross, CrossBlock, LayerNorm, SelfBlock, Within};
pub use embedding::{FEATURES, embed};
pub use experts::{Experts, ExpertsConfig, SWITCH};
pub use eye::{Eye, EyeConfig};
pub use set_transformer::{Join, SetBlock, SetTransformer, SetTransformerConfig, TRIPOSG, Voice};

use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::{NetsError, net::positive};
use base::{Device, Tensor};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Configuration of a [`ShapeCodec`]. The default is small enough to train on two cores; the release is 512 wide with 8 blocks
/// into 64 numbers a token and back through 16 blocks of width 1024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapeCodecConfig {
    /// Features of the encoder.
    pub encoder_width: usize,
    /// Self-attention blocks of the encoder.
    pub encoder_depth: usize,
    /// Features of the decoder.
    pub decoder_width: usize,
    /// Self-attention blocks of the decoder.
    pub decoder_depth: usize,
    /// Heads of both.
    pub heads: usize,
    /// Numbers of a token.
    pub channels: usize,
    /// Distance at which the field is cut, in units of the cube [-1, 1]³.
    pub truncation: f64,
}

impl Default for ShapeCodecConfig {
    fn default() -> Self {
        let (encoder_width, decoder_width) = (96, 96);
        Self {
            encoder_width,
            encoder_depth: 2,
            decoder_width,
            decoder_depth: 4,
            heads: 4,
            channels: 16,
            truncation: 0.25,
        }
    }
}

impl ShapeCodecConfig {
    /// Ranges: sizes positive, heads divide both widths, truncation positive.
    ///
    /// # Errors
    /// Names the key that is out of range.
    pub fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("shape.encoder_width", self.encoder_width),
            ("shape.decoder_width", self.decoder_width),
            ("shape.heads", self.heads),
            ("shape.channels", self.channels),
        ] {
            positive(name, value)?;
        }
        for (name, width) in [("encoder_width", self.encoder_width), ("decoder_width", self.decoder_width)] {
            if !width.is_multiple_of(self.heads) {
                let heads = self.heads;
                return Err(NetsError::config(format!(
                    "shape.{name} is {width}; it must be a multiple of heads, {heads}"
                )));
            }
        }
        if !(self.truncation > 0.0 && self.truncation <= 2.0) {
            return Err(NetsError::config(format!("shape.truncation is {}; use a length up to 2", self.truncation)));
        }
        Ok(())
    }

    /// The codec with weights from `seed`.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn init(&self, seed: u64, device: &Device) -> Result<ShapeCodec, NetsError> {
        self.build(&Init::new(seed, device))
    }

    /// The codec with weights as `root` makes them.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails.
    pub fn build(&self, root: &Init) -> Result<ShapeCodec, NetsError> {
        self.check()?;
        let (encoder, decoder) = (root.child("encoder"), root.child("decoder"));
        let (e, d, heads) = (self.encoder_width, self.decoder_width, self.heads);
        let blocks = |init: &Init, depth, width| {
            (0..depth).map(|i| SelfBlock::new(&init.child("blocks").child(i), width, heads)).collect()
        };
        Ok(ShapeCodec {
            encoder: ShapeEncoder {
                input: Linear::new(&encoder.child("input"), FEATURES + 3, e, Weights::Xavier),
                gather: CrossBlock::new(&encoder.child("gather"), e, heads),
                blocks: blocks(&encoder, self.encoder_depth, e),
                norm: LayerNorm::new(&encoder.child("norm"), e),
                moments: Linear::new(&encoder.child("moments"), e, 2 * self.channels, Weights::Xavier),
            },
            decoder: ShapeDecoder {
                input: Linear::new(&decoder.child("input"), self.channels, d, Weights::Xavier),
                blocks: blocks(&decoder, self.decoder_depth, d),
                query: Linear::new(&decoder.child("query"), FEATURES, d, Weights::Xavier),
                ask: CrossBlock::new(&decoder.child("ask"), d, heads),
                norm: LayerNorm::new(&decoder.child("norm"), d),
                output: Linear::new(&decoder.child("output"), d, 1, Weights::Xavier),
            },
        })
    }
}

/// Surface points to latent vectors.
#[derive(Module, Debug)]
pub struct ShapeEncoder {
    input: Linear,
    gather: CrossBlock,
    blocks: Vec<SelfBlock>,
    norm: LayerNorm,
    moments: Linear,
}

/// Latent vectors to a field.
#[derive(Module, Debug)]
pub struct ShapeDecoder {
    input: Linear,
    blocks: Vec<SelfBlock>,
    query: Linear,
    ask: CrossBlock,
    norm: LayerNorm,
    output: Linear,
}

/// The network of [`ShapeCodecConfig`].
#[derive(Module, Debug)]
pub struct ShapeCodec {
    /// Surface points to latent vectors.
    pub encoder: ShapeEncoder,
    /// Latent vectors to a field.
    pub decoder: ShapeDecoder,
}

/// What the encoder says of each number of each token: a normal distribution, `[b m channels]` each.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Means.
    pub mean: Tensor<3>,
    /// Logarithms of variances, between -30 and 20.
    pub log_variance: Tensor<3>,
}

impl Moments {
    /// The tokens that `noise`, standard normal of the same shape, draws.
    pub fn draw(&self, noise: Tensor<3>) -> Tensor<3> {
        self.mean.clone() + (self.log_variance.clone() * 0.5).exp() * noise
    }
}

impl ShapeEncoder {
    /// `cloud` `[b p 6]` (points and unit normals) and `anchors` `[b m 6]`, some of them, far from one another: a token for each
    /// anchor.
    pub fn forward(&self, cloud: Tensor<3>, anchors: Tensor<3>) -> Moments {
        let read = |six: Tensor<3>| {
            let (points, normals) = (six.clone().narrow(2, 0, 3), six.narrow(2, 3, 3));
            self.input.forward(Tensor::cat(vec![embed(points), normals], 2))
        };
        let mut x = self.gather.forward(read(anchors), read(cloud)); // [b m d]
        for block in &self.blocks {
            x = block.forward(x);
        }
        let moments = self.moments.forward(self.norm.forward(x));
        let channels = moments.dims()[2] / 2;
        Moments {
            mean: moments.clone().narrow(2, 0, channels),
            log_variance: moments.narrow(2, channels, channels).clamp(-30.0, 20.0),
        }
    }
}

impl ShapeDecoder {
    /// What the tokens `[b m channels]` have to say, once for all points: `[b m d]`.
    pub fn prepare(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.blocks.iter().fold(self.input.forward(tokens), |x, block| block.forward(x))
    }

    /// The field at `points` `[b n 3]`: `[b n]`. Each point is answered for itself.
    pub fn field(&self, prepared: &Tensor<3>, points: Tensor<3>) -> Tensor<2> {
        let x = self.ask.forward(self.query.forward(embed(points)), prepared.clone());
        let y: Tensor<3> = self.output.forward(self.norm.forward(x)); // [b n 1]
        y.squeeze_dim::<2>(2)
    }

    /// The field at `points` and its gradient by central differences of half width `step`, `[b n]` and `[b n 3]`: kernels have no
    /// second derivatives, and the loss of a gradient needs them. (The release offers both.)
    pub fn field_and_gradient(&self, prepared: &Tensor<3>, points: Tensor<3>, step: f64) -> (Tensor<2>, Tensor<3>) {
        let n = points.dims()[1];
        let mut asked = vec![points.clone()];
        for axis in 0..3 {
            let mut offset = [0.0f32; 3];
            offset[axis] = step as f32;
            let offset = Tensor::<1>::from_floats(offset, &points.device()).reshape([1, 1, 3]);
            asked.push(points.clone() + offset.clone());
            asked.push(points.clone() - offset);
        }
        let all = self.field(prepared, Tensor::cat(asked, 1)); // [b 7n]
        let part = |i: usize| all.clone().narrow(1, i * n, n);
        let slope = |axis: usize| (part(1 + 2 * axis) - part(2 + 2 * axis)) / (2.0 * step);
        (part(0), Tensor::stack(vec![slope(0), slope(1), slope(2)], 2))
    }
}

#[cfg(test)]
mod tests;
