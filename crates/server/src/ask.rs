//! What somebody wants drawn, read from a request and checked against the model before it may wait.

use crate::{
    fields::Fields,
    options::Limits,
    refusal::Refusal,
    shelf::{Served, Shelf},
};
use rectiflow::{
    Error,
    recipe::SampleConfig,
    sampling::named,
    serving::{Asked, Wanted},
    verbs::sample::SampleOverrides,
};
use serde_json::{Value, json};

/// Pictures to be drawn.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Number of the model.
    pub model: usize,
    /// How they are drawn.
    pub config: SampleConfig,
    /// Each picture.
    pub wanted: Vec<Wanted>,
    /// Seed of all of them.
    pub seed: u64,
}

/// Classes that a message names before it counts the rest.
const SHOWN: usize = 20;

impl Ask {
    /// Takes the keys that say what to draw.
    pub fn read(fields: &mut Fields, shelf: &Shelf, limits: &Limits) -> Result<Self, Refusal> {
        let at = shelf.find(fields.text("model")?.as_deref())?;
        let served = shelf.at(at);
        let prompt = fields.text("prompt")?;
        let asked = asked(served, prompt.as_deref().unwrap_or_default(), fields.take("class"), limits)?;
        let most = served.opened.starts().map_or(limits.images, |starts| limits.images.min(starts as usize));
        let count = fields.whole("n", 1, most as u64)?.unwrap_or(1);
        let seed = fields.whole("seed", 0, i64::MAX as u64)?;
        // Whole in every client's numbers, JavaScript's among them.
        let seed = seed.unwrap_or_else(|| rand::random::<u64>() >> 11);
        let steps = fields.whole("steps", 1, limits.steps as u64)?;
        let guidance = fields.number("guidance_scale")?;
        let config = config(served, steps.map(|steps| steps as usize), guidance)?;
        size(served, fields.text("size")?.as_deref())?;
        if fields.text("negative_prompt")?.is_some_and(|text| !text.is_empty()) {
            let message = "runs are guided away from no prompt at all; only released models read a negative one";
            return Err(Refusal::bad("negative_prompt", message));
        }
        let wanted = (0..count).map(|index| Wanted { seed, index, asked: asked.of(index) }).collect();
        Ok(Self { model: at, config, wanted, seed })
    }

    /// Whether `other` can be drawn in one batch with this without a change to either. What a network is told, and whether it is told
    /// anything, must be alike.
    pub fn goes_with(&self, other: &Self) -> bool {
        let told = |ask: &Self| ask.wanted.first().is_some_and(|one| one.asked != Asked::Nothing);
        self.model == other.model && told(self) == told(other) && self.config == other.config
    }

    /// What will be drawn, for whoever wants to draw it again.
    pub fn value(&self, shelf: &Shelf) -> Value {
        let served = shelf.at(self.model);
        let [_, height, width] = served.opened.picture();
        json!({
            "model": served.name, "seed": self.seed, "n": self.wanted.len(), "size": format!("{width}x{height}"),
            "steps": self.config.steps, "solver": self.config.solver.name(),
            "guidance_scale": self.config.guidance.scale,
        })
    }

    /// What picture `index` shows, in words.
    pub fn shows(&self, shelf: &Shelf, index: usize) -> Option<String> {
        match &self.wanted.get(index)?.asked {
            Asked::Nothing => None,
            Asked::Class(class) => shelf.at(self.model).opened.model.subject.classes.get(*class as usize).cloned(),
            Asked::Prompt(text) => Some(text.clone()),
        }
    }
}

/// What the pictures of a request show.
enum All {
    /// The same.
    One(Asked),
    /// So many classes in turn.
    InTurn(u64),
}

impl All {
    fn of(&self, index: u64) -> Asked {
        match self {
            Self::One(asked) => asked.clone(),
            Self::InTurn(classes) => Asked::Class((index % classes) as i64),
        }
    }
}

/// What a prompt and a class ask of a model. Clients of OpenAI's interface have a prompt and no class, so that a prompt may name one.
fn asked(served: &Served, prompt: &str, class: Option<Value>, limits: &Limits) -> Result<All, Refusal> {
    let (model, text) = (&served.opened.model, prompt.trim());
    if prompt.chars().count() > limits.prompt {
        return Err(Refusal::bad("prompt", format!("it may have {} characters", limits.prompt)));
    }
    let classes = &model.subject.classes;
    if model.words.is_some() {
        return match (class, text) {
            (None, "") => Err(Refusal::bad("prompt", "say what to draw; the class `none` draws anything")),
            (None, _) => Ok(All::One(Asked::Prompt(prompt.into()))),
            (Some(Value::String(none)), "") if none == "none" => Ok(All::One(Asked::Nothing)),
            (Some(_), _) => Err(Refusal::bad("class", "this model reads text; ask with `prompt`")),
        };
    }
    let (param, word) = match (class, text) {
        (None, text) => ("prompt", text.to_string()),
        (Some(Value::String(word)), "") => ("class", word.trim().to_string()),
        (Some(Value::Number(number)), "") => {
            let class = number.as_u64().filter(|class| (*class as usize) < classes.len());
            let class = class.ok_or_else(|| Refusal::bad("class", known(classes)))?;
            return Ok(All::One(Asked::Class(class as i64)));
        }
        (Some(_), "") => return Err(Refusal::bad("class", "it must be the name of a class or its number")),
        (Some(_), _) => return Err(Refusal::bad("class", "say it in `class` or in `prompt`, not in both")),
    };
    match word.as_str() {
        "" if classes.is_empty() => Ok(All::One(Asked::Nothing)),
        "" => Ok(All::InTurn(classes.len() as u64)),
        word => match named(classes, word) {
            Some(class) => Ok(All::One(Asked::Class(class as i64))),
            None if word == "none" => Ok(All::One(Asked::Nothing)),
            None => Err(Refusal::bad(param, known(classes))),
        },
    }
}

/// The classes there are, as what should have been asked.
fn known(classes: &[String]) -> String {
    let names = classes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match classes.len() {
        0 => "this model has no classes and reads no text; leave it empty".into(),
        all if all > SHOWN => format!("this model draws {names} and {} more", all - SHOWN),
        _ => format!("this model draws {names}"),
    }
}

/// The usual settings with those that were given, one at a time so that a refusal names the one.
fn config(served: &Served, steps: Option<usize>, guidance: Option<f64>) -> Result<SampleConfig, Refusal> {
    let refused = |param: &str, error: Error| {
        let text = served.discreet(&error.to_string());
        // The library speaks to a command line.
        let text = match text.strip_prefix("--").and_then(|text| text.split_once(": ")) {
            Some((_, reason)) => reason.to_string(),
            None => text,
        };
        Refusal::bad(param, text)
    };
    let mut overrides = SampleOverrides { steps, ..SampleOverrides::default() };
    let config = match steps {
        None => served.usual.clone(),
        Some(_) => served.opened.config(&overrides).map_err(|error| refused("steps", error))?,
    };
    if guidance.is_none() {
        return Ok(config);
    }
    overrides.guidance = guidance;
    served.opened.config(&overrides).map_err(|error| refused("guidance_scale", error))
}

/// A size is the model's own.
fn size(served: &Served, size: Option<&str>) -> Result<(), Refusal> {
    let [_, height, width] = served.opened.picture();
    let own = format!("{width}x{height}");
    match size {
        None | Some("auto") => Ok(()),
        Some(size) if size == own => Ok(()),
        Some(_) => Err(Refusal::bad("size", format!("this model draws {own}, and nothing else"))),
    }
}
