//! Prompts as Qwen3 reads them for a network: as what a user says in a chat, the answer about to begin. What is heard is on its mind before
//! its last layer, one state to a token, as many as the text has.

use super::{Release, folder::at, text::vocabulary};
use crate::{Context, Error};
use base::Tensor;
use nets::text::QwenConfig;

/// What its library calls it; the second also writes, which nobody asks of it here.
pub(super) const CLASSES: [&str; 2] = ["Qwen3Model", "Qwen3ForCausalLM"];
const WORDS: [&str; 2] = ["Qwen2Tokenizer", "Qwen2TokenizerFast"];
const BEFORE: &str = "<|im_start|>user\n";
const BEHIND: &str = "<|im_end|>\n<|im_start|>assistant\n";

/// States of the texts' tokens `[b m e]`, zeros behind a text's own, and how many those are; at most `length`, what a text has beyond is cut.
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
    let part = folder.part("text_encoder", &CLASSES)?;
    let settings: QwenConfig = part.config(&mut |line| context.note(line))?;
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
        let pieces =
            words.first(&format!("{BEFORE}{text}{BEHIND}"), length, false).map_err(|error| at(&place, error))?;
        // What is cut behind the prompt is none of it.
        let cut = pieces.cut.as_ref().and_then(|cut| cut.strip_suffix(BEHIND.trim_end()));
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
    let most = all.iter().map(Vec::len).max().unwrap_or(0);
    let mut states = Vec::with_capacity(all.len());
    for ids in &all {
        context.go_on()?;
        let state = net.read(ids, net.depth().saturating_sub(1), &device); // [1 n e]
        let [_, n, e] = state.dims();
        states.push(Tensor::cat(vec![state, Tensor::zeros([1, most - n, e], &device)], 1));
    }
    Ok((Tensor::cat(states, 0), all.iter().map(Vec::len).collect()))
}
