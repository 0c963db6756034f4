//! TOML documents: layers laid over each other, `--set` overrides, and errors that say which key, where, and what was meant.
//!
//! A stage's recipe says only what differs from its teacher's, so a document is laid over another: tables merge key by
//! key, except that a table whose `type` changes replaces the old one whole (its other keys belong to the old type).

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

pub use crate::error::DocumentError;

/// Reads `text` (called `name` in messages) as a table and checks every key and type against `T`.
///
/// # Errors
/// [`DocumentError`] with `name:line:column`, the key and the nearest known key.
pub fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<Table, DocumentError> {
    let table = read(text, name)?;
    check::<T>(text, name)?;
    Ok(table)
}

/// Reads `text` (called `name` in messages) as a table of any keys.
///
/// # Errors
/// [`DocumentError`] with `name:line:column`.
pub fn read(text: &str, name: &str) -> Result<Table, DocumentError> {
    toml::from_str::<Table>(text).map_err(|error| located(&error, text, name))
}

/// Checks every key and type of `text` against `T`.
///
/// # Errors
/// Those of [`parse`].
pub fn check<T: DeserializeOwned>(text: &str, name: &str) -> Result<(), DocumentError> {
    toml::from_str::<T>(text).map(drop).map_err(|error| located(&error, text, name))
}

/// Lays `over` on `under`.
pub fn overlay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if same_type(old, &new) => overlay(old, new),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// A table without `type` continues the old one; with one, only if it names the same type.
fn same_type(old: &Table, new: &Table) -> bool {
    new.get("type").is_none_or(|kind| old.get("type") == Some(kind))
}

/// Applies `a.b=c`. The value is read as TOML, and where that fails as a string. Setting a `type` discards the other keys
/// of its table if the type changes.
///
/// # Errors
/// [`DocumentError`] where there is no `=`, a part of the key is empty, or a part names something that is no table.
pub fn set(table: &mut Table, assignment: &str) -> Result<(), DocumentError> {
    let refuse = |why: &str| DocumentError(format!("--set {assignment}: {why}; write it as key.key=value"));
    let (path, text) = assignment.split_once('=').ok_or_else(|| refuse("there is no `=`"))?;
    let keys: Vec<&str> = path.trim().split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(refuse("a part of the key is empty"));
    }
    let (last, parents) = keys.split_last().expect("split yields at least one part");
    let mut here = table;
    for key in parents {
        here = here
            .entry(*key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| refuse(&format!("`{key}` is a value, not a table")))?;
    }
    let value = value_of(text.trim());
    if *last == "type" && here.get("type") != Some(&value) {
        here.clear();
    }
    match (here.get_mut(*last), value) {
        (Some(Value::Table(old)), Value::Table(new)) if same_type(old, &new) => overlay(old, new),
        (_, value) => {
            here.insert((*last).into(), value);
        }
    }
    Ok(())
}

/// `value` under assignments `a.b=c` that were typed after `option`.
///
/// # Errors
/// Those of [`set`] and [`build`].
pub fn assigned<T: Serialize + DeserializeOwned>(
    value: &T,
    assignments: &[String],
    option: &str,
) -> Result<T, DocumentError> {
    let mut table = Table::try_from(value).map_err(|error| DocumentError(format!("{option}: {error}")))?;
    for assignment in assignments {
        set(&mut table, assignment)?;
    }
    build(table, option)
}

fn value_of(text: &str) -> Value {
    let as_toml = toml::from_str::<Table>(&format!("value = {text}")).ok();
    as_toml.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.into()))
}

/// Builds `T` from a finished table whose layers were each parsed; what fails now came from `source` ("--set" or a merge).
///
/// # Errors
/// [`DocumentError`] with the dotted key.
pub fn build<T: DeserializeOwned>(table: Table, source: &str) -> Result<T, DocumentError> {
    T::deserialize(table).map_err(|mut error| {
        error.set_input(None);
        let shown = error.to_string();
        let path = shown.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
        let path = path.map(|path| format!(" (in `{path}`)")).unwrap_or_default();
        DocumentError(format!("{source}: {}{path}", explain(error.message())))
    })
}

