//! The models that are served, by name. The name is all that clients learn of where a model lies.

use crate::{options::Limits, refusal::Refusal};
use rectiflow::{
    Error,
    device::Chosen,
    recipe::SampleConfig,
    released::{self, ReleasedRequest, is_released},
    serving::{Makes, Opened},
    verbs::hub,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

/// A model with its name.
pub struct Served {
    /// What clients call it.
    pub name: String,
    /// The model.
    pub kind: Kind,
    /// The file or folder, and those of its parts, of which clients learn nothing.
    places: Vec<String>,
    /// Seconds since 1970 when it was written.
    made: u64,
}

/// What may be served.
pub enum Kind {
    /// A run, kept open.
    Run(Box<Run>),
    /// A released model's folder, opened for each request part by part.
    Released {
        /// The folder.
        folder: PathBuf,
        /// What it draws where nobody asks otherwise.
        usual: Box<released::Prepared>,
    },
}

impl Kind {
    /// Pixels of its pictures where nobody asks otherwise, height first.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Run(run) => [run.opened.picture()[1], run.opened.picture()[2]],
            Self::Released { usual, .. } => usual.size,
        }
    }

    /// The solver's name.
    pub fn solver(&self) -> &'static str {
        match self {
            Self::Run(run) => run.usual.solver.name(),
            Self::Released { usual, .. } => usual.solver(),
        }
    }

    /// Guidance where nobody asks otherwise.
    pub fn guidance(&self) -> f64 {
        match self {
            Self::Run(run) => run.usual.guidance.scale,
            Self::Released { usual, .. } => usual.guidance(),
        }
    }
}

/// A run.
pub struct Run {
    /// The model; without its weights where there is a budget for them.
    pub opened: Arc<Opened>,
    /// How it draws where nobody asks otherwise.
    pub usual: SampleConfig,
    /// Pictures drawn together.
    pub batch: usize,
}

/// All models.
pub struct Shelf(Vec<Served>);

impl Shelf {
    /// Opens `models`, each `PATH` or `NAME=PATH`.
    ///
    /// # Errors
    /// What opening says; [`Error::Usage`] for names that cannot be used or are given twice.
    pub fn open(models: &[String], limits: &Limits, device: &Chosen, tell: &dyn Fn(&str)) -> Result<Self, Error> {
        let mut shelf: Vec<Served> = Vec::new();
        for given in models {
            let (name, path) = named(given)?;
            if shelf.iter().any(|other| other.name == name) {
                return Err(Error::Usage(format!(
                    "{given}: a model is called `{name}` already; call this NAME={given}"
                )));
            }
            let path = hub::place(path)?;
            // Messages name it whole, so that it can be taken out of them.
            let path = path.canonicalize().unwrap_or(path);
            let mut places = Vec::new();
            let (kind, file) = match is_released(&path) {
                true => {
                    let request = ReleasedRequest::new(path.clone(), "a picture");
                    let usual = Box::new(released::prepare(&request, &mut |_| {})?);
                    let side = usual.size.into_iter().max().unwrap_or(0);
                    within("--max-side", limits.side, side, "pixels", &name)?;
                    within("--max-steps", limits.steps, usual.steps(), "steps", &name)?;
                    (Kind::Released { folder: path.clone(), usual }, path)
                }
                false => {
                    let opened = Opened::open(&path, device)?;
                    let usual = opened.config(&Default::default())?;
                    within("--max-steps", limits.steps, usual.steps, "steps", &name)?;
                    let most = limits.batch.unwrap_or(usual.batch);
                    let (batch, file) = (opened.together(most)?, opened.model.file.clone());
                    places.extend(opened.model.codec.iter().map(|codec| codec.file.display().to_string()));
                    if batch < most {
                        tell(&format!(
                            "{name}: {batch} pictures are drawn together and not {most}, for want of memory"
                        ));
                    }
                    let opened = match limits.weights {
                        None => opened,
                        Some(budget) if opened.weight() > budget => {
                            return Err(Error::Usage(format!(
                                "--model-memory: {name} alone has {:.1} MB of weights; use at least that",
                                opened.weight() as f64 / f64::from(1 << 20)
                            )));
                        }
                        Some(_) => opened.hollow()?,
                    };
                    (Kind::Run(Box::new(Run { opened: Arc::new(opened), usual, batch })), file)
                }
            };
            let written = std::fs::metadata(&file).and_then(|about| about.modified()).ok();
            let made = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs());
            places.push(file.display().to_string());
            shelf.push(Served { name, kind, places, made });
        }
        match shelf.is_empty() {
            true => Err(Error::Usage("give at least one run to serve".into())),
            false => Ok(Self(shelf)),
        }
    }

    /// Model number `at`.
    pub fn at(&self, at: usize) -> &Served {
        &self.0[at]
    }

    /// All of them.
    pub fn all(&self) -> &[Served] {
        &self.0
    }

    /// The number of the model called `name`; the only one there is without a name.
    pub fn find(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let names = || self.0.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
        match name {
            None if self.0.len() == 1 => Ok(0),
            None => Err(Refusal::bad("model", format!("say which: {}", names()))),
            Some(name) => self.0.iter().position(|model| model.name == name).ok_or_else(|| {
                let message = format!("model: there is no such model here, but {}", names());
                Refusal { param: Some("model".into()), ..Refusal::new(404, "model_not_found", message) }
            }),
        }
    }
}

