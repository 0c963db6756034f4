//! The keys of a request, each taken once as what it must be; whatever is left is refused by name. JSON, or a form with files.

use crate::{
    http::{Request, multipart},
    refusal::Refusal,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys not yet taken.
pub struct Fields {
    keys: Map<String, Value>,
    files: BTreeMap<String, Vec<u8>>,
    /// In a form everything is text, numbers too.
    form: bool,
}

impl From<Map<String, Value>> for Fields {
    fn from(keys: Map<String, Value>) -> Self {
        Self { keys, files: BTreeMap::new(), form: false }
    }
}

impl Fields {
    /// Of a request.
    pub fn of(request: &Request) -> Result<Self, Refusal> {
        let kind = request.header("content-type").unwrap_or_default();
        if let Some(boundary) = multipart::boundary(kind) {
            return Self::form(&request.body, boundary);
        }
        match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            true => Self::json(&request.body),
            false => {
                let message = "send JSON, with Content-Type: application/json, or a form (multipart/form-data)";
                Err(Refusal::new(415, "unsupported_media_type", message))
            }
        }
    }

    fn json(body: &[u8]) -> Result<Self, Refusal> {
        let wrong = |what: String| Refusal::new(400, "invalid_json", what);
        match serde_json::from_slice(body) {
            Ok(Value::Object(keys)) => Ok(Self { keys, files: BTreeMap::new(), form: false }),
            Ok(_) => Err(wrong("the body must be a JSON object".into())),
            Err(error) => Err(wrong(format!("the body is no JSON: {error}"))),
        }
    }

    fn form(body: &[u8], boundary: &str) -> Result<Self, Refusal> {
        let (mut keys, mut files) = (Map::new(), BTreeMap::new());
        for part in multipart::parts(body, boundary)? {
            // Lists of one come as `image[]`.
            let name = part.name.strip_suffix("[]").unwrap_or(&part.name).to_string();
            let twice = match part.is_file {
                true => files.insert(name.clone(), part.content.to_vec()).is_some(),
                false => {
                    let text = std::str::from_utf8(part.content);
                    let text = text.map_err(|_| Refusal::bad(&name, "it must be a text, or a file with a name"))?;
                    keys.insert(name.clone(), Value::String(text.into())).is_some()
                }
            };
            if twice {
                return Err(Refusal::bad(&name, "it is given twice; one is served"));
            }
        }
        Ok(Self { keys, files, form: true })
    }

    /// The value of `key`; none where it is null, as some clients say that they leave it out.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.remove(key).filter(|value| !value.is_null())
    }

    /// As [`Fields::take`], a form's text as the number it says.
    fn number_in(&mut self, key: &str) -> Option<Value> {
        let value = self.take(key)?;
        match &value {
            Value::String(text) if self.form => Some(serde_json::from_str(text.trim()).unwrap_or(value)),
            _ => Some(value),
        }
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad(key, "it must be a text")),
        }
    }

    /// A text or several.
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>, Refusal> {
        let wrong = || Refusal::bad(key, "it must be a text, or a list of texts");
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(all)) => {
                all.into_iter().map(|one| one.as_str().map(str::to_string).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.number_in(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Refusal::bad(key, "it must be true or false")),
        }
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&mut self, key: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.number_in(key) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::bad(key, format!("it must be a whole number from {least} to {most}"))),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.number_in(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| Refusal::bad(key, "it must be a number"))
    }

    /// One of some words; the first is meant where there is none.
    pub fn word(&mut self, key: &str, known: &[&'static str]) -> Result<&'static str, Refusal> {
        let Some(text) = self.text(key)? else { return Ok(known[0]) };
        let found = known.iter().find(|word| **word == text).copied();
        found.ok_or_else(|| Refusal::bad(key, format!("it must be one of {}", known.join(", "))))
    }

    /// The content of a file: of a form's part, or in base64, bare or as a `data:` address.
    pub fn file(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(content) = self.files.remove(key) {
            return Ok(Some(content));
        }
        let Some(text) = self.text(key)? else { return Ok(None) };
        decoded(key, &text).map(Some)
    }

    /// What nobody took and asks for something, by name: neither nothing nor no.
    pub fn asked(&mut self) -> Vec<String> {
        let idle = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Bool(true) => false,
            Value::Number(number) => number.as_f64().is_some_and(|number| number == 0.0 || number == -1.0),
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
        };
        self.keys.retain(|_, value| !idle(value));
        self.left()
    }

    /// What nobody took, by name, taken now.
    pub fn left(&mut self) -> Vec<String> {
        let keys = std::mem::take(&mut self.keys).into_iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
        keys.chain(std::mem::take(&mut self.files).into_keys()).map(|key| key.chars().take(40).collect()).collect()
    }

    /// Refuses what nobody took.
    pub fn done(mut self) -> Result<(), Refusal> {
        let Some(shown) = self.left().into_iter().next() else { return Ok(()) };
        let mut refusal = Refusal::new(400, "unknown_parameter", format!("`{shown}` is no key of this request"));
        refusal.param = Some(shown);
        Err(refusal)
    }
}

/// What `text` says in base64.
pub fn decoded(key: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    let bare = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,").map_or(rest, |(_, bare)| bare),
        None => text,
    };
    BASE64_STANDARD
        .decode(bare.trim())
        .map_err(|error| Refusal::bad(key, format!("it must be a file in base64: {error}")))
}
