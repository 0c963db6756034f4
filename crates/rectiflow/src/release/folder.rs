//! A folder in diffusers' layout: `model_index.json` and a folder for each part.

use super::Family;
use crate::{Error, scheduler_config};
use nets::{
    NetsError,
    published::{self, Published},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What says what the folder is.
pub(crate) const INDEX: &str = "model_index.json";

/// A released model's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    class: String,
    /// Name of a part to the class of its library; parts the model does without are not here.
    parts: BTreeMap<String, String>,
    /// Settings that the index says are so.
    set: BTreeSet<String>,
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Failure(format!("cannot read {}: {error}", path.display())))
}

/// What `nets` says of something in the file `path`, with the file's name before it.
pub(crate) fn at(path: &Path, error: NetsError) -> Error {
    match error {
        file @ NetsError::File { .. } => file.into(),
        other => Error::Failure(format!("{}: {other}", path.display())),
    }
}

impl Folder {
    /// Reads the folder's index.
    ///
    /// # Errors
    /// No index, or one that cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let index = path.join(INDEX);
        let bad = |what: String| Error::Failure(format!("{}: {what}; fetch it again", index.display()));
        let entries: Map<String, Value> =
            serde_json::from_slice(&read(&index)?).map_err(|error| bad(format!("is no JSON object ({error})")))?;
        let class =
            entries.get("_class_name").and_then(Value::as_str).ok_or_else(|| bad("has no _class_name".into()))?;
        let parts = entries.iter().filter(|(name, _)| !name.starts_with('_')).filter_map(|(name, entry)| {
            // [library, class]; [null, null] for a part the model does without. Other values are settings.
            let class = entry.as_array()?.get(1)?.as_str()?;
            Some((name.clone(), class.to_owned()))
        });
        let set = entries.iter().filter(|(_, entry)| entry.as_bool() == Some(true)).map(|(name, _)| name.clone());
        Ok(Self { path: path.to_path_buf(), class: class.to_owned(), parts: parts.collect(), set: set.collect() })
    }

    /// A folder without an index, whose folders are the parts of a model of `family`.
    ///
    /// # Errors
    /// A folder that is not there or has none of the parts.
    pub(crate) fn loose(path: &Path, family: Family) -> Result<Self, Error> {
        let clip = if family == Family::Sd3 { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
        let flux = family == Family::Flux;
        let diffusion = matches!(family, Family::StableDiffusion | Family::InstaFlow);
        let known = [
            ("scheduler", if diffusion { "PNDMScheduler" } else { scheduler_config::FLOW_MATCH }),
            ("vae", "AutoencoderKL"),
            ("text_encoder", clip),
            ("text_encoder_2", if flux { "T5EncoderModel" } else { clip }),
            ("text_encoder_3", "T5EncoderModel"),
            ("tokenizer", "CLIPTokenizer"),
            ("tokenizer_2", if flux { "T5Tokenizer" } else { "CLIPTokenizer" }),
            ("tokenizer_3", "T5Tokenizer"),
        ];
        let here = known.iter().filter(|(name, _)| path.join(name).is_dir());
        let parts: BTreeMap<String, String> = here.map(|(name, class)| ((*name).into(), (*class).into())).collect();
        if parts.is_empty() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(Error::Failure(format!(
                "--parts {}: it has neither {INDEX} nor folders of parts ({})",
                path.display(),
                names.join(", ")
            )));
        }
        Ok(Self { path: path.to_path_buf(), class: String::new(), parts, set: BTreeSet::new() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the model's pipeline is called.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// Whether the index has a setting of this name and says that it is so.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    /// Whether the model has a part of this name.
    pub fn has(&self, part: &str) -> bool {
        self.parts.contains_key(part)
    }

    /// The same model without a part.
    pub fn without(mut self, part: &str) -> Self {
        self.parts.remove(part);
        self
    }

    /// The part's folder, whose class must be one of `classes`.
    ///
    /// # Errors
    /// A part that the model lacks or that is of another class, with the remedy.
    pub fn part(&self, name: &str, classes: &[&str]) -> Result<PathBuf, Error> {
        let index = self.path.join(INDEX);
        let Some(class) = self.parts.get(name) else {
            return Err(Error::Failure(format!("{}: the model has no `{name}`, which drawing needs", index.display())));
        };
        if !classes.contains(&class.as_str()) {
            let wanted = classes.join(" or ");
            return Err(Error::Failure(format!(
                "{}: `{name}` is a {class}; this program reads {wanted} there",
                index.display()
            )));
        }
        let folder = self.path.join(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        Err(Error::Failure(format!(
            "{}: no such folder; {} names it, fetch it as well",
            folder.display(),
            index.display()
        )))
    }

    /// The class of a part the model has.
    pub fn class_of(&self, name: &str) -> Option<&str> {
        self.parts.get(name).map(String::as_str)
    }
}

/// A part's `config.json`, and its keys that this program does not know told to `note`.
///
/// # Errors
/// A file that cannot be read or asks for what is not built here.
pub(crate) fn config<T: Published>(folder: &Path, note: &mut dyn FnMut(String)) -> Result<T, Error> {
    let path = folder.join("config.json");
    let (config, unknown) = published::read(&read(&path)?).map_err(|error| at(&path, error))?;
    if !unknown.is_empty() {
        note(format!("{}: passed over, not known here: {}", path.display(), unknown.join(", ")));
    }
    Ok(config)
}
