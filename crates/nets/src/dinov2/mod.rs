//! DINOv2's vision transformer (Oquab et al. 2023, arXiv:2304.07193), as TripoSG reads pictures: patches, a token for the whole, places
//! interpolated to the picture's size, layers that are normalised before each part and scaled after it.
//!
//! Weights are read under transformers' names (`Dinov2Model`), with or without `dinov2.` before them; those of models with registers are
//! refused by name. Perceptrons are plain or SwiGLU.

mod config;
mod places;
#[cfg(test)]
mod tests;

pub use config::Dinov2Config;

use crate::init::{Init, Weights};
use crate::layers::{LayerNorm, Linear, apart, widened};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, published::Published};
use base::{Device, Paper, Tensor, TensorData};
use burn::module::{Module, Param};
use burn::tensor::activation;

/// DINOv2: Learning Robust Visual Features without Supervision.
pub const DINOV2: Paper = Paper::arxiv(
    "oquab2023dinov2",
    "Oquab, Maxime and Darcet, Timoth{\\'e}e and Moutakanni, Th{\\'e}o and others",
    "DINOv2: Learning Robust Visual Features without Supervision",
    (2023, "2304.07193"),
    "TMLR 2024",
);

impl Dinov2Config {
    /// The encoder without values.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Dinov2, NetsError> {
        self.build(&Init::declared(device))
    }

    /// The encoder with weights as `init` makes them.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn build(&self, init: &Init) -> Result<Dinov2, NetsError> {
        self.check()?;
        Ok(Dinov2::new(self, init))
    }

    /// The encoder with the weights of `source`.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S>(&self, source: &S, device: &Device) -> Result<Dinov2, NetsError>
    where
        S: TensorSource + ?Sized,
    {
        let renamed = Renamed::new(source, |theirs| {
            let name = theirs.strip_prefix("dinov2.").unwrap_or(theirs);
            // What stands for hidden patches in its own training.
            if name == "embeddings.mask_token" { Vec::new() } else { vec![(ours(name), Part::Whole)] }
        })?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}

/// This project's name of a tensor.
fn ours(theirs: &str) -> String {
    let mut name = theirs.to_owned();
    for (old, new) in [
        (".attention.attention.query.", ".attention.q_proj."),
        (".attention.attention.key.", ".attention.k_proj."),
        (".attention.attention.value.", ".attention.v_proj."),
        (".attention.output.dense.", ".attention.o_proj."),
        (".layer_scale1.lambda1", ".scale1"),
        (".layer_scale2.lambda1", ".scale2"),
        (".mlp.weights_in.", ".mlp.fc1."),
        (".mlp.weights_out.", ".mlp.fc2."),
        ("patch_embeddings.projection.", "projection."),
    ] {
        name = name.replace(old, new);
    }
    name
}

/// A convolution whose windows tile the picture.
#[derive(Module, Debug)]
pub struct Projection {
    /// `[d c p p]`.
    pub weight: Param<Tensor<4>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
}

/// Patches, the whole and places.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// The token of the whole, `[1 1 d]`.
    pub cls_token: Param<Tensor<3>>,
    /// The place of the whole, then those of a square of patches row by row, `[1 1+n d]`.
    pub position_embeddings: Param<Tensor<3>>,
    /// A patch to features.
    pub projection: Projection,
}

/// Attention of each token to all.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries.
    pub q_proj: Linear,
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Heads back to features.
    pub o_proj: Linear,
}

/// Two layers with an activation between; of SwiGLU the first gives gates and what they let through.
#[derive(Module, Debug)]
pub struct Perceptron {
    /// Features to hidden.
    pub fc1: Linear,
    /// Hidden to features.
    pub fc2: Linear,
}

/// One layer.
#[derive(Module, Debug)]
pub struct Layer {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Attention.
    pub attention: Attention,
    /// What the attention's answer is multiplied by, `[d]`.
    pub scale1: Param<Tensor<1>>,
    /// Before the perceptron.
    pub norm2: LayerNorm,
    /// Perceptron.
    pub mlp: Perceptron,
    /// What the perceptron's answer is multiplied by, `[d]`.
    pub scale2: Param<Tensor<1>>,
}

/// The layers.
#[derive(Module, Debug)]
pub struct Layers {
    /// First to last.
    pub layer: Vec<Layer>,
}

/// The encoder of [`Dinov2Config`].
#[derive(Module, Debug)]
pub struct Dinov2 {
    /// Patches, the whole and places.
    pub embeddings: Embeddings,
    /// The layers.
    pub encoder: Layers,
    /// After the last layer.
    pub layernorm: LayerNorm,
    heads: usize,
    gated: bool,
}