fn located(error: &toml::de::Error, text: &str, name: &str) -> DocumentError {
    let span = error.span().unwrap_or(0..0);
    // serde buffers the tables of tagged enums and so knows only the table; the key itself is looked for inside it.
    let offset = unknown(error.message()).map_or(span.start, |(word, _)| find_word(text, span.start, word));
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    let section = before.lines().rev().map(str::trim).find(|line| line.starts_with('[') && line.ends_with(']'));
    let section = section.map(|section| format!(" (in {section})")).unwrap_or_default();
    DocumentError(format!("{name}:{line}:{column}: {}{section}", explain(error.message())))
}

/// Where `word` stands as a key or a value at or after `from`; `from` itself where it does not.
fn find_word(text: &str, from: usize, word: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut at = from.min(text.len());
    while let Some(found) = text[at..].find(word) {
        let (start, end) = (at + found, at + found + word.len());
        if !text[..start].ends_with(is_part) && !text[end..].starts_with(is_part) {
            return start;
        }
        at = end;
    }
    from
}

/// The unknown word and the known ones, out of serde's sentence.
fn unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    if !message.starts_with("unknown field `") && !message.starts_with("unknown variant `") {
        return None;
    }
    let mut words = message.split('`').skip(1).step_by(2);
    let word = words.next()?;
    Some((word, words.collect()))
}

/// Names the keys of `all` that end in the unknown one of `error`: what was meant often stands a table deeper.
pub fn with_namesakes(error: DocumentError, all: &Table) -> DocumentError {
    fn look(table: &Table, before: &str, word: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            let path = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
            if key == word {
                found.push(format!("`{path}`"));
            }
            if let Value::Table(table) = value {
                look(table, &path, word, found);
            }
        }
    }
    let unknown = error.0.split_once("unknown key `").and_then(|(_, rest)| rest.split_once('`'));
    let Some((word, _)) = unknown else { return error };
    let mut found = Vec::new();
    look(all, "", word, &mut found);
    match found.is_empty() {
        true => error,
        false => DocumentError(format!("{}; there is {}", error.0, found.join(", "))),
    }
}

