//! The encoder of T5 v1.1 (Raffel et al., 2020, arXiv 1910.10683; gated GELU of Shazeer, 2020, arXiv 2002.05202), as SD3 and FLUX
//! read prompts: relative distances as a bias on attention's scores, no positions, no scaling by the head's size. UMT5 (Chung et al.,
//! 2023, arXiv 2304.09151), as Wan reads them: the same with a bias of its own in every block.

use crate::init::{Init, Weights};
use crate::layers::{Linear, Table, apart, biased_attention};
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Part, Renamed, Strict, TensorSource, load};
use crate::{NetsError, layers::RmsNorm};
use base::{Device, Int, Tensor, TensorData};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Sizes of a [`T5`], under the names of its published config.json; the defaults are transformers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Words known.
    pub vocab_size: usize,
    /// Features of a token.
    pub d_model: usize,
    /// Features of a head; heads need not make up the features of a token.
    pub d_kv: usize,
    /// Hidden width of a layer's perceptron.
    pub d_ff: usize,
    /// Layers.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Classes of distances, half of them backwards.
    pub relative_attention_num_buckets: usize,
    /// From here on all distances are one class.
    pub relative_attention_max_distance: usize,
    /// Added to mean squares.
    pub layer_norm_epsilon: f64,
    /// `gated-gelu` in version 1.1.
    pub feed_forward_proj: String,
    /// `t5`, or `umt5`, whose blocks have a bias each.
    pub model_type: String,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
            model_type: "t5".into(),
        }
    }
}

impl Published for T5Config {
    const IDLE: &'static [&'static str] = &[
        "architectures",
        "classifier_dropout",
        "decoder_start_token_id",
        "dense_act_fn", // follows from feed_forward_proj
        "dropout_rate",
        "dtype",
        "eos_token_id",
        "initializer_factor",
        "is_decoder",
        "is_encoder_decoder",
        "is_gated_act",
        "num_decoder_layers",
        "output_past",
        "pad_token_id",
        "scale_decoder_outputs",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    ];

    fn check(&self) -> Result<(), NetsError> {
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
        ] {
            positive(name, value)?;
        }
        let (buckets, farthest) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if buckets < 4 || !buckets.is_multiple_of(4) || farthest <= buckets / 4 {
            return Err(NetsError::config(format!(
                "relative_attention_num_buckets is {buckets} and relative_attention_max_distance {farthest}; 32 and 128 are \
                 customary"
            )));
        }
        // The one that the normalisation here adds.
        only("layer_norm_epsilon", &self.layer_norm_epsilon, &[1e-6])?;
        only("model_type", &self.model_type.as_str(), &["t5", "umt5"])?;
        only("feed_forward_proj", &self.feed_forward_proj.as_str(), &["gated-gelu"])
    }
}

impl T5Config {
    /// The encoder without values.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails.
    pub fn declare(&self, device: &Device) -> Result<T5, NetsError> {
        self.check()?;
        Ok(T5::new(self, &Init::declared(device)))
    }

    /// The encoder with the weights of `source`, under transformers' names.
    ///
    /// # Errors
    /// If [`check`](Published::check) fails; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<T5, NetsError> {
        let twice = source.shape("shared.weight").is_some();
        let renamed = Renamed::new(source, |theirs| match ours(theirs) {
            // The same table under its second name.
            _ if twice && theirs == "encoder.embed_tokens.weight" => Vec::new(),
            name => vec![(name, Part::Whole)],
        })?;
        load(self.declare(device)?, &renamed, Strict::Exact)
    }
}

/// A tensor's name in transformers under ours.
fn ours(theirs: &str) -> String {
    const PIECES: [(&str, &str); 6] = [
        ("encoder.embed_tokens.", "shared."),
        ("encoder.", ""),
        (".layer.0.SelfAttention.", ".attention."),
        (".layer.0.layer_norm.", ".attention_norm."),
        (".layer.1.DenseReluDense.", ".perceptron."),
        (".layer.1.layer_norm.", ".perceptron_norm."),
    ];
    PIECES.iter().fold(theirs.to_owned(), |name, (old, new)| name.replacen(old, new, 1))
}

