//! Prompts to conditions, by the encoders that a model was trained with and in the way it was.
//!
//! SD3: both CLIP encoders' states before their last layer, side by side by features, padded with zeros to T5's width and
//! followed by T5's tokens; both pooled vectors, projected (arXiv 2403.03206, app. A.1, fig. 2a). FLUX: T5's tokens and CLIP's pooled
//! vector, not projected. InstaFlow and Stable
//! Diffusion: CLIP's last tokens. Padding is read like any word: the networks were trained without masks. Wan: UMT5's tokens, which do not
//! listen to padding; the network hears zeros there (arXiv 2503.20314, sec. 4.2). Z-Image and Qwen-Image: what
//! Qwen has on its mind of a chat (`chat.rs`), as many tokens as the text has; FLUX.2 hears padding too.

use super::{
    Family, Release, chat,
    folder::{at, read},
    part::Part,
};
use crate::{Context, Error};
use base::{Condition, Device, Tensor, TensorData, Tokens};
use nets::text::{ClipConfig, Reading, T5Config, WordPieces};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Texts that T5 reads together.
const BATCH: usize = 16;

/// How texts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Tokens that T5 reads.
    pub length: usize,
    /// Layers of CLIP that are passed over for prompts, beyond those the model passes over itself (SD3). Negative prompts are
    /// read without, as by the reference.
    pub clip_skip: usize,
}

/// The conditions of `prompts`, whose null is the encoded `negative` prompt where there is one; each encoder is opened, asked for
/// all of them, and dropped. `width` is that of a token.
///
/// # Errors
/// An encoder or a vocabulary that is missing or cannot be read; settings that the encoders cannot serve.
pub fn encode(
    folder: &Release,
    prompts: &[String],
    negative: Option<&String>,
    width: usize,
    asked: Asked,
    context: &mut Context,
) -> Result<Vec<Condition>, Error> {
    let device = context.device.device.clone();
    let texts: Vec<String> = prompts.iter().chain(negative).cloned().collect();
    let texts = &texts[..];
    let mut real = None;
    let (tokens, pooled) = match folder.family() {
        Family::InstaFlow | Family::StableDiffusion => {
            let early = vec![0; texts.len()];
            let read = clip(folder, ["tokenizer", "text_encoder"], texts, &early, &device, context)?;
            (read.tokens, Some(read.pooled))
        }
        Family::Sd3 => {
            let early: Vec<usize> =
                (0..texts.len()).map(|i| if i < prompts.len() { 1 + asked.clip_skip } else { 1 }).collect();
            let (tokens, pooled) = sd3(folder, texts, width, asked.length, &early, context)?;
            (tokens, Some(pooled))
        }
        Family::Wan => {
            // Its pipeline counts any run of spaces as one.
            let texts: Vec<String> =
                texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            (t5(folder, ["tokenizer", "text_encoder"], &texts, asked.length, &device, context)?, None)
        }
        Family::ZImage | Family::QwenImage | Family::Flux2 { .. } => {
            let (tokens, lengths) = chat::read(folder, texts, asked.length, context)?;
            real = Some(lengths);
            (tokens, None)
        }
        Family::Flux => {
            let tokens = t5(folder, ["tokenizer_2", "text_encoder_2"], texts, asked.length, &device, context)?;
            let early = vec![0; texts.len()];
            (tokens, Some(clip(folder, ["tokenizer", "text_encoder"], texts, &early, &device, context)?.pooled))
        }
    };
    if tokens.dims()[2] != width {
        let has = tokens.dims()[2];
        return Err(Error::Failure(format!(
            "{}: its text encoders give {has} features a token and its network reads {width}; the parts are of two models",
            folder.path().display()
        )));
    }
    let one = |i: usize| {
        let embedding = tokens.clone().narrow(0, i, 1);
        let n = embedding.dims()[1];
        let there = real.as_ref().map_or(n, |real: &Vec<usize>| real[i]);
        let mask = Tensor::from_data(TensorData::new((0..n).map(|j| j < there).collect(), [1, n]), &device);
        let tokens = Some(Tokens { embedding, mask });
        let vector = pooled.clone().map(|pooled| pooled.narrow(0, i, 1));
        Condition { vector, tokens, ..Condition::none() }
    };
    let all: Vec<Condition> = (0..texts.len()).map(one).collect();
    let (prompts, negatives) = all.split_at(prompts.len());
    let Some(negative) = negatives.first() else { return Ok(prompts.to_vec()) };
    let contrasted = prompts.iter().map(|prompt| prompt.clone().contrasted(negative.clone()));
    contrasted.collect::<Result<_, _>>().map_err(|error| Error::Failure(error.to_string()))
}

