//! Where a part of a released model is read from: its own folder, or a single file that holds it among others.

use super::{
    folder::{self, at, read},
    single::Single,
};
use crate::Error;
use nets::{
    NetsError,
    published::Published,
    weights::{Stored, TensorSource},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A part that has a configuration and weights.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    place: Place,
    class: String,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    /// The part of this name, with the configuration that its shapes say.
    File(Arc<Single>, &'static str, Value),
}

impl Part {
    /// A folder whose part is of this class.
    pub(crate) fn folder(path: PathBuf, class: &str) -> Self {
        Self { place: Place::Folder(path), class: class.to_owned() }
    }

    /// The part `name` of a single file.
    pub(crate) fn file(file: Arc<Single>, name: &'static str, config: Value, class: &str) -> Self {
        Self { place: Place::File(file, name, config), class: class.to_owned() }
    }

    /// What its library calls it.
    pub(crate) fn class(&self) -> &str {
        &self.class
    }

    /// The folder or file.
    pub(crate) fn path(&self) -> &Path {
        match &self.place {
            Place::Folder(path) => path,
            Place::File(file, ..) => file.path(),
        }
    }

    /// The part's name, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::Folder(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Place::File(_, name, _) => (*name).to_owned(),
        }
    }

    /// Its `config.json`, or what its shapes say; keys that this program does not know are told to `note`.
    ///
    /// # Errors
    /// A file that cannot be read or asks for what is not built here.
    pub(crate) fn config<T: Published>(&self, note: &mut dyn FnMut(String)) -> Result<T, Error> {
        match &self.place {
            Place::Folder(path) => folder::config(path, note),
            Place::File(file, _, config) => {
                let told = nets::published::read(config.to_string().as_bytes());
                Ok(told.map_err(|error| at(file.path(), error))?.0)
            }
        }
    }

    /// Its configuration as `config.json` says it.
    ///
    /// # Errors
    /// Those of [`config`](Self::config).
    pub(crate) fn described(&self) -> Result<Value, Error> {
        match &self.place {
            Place::Folder(path) => {
                let path = path.join("config.json");
                serde_json::from_slice(&read(&path)?)
                    .map_err(|error| Error::Failure(format!("{}: {error}; fetch it again", path.display())))
            }
            Place::File(_, _, config) => {
                // As its library writes it.
                let mut config = config.clone();
                config["_class_name"] = self.class.clone().into();
                Ok(config)
            }
        }
    }

    /// Its weights, which are called `name` in a folder.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn open(&self, name: &str) -> Result<Weights, Error> {
        Ok(match &self.place {
            Place::Folder(path) => Weights::Folder(Stored::in_folder(path, name)?),
            Place::File(file, part, _) => Weights::File(file.clone(), part),
        })
    }

    /// What `load` makes of its weights, which are called `name` in a folder.
    ///
    /// # Errors
    /// Files that cannot be read, weights that do not fit; both by name.
    pub(crate) fn weights<T>(
        &self,
        name: &str,
        load: impl FnOnce(&dyn TensorSource) -> Result<T, NetsError>,
    ) -> Result<T, Error> {
        let weights = self.open(name)?;
        let source = weights.source()?;
        load(&*source).map_err(|error| at(weights.path(), error))
    }
}

/// Opened weights of a part.
pub(crate) enum Weights {
    /// Files of their own.
    Folder(Stored),
    /// The part of this name in a file.
    File(Arc<Single>, &'static str),
    /// Those that a run trained, in f32 under diffusers' names, and its checkpoint.
    Trained(BTreeMap<String, (Vec<usize>, Vec<f32>)>, PathBuf),
}

impl Weights {
    /// The tensors under diffusers' or transformers' names.
    ///
    /// # Errors
    /// Two tensors that claim one name.
    pub(crate) fn source(&self) -> Result<Box<dyn TensorSource + '_>, Error> {
        Ok(match self {
            Self::Folder(stored) => Box::new(stored),
            Self::Trained(values, _) => Box::new(values),
            Self::File(file, part) => Box::new(file.view(part).map_err(|error| at(file.path(), error))?),
        })
    }

    /// Refuses numbers that are not read, and says what is in a folder's files beside tensors.
    ///
    /// # Errors
    /// With the file, the tensor and the remedy.
    pub(crate) fn check(&self, note: &mut dyn FnMut(String)) -> Result<(), Error> {
        let told = match self {
            Self::Folder(stored) => {
                if let Some(line) = stored.passed_over() {
                    note(format!("{}: {line}", stored.path().display()));
                }
                stored.names().iter().try_for_each(|name| stored.check_read(name))
            }
            Self::File(file, part) => file.check_read(part),
            Self::Trained(..) => Ok(()),
        };
        told.map_err(|error| at(self.path(), error))
    }

    /// The file or index.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(stored) => stored.path(),
            Self::File(file, _) => file.path(),
            Self::Trained(_, path) => path,
        }
    }
}