/// Attention of every token to all, without biases.
#[derive(Module, Debug)]
pub struct RelativeAttention {
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// Heads back to features.
    pub o: Linear,
    /// What each head adds to a score for each class of distances; where blocks have none the first block's serves them.
    pub relative_attention_bias: Option<Table>,
}

/// `wo (gelu(wi_0 x) wi_1 x)`.
#[derive(Module, Debug)]
pub struct GatedPerceptron {
    /// The gate.
    pub wi_0: Linear,
    /// What is gated.
    pub wi_1: Linear,
    /// Back to features.
    pub wo: Linear,
}

/// One block.
#[derive(Module, Debug)]
pub struct T5Block {
    /// Before the attention.
    pub attention_norm: RmsNorm,
    /// Attention.
    pub attention: RelativeAttention,
    /// Before the perceptron.
    pub perceptron_norm: RmsNorm,
    /// Perceptron.
    pub perceptron: GatedPerceptron,
}

/// The encoder of [`T5Config`].
#[derive(Module, Debug)]
pub struct T5 {
    /// A row for each word.
    pub shared: Table,
    /// The blocks.
    pub block: Vec<T5Block>,
    /// After the last.
    pub final_layer_norm: RmsNorm,
    heads: usize,
    farthest: usize,
}

impl T5 {
    fn new(config: &T5Config, init: &Init) -> Self {
        let d = config.d_model;
        let inner = config.num_heads * config.d_kv;
        let linear = |init: &Init, name: &str, input, output| {
            Linear::without_bias(&init.child(name), input, output, Weights::Normal(0.02))
        };
        let block = |i: usize| {
            let init = init.child("block").child(i);
            let (attention, perceptron) = (init.child("attention"), init.child("perceptron"));
            let bias = || {
                let place = attention.child("relative_attention_bias");
                Table::new(&place, config.relative_attention_num_buckets, config.num_heads)
            };
            T5Block {
                attention_norm: RmsNorm::new(&init.child("attention_norm"), d),
                attention: RelativeAttention {
                    q: linear(&attention, "q", d, inner),
                    k: linear(&attention, "k", d, inner),
                    v: linear(&attention, "v", d, inner),
                    o: linear(&attention, "o", inner, d),
                    relative_attention_bias: (i == 0 || config.model_type == "umt5").then(bias),
                },
                perceptron_norm: RmsNorm::new(&init.child("perceptron_norm"), d),
                perceptron: GatedPerceptron {
                    wi_0: linear(&perceptron, "wi_0", d, config.d_ff),
                    wi_1: linear(&perceptron, "wi_1", d, config.d_ff),
                    wo: linear(&perceptron, "wo", config.d_ff, d),
                },
            }
        };
        Self {
            shared: Table::new(&init.child("shared"), config.vocab_size, d),
            block: (0..config.num_layers).map(block).collect(),
            final_layer_norm: RmsNorm::new(&init.child("final_layer_norm"), d),
            heads: config.num_heads,
            farthest: config.relative_attention_max_distance,
        }
    }

    /// Words known.
    pub fn vocabulary(&self) -> usize {
        self.shared.rows()
    }

    /// Reads ids `[b n]`, row-major, below [`vocabulary`](Self::vocabulary): `[b n d]`. Padding is read like any other word, which
    /// is how SD3 and FLUX were trained.
    pub fn read(&self, ids: &[i64], size: [usize; 2], device: &Device) -> Tensor<3> {
        self.heard(ids, size, None, device)
    }

    /// The same where nothing listens to a text's padding, and what is said of it is zero: of text `i` the first `real[i]` words are
    /// read. That is how Wan was trained.
    pub fn read_real(&self, ids: &[i64], size: [usize; 2], real: &[usize], device: &Device) -> Tensor<3> {
        self.heard(ids, size, Some(real), device)
    }

