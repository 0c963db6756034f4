//! BERT (Devlin et al. 2018, arXiv 1810.04805): a transformer over word pieces, normalised after each sum.

use crate::NetsError;
use crate::init::{Init, Weights};
use crate::layers::{LayerNorm, Linear};
use crate::net::positive;
use crate::weights::{Strict, TensorSource, load};
use base::{Device, Int, Tensor, TensorData, Tokens};
use burn::module::{Module, Param};
use burn::tensor::{Bool, activation};
use serde::{Deserialize, Serialize};

/// Sizes of a [`Bert`], under the names of its published config.json; other keys of that file are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Words known.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; must divide the features.
    pub num_attention_heads: usize,
    /// Hidden width of a layer's perceptron.
    pub intermediate_size: usize,
    /// Tokens of a text at most.
    pub max_position_embeddings: usize,
    /// Added to variances.
    pub layer_norm_eps: f64,
}

impl Default for BertConfig {
    /// MiniLM-L6, 384 features.
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
        }
    }
}

/// One layer.
#[derive(Module, Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attention_norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    output_norm: LayerNorm,
}

impl Layer {
    fn forward(&self, x: Tensor<3>, mask: &Tensor<2, Bool>, heads: usize) -> Tensor<3> {
        let parts = [&self.query, &self.key, &self.value].map(|part| part.forward(x.clone()));
        let [q, k, v] = kernels::split_heads(Tensor::cat(parts.to_vec(), 2), heads);
        let y = kernels::attention(q, k, v, Some(mask.clone())); // [b heads n d]
        let y = self.attended.forward(kernels::join_heads(y));
        let x = self.attention_norm.forward(x + y);
        let y = self.narrow.forward(activation::gelu(self.widen.forward(x.clone())));
        self.output_norm.forward(x + y)
    }
}

/// The encoder.
#[derive(Module, Debug)]
pub struct Bert {
    words: Param<Tensor<2>>,
    places: Param<Tensor<2>>,
    segments: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
}

impl Bert {
    /// Reads published weights, under their names in Hugging Face's `BertModel` with or without `bert.` before them.
    ///
    /// # Errors
    /// A size of zero, heads that do not divide the features, tensors that are missing or of another shape.
    pub fn load<S: TensorSource + ?Sized>(config: &BertConfig, source: &S, device: &Device) -> Result<Self, NetsError> {
        load(Self::new(config, device)?, &Published(source), Strict::AllowUnexpected)
    }

    fn new(config: &BertConfig, device: &Device) -> Result<Self, NetsError> {
        let (d, heads) = (config.hidden_size, config.num_attention_heads);
        for (name, value) in [
            ("bert.vocab_size", config.vocab_size),
            ("bert.hidden_size", d),
            ("bert.num_hidden_layers", config.num_hidden_layers),
            ("bert.num_attention_heads", heads),
            ("bert.intermediate_size", config.intermediate_size),
            ("bert.max_position_embeddings", config.max_position_embeddings),
        ] {
            positive(name, value)?;
        }
        if !d.is_multiple_of(heads) {
            return Err(NetsError::config(format!(
                "bert.num_attention_heads is {heads}, which does not divide {d} features"
            )));
        }
        let init = Init::declared(device);
        let linear = |i, o| Linear::new(&init, i, o, Weights::Zero);
        let norm = || LayerNorm::new(&init, d, config.layer_norm_eps);
        let layer = |_| Layer {
            query: linear(d, d),
            key: linear(d, d),
            value: linear(d, d),
            attended: linear(d, d),
            attention_norm: norm(),
            widen: linear(d, config.intermediate_size),
            narrow: linear(config.intermediate_size, d),
            output_norm: norm(),
        };
        Ok(Self {
            words: init.constant([config.vocab_size, d], 0.0),
            places: init.constant([config.max_position_embeddings, d], 0.0),
            segments: init.constant([2, d], 0.0),
            norm: norm(),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            heads,
        })
    }

    /// Words known.
    pub fn vocabulary(&self) -> usize {
        self.words.dims()[0]
    }

    /// Features of a token.
    pub fn features(&self) -> usize {
        self.words.dims()[1]
    }

    /// Tokens of a text at most.
    pub fn positions(&self) -> usize {
        self.places.dims()[0]
    }

    /// Last layer's output for ids and masks `[b n]`, row-major; ids are below [`vocabulary`](Self::vocabulary), `n` at most
    /// [`positions`](Self::positions). Zero where the mask says that there is no token.
    pub fn tokens(&self, ids: &[i64], mask: &[bool], [b, n]: [usize; 2], device: &Device) -> Tokens {
        let d = self.features();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask.to_vec(), [b, n]), device);
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [b * n]), device);
        let words: Tensor<3> = self.words.val().select(0, ids).reshape([b, n, d]);
        let places = self.places.val().narrow(0, 0, n).unsqueeze::<3>();
        let segment = self.segments.val().narrow(0, 0, 1).unsqueeze::<3>();
        let mut x = self.norm.forward(words + places + segment);
        for layer in &self.layers {
            x = layer.forward(x, &mask, self.heads);
        }
        let embedding = x * mask.clone().float().unsqueeze_dim::<3>(2);
        Tokens { embedding, mask }
    }
}

/// Ours and theirs: a tensor's name here and in a published file.
const NAMES: [(&str, &str); 12] = [
    ("words", "embeddings.word_embeddings.weight"),
    ("places", "embeddings.position_embeddings.weight"),
    ("segments", "embeddings.token_type_embeddings.weight"),
    ("norm.", "embeddings.LayerNorm."),
    (".query.", ".attention.self.query."),
    (".key.", ".attention.self.key."),
    (".value.", ".attention.self.value."),
    (".attended.", ".attention.output.dense."),
    (".attention_norm.", ".attention.output.LayerNorm."),
    (".widen.", ".intermediate.dense."),
    (".narrow.", ".output.dense."),
    (".output_norm.", ".output.LayerNorm."),
];

/// A published file seen under our names.
struct Published<'a, S: ?Sized>(&'a S);

impl<S: TensorSource + ?Sized> Published<'_, S> {
    fn theirs(&self, name: &str) -> String {
        let found = NAMES
            .iter()
            .find(|(ours, _)| if ours.starts_with('.') { name.contains(ours) } else { name.starts_with(ours) });
        let name = match found {
            Some((ours, theirs)) => name.replacen(ours, theirs, 1),
            None => name.to_string(),
        };
        let name = if name.starts_with("layers.") { name.replacen("layers.", "encoder.layer.", 1) } else { name };
        let prefixed = format!("bert.{name}");
        if self.0.shape(&prefixed).is_some() { prefixed } else { name }
    }
}

impl<S: TensorSource + ?Sized> TensorSource for Published<'_, S> {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(&self.theirs(name))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        self.0.read(&self.theirs(name))
    }
}
