//! A released model, wherever its parts are: a folder in diffusers' layout, or a single file with a folder for what the file lacks.

use super::{
    Family, Folder,
    folder::{self, read},
    part::{Part, Weights},
    single::{Described, Single, network_of},
    weighty,
};
use crate::{Error, scheduler_config};
use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A released model's parts.
#[derive(Clone, Debug)]
pub struct Release {
    path: PathBuf,
    family: Family,
    folder: Option<Folder>,
    single: Option<Arc<Single>>,
}

impl Release {
    /// Opens a folder, or a single file whose missing parts are in the folder `parts`.
    ///
    /// # Errors
    /// A folder without an index, a file that holds no network known here, parts of another model.
    pub fn open(path: &Path, parts: Option<&Path>) -> Result<Self, Error> {
        if path.is_dir() {
            let folder = Folder::open(path)?;
            if let Some(parts) = parts {
                return Err(Error::Usage(format!(
                    "--parts {}: {} is a folder and has its own; parts are for single files",
                    parts.display(),
                    path.display()
                )));
            }
            let family = Family::of(&folder)?;
            return Ok(Self { path: path.to_path_buf(), family, folder: Some(folder), single: None });
        }
        let single = Single::open(path)?;
        let mut family = single.family();
        let folder = match parts {
            None => None,
            Some(parts) if parts.join(folder::INDEX).is_file() => {
                let folder = Folder::open(parts)?;
                let other = Family::of(&folder)?;
                match (family, other) {
                    // The same network: the folder says which of the two it was trained to be.
                    (Family::StableDiffusion, Family::InstaFlow) => family = other,
                    (one, other) if one == other => {}
                    (one, other) => {
                        return Err(Error::Failure(format!(
                            "--parts {}: it is a {} and {} holds a network of {}",
                            parts.display(),
                            other.name(),
                            path.display(),
                            one.name()
                        )));
                    }
                }
                Some(folder)
            }
            Some(parts) => Some(Folder::loose(parts, family)?),
        };
        Ok(Self { path: path.to_path_buf(), family, folder, single: Some(Arc::new(single)) })
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which models it is one of.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether the model has a part of this name.
    pub fn has(&self, part: &str) -> bool {
        self.in_file(part) || self.folder.as_ref().is_some_and(|folder| folder.has(part))
    }

    pub(crate) fn in_file(&self, part: &str) -> bool {
        self.single.as_ref().is_some_and(|single| single.has(part))
    }

    /// The same model without a part of its folder.
    pub fn without(mut self, part: &str) -> Self {
        self.folder = self.folder.map(|folder| folder.without(part));
        self
    }

    /// A line on tensors of a single file that belong to nothing here.
    pub(crate) fn passed_over(&self) -> Option<String> {
        self.single.as_ref().and_then(|single| single.passed_over())
    }

    /// Whether it was opened as a single file.
    pub(crate) fn is_file(&self) -> bool {
        self.single.is_some()
    }

    /// Whether what was opened itself, without the folder that lends parts, has a part.
    pub(crate) fn holds(&self, part: &str) -> bool {
        if self.is_file() { self.in_file(part) } else { self.has(part) }
    }

    /// Its folder, or the one that lends what a file lacks.
    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    /// The class of a part, where a folder or the part's own tensors say it.
    pub(crate) fn class_of(&self, part: &str) -> Option<String> {
        if let Some((_, told)) = self.described(part).ok()? {
            return Some(told.class.to_owned());
        }
        self.folder.as_ref()?.class_of(part).map(str::to_owned)
    }

    /// Parts that drawing needs and that are nowhere.
    pub(crate) fn lacking(&self) -> Vec<String> {
        let mut needed = vec!["vae", "text_encoder", "tokenizer"];
        if matches!(self.family, Family::Sd3 | Family::Flux) {
            needed.extend(["text_encoder_2", "tokenizer_2"]);
        }
        if self.has("text_encoder_3") {
            needed.push("tokenizer_3");
        }
        needed.into_iter().filter(|part| !self.has(part)).map(|part| format!("`{part}`")).collect()
    }

    /// What the reader of a file should know of it, told to `note`.
    ///
    /// # Errors
    /// Parts that drawing needs and that are nowhere, all of them by name.
    pub(crate) fn check(&self, note: &mut dyn FnMut(String)) -> Result<(), Error> {
        let Some(single) = &self.single else { return Ok(()) };
        if let Some(line) = single.passed_over() {
            note(line);
        }
        if self.family == Family::InstaFlow {
            let parts = self.folder.as_ref().map(|folder| folder.path().display().to_string()).unwrap_or_default();
            note(format!(
                "{}: a U-Net beside an InstaFlow's folder ({parts}), so it is read as a velocity; if it is a Stable Diffusion, give a \
                 Stable Diffusion's folder as --parts",
                self.path.display()
            ));
        }
        let missing = self.lacking();
        if missing.is_empty() {
            return Ok(());
        }
        let (file, holds, missing) = (self.path.display(), single.parts().join(", "), missing.join(", "));
        match &self.folder {
            None => Err(Error::Usage(format!(
                "{file}: it holds {holds}, and drawing needs {missing} as well: name a folder that has them by --parts FOLDER, such as \
                 any {} in diffusers' layout",
                self.family.name()
            ))),
            Some(folder) => Err(Error::Failure(format!(
                "{file}: it holds {holds}, and drawing needs {missing} as well, which {} does not have",
                folder.path().display()
            ))),
        }
    }

    /// A part with weights, whose class must be one of `classes`: the file's own, else the folder's.
    ///
    /// # Errors
    /// A part that the model lacks or that is of another class, with the remedy.
    pub(crate) fn part(&self, name: &'static str, classes: &[&str]) -> Result<Part, Error> {
        if let Some((single, told)) = self.described(name)? {
            return Ok(Part::file(single.clone(), name, told.config, told.class));
        }
        let (folder, class) = (self.files(name, classes)?, self.folder.as_ref().and_then(|f| f.class_of(name)));
        Ok(Part::folder(folder, class.unwrap_or_default()))
    }

    /// A part's weights, which are called `called` in a folder; of a single file without asking what the part is.
    ///
    /// # Errors
    /// Those of [`part`](Self::part), and files that cannot be read.
    pub(crate) fn weights(&self, name: &'static str, classes: &[&str], called: &str) -> Result<Weights, Error> {
        match self.single.as_ref().filter(|single| single.has(name)) {
            Some(single) => Ok(Weights::File(single.clone(), name)),
            None => self.part(name, classes)?.open(called),
        }
    }

    /// Opens every part's weights, which maps them and reads none, and refuses numbers that are not read.
    ///
    /// # Errors
    /// Files that are missing, damaged or of numbers that are not read, by name.
    pub(crate) fn check_weights(&self, note: &mut dyn FnMut(String)) -> Result<(), Error> {
        for (name, classes, called) in weighty(self.family) {
            if self.has(name) {
                self.weights(name, classes, called)?.check(note)?;
            }
        }
        Ok(())
    }

    /// Tensors of a part that a single file holds and that have no place in diffusers' layout.
    pub(crate) fn unplaced(&self, part: &str) -> Vec<String> {
        self.single.as_ref().map(|single| single.unplaced(part)).unwrap_or_default()
    }

    /// What a single file says of a part that it holds.
    fn described(&self, name: &str) -> Result<Option<(&Arc<Single>, Described)>, Error> {
        let Some(single) = self.single.as_ref().filter(|single| single.has(name)) else { return Ok(None) };
        let known = self.known(name)?;
        Ok(Some((single, single.config(name, known.as_deref())?)))
    }

    /// A folder's configuration of a part.
    fn known(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.folder.as_ref().map(|folder| folder.path().join(name).join("config.json"));
        path.filter(|path| path.is_file()).map(|path| read(&path)).transpose()
    }

    /// Whether a part of a single file is what the folder's configuration of it says.
    pub(crate) fn is_known(&self, name: &str) -> Result<bool, Error> {
        Ok(self.described(name)?.is_some_and(|(_, told)| told.known))
    }

    /// The folder of a part of files, whose class must be one of `classes`.
    ///
    /// # Errors
    /// Those of [`Folder::part`].
    pub(crate) fn files(&self, name: &str, classes: &[&str]) -> Result<PathBuf, Error> {
        match &self.folder {
            Some(folder) => folder.part(name, classes),
            None => {
                Err(Error::Failure(format!("{}: it has no `{name}`; name a folder by --parts", self.path.display())))
            }
        }
    }

    /// The scheduler's settings, whose class must be one of `classes`, and the file they are from: the folder's, or those that the
    /// model was published with.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON object.
    pub(crate) fn scheduler(&self, classes: &[&str]) -> Result<(PathBuf, Map<String, Value>), Error> {
        if let Some(settings) = self.published()? {
            return Ok((self.path.clone(), settings));
        }
        let path = self.files("scheduler", classes)?.join("scheduler_config.json");
        match serde_json::from_slice(&read(&path)?) {
            Ok(Value::Object(settings)) => Ok((path, settings)),
            Ok(_) => Err(Error::Failure(format!("{}: is no JSON object; fetch it again", path.display()))),
            Err(error) => Err(Error::Failure(format!("{}: {error}; fetch it again", path.display()))),
        }
    }

    /// The published settings, where a single file comes without a scheduler, or with that of its sister: schnell's text encoders are
    /// dev's, and its noise levels are not.
    pub(crate) fn published(&self) -> Result<Option<Map<String, Value>>, Error> {
        let Some(single) = &self.single else { return Ok(None) };
        let told = |config: &Value| config.get("guidance_embeds").and_then(Value::as_bool).unwrap_or(false);
        let mut own = self.has("scheduler");
        let mut guided = false;
        if self.family == Family::Flux {
            let known = self.known(network_of(self.family))?;
            guided = told(&single.config(network_of(self.family), known.as_deref())?.config);
            let sister = known.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
            own &= sister.is_none_or(|sister| told(&sister) == guided);
        }
        if own {
            return Ok(None);
        }
        // Stable Diffusion 2, whose two kinds say noise or v by the same shapes.
        if self.family == Family::StableDiffusion && single.text_width() == Some(1024) {
            return Err(Error::Usage(format!(
                "{}: its text is 1024 wide, so it is a Stable Diffusion 2, and nothing in it says whether it predicts noise or v; \
                 name a folder by --parts that has its scheduler/scheduler_config.json",
                self.path.display()
            )));
        }
        let settings = match (self.family, guided) {
            (Family::Sd3, _) => json!({ "num_train_timesteps": 1000, "shift": 3.0 }),
            (Family::Flux, true) => json!({
                "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": true, "base_shift": 0.5, "max_shift": 1.15,
                "base_image_seq_len": 256, "max_image_seq_len": 4096,
            }),
            (Family::Flux, false) => {
                json!({ "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": false })
            }
            (Family::Wan | Family::ZImage | Family::QwenImage | Family::Flux2 { .. }, _) => return Ok(None), // of folders alone
            (Family::StableDiffusion | Family::InstaFlow, _) => json!({
                "_class_name": "PNDMScheduler", "beta_start": 0.000_85, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": false, "skip_prk_steps": true,
                "steps_offset": 1, "timestep_spacing": "leading",
            }),
        };
        let Value::Object(mut settings) = settings else { return Ok(None) };
        settings.entry("_class_name").or_insert(scheduler_config::FLOW_MATCH.into());
        Ok(Some(settings))
    }
}
