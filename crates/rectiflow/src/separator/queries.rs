//! What is asked for: words, and the classes that they name.

use crate::{Error, Model, sampling::Classes};

/// What is asked for: classes of the model, or words.
#[derive(Clone, Debug, PartialEq)]
pub enum Queries {
    /// Numbers of its classes.
    Classes(Vec<i64>),
    /// Texts for a model that reads them.
    Texts(Vec<String>),
}

impl Queries {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `words` as `model` understands them: an article before a class's name, and what comes before "of", may be left out or not.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty query, or one that names nothing the model knows.
    pub fn parse(words: &[String], model: &Model) -> Result<Self, Error> {
        let texts = Self::texts(words)?;
        if model.words.is_some() {
            return Ok(texts);
        }
        let names = &model.subject.classes;
        let class = |query: &String| {
            named(names, query).map(|at| at as i64).ok_or_else(|| {
                let short: String = query.chars().take(60).collect();
                let cut = if short.len() < query.len() { "..." } else { "" };
                Error::Usage(format!("--query \"{short}{cut}\": this model knows {}", names.join(", ")))
            })
        };
        words.iter().map(class).collect::<Result<_, _>>().map(Self::Classes)
    }

    /// `words` for a model that reads them.
    ///
    /// # Errors
    /// [`Error::Usage`] for none, or an empty one.
    pub fn texts(words: &[String]) -> Result<Self, Error> {
        if let Some(empty) = words.iter().position(|query| query.trim().is_empty()) {
            return Err(Error::Usage(format!("--query number {} is empty: say what should be heard", empty + 1)));
        }
        if words.is_empty() {
            return Err(Error::Usage(
                "--query is missing: say what should be heard, for instance --query \"violin\"".into(),
            ));
        }
        Ok(Self::Texts(words.to_vec()))
    }

    /// The query number `at`, for a run of ours.
    pub(super) fn one(&self, at: usize) -> Classes {
        match self {
            Self::Classes(classes) => Classes::InTurn(vec![classes[at]]),
            Self::Texts(texts) => Classes::prompts(vec![texts[at].clone()]),
        }
    }
}

/// The class that `query` names: its whole name, whatever the case, with or without an article or "the sound of" before it.
fn named(names: &[String], query: &str) -> Option<usize> {
    let mut words = query.trim().trim_end_matches(['.', '!']).to_lowercase();
    loop {
        if let Some(at) = names.iter().position(|name| name.to_lowercase() == words) {
            return Some(at);
        }
        let begins = ["a ", "an ", "the ", "only ", "sound of ", "sounds of "];
        words = begins.iter().find_map(|begin| words.strip_prefix(begin))?.trim_start().to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_may_say_more_than_the_name() {
        let names = ["violin", "Bird Tweet", "a", "the end"].map(String::from);
        let of = |query: &str| named(&names, query);
        assert_eq!(
            (of("Violin"), of("the sound of a violin."), of(" only the bird tweet ")),
            (Some(0), Some(0), Some(1))
        );
        assert_eq!((of("a"), of("the end"), of("end"), of("viola"), of("")), (Some(2), Some(3), None, None, None));
    }
}
