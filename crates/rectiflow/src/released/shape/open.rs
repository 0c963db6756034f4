//! The folder: its parts, its scheduler, and what `inspect` says of it.

use crate::{
    Error,
    release::{folder, folder::Folder, part::Part},
};
use flow::ScheduleConfig;
use serde_json::{Value, json};
use std::path::Path;

/// The part that tells a model of shapes from one of pictures.
const EYE: &str = "image_encoder_dinov2";
/// Parts with weights, in the order in which they work, and what their weights are called.
pub(super) const PARTS: [(&str, &str); 3] =
    [(EYE, "model"), ("transformer", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")];

/// Whether the folder at `path` is a released model of shapes.
pub fn is_one(path: &Path) -> bool {
    path.join(folder::INDEX).is_file() && Folder::open(path).is_ok_and(|folder| folder.has(EYE))
}

/// An opened folder.
pub(super) struct Opened {
    pub folder: Folder,
    pub eye: Part,
    pub transformer: Part,
    pub vae: Part,
}

impl Opened {
    /// Reads the index; no weights.
    ///
    /// # Errors
    /// Parts that are missing; a model that reads words as well.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let folder = Folder::open(path)?;
        if let Some(words) = ["text_encoder", "tokenizer"].into_iter().find(|part| folder.has(part)) {
            return Err(Error::Failure(format!(
                "{}: it has a `{words}`: the model of scribbles reads words beside pictures and is not drawn from here; TripoSG itself is",
                path.display()
            )));
        }
        let part = |name: &str| {
            let class = folder.class_of(name).unwrap_or_default().to_owned();
            Ok::<_, Error>(Part::folder(folder.part(name, &[&class])?, &class))
        };
        let [(eye, _), (transformer, _), (vae, _)] = PARTS;
        let parts = (part(eye)?, part(transformer)?, part(vae)?);
        Ok(Self { eye: parts.0, transformer: parts.1, vae: parts.2, folder })
    }

    /// The parts beside the names of their weights, in the order in which they work.
    pub fn parts(&self) -> [(&'static str, &Part, &'static str); 3] {
        let parts = [&self.eye, &self.transformer, &self.vae];
        std::array::from_fn(|i| (PARTS[i].0, parts[i], PARTS[i].1))
    }

    /// A file's JSON object.
    ///
    /// # Errors
    /// A part that is missing, a file that cannot be read.
    pub fn json(&self, part: &str, file: &str) -> Result<(String, serde_json::Map<String, Value>), Error> {
        let class = self.folder.class_of(part).unwrap_or_default().to_owned();
        let path = self.folder.part(part, &[&class])?.join(file);
        let bad = |what: String| Error::Failure(format!("{}: {what}; fetch it again", path.display()));
        match serde_json::from_slice(&folder::read(&path)?) {
            Ok(Value::Object(settings)) => Ok((path.display().to_string(), settings)),
            Ok(_) => Err(bad("is no JSON object".into())),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// When the flow is asked: equal noise levels, shifted as the scheduler says.
    ///
    /// # Errors
    /// A scheduler that asks for what is not built here.
    pub fn schedule(&self) -> Result<ScheduleConfig, Error> {
        let (path, settings) = self.json("scheduler", "scheduler_config.json")?;
        let refused = |what: &str| Error::Failure(format!("{path}: {what} is not followed here"));
        if settings.get("use_dynamic_shifting").and_then(Value::as_bool) == Some(true) {
            return Err(refused("use_dynamic_shifting"));
        }
        if settings.get("num_train_timesteps").and_then(Value::as_u64).is_some_and(|steps| steps != 1000) {
            return Err(refused("a num_train_timesteps other than 1000"));
        }
        match settings.get("shift").map_or(Some(1.0), Value::as_f64) {
            Some(1.0) => Ok(ScheduleConfig::Uniform {}),
            Some(shift) if shift > 0.0 && shift.is_finite() => Ok(ScheduleConfig::Shifted { shift }),
            _ => Err(refused("a shift that is no number above 0")),
        }
    }
}

/// The model's parts, as `inspect` tells them.
///
/// # Errors
/// A folder whose parts or weights are missing or damaged.
pub fn describe(path: &Path) -> Result<Value, Error> {
    let opened = Opened::of(path)?;
    let mut parts = serde_json::Map::new();
    for (name, part, called) in opened.parts() {
        let weights = part.open(called)?;
        weights.check(&mut |_| ())?;
        let source = weights.source()?;
        let names = source.names();
        let numbers: usize =
            names.iter().filter_map(|n| source.shape(n)).map(|shape| shape.iter().product::<usize>()).sum();
        parts.insert(
            name.into(),
            json!({ "class": part.class(), "parameters": numbers, "tensors": names.len(), "file": weights.path().display().to_string() }),
        );
    }
    Ok(json!({
        "kind": "released shapes",
        "model": "TripoSG",
        "folder": path.display().to_string(),
        "draws": "meshes from pictures: rectiflow sample FOLDER --image FILE --output FILE.glb",
        "parts": parts,
    }))
}
