//! Prompts in the place of classes: what samples of a model that reads text were asked for, each text once, and who reads them.

use crate::{Error, words::Words};
use base::{Condition, Device, NULL_CLASS};
use std::{collections::HashMap, sync::Arc};

/// Texts that numbers stand for.
#[derive(Clone)]
pub struct Prompts {
    words: Arc<Words>,
    texts: Vec<String>,
}

impl Prompts {
    /// What `asked` says of each sample, read by `words`, and for each sample its number; that of nothing where nothing was asked.
    pub fn of(words: &Arc<Words>, asked: &[String]) -> (Self, Vec<i64>) {
        let (texts, numbers) = numbered(asked);
        (Self { words: words.clone(), texts }, numbers)
    }

    /// The texts by their numbers.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Who reads them.
    pub fn words(&self) -> &Arc<Words> {
        &self.words
    }

    /// What samples of these numbers are conditioned on.
    ///
    /// # Errors
    /// What the reader may say.
    pub fn condition(&self, numbers: &[i64], device: &Device) -> Result<Condition, Error> {
        let text = |number: &i64| usize::try_from(*number).ok().and_then(|at| self.texts.get(at)).map(String::as_str);
        self.words.condition(&numbers.iter().map(text).collect::<Vec<_>>(), device)
    }
}

/// Each text once, and the number of each sample's.
fn numbered(asked: &[String]) -> (Vec<String>, Vec<i64>) {
    let (mut texts, mut known) = (Vec::new(), HashMap::new());
    let mut number = |text: &String| {
        if text.is_empty() {
            return NULL_CLASS;
        }
        *known.entry(text.clone()).or_insert_with(|| {
            texts.push(text.clone());
            texts.len() as i64 - 1
        })
    };
    let numbers = asked.iter().map(&mut number).collect();
    (texts, numbers)
}

#[cfg(test)]
mod tests {
    /// Mutant: an empty prompt read as a text.
    #[test]
    fn a_text_has_one_number_and_nothing_has_none() {
        let asked = ["b", "a", "b", "", "a"].map(String::from);
        let (texts, numbers) = super::numbered(&asked);
        assert_eq!((texts, numbers), (vec!["b".to_string(), "a".to_string()], vec![0, 1, 0, base::NULL_CLASS, 1]));
    }
}
