//! The keys of a request, each taken once as what it must be; whatever is left is refused by name.

use crate::refusal::Refusal;
use serde_json::{Map, Value};

/// Keys not yet taken.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Of a body.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let wrong = |what: String| Refusal::new(400, "invalid_json", what);
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(wrong("the body must be a JSON object".into())),
            Err(error) => Err(wrong(format!("the body is no JSON: {error}"))),
        }
    }

    /// The value of `key`; none where it is null, as some clients say that they leave it out.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad(key, "it must be a text")),
        }
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&mut self, key: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::bad(key, format!("it must be a whole number from {least} to {most}"))),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| Refusal::bad(key, "it must be a number"))
    }

    /// One of some words; the first is meant where there is none.
    pub fn word(&mut self, key: &str, known: &[&'static str]) -> Result<&'static str, Refusal> {
        let Some(text) = self.text(key)? else { return Ok(known[0]) };
        let found = known.iter().find(|word| **word == text).copied();
        found.ok_or_else(|| Refusal::bad(key, format!("it must be one of {}", known.join(", "))))
    }

    /// Refuses what nobody took.
    pub fn done(self) -> Result<(), Refusal> {
        let Some(key) = self.0.into_iter().find_map(|(key, value)| (!value.is_null()).then_some(key)) else {
            return Ok(());
        };
        let shown: String = key.chars().take(40).collect();
        let mut refusal = Refusal::new(400, "unknown_parameter", format!("`{shown}` is no key of this request"));
        refusal.param = Some(shown);
        Err(refusal)
    }
}
