//! Sizes of the released networks: what the shapes of their tensors say, and the number of heads from `config.json` where no shape says it.

use crate::NetsError;
use crate::published::Published;
use crate::weights::TensorSource;
use serde::{Deserialize, Serialize};

/// Keys whose values the tensors' shapes say.
const IDLE: &[&str] = &[
    "cross_attention_dim",
    "in_channels",
    "latent_channels",
    "num_layers",
    "num_layers_decoder",
    "num_layers_encoder",
    "width",
    "width_decoder",
    "width_encoder",
];

/// What the transformer's `config.json` says that is heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TripoSgConfig {
    /// Heads; must be what the norms of queries say.
    pub num_attention_heads: Option<usize>,
}

/// What the autoencoder's `config.json` says that is heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TripoSgVaeConfig {
    /// Heads; the release has 8.
    pub num_attention_heads: usize,
}

impl Default for TripoSgVaeConfig {
    fn default() -> Self {
        Self { num_attention_heads: 8 }
    }
}

impl Published for TripoSgConfig {
    const IDLE: &'static [&'static str] = IDLE;

    fn check(&self) -> Result<(), NetsError> {
        self.num_attention_heads.map_or(Ok(()), |heads| crate::net::positive("num_attention_heads", heads))
    }
}

impl Published for TripoSgVaeConfig {
    const IDLE: &'static [&'static str] = IDLE;

    fn check(&self) -> Result<(), NetsError> {
        crate::net::positive("num_attention_heads", self.num_attention_heads)
    }
}

/// The lengths `[rows columns]` of the matrix `name`.
pub(super) fn matrix<S: TensorSource + ?Sized>(source: &S, name: &str) -> Result<[usize; 2], NetsError> {
    let wrong = |problem: String| NetsError::Tensor { name: name.to_owned(), problem };
    match source.shape(name).as_deref() {
        Some([rows, columns]) if *rows > 0 && *columns > 0 => Ok([*rows, *columns]),
        Some(shape) => Err(wrong(format!("is of shape {shape:?}, and a matrix is wanted"))),
        None => Err(wrong("is missing; the file is no TripoSG's".into())),
    }
}

/// How many of `prefix.0`, `prefix.1`, … there are.
pub(super) fn count<S: TensorSource + ?Sized>(source: &S, prefix: &str) -> usize {
    let names = source.names();
    let number = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    names.iter().filter_map(number).max().map_or(0, |last| last.min(names.len()) + 1)
}

/// Refuses heads that do not divide the width.
pub(super) fn divides(heads: usize, width: usize) -> Result<usize, NetsError> {
    match width.is_multiple_of(heads) {
        true => Ok(width / heads),
        false => {
            Err(NetsError::config(format!("num_attention_heads is {heads}, which does not divide {width} features")))
        }
    }
}