/// serde's sentence in the words of someone who edits a recipe.
fn explain(message: &str) -> String {
    let message = message.trim();
    if let Some((word, known)) = unknown(message) {
        let what = if message.starts_with("unknown field") { "key" } else { "value" };
        let nearest = known
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
            .min()
            .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(word.len()) / 2);
        let hint = nearest.map(|(_, candidate)| format!("; did you mean `{candidate}`?")).unwrap_or_default();
        return format!("unknown {what} `{word}`{hint} (known: {})", known.join(", "));
    }
    // What a table of kinds expects is told by its first word alone.
    let kind = message
        .strip_prefix("invalid type: string \"")
        .and_then(|rest| rest.split_once("\", expected internally tagged"));
    if let Some((kind, _)) = kind {
        return format!(
            "`{kind}` is a `type` and belongs into a table: write {{ type = \"{kind}\" }}, or KEY.type={kind} after --set"
        );
    }
    if let Some(rest) = message.strip_prefix("invalid type: ") {
        return format!("wrong type: {rest}");
    }
    message.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Doc {
        seed: u64,
        train: Part,
        path: Kind,
    }
    #[derive(Debug, Deserialize, Default, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Part {
        batch: usize,
        rate: f64,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Kind {
        Linear {},
        Vp { beta: f64 },
    }
    impl Default for Doc {
        fn default() -> Self {
            Self { seed: 1, train: Part::default(), path: Kind::Linear {} }
        }
    }

    fn error(text: &str) -> String {
        parse::<Doc>(text, "r.toml").unwrap_err().0
    }

    #[test]
    fn an_unknown_key_is_located_and_the_nearest_suggested() {
        let message = error("seed = 1\n[train]\nbatch = 2\nraet = 0.1\n");
        assert!(message.starts_with("r.toml:4:1: unknown key `raet`; did you mean `rate`?"), "{message}");
        assert!(message.contains("(in [train])"), "{message}");
        let nested = error("seed = 1\n\n[path]\ntype = \"vp\"\nbeta = 1.0\nbets = 2\n");
        assert!(nested.starts_with("r.toml:6:1: unknown key `bets`; did you mean `beta`?"), "{nested}");
    }

    #[test]
    fn an_unknown_variant_and_a_wrong_type_are_named() {
        let variant = error("path = { type = \"linaer\" }\n");
        assert!(variant.contains("unknown value `linaer`; did you mean `linear`?"), "{variant}");
        let kind = error("[train]\nbatch = \"many\"\n");
        assert!(kind.starts_with("r.toml:2:9: wrong type: string \"many\", expected usize"), "{kind}");
        let far = error("zzzzzzzzzz = 1\n");
        assert!(!far.contains("did you mean"), "{far}");
        assert!(error("seed = \n").starts_with("r.toml:1:"), "syntax");
    }

    #[test]
    fn what_was_meant_is_named() {
        let kind = error("path = \"vp\"\n");
        assert!(
            kind.starts_with("r.toml:1:8: ") && kind.contains("{ type = \"vp\" }") && kind.contains(".type=vp"),
            "{kind}"
        );
        let all = Table::try_from(toml::from_str::<Table>("[train]\n[train.optim]\nlr = 1").unwrap()).unwrap();
        let deep = with_namesakes(parse::<Doc>("[train]\nlr = 2\n", "r.toml").unwrap_err(), &all).0;
        assert!(deep.contains("unknown key `lr`") && deep.ends_with("there is `train.optim.lr`"), "{deep}");
        let none = with_namesakes(DocumentError("unknown key `zz`".into()), &all).0;
        assert_eq!(none, "unknown key `zz`");
    }

    #[test]
    fn set_reads_toml_and_falls_back_to_strings() {
        let mut table = Table::new();
        for assignment in ["seed=7", "train.rate = 1e-3", "path.type=vp", "path.beta=2.5"] {
            set(&mut table, assignment).unwrap();
        }
        let doc: Doc = build(table.clone(), "--set").unwrap();
        assert_eq!(doc, Doc { seed: 7, train: Part { batch: 0, rate: 1e-3 }, path: Kind::Vp { beta: 2.5 } });
        set(&mut table, "path.type=linear").unwrap();
        assert_eq!(build::<Doc>(table.clone(), "--set").unwrap().path, Kind::Linear {});
        set(&mut table, "train.rat=1").unwrap();
        let message = build::<Doc>(table, "--set").unwrap_err().0;
        assert!(message.contains("did you mean `rate`?") && message.contains("(in `train"), "{message}");
        for bad in ["seed", "=1", "a..b=1", "seed.x=1"] {
            let mut table = toml::from_str::<Table>("seed = 1").unwrap();
            assert!(set(&mut table, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn layers_merge_but_a_changed_type_replaces() {
        let mut under =
            toml::from_str::<Table>("seed=1\n[train]\nbatch=8\nrate=1.0\n[path]\ntype='vp'\nbeta=3.0").unwrap();
        overlay(&mut under, toml::from_str("[train]\nrate=2.0\n[path]\nbeta=4.0").unwrap());
        let doc: Doc = build(under.clone(), "x").unwrap();
        assert_eq!(doc, Doc { seed: 1, train: Part { batch: 8, rate: 2.0 }, path: Kind::Vp { beta: 4.0 } });
        overlay(&mut under, toml::from_str("path = { type = 'linear' }").unwrap());
        assert_eq!(build::<Doc>(under, "x").unwrap().path, Kind::Linear {});
    }
}
