//! What a run came from beside its recipe: its teacher and its pairs, so that it can be continued without being told again.

use crate::Error;
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
    /// The pairs, where they were given and not made.
    pub pairs: Option<PathBuf>,
}

impl Lineage {
    /// Of a run that begins here, with a teacher's file and given pairs.
    pub fn here(teacher: Option<&Path>, pairs: Option<&Path>) -> Self {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let directory = std::env::current_dir().unwrap_or_default();
        Self { directory, teacher: teacher.map(whole), pairs: pairs.map(whole) }
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
        let lineage = Lineage { directory: dir.path().into(), ..Lineage::here(Some("a/b".as_ref()), None) };
        assert_eq!(lineage.found("photos".as_ref()), dir.path().join("photos"));
        assert_eq!(
            lineage.found("nowhere".as_ref()),
            Path::new("nowhere"),
            "what is nowhere is named as it was written"
        );
        assert!(lineage.teacher.as_ref().is_some_and(|teacher| teacher.is_absolute()));
        assert_eq!(Lineage::read(dir.path()).unwrap(), None);
        std::fs::write(Lineage::place(dir.path()), lineage.to_json()).unwrap();
        assert_eq!(Lineage::read(dir.path()).unwrap(), Some(lineage));
        std::fs::write(Lineage::place(dir.path()), "{").unwrap();
        assert!(Lineage::read(dir.path()).unwrap_err().to_string().contains("lineage.json"));
    }
}
