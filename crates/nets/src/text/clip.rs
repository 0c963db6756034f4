//! CLIP's text encoder (Radford et al., 2021, arXiv 2103.00020, sec. 2.4), as Stable Diffusion and FLUX read prompts: a causal
//! transformer over byte pairs, normalised before each part.

use crate::init::{Init, Weights};
use crate::layers::{LayerNorm, Linear, Table, apart, biased_attention};
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, layers::widened};
use base::{Device, Int, Tensor, TensorData};
use burn::module::Module;
use burn::tensor::activation;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Clip`], under the names of its published config.json; the defaults are transformers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Words known.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Hidden width of a layer's perceptron.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; must divide the features.
    pub num_attention_heads: usize,
    /// Tokens of a text at most.
    pub max_position_embeddings: usize,
    /// `quick_gelu` (OpenAI's) or `gelu` (OpenCLIP's).
    pub hidden_act: String,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// The token a text ends in, where the text as a whole is read off. Old files say 2, which means the greatest id.
    pub eos_token_id: i64,
    /// Features of the projected text.
    pub projection_dim: usize,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
            projection_dim: 512,
        }
    }
}

impl Published for ClipConfig {
    const IDLE: &'static [&'static str] = &[
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dropout",
        "dtype",
        "initializer_factor",
        "initializer_range",
        "model_type",
        "pad_token_id",
        "torch_dtype",
        "transformers_version",
    ];

    fn check(&self) -> Result<(), NetsError> {
        let (d, heads) = (self.hidden_size, self.num_attention_heads);
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", d),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("projection_dim", self.projection_dim),
        ] {
            positive(name, value)?;
        }
        if !d.is_multiple_of(heads) {
            return Err(NetsError::config(format!(
                "num_attention_heads is {heads}, which does not divide {d} features"
            )));
        }
        only("hidden_act", &self.hidden_act.as_str(), &["quick_gelu", "gelu"])
    }
}

impl ClipConfig {
    /// The encoder without values; `projected` with the matrix that `CLIPTextModelWithProjection` has.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, projected: bool, device: &Device) -> Result<Clip, NetsError> {
        self.check()?;
        Ok(Clip::new(self, projected, &Init::declared(device)))
    }

    /// The encoder with the weights of `source`, under transformers' names with or without `text_model.` before them.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S>(&self, projected: bool, source: &S, device: &Device) -> Result<Clip, NetsError>
    where
        S: TensorSource + ?Sized,
    {
        let renamed = Renamed::new(source, |theirs| {
            let name = theirs.strip_prefix("text_model.").unwrap_or(theirs);
            // A buffer that counts from 0 up.
            if name == "embeddings.position_ids" { Vec::new() } else { vec![(name.to_owned(), Part::Whole)] }
        })?;
        load(self.declare(projected, device)?, &renamed, Strict::Exact)
    }
}

/// Words and places.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// A row for each word.
    pub token_embedding: Table,
    /// A row for each place.
    pub position_embedding: Table,
}

/// Attention of each token to itself and those before it.
#[derive(Module, Debug)]
pub struct CausalAttention {
    /// Queries.
    pub q_proj: Linear,
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Heads back to features.
    pub out_proj: Linear,
}

/// Two layers with an activation between.
#[derive(Module, Debug)]
pub struct Perceptron {
    /// Features to hidden.
    pub fc1: Linear,
    /// Hidden to features.
    pub fc2: Linear,
}

/// One layer.
#[derive(Module, Debug)]
pub struct ClipLayer {
    /// Attention.
    pub self_attn: CausalAttention,
    /// Before the attention.
    pub layer_norm1: LayerNorm,
    /// Before the perceptron.
    pub layer_norm2: LayerNorm,
    /// Perceptron.
    pub mlp: Perceptron,
}

/// The layers.
#[derive(Module, Debug)]
pub struct Layers {
    /// First to last.
    pub layers: Vec<ClipLayer>,
}

/// The encoder of [`ClipConfig`].
#[derive(Module, Debug)]
pub struct Clip {
    /// Words and places.
    pub embeddings: Embeddings,
    /// The layers.
    pub encoder: Layers,
    /// After the last layer.
    pub final_layer_norm: LayerNorm,
    /// The text as a whole to the space shared with images.
    pub text_projection: Option<Linear>,
    heads: usize,
    quick: bool,
    end: i64,
}

/// What an encoder says of a batch of texts.
#[derive(Clone, Debug)]
pub struct Reading {
    /// A vector for each token, `[b n d]`.
    pub tokens: Tensor<3>,
    /// A vector for each text, `[b d]`, projected where the encoder has a projection.
    pub pooled: Tensor<2>,
}

impl Clip {
    fn new(config: &ClipConfig, projected: bool, init: &Init) -> Self {
        let d = config.hidden_size;
        let linear = |init: &Init, name: &str, input, output| {
            Linear::new(&init.child(name), input, output, Weights::Normal(0.02))
        };
        let norm = |init: &Init, name: &str| LayerNorm::new(&init.child(name), d, config.layer_norm_eps);
        let layers = init.child("encoder").child("layers");
        let layer = |i: usize| {
            let init = layers.child(i);
            let (attn, mlp) = (init.child("self_attn"), init.child("mlp"));
            ClipLayer {
                self_attn: CausalAttention {
                    q_proj: linear(&attn, "q_proj", d, d),
                    k_proj: linear(&attn, "k_proj", d, d),
                    v_proj: linear(&attn, "v_proj", d, d),
                    out_proj: linear(&attn, "out_proj", d, d),
                },
                layer_norm1: norm(&init, "layer_norm1"),
                layer_norm2: norm(&init, "layer_norm2"),
                mlp: Perceptron {
                    fc1: linear(&mlp, "fc1", d, config.intermediate_size),
                    fc2: linear(&mlp, "fc2", config.intermediate_size, d),
                },
            }
        };
        let place = init.child("embeddings");
        let projection =
            || Linear::without_bias(&init.child("text_projection"), d, config.projection_dim, Weights::Normal(0.02));
        Self {
            embeddings: Embeddings {
                token_embedding: Table::new(&place.child("token_embedding"), config.vocab_size, d),
                position_embedding: Table::new(&place.child("position_embedding"), config.max_position_embeddings, d),
            },
            encoder: Layers { layers: (0..config.num_hidden_layers).map(layer).collect() },
            final_layer_norm: norm(init, "final_layer_norm"),
            text_projection: projected.then(projection),
            heads: config.num_attention_heads,
            quick: config.hidden_act == "quick_gelu",
            end: config.eos_token_id,
        }
    }

    /// Words known.
    pub fn vocabulary(&self) -> usize {
        self.embeddings.token_embedding.rows()
    }

    /// Tokens of a text at most.
    pub fn positions(&self) -> usize {
        self.embeddings.position_embedding.rows()
    }

    /// Layers.
    pub fn depth(&self) -> usize {
        self.encoder.layers.len()
    }

    /// Reads ids `[b n]`, row-major, below [`vocabulary`](Self::vocabulary), `n` at most [`positions`](Self::positions). Tokens
    /// are those before the last `early` layers, at most [`depth`](Self::depth), without the final normalisation; with 0 they are
    /// the last layer's with it. The pooled vector is always the last layer's.
    pub fn read(&self, ids: &[i64], [b, n]: [usize; 2], early: usize, device: &Device) -> Reading {
        let numbers = Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [b * n]), device);
        let words = self.embeddings.token_embedding.forward(numbers);
        let d = words.dims()[1];
        let places = widened(&self.embeddings.position_embedding.weight).narrow(0, 0, n);
        let mut x = words.reshape([b, n, d]) + places.unsqueeze::<3>();
        let bias = causal(n, device);
        let mut tokens = None;
        for (i, layer) in self.encoder.layers.iter().enumerate() {
            if i + early == self.depth() {
                tokens = Some(x.clone());
            }
            x = self.layer(layer, x, &bias);
        }
        let last = self.final_layer_norm.forward(x);
        // The vector at each text's end.
        let ends: Vec<i64> = ids.chunks(n).enumerate().map(|(row, ids)| (row * n + self.end_of(ids)) as i64).collect();
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [b]), device);
        let pooled: Tensor<2> = last.clone().reshape([b * n, d]).select(0, ends);
        let pooled = match &self.text_projection {
            Some(projection) => projection.forward(pooled),
            None => pooled,
        };
        Reading { tokens: tokens.unwrap_or(last), pooled }
    }

    /// Where a text ends: its first end token, or, where the configuration's is the historic 2, its greatest id.
    fn end_of(&self, ids: &[i64]) -> usize {
        let wanted = if self.end == 2 { ids.iter().max().copied().unwrap_or(0) } else { self.end };
        ids.iter().position(|id| *id == wanted).unwrap_or(0)
    }

    fn layer(&self, layer: &ClipLayer, x: Tensor<3>, bias: &Tensor<4>) -> Tensor<3> {
        let ClipLayer { self_attn, layer_norm1, layer_norm2, mlp } = layer;
        let y = layer_norm1.forward(x.clone());
        let [q, k, v] = [&self_attn.q_proj, &self_attn.k_proj, &self_attn.v_proj]
            .map(|linear| apart(linear.forward(y.clone()), self.heads));
        let scale = (q.dims()[3] as f64).powf(-0.5);
        let y = biased_attention(q, k, v, scale, bias.clone());
        let x = x + self_attn.out_proj.forward(kernels::join_heads(y));
        let y = mlp.fc1.forward(layer_norm2.forward(x.clone()));
        // x sigmoid(1.702 x) is SiLU at another pace.
        let y = if self.quick { kernels::silu(y * 1.702) / 1.702 } else { activation::gelu(y) };
        x + mlp.fc2.forward(y)
    }
}

/// Nothing for a token and those before it, as good as minus infinity for those after it: `[1 1 n n]`.
pub(super) fn causal(n: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..n * n).map(|i| if i % n > i / n { -1e30 } else { 0.0 }).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), device)
}
