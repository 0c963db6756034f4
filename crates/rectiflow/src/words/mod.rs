//! Text-to-image: captions travel with their samples and are read by a frozen encoder as they come.
//!
//! A task's `text` table names the encoder. Whatever asks in words (a batch, stored pairs, `--prompt`) hands its texts to
//! [`Words::condition`]; what has been encoded once is kept on disk ([`store`]), so that a set of captions may be as large as it
//! likes and a prompt that nobody has seen is a prompt like any other.

mod encoded;
mod released;
mod source;
mod store;

pub use source::Captioned;

use crate::{Context, Error, Recipe, assets::fetched, context::Event, machine::Machine, recipe::TextConfig};
use base::{Condition, Device};
use data::{Dataset, fetch};
use encoded::Encoded;
use nets::{
    NetConfig, TextEncoder,
    text::{Bert, BertConfig, WordPieces, pooled},
};
use released::Released;
use safetensors::SafeTensors;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use store::Store;

/// Prompts are encoded so many at a time.
const BATCH: usize = 64;

/// A reader of prompts for one network.
pub struct Words {
    config: TextConfig,
    reader: Reader,
    kept: Mutex<Kept>,
}

/// Who reads.
enum Reader {
    /// A fetched encoder of sentences.
    Sentences {
        weights: PathBuf,
        sizes: BertConfig,
        /// Whether the network reads tokens, and whether it reads a vector.
        reads: [bool; 2],
    },
    /// A released model's own encoders.
    Released(Released),
}

struct Kept {
    store: Store,
    /// Opened when something is asked that the store does not know.
    encoder: Option<TextEncoder>,
}

impl Words {
    /// The reader that `recipe` asks for; `None` where it reads no text.
    ///
    /// # Errors
    /// [`Error::Failure`] for an encoder that is not here, with the command that brings it; [`Error::Usage`] for a network that
    /// reads no text, or in another width.
    pub fn of(recipe: &Recipe) -> Result<Option<Arc<Self>>, Error> {
        let Some(config) = recipe.task.text() else { return Ok(None) };
        let cached = |name: String| fetch::cache_dir().ok().map(|cache| cache.join("words").join(name));
        let with = |reader: Reader, store: Store| {
            let kept = Mutex::new(Kept { store, encoder: None });
            Ok(Some(Arc::new(Self { config: config.clone(), reader, kept })))
        };
        if let Some(model) = &config.model {
            let released = Released::of(model, recipe.network.condition(), config.length)?;
            let store = Store::new(cached(released.mark()?), 1, released.most());
            return with(Reader::Released(released), store);
        }
        let reads = |width: usize| reading(&recipe.network, width);
        Self::sentences(config, reads).map(|words| Some(Arc::new(words)))
    }

    /// A reader that gives the vector of a text alone, and how wide it is: what a reward asks by.
    ///
    /// # Errors
    /// Those of [`Words::of`]; a released model's own encoders.
    pub fn vectors(config: &TextConfig) -> Result<(Arc<Self>, usize), Error> {
        if let Some(model) = &config.model {
            return Err(Error::Usage(format!(
                "a reward asks by the vector of a sentence, and the encoders of {} were made for its own network; give its samples a reward \
                 whose axes do not ask",
                model.display()
            )));
        }
        let words = Self::sentences(config, |_| Ok([false, true]))?;
        let Reader::Sentences { sizes, .. } = &words.reader else {
            return Err(Error::Failure("an encoder of sentences is one".into()));
        };
        let width = sizes.hidden_size;
        Ok((Arc::new(words), width))
    }

    /// The encoder of sentences of `config`; `reads` says of its width whether tokens are read, and whether a vector is.
    fn sentences(config: &TextConfig, reads: impl Fn(usize) -> Result<[bool; 2], Error>) -> Result<Self, Error> {
        let weights = fetched(&config.encoder)?;
        let sizes: BertConfig = serde_json::from_slice(&read(&weights.with_file_name("config.json"))?)
            .map_err(|error| Error::Failure(format!("{}: its config.json: {error}", weights.display())))?;
        let reads = reads(sizes.hidden_size)?;
        let most = sizes.max_position_embeddings;
        if !(3..=most).contains(&config.length) {
            return Err(Error::Usage(format!("task.text.length is {}; use 3 to {most} tokens", config.length)));
        }
        // Weights of another size are another encoder.
        let bytes = std::fs::metadata(&weights).map_or(0, |about| about.len());
        let name = format!("{}-{}-{}-{bytes}", config.encoder, config.length, sizes.hidden_size);
        let kept = fetch::cache_dir().ok().map(|cache| cache.join("words").join(name));
        let store = Store::new(kept, sizes.hidden_size, config.length);
        let kept = Mutex::new(Kept { store, encoder: None });
        Ok(Self { config: config.clone(), reader: Reader::Sentences { weights, sizes, reads }, kept })
    }

