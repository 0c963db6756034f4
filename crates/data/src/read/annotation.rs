//! What is said of an image beside it: its class and its caption, in the spellings that other programs write.

use super::numbered_classes;
use crate::{DataError, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A class as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Number(u32),
    Name(String),
}

/// What is said of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub(crate) label: Option<Word>,
    /// The name of a class that is given by number as well.
    pub(crate) name: Option<String>,
    pub(crate) caption: Option<String>,
}

/// Keys of a class: each of the first is one; the others are asked where none of those is.
const LABELS: [&str; 3] = ["label", "class", "cls"];
const OTHER_LABELS: [&str; 6] = ["category", "class_name", "label_name", "class_id", "label_id", "target"];
/// Keys of a caption, in the order they are asked.
const CAPTIONS: [&str; 6] = ["text", "caption", "prompt", "captions", "texts", "description"];

/// Whether a column of this name says what an image is.
pub(crate) fn says(key: &str) -> bool {
    LABELS.iter().chain(&OTHER_LABELS).chain(&CAPTIONS).any(|known| *known == key)
}

impl Annotation {
    /// From the keys of a JSON object; others are allowed, as other programs write them.
    pub(crate) fn of(keys: &Map<String, Value>) -> Result<Self, String> {
        let mut said = Self::default();
        for group in [&LABELS[..], &OTHER_LABELS[..]] {
            let mut first: Option<(&str, Word)> = None;
            for &key in group {
                let Some(found) = keys.get(key).map(|value| word(key, value)).transpose()?.flatten() else { continue };
                match (&first, &found) {
                    (None, _) => first = Some((key, found)),
                    (Some((_, Word::Number(_))), Word::Name(name)) => said.name = Some(name.clone()),
                    (Some((_, Word::Name(name))), Word::Number(_)) => {
                        said.name = Some(name.clone());
                        first = Some((key, found));
                    }
                    (Some((other, a)), b) if a != b => {
                        return Err(format!("`{other}` and `{key}` name different classes"));
                    }
                    _ => {}
                }
            }
            if let Some((_, label)) = first {
                said.label = Some(label);
                break;
            }
        }
        for key in CAPTIONS {
            if said.caption.is_none() {
                said.caption = keys.get(key).map(|value| words(key, value)).transpose()?.flatten();
            }
        }
        Ok(said)
    }

    /// From a JSON document beside an image.
    pub(crate) fn json(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(keys)) => Self::of(&keys),
            Ok(_) => Err("no JSON object, { \"caption\": ..., \"label\": ... }".into()),
            Err(e) => Err(format!("not JSON ({e})")),
        }
    }

    /// What this leaves open from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        let (label, name) = if self.label.is_some() { (self.label, self.name) } else { (other.label, other.name) };
        Self { label, name, caption: self.caption.or(other.caption) }
    }
}

/// A class written as plain text: a number if it is one.
pub(crate) fn plain(text: &str) -> Option<Word> {
    let text = text.trim();
    match text.strip_suffix(".0").unwrap_or(text).parse() {
        Ok(number) => Some(Word::Number(number)),
        Err(_) if text.is_empty() || text == "-1" => None,
        Err(_) => Some(Word::Name(text.to_string())),
    }
}

fn word(key: &str, value: &Value) -> Result<Option<Word>, String> {
    let wrong = || format!("`{key}` is {value}; a class is a whole number from 0 or a name");
    Ok(match value {
        Value::Null => None,
        Value::Bool(yes) => Some(Word::Name(yes.to_string())),
        Value::String(name) => Some(name.trim()).filter(|name| !name.is_empty()).map(|name| Word::Name(name.into())),
        Value::Number(number) => {
            let number = number.as_f64().ok_or_else(wrong)?;
            match number {
                -1.0 => None, // "no class" in many lists
                _ if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) => {
                    Some(Word::Number(number as u32))
                }
                _ => return Err(wrong()),
            }
        }
        Value::Array(items) if items.len() <= 1 => match items.first() {
            Some(item) => word(key, item)?,
            None => None,
        },
        _ => return Err(wrong()),
    })
}

fn words(key: &str, value: &Value) -> Result<Option<String>, String> {
    Ok(match value {
        Value::Null => None,
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(String::from),
        Value::Number(number) => Some(number.to_string()),
        // Several captions of one image: the first is taken.
        Value::Array(items) => match items.first() {
            Some(item) => words(key, item)?,
            None => None,
        },
        _ => return Err(format!("`{key}` is {value}; a caption is text")),
    })
}

