//! Qwen as a reader of prompts: a causal transformer over byte pairs, whose states on the way are what networks hear.
//!
//! Qwen3 (Qwen Team, 2025, arXiv 2505.09388, sec. 2), and Qwen2.5 as it stands in Qwen2.5-VL (arXiv 2502.13923), asked about text alone: its
//! three axes of positions are one there. Normalised by root mean squares before each part, several heads of queries to one of keys and
//! values, rotary positions whose pairs are the halves of a head; Qwen3 normalises queries and keys once more, Qwen2.5 has biases instead.

use crate::NetsError;
use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, SwiGlu, Table, apart, biased_attention};
use crate::mmdit::joint::in_heads;
use crate::net::positive;
use crate::published::{Published, only};
use crate::rotary::{Rotation, rotation};
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
    /// Features of a head; 128, or of Qwen2.5 as many as the heads divide the token's into.
    pub head_dim: Option<usize>,
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
    /// The same in older files of Qwen2.5-VL, for positions along three axes, which are one for text.
    pub rope_scaling: Option<Scaling>,
    /// Whether queries, keys and values have biases; Qwen3's have none.
    pub attention_bias: bool,
    /// `qwen3`, or `qwen2_5_vl` and its text part.
    pub model_type: String,
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
    /// Features for each of three axes, which are one for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mrope_section: Option<Vec<usize>>,
}