impl Served {
    /// What a client may know of it.
    pub fn value(&self, limits: &Limits) -> Value {
        let mut value = json!({
            "id": self.name, "object": "model", "created": self.made, "owned_by": "rectiflow",
            "max_n": limits.images, "max_steps": limits.steps, "does": self.does(),
        });
        let more = match &self.kind {
            Kind::Run(run) => run.value(),
            Kind::Released { usual, .. } => {
                let [height, width] = usual.size;
                let length = usual.length;
                json!({
                    "makes": if length.is_some() { "clips" } else { "pictures" },
                    "frames": length.map(|length| length.frames), "fps": length.map(|length| length.rate), "size": format!("{width}x{height}"), "channels": 3, "resizes": true, "classes": [],
                    "reads_prompts": true, "reads_pictures": false, "reads_negative_prompts": true, "steps": usual.steps(),
                    "solver": usual.solver(), "guidance_scale": usual.guidance(), "guided": true, "parameters": null,
                })
            }
        };
        join(&mut value, more);
        value
    }

    /// What it makes.
    pub fn makes(&self) -> Makes {
        match &self.kind {
            Kind::Run(run) => run.opened.makes(),
            Kind::Released { usual, .. } if usual.length.is_some() => Makes::Clips,
            Kind::Released { .. } => Makes::Pictures,
        }
    }

    /// Whether what it makes are pictures.
    pub fn draws(&self) -> bool {
        self.makes() == Makes::Pictures
    }

    /// What it can be asked to do; the first where nobody says.
    pub fn does(&self) -> &'static [&'static str] {
        match &self.kind {
            Kind::Released { usual, .. } if usual.length.is_some() => &["sample"],
            Kind::Released { .. } => &["sample", "restore", "edit"],
            Kind::Run(run) => match run.opened.makes() {
                Makes::Sounds => &["separate"],
                Makes::Pictures if run.opened.edits() => &["sample", "restore", "edit"],
                Makes::Pictures if run.opened.restores() => &["sample", "restore"],
                Makes::Pictures | Makes::Clips | Makes::Shapes => &["sample"],
            },
        }
    }

    /// `text` without the places of the model.
    pub fn discreet(&self, text: &str) -> String {
        self.places.iter().fold(text.to_string(), |text, place| text.replace(place, &self.name))
    }

    /// The name of class `class`.
    pub fn class(&self, class: i64) -> Option<String> {
        match &self.kind {
            Kind::Run(run) => run.opened.model.subject.classes.get(class as usize).cloned(),
            Kind::Released { .. } => None,
        }
    }
}

