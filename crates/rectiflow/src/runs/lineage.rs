//! What a run came from beside its recipe: its teacher and its pairs, so that it can be continued without being told again.

use crate::{Error, runs::find};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file in a run's folder.
const FILE: &str = "lineage.json";

/// Where a run's beginnings lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lineage {
    /// The folder that relative paths of the recipe were seen from.
    pub directory: PathBuf,
    /// The teacher's checkpoint.
    pub teacher: Option<PathBuf>,
    /// Its checksum.
    pub checksum: Option<String>,
    /// The pairs, where they were given and not made.
    pub pairs: Option<PathBuf>,
    /// What the verb was asked beside its recipe, as the verb itself writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<serde_json::Value>,
}

impl Lineage {
    /// Of a run that begins here, with a teacher's file and given pairs.
    ///
    /// # Errors
    /// A teacher that cannot be read.
    pub fn here(teacher: Option<&Path>, pairs: Option<&Path>) -> Result<Self, Error> {
        let whole = |path: &Path| match super::shipped::is_named(path) {
            true => path.to_path_buf(), // it lies nowhere
            false => std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
        };
        let directory = std::env::current_dir().unwrap_or_default();
        let checksum = teacher.map(|file| find(file).map(|checkpoint| checkpoint.checksum())).transpose()?;
        Ok(Self { directory, teacher: teacher.map(whole), checksum, pairs: pairs.map(whole), asked: None })
    }

    /// The same, of a verb that was `asked` more.
    pub fn asked(self, asked: &impl Serialize) -> Self {
        Self { asked: serde_json::to_value(asked).ok(), ..self }
    }

    /// What the verb was asked.
    ///
    /// # Errors
    /// [`Error::Failure`] where it is not said, or not as this program says it.
    pub fn read_asked<T: serde::de::DeserializeOwned>(&self, folder: &Path) -> Result<T, Error> {
        let wrong = |what: String| {
            Error::Failure(format!("{}: {what}; give its verb again with --resume latest", folder.display()))
        };
        let asked = self.asked.clone().ok_or_else(|| wrong("this run does not say what it was asked".into()))?;
        serde_json::from_value(asked)
            .map_err(|error| wrong(format!("what this run was asked cannot be read ({error})")))
    }

    /// Of a run without a teacher that begins here.
    pub fn of_here() -> Self {
        Self { directory: std::env::current_dir().unwrap_or_default(), ..Self::default() }
    }

    /// Where the run in `folder` keeps it.
    pub fn place(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Of the run in `folder`; `None` for runs of before it was kept.
    ///
    /// # Errors
    /// [`Error::Failure`] where the file cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let place = Self::place(folder);
        let said = |error: &dyn std::fmt::Display| Error::Failure(format!("{}: {error}", place.display()));
        match std::fs::read_to_string(&place) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| said(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(said(&error)),
        }
    }

    /// As it is kept.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("paths are always JSON") + "\n"
    }

    /// The recipe `text` with its paths as they were meant when the run began.
    ///
    /// # Errors
    /// [`Error::Failure`] for text that is no TOML.
    pub fn at_home(&self, text: &str) -> Result<String, Error> {
        let mut table: toml::Table =
            text.parse().map_err(|error| Error::Failure(format!("the recipe of this run: {error}")))?;
        for (tables, key) in [
            (&["data"][..], "path"),
            (&["task", "source"], "path"),
            (&["task"], "codec"),
            (&["task", "text"], "model"),
            (&[], "from"),
            (&[], "init"),
            (&["source"], "path"), // as older recipes have it
            (&[], "codec"),
        ] {
            let under = tables.iter().try_fold(&mut table, |at, key| at.get_mut(*key)?.as_table_mut());
            if let Some(toml::Value::String(path)) = under.and_then(|table| table.get_mut(key)) {
                *path = self.found(Path::new(path)).display().to_string();
            }
        }
        Ok(table.to_string())
    }

    /// `path` of the recipe as it was meant when the run began: as it stands where that exists, else from the old directory.
    pub fn found(&self, path: &Path) -> PathBuf {
        let then = self.directory.join(path);
        if !path.exists() && then.exists() { then } else { path.to_path_buf() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_from_where_the_run_began() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        let lineage = Lineage { directory: dir.path().into(), teacher: Some("/a/b".into()), ..Lineage::default() };
        assert_eq!(lineage.found("photos".as_ref()), dir.path().join("photos"));
        assert_eq!(
            lineage.found("nowhere".as_ref()),
            Path::new("nowhere"),
            "what is nowhere is named as it was written"
        );
        let text = "from = \"photos\"\n[data]\npath = \"photos\"\n[task]\ncodec = \"photos\"\n[task.text]\nmodel = \"photos\"\n[task.source]\npath = \"nowhere\"\n";
        let (home, there) = (lineage.at_home(text).unwrap(), dir.path().join("photos").display().to_string());
        assert!(home.matches(&there).count() == 4 && home.contains("\"nowhere\""), "{home}");
        assert_eq!(Lineage::read(dir.path()).unwrap(), None);
        std::fs::write(Lineage::place(dir.path()), lineage.to_json()).unwrap();
        assert_eq!(Lineage::read(dir.path()).unwrap(), Some(lineage));
        std::fs::write(Lineage::place(dir.path()), "{").unwrap();
        assert!(Lineage::read(dir.path()).unwrap_err().to_string().contains("lineage.json"));
    }
}
