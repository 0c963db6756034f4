//! Text-to-image: classes whose names are prompts, read by a network through a frozen encoder.
//!
//! A recipe's `[text]` table makes the names of the data's classes (or, with `data.label = "caption"`, their captions) prompts.
//! Everything else goes on speaking of classes by number, so pairs, reflow, distillation, guidance and reports are the same
//! with text and without.

use crate::{Error, Recipe, judge::fetched};
use base::{Device, Shape, Tensor, TensorData, Tokens};
use data::fetch;
use nets::{
    Net, TextEncoder,
    text::{Bert, BertConfig, Prompts, WordPieces},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// How prompts are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// A frozen encoder that `rectiflow data get` brings: `minilm`, 384 features.
    pub encoder: String,
    /// Tokens of a prompt at most, marks at both ends included; longer prompts are cut.
    pub length: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { encoder: "minilm".into(), length: 16 }
    }
}

impl TextConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.encoder != "minilm" {
            return Err(format!("text.encoder = \"{}\" is unknown; there is `minilm`", self.encoder));
        }
        if !(3..=512).contains(&self.length) {
            return Err(format!("text.length = {} must be 3 to 512 tokens", self.length));
        }
        Ok(())
    }

    /// The encoder, from the weights on this machine.
    ///
    /// # Errors
    /// Weights that are not here, with the command that brings them; files that cannot be read.
    fn open(&self, device: &Device) -> Result<TextEncoder, Error> {
        let weights = fetched(&self.encoder)?;
        let read = |file: &Path| {
            std::fs::read(file).map_err(|error| Error::Failure(format!("cannot read {}: {error}", file.display())))
        };
        let bytes = read(&weights)?;
        let config: BertConfig = serde_json::from_slice(&read(&weights.with_file_name("config.json"))?)
            .map_err(|error| Error::Failure(format!("{}: its config.json: {error}", weights.display())))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::Failure(format!("{}: {error}; fetch it again", weights.display())))?;
        let words = WordPieces::parse(&read(&weights.with_file_name("tokenizer.json"))?)?;
        let bert = Bert::load(&config, &tensors, device)?;
        TextEncoder::new(bert, words, self.length, device).map_err(|error| Error::Usage(error.to_string()))
    }

    /// The table of `texts`. Rounded to bfloat16, in which it is kept in the cache: the same whether it was there or not.
    ///
    /// # Errors
    /// As for the encoder; a cache that cannot be written is passed over.
    pub fn encode(&self, texts: &[String], device: &Device) -> Result<Prompts, Error> {
        let mut key = DefaultHasher::new();
        (self, texts).hash(&mut key);
        let name = format!("{}-{}-{:016x}.safetensors", self.encoder, texts.len(), key.finish());
        let file = fetch::cache_dir().ok().map(|cache| cache.join("prompts").join(name));
        let known = file.as_ref().and_then(|file| Table::read(file, texts.len(), self.length));
        let table = match known {
            Some(table) => table,
            None => {
                let table = Table::of(&self.open(&Device::flex())?, texts)?;
                if let Some(file) = file {
                    table.write(&file);
                }
                table
            }
        };
        Ok(Prompts::new(&table.tokens(device)))
    }
}

/// Prompts are encoded so many at a time.
const BATCH: usize = 64;

/// Encoded prompts without their padding.
struct Table {
    /// Tokens of each prompt.
    lengths: Vec<usize>,
    /// All tokens one after another, the upper halves of their `f32`.
    values: Vec<u16>,
    features: usize,
    /// Tokens of a prompt at most.
    longest: usize,
}

impl Table {
    fn of(encoder: &TextEncoder, texts: &[String]) -> Result<Self, Error> {
        let (features, longest) = (encoder.features(), encoder.length());
        let mut table = Self { lengths: Vec::new(), values: Vec::new(), features, longest };
        for texts in texts.chunks(BATCH) {
            let tokens = encoder.encode(texts)?;
            let mask: Vec<bool> = tokens.mask.into_data().iter::<bool>().collect();
            let values: Vec<f32> = tokens.embedding.into_data().iter::<f32>().collect();
            for (mask, values) in mask.chunks(longest).zip(values.chunks(longest * features)) {
                let length = mask.iter().filter(|real| **real).count();
                table.lengths.push(length);
                table.values.extend(values[..length * features].iter().map(|x| nearest(*x)));
            }
        }
        Ok(table)
    }