/// How older files say what turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// `default` or `mrope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The same as older files call it; files of some years hold both.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub older: Option<String>,
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
            head_dim: None,
            max_position_embeddings: 32_768,
            hidden_act: "silu".into(),
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            attention_bias: false,
            model_type: "qwen3".into(),
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
        "image_token_id",
        "layer_types", // follows from use_sliding_window
        "max_window_layers",
        "pad_token_id",
        "sliding_window",
        "tie_word_embeddings", // the last layer speaks, and nobody asks it to
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "video_token_id",
        "vision_config", // nobody shows it pictures here
        "vision_end_token_id",
        "vision_start_token_id",
        "vision_token_id",
    ];

    const WITHIN: Option<&'static str> = Some("text_config");

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            positive(name, value)?;
        }
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(shared) || !self.head().is_multiple_of(2) {
            return Err(NetsError::config(format!(
                "num_key_value_heads is {shared} and head_dim {}; the first must divide num_attention_heads ({heads}), the second be even",
                self.head()
            )));
        }
        only("hidden_act", &self.hidden_act.as_str(), &["silu"])?;
        only("attention_bias", &self.attention_bias, &[false])?;
        only("model_type", &self.model_type.as_str(), &["qwen3", "qwen2_5_vl", "qwen2_5_vl_text"])?;
        if let Some(scaling) = &self.rope_scaling {
            for said in [&scaling.rope_type, &scaling.older].into_iter().flatten() {
                only("rope_scaling.rope_type", &said.as_str(), &["default", "mrope"])?;
            }
        }
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
    /// Whether queries, keys and values have biases and no normalisation.
    fn biased(&self) -> bool {
        self.model_type != "qwen3"
    }

    fn head(&self) -> usize {
        let divided = self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0);
        self.head_dim.unwrap_or(if self.biased() { divided } else { 128 })
    }

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

    /// The reader with the weights of `source`, under transformers' names with or without `model.` or `model.language_model.` before them;
    /// the layer that would write is left out, and what would see.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<Qwen, NetsError> {
        let renamed = Renamed::new(source, |theirs| {
            let name = theirs.strip_prefix("model.").unwrap_or(theirs);
            match name.strip_prefix("language_model.").unwrap_or(name) {
                "lm_head.weight" => Vec::new(),
                name if name.starts_with("visual.") => Vec::new(),
                name => vec![(ours(name), Part::Whole)],
            }
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
    /// Normalises queries (Qwen3).
    pub q_norm: Option<RmsNorm>,
    /// Normalises keys (Qwen3).
    pub k_norm: Option<RmsNorm>,
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
    head: usize,
    base: f64,
}

impl Qwen {
    fn new(config: &QwenConfig, init: &Init) -> Self {
        let (d, head, biased) = (config.hidden_size, config.head(), config.biased());
        let [wide, narrow] = [config.num_attention_heads, config.num_key_value_heads].map(|heads| heads * head);
        let linear = |init: &Init, name: &str, input, output| match biased && name != "o_proj" {
            true => Linear::new(&init.child(name), input, output, Weights::Normal(0.02)),
            false => Linear::without_bias(&init.child(name), input, output, Weights::Normal(0.02)),
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
                    q_norm: (!biased).then(|| norm(&attention, "q_norm", head)),
                    k_norm: (!biased).then(|| norm(&attention, "k_norm", head)),
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
            head,
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

    /// Reads one text's ids, below [`vocabulary`](Self::vocabulary): its tokens' states `[1 n d]` before the last `early` layers and without the
    /// last normalisation; with 0 they are the last layer's with it.
    pub fn read(&self, ids: &[i64], early: usize, device: &Device) -> Tensor<3> {
        let depth = self.depth() - early.min(self.depth());
        self.states(ids, ids.len(), &[depth], device).remove(0)
    }

    /// Reads one text's ids, of which the first `real` are heard: its tokens' states `[1 n d]` after each of these numbers of layers, which rise;
    /// after all layers with the last normalisation. No layer beyond is asked.
    pub fn states(&self, ids: &[i64], real: usize, depths: &[usize], device: &Device) -> Vec<Tensor<3>> {
        let n = ids.len();
        let words = self.embed_tokens.forward(Tensor::from_data(TensorData::new(ids.to_vec(), [n]), device));
        let mut x = words.unsqueeze_dim::<3>(0); // [1 n d]
        let bias = heard(n, real, device);
        let turn = rotation((0..n).map(|i| [i as f64]), [self.head], self.base, device);
        let mut layers = self.layers.iter();
        let (mut states, mut read) = (Vec::with_capacity(depths.len()), 0);
        for &depth in depths {
            for layer in layers.by_ref().take(depth.saturating_sub(read)) {
                x = self.layer(layer, x, &bias, &turn);
            }
            read = read.max(depth);
            states.push(if depth >= self.depth() { self.norm.forward(x.clone()) } else { x.clone() });
        }
        states
    }

    fn layer(&self, layer: &QwenLayer, x: Tensor<3>, bias: &Tensor<4>, turn: &Rotation) -> Tensor<3> {
        let QwenLayer { self_attn, mlp, input_layernorm, post_attention_layernorm } = layer;
        let [heads, shared] = self.heads;
        let y = input_layernorm.forward(x.clone());
        let at_place = |linear: &Linear, norm: Option<&RmsNorm>, heads: usize| {
            let y = neighbours(in_heads(linear.forward(y.clone()), norm, heads));
            kernels::rotary(y, turn.0.clone(), turn.1.clone())
        };
        let q = at_place(&self_attn.q_proj, self_attn.q_norm.as_ref(), heads);
        let k = at_place(&self_attn.k_proj, self_attn.k_norm.as_ref(), shared);
        let v = apart(self_attn.v_proj.forward(y.clone()), shared);
        let scale = (q.dims()[3] as f64).powf(-0.5);
        let y = biased_attention(q, each(k, heads / shared), each(v, heads / shared), scale, bias.clone());
        let x = x + self_attn.o_proj.forward(kernels::join_heads(y));
        let y = mlp.forward(post_attention_layernorm.forward(x.clone()));
        x + y
    }
}

/// What each of `n` tokens adds to another's loudness `[1 1 n n]`: nothing before it, silence behind it and behind the first `real`.
fn heard(n: usize, real: usize, device: &Device) -> Tensor<4> {
    let value = |i: usize| if i % n > i / n || i % n >= real { -1e30 } else { 0.0 };
    let values: Vec<f32> = (0..n * n).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, n, n]), device)
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
