//! Configurations of released models: `config.json` as their authors' libraries write it.
//!
//! A key that is missing takes the library's default, which is each struct's `Default`; keys that begin with an underscore are
//! notes. A key this project does not know is reported, not refused: libraries add some with every version. A key that would
//! change the network and is not built here is refused by the struct's own check.

use crate::NetsError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A struct that reads a released `config.json`.
pub trait Published: Default + Serialize + DeserializeOwned {
    /// Keys that say nothing about the network's answer: training, storage, other libraries' habits.
    const IDLE: &'static [&'static str];

    /// The table within the file that has the keys, where there is one: of models that also read pictures, what concerns text.
    const WITHIN: Option<&'static str> = None;

    /// Refuses sizes and settings that cannot be built.
    ///
    /// # Errors
    /// [`NetsError::Config`] naming the key.
    fn check(&self) -> Result<(), NetsError>;
}

/// The configuration in `json`, checked, and the keys that it has and this project does not know, in order.
///
/// # Errors
/// [`NetsError::Config`] for text that is no JSON object, a value of the wrong kind, or one that [`Published::check`] refuses.
pub fn read<T: Published>(json: &[u8]) -> Result<(T, Vec<String>), NetsError> {
    let bad = |error: serde_json::Error| NetsError::config(error.to_string());
    let mut given: Map<String, Value> = serde_json::from_slice(json).map_err(bad)?;
    if let Some(Value::Object(inner)) = T::WITHIN.and_then(|key| given.remove(key)) {
        given = inner;
    }
    // None is how these libraries write "not this part", and none of the structs here has such a part by default.
    given.retain(|key, value| !key.starts_with('_') && !value.is_null());
    let known = match serde_json::to_value(T::default()).map_err(bad)? {
        Value::Object(known) => known,
        _ => Map::new(),
    };
    let unknown = given.keys().filter(|key| !known.contains_key(*key) && !T::IDLE.contains(&key.as_str()));
    let unknown = unknown.cloned().collect();
    let config: T = serde_json::from_value(Value::Object(given)).map_err(bad)?;
    config.check()?;
    Ok((config, unknown))
}

/// Refuses a setting with another value than the one that is built here.
///
/// # Errors
/// [`NetsError::Config`] naming the key, its value and what is built.
pub(crate) fn only<T: PartialEq + std::fmt::Debug>(key: &str, value: &T, built: &[T]) -> Result<(), NetsError> {
    if built.contains(value) {
        return Ok(());
    }
    Err(NetsError::config(format!("{key} is {value:?}; this program builds {built:?} alone")))
}
