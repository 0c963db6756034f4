//! What a request's answers show: its prompt or classes, checked against the model.

use crate::{refusal::Refusal, shelf::Run};
use rectiflow::{sampling::named, serving::Asked};
use serde_json::Value;

/// Classes that a message names before it counts the rest.
const SHOWN: usize = 20;

/// What the pictures of a request show.
pub(super) enum All {
    /// The same.
    One(Asked),
    /// So many classes in turn.
    InTurn(u64),
    /// These.
    Each(Vec<Asked>),
}

impl All {
    pub(super) fn of(&self, index: u64) -> Asked {
        match self {
            Self::One(asked) => asked.clone(),
            Self::InTurn(classes) => Asked::Class((index % classes) as i64),
            Self::Each(all) => all.get(index as usize).cloned().unwrap_or(Asked::Nothing),
        }
    }
}

/// What a prompt and a class ask of a model. Clients of OpenAI's interface have a prompt and no class, so that a prompt may name one.
pub(super) fn asked(run: &Run, prompt: &str, class: Option<Value>) -> Result<All, Refusal> {
    let (model, text) = (&run.opened.model, prompt.trim());
    let classes = &model.subject.classes;
    if model.words.is_some() {
        return match (class, text) {
            (None, "") => Err(Refusal::bad("prompt", "say what to draw; the class `none` draws anything")),
            (None, _) => Ok(All::One(Asked::Prompt(prompt.into()))),
            (Some(Value::String(none)), "") if none == "none" => Ok(All::One(Asked::Nothing)),
            (Some(_), _) => Err(Refusal::bad("class", "this model reads text; ask with `prompt`")),
        };
    }
    let number = |word: &str| word.parse::<usize>().ok().filter(|class| *class < classes.len());
    let (param, word) = match (class, text) {
        (None, text) => ("prompt", text.to_string()),
        (Some(Value::String(word)), "") => ("class", word.trim().to_string()),
        (Some(Value::Number(number)), "") => {
            let class = number.as_u64().filter(|class| (*class as usize) < classes.len());
            let class = class.ok_or_else(|| Refusal::bad("class", known(classes)))?;
            return Ok(All::One(Asked::Class(class as i64)));
        }
        (Some(_), "") => return Err(Refusal::bad("class", "it must be the name of a class or its number")),
        (Some(_), _) => return Err(Refusal::bad("class", "say it in `class` or in `prompt`, not in both")),
    };
    match word.as_str() {
        "" if classes.is_empty() => Ok(All::One(Asked::Nothing)),
        "" => Ok(All::InTurn(classes.len() as u64)),
        word => match named(classes, word).or_else(|| number(word).filter(|_| param == "class")) {
            Some(class) => Ok(All::One(Asked::Class(class as i64))),
            None if word == "none" => Ok(All::One(Asked::Nothing)),
            None => Err(Refusal::bad(param, known(classes))),
        },
    }
}

/// The classes there are, as what should have been asked.
fn known(classes: &[String]) -> String {
    let names = classes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match classes.len() {
        0 => "this model has no classes and reads no text; leave it empty".into(),
        all if all > SHOWN => format!("this model draws {names} and {} more", all - SHOWN),
        _ => format!("this model draws {names}"),
    }
}