/// The classes of `said` and the number of each; `path` is where it is said.
pub(crate) fn classes(path: &Path, said: &[Annotation]) -> Result<(Vec<String>, Vec<Option<u32>>)> {
    let words = || said.iter().filter_map(|said| said.label.as_ref());
    let numbers = words().any(|word| matches!(word, Word::Number(_)));
    let names = words().any(|word| matches!(word, Word::Name(_)));
    if !numbers {
        let names: BTreeSet<&str> =
            words().filter_map(|word| if let Word::Name(name) = word { Some(&**name) } else { None }).collect();
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let number = |said: &Annotation| match &said.label {
            Some(Word::Name(name)) => names.binary_search(name).ok().map(|at| at as u32),
            _ => None,
        };
        let labels = said.iter().map(number).collect();
        return Ok((names, labels));
    }
    // Numbers, some of them perhaps in quotes.
    let number = |word: &Word| match word {
        Word::Number(number) => Ok(*number),
        Word::Name(name) => name.parse().map_err(|_| {
            let what = format!("some labels are names (`{name}`), some are numbers");
            DataError::malformed(path, what, "use one kind")
        }),
    };
    let labels = said.iter().map(|said| said.label.as_ref().map(&number).transpose()).collect::<Result<Vec<_>>>()?;
    let mut class_names = numbered_classes(path, &labels.iter().flatten().copied().collect::<Vec<_>>())?;
    let mut called: BTreeMap<u32, &str> = BTreeMap::new();
    for (label, name) in labels.iter().zip(said).filter_map(|(label, said)| Some(((*label)?, said.name.as_deref()?))) {
        let known = called.entry(label).or_insert(name);
        if *known != name {
            let what = format!("class {label} is called `{known}` and `{name}`");
            return Err(DataError::malformed(path, what, "give each class number one name"));
        }
    }
    // Names in full or not at all: a list half of names, half of numbers tells nobody anything.
    let used: BTreeSet<u32> = labels.iter().flatten().copied().collect();
    if !names && !called.is_empty() && used.iter().all(|label| called.contains_key(label)) {
        called.iter().for_each(|(label, name)| class_names[*label as usize] = (*name).to_string());
    }
    Ok((class_names, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of classes, labels and captions.
    type Said = (Vec<String>, Vec<Option<u32>>, Vec<Option<String>>);

    fn said(lines: &[&str]) -> Result<Said> {
        let path = Path::new("metadata.jsonl");
        let all = lines.iter().map(|line| Annotation::json(line).map_err(|what| DataError::malformed(path, what, "x")));
        let all = all.collect::<Result<Vec<_>>>()?;
        let (names, labels) = classes(path, &all)?;
        Ok((names, labels, all.into_iter().map(|said| said.caption).collect()))
    }

    #[test]
    fn classes_and_captions_in_every_usual_spelling() {
        let (names, labels, captions) = said(&[
            r#"{"text": "a", "caption": "b", "label": 1.0}"#,
            r#"{"text": null, "caption": " b ", "cls": 0, "score": {"x": 1}}"#,
            r#"{"captions": ["c", "d"], "label": [2]}"#,
            r#"{"prompt": "", "label": null, "class": -1}"#,
            r#"{"label": "2"}"#,
        ])
        .unwrap();
        assert_eq!(names, ["0", "1", "2"]);
        assert_eq!(labels, [Some(1), Some(0), Some(2), None, Some(2)]);
        assert_eq!(captions, [Some("a".into()), Some("b".into()), Some("c".into()), None, None]);
        let (names, labels, _) =
            said(&[r#"{"label": 1, "class": "dog"}"#, r#"{"class": "cat", "cls": 0}"#, r#"{"x": 1}"#]).unwrap();
        assert_eq!((names, labels), (vec!["cat".into(), "dog".into()], vec![Some(1), Some(0), None]));
        let (names, labels, _) = said(&[r#"{"category": "b"}"#, r#"{"label": "a", "category": "c"}"#]).unwrap();
        assert_eq!((names, labels), (vec!["a".into(), "b".into()], vec![Some(1), Some(0)]));
    }

    #[test]
    fn what_cannot_be_both_is_refused_by_name() {
        let refused = |lines: &[&str]| said(lines).unwrap_err().to_string();
        assert!(refused(&[r#"{"label": 0, "class": 1}"#]).contains("`label` and `class`"));
        assert!(refused(&[r#"{"label": 1.5}"#]).contains("`label` is 1.5"));
        assert!(refused(&[r#"{"label": -3}"#]).contains("-3"));
        assert!(refused(&[r#"{"caption": {"en": "x"}}"#]).contains("a caption is text"));
        assert!(refused(&[r#"{"label": 0}"#, r#"{"label": "cat"}"#]).contains("use one kind"));
        assert!(refused(&[r#"{"label": 0, "class": "a"}"#, r#"{"label": 0, "class": "b"}"#]).contains("`a` and `b`"));
    }
}
