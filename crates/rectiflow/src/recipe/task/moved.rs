//! Recipes of the time before `[task]`, inside checkpoints and in files: `source`, `codec`, `latents`, `text`, `sound` and `second` stood at the
//! top. They are read as what they say now.

use crate::recipe::document::DocumentError;
use toml::{Table, Value};

/// Top-level keys of that time, each with the task that a recipe with it has now, the strongest first: recordings may have words.
const MOVED: [(&str, &str); 6] = [
    ("sound", "separate"),
    ("source", "transfer"),
    ("second", "joint"),
    ("codec", "generate"),
    ("latents", "generate"),
    ("text", "generate"),
];

/// What to write in place of the top-level key `key`, where it is one of these.
pub(in crate::recipe) fn advice(key: &str) -> Option<String> {
    let (_, task) = MOVED.iter().find(|(moved, _)| *moved == key)?;
    Some(match key {
        "sound" => "`sound` is `task = { type = \"separate\", … }` now, its keys those of the task".into(),
        _ => format!("`{key}` is a key of the task now: `task.{key}`, where `task.type` is \"{task}\""),
    })
}

/// Rewrites `table`, called `name` in messages, in today's spelling; whether there was something to rewrite.
///
/// # Errors
/// Keys of two tasks, or of that time and of today.
pub(in crate::recipe) fn rewrite(table: &mut Table, name: &str) -> Result<bool, DocumentError> {
    let found: Vec<(&str, &str)> = MOVED.into_iter().filter(|(key, _)| table.contains_key(*key)).collect();
    let Some(&(first, task)) = found.first() else { return Ok(false) };
    let refuse = |what: String| Err(DocumentError(format!("{name}: {what}")));
    if table.contains_key("task") {
        return refuse(format!("beside `[task]` there is `{first}`: {}", advice(first).unwrap_or_default()));
    }
    // A captioned mixture is the one pair of keys of two tasks that meant something.
    let other = found.iter().find(|(key, of)| *of != task && !(*key == "text" && task == "separate"));
    if let Some((other, _)) = other {
        return refuse(format!("`{first}` and `{other}` are keys of different tasks; leave one of the two out"));
    }
    if table.get("codec").is_some_and(Value::is_table) {
        return refuse("`codec` is a table here, so this is a codec's recipe: `rectiflow codec FILE` trains it".into());
    }
    let mut new = Table::new();
    for (key, _) in found {
        match (key, table.remove(key)) {
            ("sound", Some(Value::Table(keys))) => new.extend(begun_nowhere(keys)),
            (_, Some(value)) => drop(new.insert(key.into(), value)),
            (_, None) => {}
        }
    }
    new.insert("type".into(), task.into());
    table.insert("task".into(), new.into());
    Ok(true)
}

/// `keys` of a `sound`, whose mixtures had no sound that begins within them: that is what they still say.
fn begun_nowhere(mut keys: Table) -> Table {
    let mixture = keys.entry("mixture").or_insert_with(|| Table::new().into());
    if let Some(mixture) = mixture.as_table_mut() {
        mixture.entry("onset").or_insert_with(|| 0.0.into());
    }
    keys
}

#[cfg(test)]
mod tests {
    use crate::recipe::{Layers, Recipe, TaskConfig};

    fn read(text: &str) -> Result<Recipe, String> {
        Recipe::parse(text, "old.toml").map_err(|error| error.to_string())
    }

    /// Mutants: the keys of `sound` left a table inside the task; its sounds begin within mixtures, or never do; `text` lost beside `sound` or `codec`; the type left out.
    #[test]
    fn recipes_of_the_time_before_tasks_say_the_same() {
        for (old, new) in [
            ("[text]\nlength = 9", "[task]\ntype = 'generate'\ntext = { length = 9 }"),
            ("codec = 'runs/x'\n[text]", "[task]\ntype = 'generate'\ncodec = 'runs/x'\ntext = {}"),
            ("[source]\nname = 'emoji-noto'", "[task]\ntype = 'transfer'\nsource = { name = 'emoji-noto' }"),
            (
                "data = { path = 'x' }\nnetwork = { type = 'unet', condition = { dense = 1 } }\ntext = {}\n[sound]\ncentre = -3.0\n[sound.mel]\nbins = 32",
                "data = { path = 'x' }\nnetwork = { type = 'unet', condition = { dense = 1 } }\n[task]\ntype = 'separate'\ncentre = -3.0\ntext = {}\n\
                 mel = { bins = 32 }\nmixture = { onset = 0.0 }",
            ),
            (
                "data = { path = 'x' }\nnetwork = { type = 'unet', condition = { dense = 1 } }\n[sound.mixture]\nonset = 0.2\nabsent = 0.1",
                "data = { path = 'x' }\nnetwork = { type = 'unet', condition = { dense = 1 } }\n[task]\ntype = 'separate'\n\
                 mixture = { onset = 0.2, absent = 0.1 }",
            ),
        ] {
            let (old, new) = (read(old).unwrap(), read(new).unwrap());
            assert_eq!(old, new);
            assert_eq!(read(&old.to_toml()).unwrap(), old);
        }
        assert_eq!(read("seed = 1").unwrap().task, TaskConfig::default());
    }

    #[test]
    fn keys_of_two_tasks_are_refused_in_either_spelling() {
        assert!(
            read("codec = 'x'\n[source]").unwrap_err().contains("`source` and `codec` are keys of different tasks")
        );
        assert!(read("[text]\n[task]\ntype = 'generate'").unwrap_err().contains("`task.text`"));
        let both = "[task]\ntype = 'transfer'\ncodec = 'x'\n[task.source]\nname = 'emoji-noto'";
        assert!(read(both).unwrap_err().contains("unknown key `codec`"), "{}", read(both).unwrap_err());
        let said = read("data = { name = 'x' }\n[codec]\ntype = 'kl'").unwrap_err();
        assert!(said.contains("old.toml: ") && said.contains("`rectiflow codec FILE`"), "{said}");
        let said = Layers::new().set("source.size=4").unwrap_err().to_string();
        assert!(said.contains("task.source") && said.contains("transfer"), "{said}");
    }
}
