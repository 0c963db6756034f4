//! Qwen3 as a reader of prompts (Qwen Team, 2025, arXiv 2505.09388, sec. 2): a causal transformer over byte pairs, whose states on the way
//! are what networks hear.
//!
//! Normalised by root mean squares before each part, queries and keys once more, several heads of queries to one of keys and values,
//! rotary positions whose pairs are the halves of a head.

use crate::NetsError;
use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, SwiGlu, Table, apart, biased_attention};
use crate::net::positive;
use crate::published::{Published, only};
use crate::rotary::{Rotation, rotation};
use crate::text::clip::causal;
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use base::{Device, Tensor, TensorData};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Qwen`], under the names of its published config.json; the defaults are transformers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QwenConfig {
    /// Words known.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Hidden width of a layer's perceptron.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values, which divide those.
    pub num_key_value_heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Tokens of a text at most.
    pub max_position_embeddings: usize,
    /// Activation; SiLU.
    pub hidden_act: String,
    /// Added to mean squares.
    pub rms_norm_eps: f64,
    /// Base of the angles' wavelengths, as files of older libraries say it.
    pub rope_theta: Option<f64>,
    /// How newer ones say it.
    pub rope_parameters: Option<Rope>,
    /// Whether queries, keys and values have biases; they have none.
    pub attention_bias: bool,
    /// Whether tokens hear those near them alone; they hear all before.
    pub use_sliding_window: bool,
}

/// How positions turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the angles' wavelengths.
    pub rope_theta: f64,
    /// `default`, the one that is built here.
    pub rope_type: String,
}

impl Default for QwenConfig {
    fn default() -> Self {
        Self {
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22_016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: 128,
            max_position_embeddings: 32_768,
            hidden_act: "silu".into(),
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_parameters: None,
            attention_bias: false,
            use_sliding_window: false,
        }
    }
}

impl Published for QwenConfig {
    const IDLE: &'static [&'static str] = &[
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "initializer_range",
        "layer_types", // follows from use_sliding_window
        "max_window_layers",
        "model_type",
        "pad_token_id",
        "sliding_window",
        "tie_word_embeddings", // the last layer speaks, and nobody asks it to
        "torch_dtype",
        "transformers_version",
        "use_cache",
    ];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            positive(name, value)?;
        }
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(shared) || !self.head_dim.is_multiple_of(2) {
            return Err(NetsError::config(format!(
                "num_key_value_heads is {shared} and head_dim {}; the first must divide num_attention_heads ({heads}), the second be even",
                self.head_dim
            )));
        }
        only("hidden_act", &self.hidden_act.as_str(), &["silu"])?;
        only("attention_bias", &self.attention_bias, &[false])?;
        only("use_sliding_window", &self.use_sliding_window, &[false])?;
        if let Some(rope) = &self.rope_parameters {
            only("rope_parameters.rope_type", &rope.rope_type.as_str(), &["default"])?;
        }
        for (name, value) in [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.base())] {
            if !(value.is_finite() && value > 0.0) {
                return Err(NetsError::config(format!("{name} is {value}; it must be a positive number")));
            }
        }
        Ok(())
    }
}

impl QwenConfig {
    fn base(&self) -> f64 {
        self.rope_parameters.as_ref().map(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// The reader without values.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<Qwen, NetsError> {
        self.check()?;
        Ok(Qwen::new(self, &Init::declared(device)))
    }

    /// The reader with the weights of `source`, under transformers' names with or without `model.` before them; the layer that would
    /// write is left out.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Qwen, NetsError> {
        let renamed = Renamed::new(source, |theirs| match theirs.strip_prefix("model.").unwrap_or(theirs) {
            "lm_head.weight" => Vec::new(),
            name => vec![(ours(name), Part::Whole)],
        })?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}

/// A tensor's name in transformers under ours.
fn ours(theirs: &str) -> String {
    const PIECES: [(&str, &str); 3] =
        [(".mlp.gate_proj.", ".mlp.gate."), (".mlp.up_proj.", ".mlp.up."), (".mlp.down_proj.", ".mlp.down.")];
    PIECES.iter().fold(theirs.to_owned(), |name, (old, new)| name.replace(old, new))
}

/// Attention of each token to itself and those before it.
#[derive(Module, Debug)]
pub struct SharedAttention {
    /// Queries.
    pub q_proj: Linear,
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Heads back to features.
    pub o_proj: Linear,
    /// Normalises queries.
    pub q_norm: RmsNorm,
    /// Normalises keys.
    pub k_norm: RmsNorm,
}

/// One layer.
#[derive(Module, Debug)]
pub struct QwenLayer {
    /// Attention.
    pub self_attn: SharedAttention,
    /// Perceptron.
    pub mlp: SwiGlu,
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// Before the perceptron.
    pub post_attention_layernorm: RmsNorm,
}

/// The reader of [`QwenConfig`].
#[derive(Module, Debug)]
pub struct Qwen {
    /// A row for each word.
    pub embed_tokens: Table,
    /// First to last.
    pub layers: Vec<QwenLayer>,
    /// After the last.
    pub norm: RmsNorm,
    heads: [usize; 2],
    base: f64,
}

impl Qwen {
    fn new(config: &QwenConfig, init: &Init) -> Self {
        let (d, head) = (config.hidden_size, config.head_dim);
        let [wide, narrow] = [config.num_attention_heads, config.num_key_value_heads].map(|heads| heads * head);
        let linear = |init: &Init, name: &str, input, output| {
            Linear::without_bias(&init.child(name), input, output, Weights::Normal(0.02))
        };
        let norm =
            |init: &Init, name: &str, size| RmsNorm::new(&init.child(name), size).with_epsilon(config.rms_norm_eps);
        let layer = |i: usize| {
            let init = init.child("layers").child(i);
            let attention = init.child("self_attn");
            QwenLayer {
                self_attn: SharedAttention {
                    q_proj: linear(&attention, "q_proj", d, wide),
                    k_proj: linear(&attention, "k_proj", d, narrow),
                    v_proj: linear(&attention, "v_proj", d, narrow),
                    o_proj: linear(&attention, "o_proj", wide, d),
                    q_norm: norm(&attention, "q_norm", head),
                    k_norm: norm(&attention, "k_norm", head),
                },
                mlp: SwiGlu::new(&init.child("mlp"), d, config.intermediate_size),
                input_layernorm: norm(&init, "input_layernorm", d),
                post_attention_layernorm: norm(&init, "post_attention_layernorm", d),
            }
        };
        Self {
            embed_tokens: Table::new(&init.child("embed_tokens"), config.vocab_size, d),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: norm(init, "norm", d),
            heads: [config.num_attention_heads, config.num_key_value_heads],
            base: config.base(),
        }
    }

    /// Words known.
    pub fn vocabulary(&self) -> usize {
        self.embed_tokens.rows()
    }

    /// Layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Reads one text's ids, below [`vocabulary`](Self::vocabulary): its tokens' states after the first `layers` of them, without the last
    /// normalisation, `[1 n d]`.
    pub fn read(&self, ids: &[i64], layers: usize, device: &Device) -> Tensor<3> {
        let n = ids.len();
        let words = self.embed_tokens.forward(Tensor::from_data(TensorData::new(ids.to_vec(), [n]), device));
        let mut x = words.unsqueeze_dim::<3>(0); // [1 n d]
        let bias = causal(n, device);
        let head = self.layers.first().map_or(0, |layer| layer.self_attn.q_norm.weight.lazy_shape()[0]);
        let turn = rotation((0..n).map(|i| [i as f64]), [head], self.base, device);
        for layer in self.layers.iter().take(layers) {
            x = self.layer(layer, x, &bias, &turn);
        }
        x
    }

    fn layer(&self, layer: &QwenLayer, x: Tensor<3>, bias: &Tensor<4>, turn: &Rotation) -> Tensor<3> {
        let QwenLayer { self_attn, mlp, input_layernorm, post_attention_layernorm } = layer;
        let [heads, shared] = self.heads;
        let y = input_layernorm.forward(x.clone());
        let at_place = |linear: &Linear, norm: &RmsNorm, heads: usize| {
            let y = neighbours(norm.forward(apart(linear.forward(y.clone()), heads)));
            kernels::rotary(y, turn.0.clone(), turn.1.clone())
        };
        let q = at_place(&self_attn.q_proj, &self_attn.q_norm, heads);
        let k = at_place(&self_attn.k_proj, &self_attn.k_norm, shared);
        let v = apart(self_attn.v_proj.forward(y.clone()), shared);
        let scale = (q.dims()[3] as f64).powf(-0.5);
        let y = biased_attention(q, each(k, heads / shared), each(v, heads / shared), scale, bias.clone());
        let x = x + self_attn.o_proj.forward(kernels::join_heads(y));
        let y = mlp.forward(post_attention_layernorm.forward(x.clone()));
        x + y
    }
}

/// The halves of a head's features as neighbours, which is how the house turns them: queries and keys are only heard together, so that
/// their order is free.
fn neighbours(x: Tensor<4>) -> Tensor<4> {
    let [b, h, n, d] = x.dims();
    let x: Tensor<5> = x.reshape([b, h, n, 2, d / 2]).swap_dims(3, 4);
    x.reshape([b, h, n, d])
}

/// Each head of `[b h n d]` `times` times over, one after another.
fn each(x: Tensor<4>, times: usize) -> Tensor<4> {
    let [b, h, n, d] = x.dims();
    let x: Tensor<5> = x.unsqueeze_dim::<5>(2).expand([b, h, times, n, d]);
    x.reshape([b, h * times, n, d])
}