impl Dinov2 {
    fn new(config: &Dinov2Config, init: &Init) -> Self {
        let (d, p, how) = (config.hidden_size, config.patch_size, Weights::Normal(0.02));
        let norm = |init: &Init, name: &str| LayerNorm::new(&init.child(name), d, config.layer_norm_eps);
        let inner = |init: &Init, name: &str| match config.qkv_bias {
            true => Linear::new(&init.child(name), d, d, how),
            false => Linear::without_bias(&init.child(name), d, d, how),
        };
        let layers = init.child("encoder").child("layer");
        let hidden = config.hidden();
        let layer = |i: usize| {
            let init = layers.child(i);
            let (attention, mlp) = (init.child("attention"), init.child("mlp"));
            let scale = |name: &str| init.child(name).constant([d], config.layerscale_value as f32);
            Layer {
                norm1: norm(&init, "norm1"),
                attention: Attention {
                    q_proj: inner(&attention, "q_proj"),
                    k_proj: inner(&attention, "k_proj"),
                    v_proj: inner(&attention, "v_proj"),
                    o_proj: Linear::new(&attention.child("o_proj"), d, d, how),
                },
                scale1: scale("scale1"),
                norm2: norm(&init, "norm2"),
                mlp: Perceptron {
                    fc1: Linear::new(&mlp.child("fc1"), d, hidden * (1 + usize::from(config.use_swiglu_ffn)), how),
                    fc2: Linear::new(&mlp.child("fc2"), hidden, d, how),
                },
                scale2: scale("scale2"),
            }
        };
        let place = init.child("embeddings");
        let projection = place.child("projection");
        Self {
            embeddings: Embeddings {
                cls_token: place.child("cls_token").normal([1, 1, d], 0.02),
                position_embeddings: place.child("position_embeddings").normal([1, 1 + config.places(), d], 0.02),
                projection: Projection {
                    weight: projection.child("weight").normal([d, config.num_channels, p, p], 0.02),
                    bias: projection.child("bias").constant([d], 0.0),
                },
            },
            encoder: Layers { layer: (0..config.num_hidden_layers).map(layer).collect() },
            layernorm: norm(init, "layernorm"),
            heads: config.num_attention_heads,
            gated: config.use_swiglu_ffn,
        }
    }

    /// Pictures `[b c h w]`, normalised as the model's files say, to tokens `[b 1+n d]`: the whole, then the patches row by row. What
    /// reaches past the last whole patch is not seen.
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<3> {
        let mut x = self.embedded(pictures);
        for layer in &self.encoder.layer {
            x = self.layer(layer, x);
        }
        self.layernorm.forward(x)
    }

    fn embedded(&self, pictures: Tensor<4>) -> Tensor<3> {
        let Embeddings { cls_token, position_embeddings, projection } = &self.embeddings;
        let ([b, c, h, w], weight) = (pictures.dims(), widened(&projection.weight));
        let ([d, _, p, _], device) = (weight.dims(), pictures.device());
        let [rows, columns] = [h / p, w / p];
        let whole = pictures.narrow(2, 0, rows * p).narrow(3, 0, columns * p);
        let apart: Tensor<6> = whole.reshape([b, c, rows, p, columns, p]).permute([0, 2, 4, 1, 3, 5]);
        let patches: Tensor<3> = apart.reshape([b, rows * columns, c * p * p]);
        let patches = kernels::linear(patches, weight.reshape([d, c * p * p]), Some(projection.bias.val()));
        let known = widened(position_embeddings);
        let count = known.dims()[1] - 1;
        let side = (1..=count).find(|side| side * side >= count).unwrap_or(1);
        let mut places: Tensor<2> = known.clone().narrow(1, 1, count).reshape([count, d]);
        if [rows, columns] != [side, side] {
            let taps = places::between([side, side], [rows, columns]);
            places = Tensor::<2>::from_data(TensorData::new(taps, [rows * columns, count]), &device).matmul(places);
        }
        let first = (widened(cls_token) + known.narrow(1, 0, 1)).expand([b, 1, d]);
        Tensor::cat(vec![first, patches + places.unsqueeze::<3>()], 1)
    }

    fn layer(&self, layer: &Layer, x: Tensor<3>) -> Tensor<3> {
        let Layer { norm1, attention, scale1, norm2, mlp, scale2 } = layer;
        let scaled = |scale: &Param<Tensor<1>>, y: Tensor<3>| y * scale.val().unsqueeze::<3>();
        let y = norm1.forward(x.clone());
        let [q, k, v] = [&attention.q_proj, &attention.k_proj, &attention.v_proj]
            .map(|linear| apart(linear.forward(y.clone()), self.heads));
        let y = attention.o_proj.forward(kernels::join_heads(kernels::attention(q, k, v, None)));
        let x = x + scaled(scale1, y);
        let y = mlp.fc1.forward(norm2.forward(x.clone()));
        let y = match self.gated {
            false => activation::gelu(y),
            true => {
                let hidden = y.dims()[2] / 2;
                kernels::silu(y.clone().narrow(2, 0, hidden)) * y.narrow(2, hidden, hidden)
            }
        };
        x + scaled(scale2, mlp.fc2.forward(y))
    }
}
