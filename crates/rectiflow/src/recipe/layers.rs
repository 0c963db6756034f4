//! Documents laid over each other until they are one recipe: house defaults, a teacher's recipe, a file, single keys.

use super::{Recipe, document, task::moved};
use crate::Error;
use std::{collections::BTreeSet, path::Path};

/// How a task is named on the command line.
const OTHER: &str = "--set task.type=generate (transfer, separate, joint)";

/// Why a student may not say something.
const KEPT: &str = "the student keeps what its teacher's weights mean";

/// Documents laid over each other, the later over the earlier.
#[derive(Clone, Debug)]
pub struct Layers {
    table: toml::Table,
    /// Top-level keys that somebody wrote, as opposed to inherited from a recipe.
    written: BTreeSet<String>,
    /// The same of keys of the task; `type` where another task was named.
    of_task: BTreeSet<String>,
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
        Self { table, written: BTreeSet::new(), of_task: BTreeSet::new() }
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
        let mut table = document::read(text, name)?;
        match moved::rewrite(&mut table, name)? {
            false => document::check::<Recipe>(text, name),
            true => document::build::<Recipe>(table.clone(), name).map(drop),
        }
        .map_err(|error| with_namesakes(with_tasks(error, &table)))?;
        self.written.extend(table.keys().cloned());
        if let Some(task) = table.get("task").and_then(|task| task.as_table()) {
            let before = self.table.get("task").and_then(|task| task.get("type"));
            let new = |key: &&String| *key != "type" || task.get("type") != before;
            self.of_task.extend(task.keys().filter(new).cloned());
        }
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
    pub fn data(mut self, name_or_path: &str) -> Result<Self, Error> {
        self.written.insert("data".into());
        name_set(&mut self.table, "data", name_or_path);
        Ok(self)
    }

    /// A named data set, or a file or folder that exists, to start flows from: task `transfer`.
    ///
    /// # Errors
    /// [`Error::Usage`] where keys of another task are there.
    pub fn source(mut self, name_or_path: &str) -> Result<Self, Error> {
        self.written.insert("task".into());
        self.of_task.insert("source".into());
        let task = self.table.entry("task").or_insert_with(|| toml::Table::new().into());
        let Some(task) = task.as_table_mut() else { return Ok(self) };
        let kind = task.get("type").and_then(|kind| kind.as_str()).unwrap_or_default().to_string();
        if kind != "transfer" {
            if let Some(key) = task.keys().find(|key| *key != "type") {
                return Err(Error::Usage(format!(
                    "--source makes this a flow between two data sets, task `transfer`, and `task.{key}` is a key of task \
                     `{kind}`: leave one of the two out"
                )));
            }
            task.insert("type".into(), "transfer".into());
        }
        name_set(task, "source", name_or_path);
        Ok(self)
    }

    /// An override `a.b=c`.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn set(mut self, assignment: &str) -> Result<Self, Error> {
        document::set(&mut self.table, assignment)?;
        let key = assignment.split(['.', '=']).next().unwrap_or_default().trim();
        if let Some(advice) = moved::advice(key) {
            return Err(Error::Usage(format!("--set {assignment}: {advice}")));
        }
        self.written.insert(key.to_string());
        if key == "task" {
            let path = assignment.split('=').next().unwrap_or_default();
            // A whole table names its type.
            self.of_task.insert(path.trim().split('.').nth(1).unwrap_or("type").to_string());
        }
        document::build::<Recipe>(self.table.clone(), &format!("--set {assignment}")).map_err(|error| {
            // A key of another task is unknown to this one.
            let task = self.table.get("task").and_then(|task| task.get("type")?.as_str());
            let other = key == "task" && error.0.contains("unknown key");
            let hint =
                task.filter(|_| other).map(|task| format!("; this is task `{task}`: name another with {OTHER} first"));
            with_namesakes(document::DocumentError(error.0 + &hint.unwrap_or_default()))
        })?;
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
        for key in ["path", "parameterization", "coupling", "weighting", "antithetic", "native"] {
            if self.written.contains(key) {
                return refuse(key, KEPT.into());
            }
        }
        if self.written.contains("init") {
            return refuse("init", "a student begins at its teacher's weights".into());
        }
        // How the loss looks at latents changes no meaning of weights, and not every target can look as the teacher's did.
        if let Some(key) = self.of_task.iter().find(|key| *key != "latents") {
            return refuse(&format!("task.{key}"), KEPT.into());
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

/// Keys of the house's recipe that bear the name of the unknown one in `error`.
fn with_namesakes(error: document::DocumentError) -> document::DocumentError {
    match toml::Table::try_from(Recipe::default()) {
        Ok(all) => document::with_namesakes(error, &all),
        Err(_) => error,
    }
}

/// What to write first, where `table` has a task without its type.
fn with_tasks(error: document::DocumentError, table: &toml::Table) -> document::DocumentError {
    let untold = table.get("task").is_some_and(|task| task.is_table() && task.get("type").is_none());
    match untold && error.0.contains("missing field `type`") {
        true => document::DocumentError(format!(
            "{}: write type = \"generate\", \"transfer\", \"separate\" or \"joint\" first in `task`",
            error.0
        )),
        false => error,
    }
}

/// Makes `table[key]` the data set called `name_or_path`: a named one, or a file or folder that exists.
fn name_set(table: &mut toml::Table, key: &str, name_or_path: &str) {
    let (said, other) = match data::DataConfig::of(name_or_path).path {
        Some(_) => ("path", "name"),
        None => ("name", "path"),
    };
    let set = table.entry(key).or_insert_with(|| toml::Table::new().into());
    if let Some(set) = set.as_table_mut() {
        set.remove(other);
        set.insert(said.into(), name_or_path.into());
    }
}