    /// Padded, on a device.
    fn tokens(&self, device: &Device) -> Tokens {
        let (p, n, d) = (self.lengths.len(), self.longest, self.features);
        let (mut values, mut mask) = (vec![0f32; p * n * d], vec![false; p * n]);
        let mut at = 0;
        for (row, &length) in self.lengths.iter().enumerate() {
            let real = self.values[at..at + length * d].iter().map(|x| f32::from_bits(u32::from(*x) << 16));
            values[row * n * d..].iter_mut().zip(real).for_each(|(place, x)| *place = x);
            mask[row * n..row * n + length].fill(true);
            at += length * d;
        }
        let embedding = Tensor::from_data(TensorData::new(values, [p, n, d]), device);
        Tokens { embedding, mask: Tensor::from_data(TensorData::new(mask, [p, n]), device) }
    }

    /// What the cache holds, if it is whole and of so many prompts.
    fn read(file: &Path, prompts: usize, longest: usize) -> Option<Self> {
        let bytes = std::fs::read(file).ok()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let (lengths, values) = (tensors.tensor("lengths").ok()?, tensors.tensor("tokens").ok()?);
        let pairs = |view: &TensorView| -> Vec<u16> {
            view.data().as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
        };
        let [tokens, features] = *values.shape() else { return None };
        let table = Self {
            lengths: pairs(&lengths).into_iter().map(usize::from).collect(),
            values: pairs(&values),
            features,
            longest,
        };
        let fits = table.lengths.len() == prompts
            && table.lengths.iter().sum::<usize>() == tokens
            && Some(table.values.len()) == tokens.checked_mul(features);
        (fits && table.lengths.iter().all(|length| *length <= longest)).then_some(table)
    }

    fn write(&self, file: &Path) {
        let bytes = |values: &mut dyn Iterator<Item = u16>| values.flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let lengths = bytes(&mut self.lengths.iter().map(|length| *length as u16));
        let values = bytes(&mut self.values.iter().copied());
        let shape = vec![self.values.len() / self.features, self.features];
        let view = |kind, shape, bytes| TensorView::new(kind, shape, bytes).expect("the shape is the values'");
        let views = [
            ("lengths", view(Dtype::U16, vec![self.lengths.len()], &lengths)),
            ("tokens", view(Dtype::BF16, shape, &values)),
        ];
        let Ok(content) = safetensors::serialize(views, None) else { return };
        // Under another name first, so that nobody reads half a table. A cache that cannot be written is no failure.
        let folder = file.parent().map(PathBuf::from).unwrap_or_default();
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            let mut part = tempfile::NamedTempFile::new_in(&folder)?;
            std::io::Write::write_all(&mut part, &content)?;
            part.persist(file).map_err(|error| error.error)
        });
        drop(written);
    }
}

/// The upper half of the nearest bfloat16, ties to even; the encoder gives no NaN.
fn nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

impl Recipe {
    /// Of `classes` classes, those that the network keeps a row of its own for: none where it reads their names.
    pub fn rows(&self, classes: usize) -> usize {
        if self.text.is_some() { 0 } else { classes }
    }
}

/// The network of `recipe` at its first weights, for samples of `shape` in `classes`, their names read where they are prompts.
///
/// # Errors
/// A network that does not fit the data or reads no text, an encoder that is not here.
pub fn network(recipe: &Recipe, shape: Shape, classes: &[String], device: &Device) -> Result<Net, Error> {
    let net = recipe.network.init(recipe.seed, shape, recipe.rows(classes.len()), device)?;
    read(recipe, net, classes, device)
}

/// The network of `recipe` without weights, for a checkpoint to fill; nothing is drawn.
///
/// # Errors
/// As for [`network`].
pub fn declared(recipe: &Recipe, shape: Shape, classes: &[String], device: &Device) -> Result<Net, Error> {
    let net = recipe.network.declare(shape, recipe.rows(classes.len()), device)?;
    read(recipe, net, classes, device)
}

/// `net`, its classes read as prompts where they are.
///
/// # Errors
/// As for [`network`].
pub fn read(recipe: &Recipe, net: Net, classes: &[String], device: &Device) -> Result<Net, Error> {
    let Some(text) = &recipe.text else { return Ok(net) };
    if classes.is_empty() {
        return Err(Error::Usage(
            "`text` reads the names of the data's classes, and these data have none; set `data.label = \"caption\"`, or leave \
             `text` out"
                .into(),
        ));
    }
    let prompts = text.encode(classes, device)?;
    net.reading(&recipe.network, prompts).map_err(|error| Error::Usage(error.to_string()))
}