fn sd3(
    folder: &Release,
    texts: &[String],
    width: usize,
    length: usize,
    early: &[usize],
    context: &mut Context,
) -> Result<(Tensor<3>, Tensor<2>), Error> {
    let device = &context.device.device.clone();
    let small = clip(folder, ["tokenizer", "text_encoder"], texts, early, device, context)?;
    let large = clip(folder, ["tokenizer_2", "text_encoder_2"], texts, early, device, context)?;
    let b = texts.len();
    let both = Tensor::cat(vec![small.tokens, large.tokens], 2); // [b 77 small+large]
    let [_, n, features] = both.dims();
    if features > width {
        return Err(Error::Failure(format!(
            "{}: its CLIP encoders give {features} features together and its network reads {width}; the parts are of two \
             models",
            folder.path().display()
        )));
    }
    let both = Tensor::cat(vec![both, Tensor::zeros([b, n, width - features], device)], 2);
    let t5 = if folder.has("text_encoder_3") {
        t5(folder, ["tokenizer_3", "text_encoder_3"], texts, length, device, context)?
    } else {
        context.note("the model is without T5: zeros stand for its tokens");
        Tensor::zeros([b, length, width], device)
    };
    Ok((Tensor::cat(vec![both, t5], 1), Tensor::cat(vec![small.pooled, large.pooled], 1)))
}