    /// From now on no text that is asked about is written to disk: what others ask is theirs, and there is no end of it.
    pub fn keep_to_memory(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).store.close();
    }

    /// What these texts say, on `device`: their tokens, and the mean of each text's tokens at mean square one. A sample without
    /// a text, and the null, have no token and a vector of zeros; of a released model's encoders, what those say of an empty text.
    ///
    /// # Errors
    /// An encoder that cannot be opened or does not go with its vocabulary.
    pub fn condition(&self, texts: &[Option<&str>], device: &Device) -> Result<Condition, Error> {
        let (sizes, reads) = match &self.reader {
            Reader::Sentences { sizes, reads, .. } => (sizes, reads),
            Reader::Released(released) => {
                let said: Vec<Option<&str>> = texts.iter().map(|text| text.or(Some(""))).chain([Some("")]).collect();
                let known = self.known(&said, &mut Context::silent())?;
                let rows = said.iter().flatten().filter_map(|text| known.get(text)).map(|found| &**found).collect();
                return released.condition(rows, device);
            }
        };
        let known = self.known(texts, &mut Context::silent())?;
        let rows: Vec<Option<&Encoded>> =
            texts.iter().map(|text| text.and_then(|text| known.get(text)).map(|found| &**found)).collect();
        let tokens = Encoded::padded(&rows, self.config.length, sizes.hidden_size, device);
        let [of_tokens, of_vector] = *reads;
        let vector = of_vector.then(|| pooled(&tokens));
        Ok(Condition { tokens: of_tokens.then_some(tokens), vector, ..Condition::none() })
    }

    /// Encodes `texts` before they are asked for, where the encoders are large: as many texts to an opening as memory allows, each
    /// written to disk and forgotten. What the disk does not take stays in memory, and is told; what is cut of a text is told too.
    ///
    /// # Errors
    /// An encoder that cannot be opened; encodings that neither disk nor memory take; [`Error::Interrupted`].
    pub(crate) fn prepare(&self, texts: &[String], context: &mut Context) -> Result<(), Error> {
        let Reader::Released(released) = &self.reader else { return Ok(()) };
        let missing = self.unread(texts);
        if missing.is_empty() {
            return Ok(());
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut kept.store;
        let (mut done, mut held, mut bytes) = (0, 0, 0);
        context.tell(Event::Begin { what: "captions", total: missing.len() as u64 });
        released.read(&missing, context, &mut |text, row, context| {
            let size = 2 * row.values.len() as u64;
            if !store.keep(text, row) {
                (held, bytes) = (held + 1, bytes + size);
                check_held(bytes, store.place())?;
            }
            done += 1;
            context.tell(Event::Advance { done });
            Ok(())
        })?;
        context.tell(Event::End);
        if held > 0 {
            let (place, mb) = (store.place(), bytes as f64 / 1e6);
            context.note(format!("{held} encoded captions cannot be kept in {place}: they stay in memory ({mb:.0} MB), for this run alone"));
        }
        Ok(())
    }

    /// Those of `texts`, and of the empty one where it is read, each once, that are not encoded yet.
    pub(crate) fn unread<'a>(&self, texts: &'a [String]) -> Vec<&'a str> {
        let store = &mut self.kept.lock().unwrap_or_else(PoisonError::into_inner).store;
        let silence = matches!(self.reader, Reader::Released(_)).then_some("");
        let texts: BTreeSet<&str> = texts.iter().map(String::as_str).chain(silence).collect();
        texts.into_iter().filter(|text| !store.keeps(text)).collect()
    }

    /// Encodes `texts` as a run does that meets them: before its first step, or as they come.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare).
    pub(crate) fn meet(&self, texts: &[String], context: &mut Context) -> Result<(), Error> {
        match &self.reader {
            Reader::Released(_) => self.prepare(texts, context),
            Reader::Sentences { .. } => {
                let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
                self.known(&texts, context).map(drop)
            }
        }
    }

    /// How many texts are read together.
    pub(crate) fn together(&self) -> usize {
        match &self.reader {
            Reader::Released(_) => 4,
            Reader::Sentences { .. } => BATCH,
        }
    }

    /// What each of `texts` is encoded as.
    fn known<'a>(
        &self,
        texts: &[Option<&'a str>],
        context: &mut Context,
    ) -> Result<HashMap<&'a str, Arc<Encoded>>, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { store, encoder } = &mut *kept;
        let (mut known, mut missing) = (HashMap::new(), Vec::new());
        for text in texts.iter().flatten().copied().collect::<BTreeSet<_>>() {
            match store.get(text) {
                Some(found) => drop(known.insert(text, found)),
                None => missing.push(text),
            }
        }
        for texts in missing.chunks(BATCH) {
            context.go_on()?;
            let rows = match &self.reader {
                Reader::Released(released) => {
                    let mut rows = Vec::with_capacity(texts.len());
                    released.read(texts, context, &mut |_, row, _| {
                        rows.push(row);
                        Ok(())
                    })?;
                    rows
                }
                Reader::Sentences { weights, sizes, .. } => {
                    let encoder = match encoder {
                        Some(encoder) => encoder,
                        None => encoder.insert(self.open(weights, sizes)?),
                    };
                    Encoded::rows(encoder.encode(texts)?)?
                }
            };
            for (text, row) in texts.iter().zip(rows) {
                known.insert(text, store.put(text, row));
            }
        }
        Ok(known)
    }

    fn open(&self, weights: &Path, sizes: &BertConfig) -> Result<TextEncoder, Error> {
        let device = Device::flex();
        let bytes = read(weights)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::Failure(format!("{}: {error}; fetch it again", weights.display())))?;
        let words = WordPieces::parse(&read(&weights.with_file_name("tokenizer.json"))?)?;
        let bert = Bert::load(sizes, &tensors, &device)?;
        TextEncoder::new(bert, words, self.config.length, &device).map_err(|error| Error::Usage(error.to_string()))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error::Failure(format!("cannot read {}: {error}", file.display())))
}

