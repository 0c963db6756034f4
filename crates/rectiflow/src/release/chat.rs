//! Prompts as Qwen reads them for a network: as what a user says in a chat, the answer about to begin. What is heard is on its mind, one state
//! to a token, as many as the text has.

use super::{Family, Release, folder::at, text::vocabulary};
use crate::{Context, Error};
use base::Tensor;
use nets::text::QwenConfig;

/// What its library calls it; those behind the first also write and see, which nobody asks of them here.
pub(super) const CLASSES: [&str; 3] = ["Qwen3Model", "Qwen3ForCausalLM", "Qwen2_5_VLForConditionalGeneration"];
const WORDS: [&str; 2] = ["Qwen2Tokenizer", "Qwen2TokenizerFast"];
/// How a family's prompts are told: what stands before and behind them, how many tokens nobody hears, which states are, and whether texts are
/// filled with padding, which is heard.
struct Manner {
    before: &'static str,
    behind: &'static str,
    unheard: usize,
    states: States,
    filled: bool,
}

/// Which states of a token are told.
enum States {
    /// Those before the last so many layers.
    Before(usize),
    /// Those after each of these layers, side by side by features.
    After([usize; 3]),
}

/// Z-Image (its pipeline in diffusers).
const PLAIN: Manner = Manner {
    before: "<|im_start|>user\n",
    behind: "<|im_end|>\n<|im_start|>assistant\n",
    unheard: 0,
    states: States::Before(1),
    filled: false,
};
/// Qwen-Image, whose network was trained on prompts behind these words (arXiv 2508.02324, fig. 7); the network does not hear them themselves.
const DESCRIBED: Manner = Manner {
    before: "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the \
             objects and background:<|im_end|>\n<|im_start|>user\n",
    unheard: 34,
    states: States::Before(0),
    ..PLAIN
};
/// FLUX.2-klein (its pipeline in diffusers): the reader has thought of nothing, its padding hears the prompt and is heard.
const THOUGHTLESS: Manner = Manner {
    behind: "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    states: States::After([9, 18, 27]),
    filled: true,
    ..PLAIN
};

impl Manner {
    fn of(family: Family) -> Self {
        match family {
            Family::QwenImage => DESCRIBED,
            Family::Flux2 { .. } => THOUGHTLESS,
            _ => PLAIN,
        }
    }
}

/// States of the texts' tokens `[b m e]`, zeros behind those that are heard, and how many these are; at most `length`, what a text has beyond
/// is cut.
///
/// # Errors
/// A reader or a vocabulary that is missing, cannot be read, or does not go with the other.
pub(super) fn read(
    folder: &Release,
    texts: &[String],
    length: usize,
    context: &mut Context,
) -> Result<(Tensor<3>, Vec<usize>), Error> {
    let device = context.device.device.clone();
    let Manner { before, behind, unheard, states: which, filled } = Manner::of(folder.family());
    let part = folder.part("text_encoder", &CLASSES)?;
    let settings: QwenConfig = part.config(&mut |line| context.note(line))?;
    let depths = match which {
        States::Before(early) => vec![settings.num_hidden_layers.saturating_sub(early)],
        States::After(depths) => depths.to_vec(),
    };
    if let Some(depth) = depths.iter().find(|depth| **depth > settings.num_hidden_layers) {
        return Err(Error::Failure(format!(
            "{}: its network hears the states after layer {depth}, and it has {} layers; the parts are of two models",
            part.path().display(),
            settings.num_hidden_layers
        )));
    }
    let place = folder.files("tokenizer", &WORDS)?;
    let words = vocabulary(&place)?;
    for mark in ["<|im_start|>", "<|im_end|>"] {
        if words.id(mark).is_none() {
            return Err(Error::Failure(format!(
                "{}: the vocabulary lacks `{mark}`, by which a chat is told; fetch the model's own tokenizer",
                place.display()
            )));
        }
    }
    let mut all = Vec::with_capacity(texts.len());
    for text in texts {
        let pieces = words
            .first(&format!("{before}{text}{behind}"), length + unheard, false)
            .map_err(|error| at(&place, error))?;
        // What is cut behind the prompt is none of it.
        let cut = pieces.cut.as_ref().and_then(|cut| cut.strip_suffix(behind.trim_end()));
        if let Some(cut) = cut.filter(|cut| !cut.is_empty()) {
            let name = part.name();
            context.quote(format!("{name} reads {length} tokens; what it does not see of the prompt: {cut}"));
        }
        if let Some(id) = pieces.ids.iter().find(|id| !(0..settings.vocab_size as i64).contains(id)) {
            return Err(Error::Failure(format!(
                "{}: its tokenizer gives word {id} and it knows {}; the two are of two models",
                part.path().display(),
                settings.vocab_size
            )));
        }
        all.push(pieces.ids);
    }
    let net = part.weights("model", |stored| settings.load(stored, &device))?;
    let heard = |ids: &Vec<i64>| if filled { length } else { ids.len().saturating_sub(unheard) };
    let most = all.iter().map(heard).max().unwrap_or(0);
    let mut states = Vec::with_capacity(all.len());
    for ids in &all {
        context.go_on()?;
        let mut ids = ids.clone();
        let real = ids.len();
        if filled {
            ids.resize(length, words.padding());
        }
        let state = Tensor::cat(net.states(&ids, real, &depths, &device), 2); // [1 n e]
        let unheard = unheard.min(ids.len());
        let state = state.narrow(1, unheard, ids.len() - unheard);
        let [_, n, e] = state.dims();
        states.push(Tensor::cat(vec![state, Tensor::zeros([1, most - n, e], &device)], 1));
    }
    Ok((Tensor::cat(states, 0), all.iter().map(heard).collect()))
}