/// Each text read before the last `early` layers, one number for each.
fn clip(
    folder: &Release,
    [words, encoder]: [&'static str; 2],
    texts: &[String],
    early: &[usize],
    device: &Device,
    context: &mut Context,
) -> Result<Reading, Error> {
    let at_encoder = folder.part(encoder, &["CLIPTextModel", "CLIPTextModelWithProjection"])?;
    let projected = at_encoder.class() == "CLIPTextModelWithProjection";
    if !projected && folder.family() == Family::Sd3 {
        context.note(format!("{encoder} has no projection: its pooled vector is read as it is"));
    }
    let settings: ClipConfig = at_encoder.config(&mut |line| context.note(line))?;
    let depth = settings.num_hidden_layers;
    if let Some(early) = early.iter().find(|early| **early > depth) {
        return Err(Error::Usage(format!(
            "--clip-skip {}: {} has {depth} layers, of which {early} would be passed over",
            early - 1,
            at_encoder.path().display()
        )));
    }
    let words = vocabulary(&folder.files(words, &["CLIPTokenizer", "CLIPTokenizerFast"])?)?;
    let (length, known) = (settings.max_position_embeddings, settings.vocab_size);
    let (ids, _) = ids(&words, texts, length, known, &at_encoder, context)?;
    let net = at_encoder.weights("model", |stored| settings.load(projected, stored, device))?;
    let read = ids.chunks(length).zip(early).map(|(ids, early)| net.read(ids, [1, length], *early, device));
    let (tokens, pooled) = read.map(|read| (read.tokens, read.pooled)).unzip();
    Ok(Reading { tokens: Tensor::cat(tokens, 0), pooled: Tensor::cat(pooled, 0) })
}

fn t5(
    folder: &Release,
    [words, encoder]: [&'static str; 2],
    texts: &[String],
    length: usize,
    device: &Device,
    context: &mut Context,
) -> Result<Tensor<3>, Error> {
    let real_alone = folder.family() == Family::Wan;
    let class = if real_alone { "UMT5EncoderModel" } else { "T5EncoderModel" };
    let at_encoder = folder.part(encoder, &[class])?;
    let settings: T5Config = at_encoder.config(&mut |line| context.note(line))?;
    let words = vocabulary(&folder.files(words, &["T5Tokenizer", "T5TokenizerFast"])?)?;
    let (ids, real) = ids(&words, texts, length, settings.vocab_size, &at_encoder, context)?;
    let net = at_encoder.weights("model", |stored| settings.load(stored, device))?;
    let mut read = Vec::new();
    for (ids, real) in ids.chunks(length * BATCH).zip(real.chunks(BATCH)) {
        context.go_on()?;
        let size = [ids.len() / length, length];
        read.push(if real_alone { net.read_real(ids, size, real, device) } else { net.read(ids, size, device) });
    }
    Ok(Tensor::cat(read, 0))
}

/// Ids `[b length]` of texts and how many of each are real, with a line for each that is cut.
fn ids(
    words: &WordPieces,
    texts: &[String],
    length: usize,
    known: usize,
    encoder: &Part,
    context: &mut Context,
) -> Result<(Vec<i64>, Vec<usize>), Error> {
    let (mut ids, mut real) = (Vec::with_capacity(texts.len() * length), Vec::with_capacity(texts.len()));
    for text in texts {
        let pieces = words.split(text, length)?;
        if let Some(cut) = pieces.cut {
            let name = encoder.name();
            context.quote(format!("{name} reads {length} tokens; what it does not see of the prompt: {cut}"));
        }
        real.push(pieces.real);
        ids.extend(pieces.ids);
    }
    match ids.iter().find(|id| !(0..known as i64).contains(id)) {
        None => Ok((ids, real)),
        Some(id) => Err(Error::Failure(format!(
            "{}: its tokenizer gives word {id} and it knows {known}; the two are of two models",
            encoder.path().display()
        ))),
    }
}

/// The vocabulary in a tokenizer's folder, with the padding its files name.
///
/// # Errors
/// Files that are missing or cannot be read.
pub(super) fn vocabulary(folder: &Path) -> Result<WordPieces, Error> {
    let file = |name: &str| -> Option<PathBuf> { Some(folder.join(name)).filter(|path| path.is_file()) };
    let (path, words) = match (file("tokenizer.json"), file("vocab.json"), file("merges.txt")) {
        (Some(path), ..) => {
            let words = WordPieces::parse(&read(&path)?).map_err(|error| at(&path, error))?;
            (path, words)
        }
        (None, Some(path), Some(merges)) => {
            let pairs = String::from_utf8(read(&merges)?)
                .map_err(|_| Error::Failure(format!("{}: is no text; fetch it again", merges.display())))?;
            let words = WordPieces::clip(&read(&path)?, &pairs).map_err(|error| at(&path, error))?;
            (path, words)
        }
        _ if file("spiece.model").is_some() => {
            return Err(Error::Failure(format!(
                "{}: holds spiece.model alone; this program reads tokenizer.json, which the same release has or \
                 transformers' T5TokenizerFast writes",
                folder.display()
            )));
        }
        _ => {
            let wanted = "tokenizer.json, nor vocab.json with merges.txt";
            return Err(Error::Failure(format!("{}: holds neither {wanted}; fetch it again", folder.display())));
        }
    };
    match padding(folder)? {
        Some(padding) => words.padded_with(&padding).map_err(|error| at(&path, error)),
        None => Ok(words),
    }
}

/// The word that a tokenizer's files say is padding, if they say.
fn padding(folder: &Path) -> Result<Option<String>, Error> {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let settings: Value = serde_json::from_slice(&read(&path)?)
            .map_err(|error| Error::Failure(format!("{}: is no JSON ({error}); fetch it again", path.display())))?;
        let word = settings.get("pad_token").map(|word| word.get("content").unwrap_or(word));
        if let Some(word) = word.and_then(Value::as_str) {
            return Ok(Some(word.to_owned()));
        }
    }
    Ok(None)
}