/// Whether the network reads tokens, and whether it reads a vector, of `width` features.
fn reading(network: &NetConfig, width: usize) -> Result<[bool; 2], Error> {
    let condition = network.condition();
    let asked = [condition.tokens, condition.vector];
    if asked.iter().any(|asked| *asked != 0 && *asked != width) {
        return Err(Error::Usage(format!(
            "network.condition has tokens = {} and vector = {}, and the encoder gives {width} features; use {width} or 0",
            condition.tokens, condition.vector
        )));
    }
    if asked == [0, 0] {
        return Err(Error::Usage(format!(
            "this network reads no text; set network.condition.vector = {width}, or tokens = {width} for a dit, mmdit, triflow or set_transformer"
        )));
    }
    Ok(asked.map(|asked| asked != 0))
}

/// Refuses to hold so many bytes of captions that `place` does not take.
fn check_held(bytes: u64, place: String) -> Result<(), Error> {
    let memory = Machine::here("cpu").memory_gb * (1u64 << 30) as f64;
    if memory == 0.0 || (bytes as f64) < memory / 4.0 {
        return Ok(());
    }
    Err(Error::Failure(format!(
        "encoded captions cannot be kept in {place} and take more than a quarter of the memory: make room there, or name another \
         folder by RECTIFLOW_DATA"
    )))
}

/// Says how many samples of a data set have no caption, since they are trained as what nobody asked for.
pub(crate) fn note_untold(dataset: &dyn Dataset, context: &mut Context) {
    let untold: Vec<usize> = (0..dataset.len()).filter(|index| dataset.caption(*index).is_none()).collect();
    let Some(first) = untold.first() else { return };
    let name = dataset.key(*first).map_or_else(|| format!("number {first}"), |key| format!("`{key}`"));
    context.note(format!(
        "{} of {} samples have no caption (the first: {name}); they are trained without a prompt: put a `.txt` beside each",
        untold.len(),
        dataset.len()
    ));
}

/// The different captions of a data set, in alphabetical order.
///
/// # Errors
/// [`Error::Usage`] where there is none.
pub fn captions(dataset: &dyn Dataset) -> Result<Vec<String>, Error> {
    let different: BTreeSet<&str> = (0..dataset.len()).filter_map(|index| dataset.caption(index)).collect();
    if different.is_empty() {
        return Err(Error::Usage(format!(
            "`task.text` reads captions, and no sample of {} has one; put `.txt` files beside the images, or leave it out",
            dataset.name()
        )));
    }
    Ok(different.into_iter().map(str::to_string).collect())
}