impl Run {
    /// Whether it can be guided.
    pub fn guided(&self) -> bool {
        let model = &self.opened.model;
        let asked = model.classes() > 0 || model.words.is_some() || self.opened.reads_pictures();
        asked && model.recipe.train.condition_dropout > 0.0
    }

    fn value(&self) -> Value {
        let [channels, height, width] = self.opened.picture();
        let (model, seen) = (&self.opened.model, self.opened.reads_pictures());
        let classes: &[String] = if seen { &[] } else { &model.subject.classes };
        let (makes, size) = match self.opened.makes() {
            Makes::Pictures => ("pictures", Some(format!("{width}x{height}"))),
            Makes::Clips => ("clips", Some(format!("{width}x{height}"))),
            Makes::Shapes => ("shapes", None),
            Makes::Sounds => ("sounds", None),
        };
        // Those of a clip are its frames.
        let moving = self.opened.makes() == Makes::Clips;
        let (channels, frames) = if moving { (1, Some(channels)) } else { (channels, None) };
        json!({
            "makes": makes, "size": size, "channels": channels, "frames": frames, "fps": self.opened.rate(), "resizes": false, "classes": classes,
            "reads_prompts": model.words.is_some(), "reads_pictures": seen, "reads_negative_prompts": false, "steps": self.usual.steps,
            "solver": self.usual.solver.name(), "guidance_scale": self.usual.guidance.scale, "guided": self.guided(),
            "parameters": model.parameters,
        })
    }
}

/// Refuses a limit below what a model does where nobody asks otherwise.
fn within(option: &str, limit: usize, usual: usize, what: &str, name: &str) -> Result<(), Error> {
    if usual <= limit {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{option} {limit}: {name} draws with {usual} {what} unless told otherwise; use at least that"
    )))
}

/// The keys of `more` beside those of `value`.
pub fn join(value: &mut Value, more: Value) {
    if let (Value::Object(map), Value::Object(more)) = (value, more) {
        map.extend(more);
    }
}

/// `PATH` or `NAME=PATH`.
fn named(given: &str) -> Result<(String, PathBuf), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if let Some((name, path)) = given.split_once('=').filter(|_| !Path::new(given).exists()) {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(Error::Usage(format!("{given}: a name has letters, digits, `.`, `_` and `-`, at most 64")));
        }
        return Ok((name.into(), path.into()));
    }
    let path = PathBuf::from(given);
    let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
    // A checkpoint lies in its run: runs/NAME/checkpoints/000.safetensors.
    let run = whole.parent().filter(|folder| folder.ends_with("checkpoints")).and_then(Path::parent);
    let stem = if whole.is_file() { whole.file_stem() } else { whole.file_name() };
    let name = run.and_then(Path::file_name).or(stem).map(|name| name.to_string_lossy().into_owned());
    let name: String =
        name.unwrap_or_default().chars().map(|c| if c.is_ascii() && plain(c as u8) { c } else { '-' }).collect();
    Ok((if name.is_empty() { "model".into() } else { name }, path))
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn models_are_called_by_their_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("my run=3");
        std::fs::create_dir_all(run.join("checkpoints")).unwrap();
        let file = run.join("checkpoints/000000.safetensors");
        std::fs::write(&file, "").unwrap();
        let name = |given: &str| named(given).map(|(name, _)| name);
        assert_eq!(name(&run.display().to_string()).unwrap(), "my-run-3");
        assert_eq!(name(&file.display().to_string()).unwrap(), "my-run-3");
        assert_eq!(named("big=runs/base").unwrap(), ("big".into(), "runs/base".into()));
        assert_eq!(name("b\u{fc}g=runs/base").unwrap_err().exit_code(), 2);
    }
}