    fn heard(&self, ids: &[i64], [b, n]: [usize; 2], real: Option<&[usize]>, device: &Device) -> Tensor<3> {
        let numbers = Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [b * n]), device);
        let words = self.shared.forward(numbers);
        let d = words.dims()[1];
        let mut x: Tensor<3> = words.reshape([b, n, d]);
        // One where a word is read, `[b n]`.
        let real: Option<Tensor<2>> = real.map(|real| {
            let kept = real.iter().flat_map(|real| (0..n).map(move |i| if i < *real { 1f32 } else { 0.0 })).collect();
            Tensor::from_data(TensorData::new::<f32, _>(kept, [b, n]), device)
        });
        let silent = real.as_ref().map(|real| (real.clone() - 1.0).reshape([b, 1, 1, n]) * -f64::from(f32::MIN));
        let classes = |table: &Table| {
            let classes = classes(n, table.rows(), self.farthest);
            Tensor::<1, Int>::from_data(TensorData::new(classes, [n * n]), device)
        };
        let mut bias = None;
        for block in &self.block {
            let RelativeAttention { q, k, v, o, relative_attention_bias } = &block.attention;
            if let Some(table) = relative_attention_bias {
                let said = table.forward(classes(table)).reshape([1, n, n, self.heads]).permute([0, 3, 1, 2]); // [1 heads n n]
                bias = Some(match &silent {
                    Some(silent) => said + silent.clone(),
                    None => said,
                });
            }
            let bias = bias.get_or_insert_with(|| Tensor::zeros([1, 1, n, n], device)).clone();
            let y = block.attention_norm.forward(x.clone());
            let [q, k, v] = [q, k, v].map(|linear| apart(linear.forward(y.clone()), self.heads));
            x = x + o.forward(kernels::join_heads(biased_attention(q, k, v, 1.0, bias)));
            let GatedPerceptron { wi_0, wi_1, wo } = &block.perceptron;
            let y = block.perceptron_norm.forward(x.clone());
            let gate = wi_0.activated(y.clone(), kernels::Activation::Gelu);
            x = x + wo.forward(gate * wi_1.forward(y));
        }
        let said = self.final_layer_norm.forward(x);
        match real {
            Some(real) => said * real.reshape([b, n, 1]),
            None => said,
        }
    }
}

/// The class of the distance from query to key, `[n n]` row by row: half of the `buckets` for keys behind, half for keys ahead;
/// of each half the first half one class a distance, the rest logarithmic up to `farthest` (in f32, as the model was trained).
fn classes(n: usize, buckets: usize, farthest: usize) -> Vec<i64> {
    let half = buckets / 2;
    let exact = half / 2;
    let class = |distance: usize| {
        if distance < exact {
            return distance;
        }
        let share = (distance as f32 / exact as f32).ln() / (farthest as f32 / exact as f32).ln();
        (exact + (share * (half - exact) as f32) as usize).min(half - 1)
    };
    let pair = |i: usize| {
        let (query, key) = (i / n, i % n);
        (class(query.abs_diff(key)) + if key > query { half } else { 0 }) as i64
    };
    (0..n * n).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The classes of T5's published code for 32 buckets up to 128: exact to 7, then eight logarithmic ones.
    #[test]
    fn distances_fall_into_the_published_classes() {
        let n = 200;
        let all = classes(n, 32, 128);
        let behind = |distance: usize| all[distance * n];
        let ahead = |distance: usize| all[distance];
        let known =
            [(0, 0), (1, 1), (7, 7), (8, 8), (11, 8), (12, 9), (16, 10), (23, 11), (31, 11), (32, 12), (64, 14)];
        for (distance, class) in known {
            assert_eq!((behind(distance), distance), (class, distance));
            assert_eq!(ahead(distance), class + if distance > 0 { 16 } else { 0 });
        }
        assert_eq!((behind(127), behind(128), ahead(199)), (15, 15, 31));
    }
}
