//! Documents laid over each other until they are one recipe: house defaults, a teacher's recipe, a file, single keys.

use super::{Recipe, document};
use crate::Error;
use std::{collections::BTreeSet, path::Path};

/// Documents laid over each other, the later over the earlier.
#[derive(Clone, Debug)]
pub struct Layers {
    table: toml::Table,
    /// Top-level keys that somebody wrote, as opposed to inherited from a recipe.
    written: BTreeSet<String>,
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// The house defaults, so that `network.channels` can be set without naming the network.
    pub fn new() -> Self {
        let table = toml::Table::try_from(Recipe::default()).expect("a recipe holds only strings, numbers and tables");
        Self { table, written: BTreeSet::new() }
    }

    /// A complete recipe below what follows (a teacher's).
    pub fn recipe(mut self, recipe: &Recipe) -> Self {
        let table = toml::Table::try_from(recipe).expect("a recipe holds only strings, numbers, lists and tables");
        document::overlay(&mut self.table, table);
        self
    }

    /// A recipe's text, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn text(mut self, text: &str, name: &str) -> Result<Self, Error> {
        let table = document::parse::<Recipe>(text, name)?;
        self.written.extend(table.keys().cloned());
        document::overlay(&mut self.table, table);
        Ok(self)
    }

    /// A recipe file.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot be read, [`Error::Recipe`] where it cannot be understood.
    pub fn file(self, path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Error::Usage(format!("cannot read the recipe {}: {error}", path.display())))?;
        self.text(&text, &path.display().to_string())
    }

    /// A named data set, or a file or folder that exists.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn data(self, name_or_path: &str) -> Result<Self, Error> {
        self.set_named("data", name_or_path)
    }

    fn set_named(mut self, table: &str, name_or_path: &str) -> Result<Self, Error> {
        self.written.insert(table.into());
        let is_path = name_or_path.contains(['/', '\\']) || Path::new(name_or_path).exists();
        let (key, other) = if is_path { ("path", "name") } else { ("name", "path") };
        let table = self.table.entry(table).or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.remove(other);
            table.insert(key.into(), name_or_path.into());
        }
        Ok(self)
    }

    /// A named data set, or a file or folder that exists, to start flows from.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn source(self, name_or_path: &str) -> Result<Self, Error> {
        self.set_named("source", name_or_path)
    }

    /// An override `a.b=c`.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn set(mut self, assignment: &str) -> Result<Self, Error> {
        document::set(&mut self.table, assignment)?;
        self.written.extend(assignment.split(['.', '=']).next().map(|key| key.trim().to_string()));
        document::build::<Recipe>(self.table.clone(), &format!("--set {assignment}"))?;
        Ok(self)
    }

    /// Refuses keys that a student takes from its teacher or from the table `stage` ("reflow", "distill").
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key.
    pub fn student_of(self, stage: &str) -> Result<Self, Error> {
        let refuse = |key: &str, why: String| Err(Error::Usage(format!("`{key}` cannot be set for `{stage}`: {why}")));
        for key in ["time", "loss"] {
            if self.written.contains(key) {
                let there =
                    if (stage, key) == ("distill", "time") { "distill.steps".into() } else { format!("{stage}.{key}") };
                return refuse(key, format!("set `{there}`"));
            }
        }
        for key in ["target", "measure", "perceptual"] {
            if self.written.contains(key) {
                return refuse(key, format!("set `{stage}.{key}`, where this verb has it"));
            }
        }
        for key in
            ["path", "parameterization", "coupling", "weighting", "antithetic", "native", "source", "text", "codec"]
        {
            if self.written.contains(key) {
                return refuse(key, "the student keeps what its teacher's weights mean".into());
            }
        }
        let mut layers = self;
        if !layers.written.contains("name") {
            let teacher = layers.table.get("name").and_then(|name| name.as_str()).unwrap_or("run").to_string();
            layers.table.insert("name".into(), format!("{teacher}-{stage}").into());
        }
        Ok(layers)
    }

    /// Whether somebody wrote the top-level key.
    pub fn wrote(&self, key: &str) -> bool {
        self.written.contains(key)
    }

    /// The recipe as far as single keys go; whoever changes it further checks it then.
    pub(crate) fn unchecked(self) -> Result<Recipe, Error> {
        Ok(document::build(self.table, "recipe")?)
    }

    /// The finished recipe, checked.
    ///
    /// # Errors
    /// [`Error::Recipe`] or [`Error::Usage`].
    pub fn build(self) -> Result<Recipe, Error> {
        let recipe = self.unchecked()?;
        recipe.check()?;
        Ok(recipe)
    }
}
