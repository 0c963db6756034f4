//! What somebody wants drawn, read from a request and checked against the model before it may wait.

mod released;
mod settings;
mod shown;
mod work;

use crate::{
    fields::Fields,
    http::Permit,
    options::Limits,
    refusal::Refusal,
    shelf::{Kind, Shelf},
};
use rectiflow::{
    overrides::SampleOverrides,
    recipe::SampleConfig,
    released::{Begins, Prepared, ReleasedRequest},
    serving::{Asked, Makes, Pictured, Wanted, Work},
};
use serde_json::{Value, json};
use settings::{USUAL, config, depth, own_size, refused, size};
use shown::{All, asked};
use std::sync::{Arc, Mutex, PoisonError};

/// Pictures to be drawn.
pub struct Ask {
    /// Number of the model.
    pub model: usize,
    /// How they are drawn.
    pub how: How,
    /// Each picture.
    pub wanted: Vec<Wanted>,
    /// Seed of all of them.
    pub seed: u64,
    /// Of shapes: cells to a side of the lattice that surfaces are taken from, as a power of two.
    pub depth: u32,
    /// Whether pictures are shown on their way.
    pub previews: bool,
    /// What is worth knowing about what was sent.
    pub note: Option<String>,
    /// Leave to hold what was sent, for as long as it is held.
    pub permit: Mutex<Option<Arc<Permit>>>,
}

/// How pictures are drawn.
pub enum How {
    /// By a run.
    Run(Box<SampleConfig>),
    /// By a released model, and what of it is settled.
    Released(Box<(ReleasedRequest, Prepared)>),
    /// By a run, from something that was sent.
    Work(Box<Work>),
}

/// Which of the things that models do a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// What its key `do` says; samples without.
    Said,
    /// Samples.
    Sample,
    /// A picture restored where it is missing, or edited as a whole.
    Change,
}

/// What a request says besides what is done.
struct Settings {
    prompt: String,
    class: Option<Value>,
    count: usize,
    /// Answers at most.
    most: usize,
    seed: u64,
    overrides: SampleOverrides,
    /// Steps at most.
    steps: usize,
    /// Characters of a text at most.
    letters: usize,
}

impl Ask {
    /// Takes the keys that say what to draw.
    pub fn read(fields: &mut Fields, shelf: &Shelf, limits: &Limits, doing: Doing) -> Result<Self, Refusal> {
        let at = shelf.find(fields.text("model")?.as_deref())?;
        let served = shelf.at(at);
        let done = match doing {
            Doing::Said => fields.word("do", served.does())?,
            Doing::Sample => "sample",
            Doing::Change => "change",
        };
        let prompt = fields.text("prompt")?.unwrap_or_default();
        if prompt.chars().count() > limits.prompt {
            return Err(Refusal::bad("prompt", format!("it may have {} characters", limits.prompt)));
        }
        let (class, negative) = (fields.take("class"), fields.text("negative_prompt")?.filter(|text| !text.is_empty()));
        if negative.as_ref().is_some_and(|text| text.chars().count() > limits.prompt) {
            return Err(Refusal::bad("negative_prompt", format!("it may have {} characters", limits.prompt)));
        }
        let starts = match &served.kind {
            Kind::Run(run) => run.opened.starts(),
            Kind::Released { .. } => None,
        };
        let most = starts.map_or(limits.images, |starts| limits.images.min(starts as usize));
        let count = fields.whole("n", 1, most as u64)?.unwrap_or(1);
        let seed = fields.whole("seed", 0, i64::MAX as u64)?;
        // Whole in every client's numbers, JavaScript's among them.
        let seed = seed.unwrap_or_else(|| rand::random::<u64>() >> 11);
        let steps = fields.whole("steps", 1, limits.steps as u64)?.map(|steps| steps as usize);
        let guidance = fields.number("guidance_scale")?;
        let size = size(fields.text("size")?.as_deref(), limits)?;
        if let (Kind::Run(run), Some(_)) = (&served.kind, &negative) {
            let message = "runs are guided away from no prompt at all; only released models read a negative one";
            return Err(own_size(run, size).err().unwrap_or_else(|| Refusal::bad("negative_prompt", message)));
        }
        let depth = match &served.kind {
            Kind::Run(run) if run.opened.makes() == Makes::Shapes => depth(fields)?,
            _ => USUAL,
        };
        let settings = |batch, prompt, class| Settings {
            prompt,
            class,
            count: count as usize,
            most: limits.images,
            seed,
            overrides: SampleOverrides { steps, guidance, batch, ..SampleOverrides::default() },
            steps: limits.steps,
            letters: limits.prompt,
        };
        let mut note = None;
        let (how, all) = match (&served.kind, done) {
            (Kind::Run(run), "sample") => {
                let asked = match run.opened.reads_pictures() {
                    true if class.is_some() || !prompt.is_empty() => {
                        let key = if class.is_some() { "class" } else { "prompt" };
                        return Err(Refusal::bad(key, "this model draws what a picture shows; send `image` alone"));
                    }
                    true => {
                        let (picture, said) = work::pictured(fields, served, run)?;
                        note = said;
                        All::One(Asked::Picture(picture))
                    }
                    false => asked(run, &prompt, class)?,
                };
                own_size(run, size)?;
                (How::Run(Box::new(config(served, run, steps, guidance)?)), asked)
            }
            (Kind::Run(run), done) => {
                own_size(run, size)?;
                config(served, run, steps, guidance)?;
                let settings = settings(Some(run.batch), prompt, class);
                match done {
                    "restore" => work::restore(fields, served, run, settings)?,
                    "edit" => work::edit(fields, served, run, settings)?,
                    "separate" => work::separate(fields, served, run, settings)?,
                    _ => work::change(fields, served, run, settings)?,
                }
            }
            (Kind::Released { folder, usual }, done) => {
                let settings = settings(None, prompt, class);
                released::read(fields, served, (folder.as_path(), &**usual), done, (size, negative), settings)?
            }
        };
        let count = match &how {
            How::Work(work) => work.count() as u64,
            _ => count,
        };
        let wanted = (0..count).map(|index| Wanted { seed, index, asked: all.of(index) }).collect();
        let previews = match (doing, &how) {
            (Doing::Said, How::Run(_)) => {
                fields.flag("previews")?.unwrap_or(false) && matches!(served.makes(), Makes::Pictures | Makes::Clips)
            }
            _ => false,
        };
        Ok(Self { model: at, how, wanted, seed, depth, previews, note, permit: Mutex::default() })
    }

    /// The picture that samples are to look like.
    fn picture(&self) -> Option<&Pictured> {
        match self.wanted.first().map(|one| &one.asked) {
            Some(Asked::Picture(picture)) => Some(picture),
            _ => None,
        }
    }

    /// Bytes of the decoded picture that is held until a released model has drawn; other pictures are of a run's size.
    pub fn decoded(&self) -> usize {
        match &self.how {
            How::Released(order) => order.1.begins().map_or(0, |begins| begins.held),
            How::Run(_) | How::Work(_) => 0,
        }
    }

    /// Holds `permit` for as long as what was sent is held; of most samples nothing is.
    pub fn holding(mut self, permit: Option<Arc<Permit>>) -> Self {
        let begins = matches!(&self.how, How::Released(order) if order.1.begins().is_some());
        if matches!(self.how, How::Work(_)) || self.picture().is_some() || begins {
            self.permit = Mutex::new(permit);
        }
        self
    }

    /// Lets go of what was sent, and of the leave to hold it.
    pub fn forget(&self) {
        match &self.how {
            How::Work(work) => work.forget(),
            How::Released(order) => order.1.forget(),
            How::Run(_) => {}
        }
        if let Some(picture) = self.picture() {
            picture.forget();
        }
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Samples of a run get seeds of their own, each the first picture of its seed, as A1111's clients expect.
    pub fn each_its_seed(&mut self) {
        if let How::Run(_) = self.how {
            for one in &mut self.wanted {
                (one.seed, one.index) = (one.seed.wrapping_add(one.index) & (i64::MAX as u64), 0);
            }
        }
    }

    /// Whether `other` can be drawn in one batch with this without a change to either. What a network is told, and whether it is told
    /// anything, must be alike. A released model draws one request after another.
    pub fn goes_with(&self, other: &Self) -> bool {
        let told = |ask: &Self| ask.wanted.first().is_some_and(|one| one.asked != Asked::Nothing);
        let alike = match (&self.how, &other.how) {
            (How::Run(own), How::Run(other)) => own == other,
            _ => false,
        };
        let alike = alike && self.depth == other.depth;
        std::ptr::eq(self, other) || (alike && self.model == other.model && told(self) == told(other))
    }

    /// Pictures drawn together: as many as go, of what a run draws from nothing; else those of the request.
    pub fn batch(&self, shelf: &Shelf) -> usize {
        match (&self.how, &shelf.at(self.model).kind) {
            (How::Run(_), Kind::Run(run)) => run.batch,
            _ => self.wanted.len(),
        }
    }

    /// Steps of the solver.
    pub fn steps(&self) -> usize {
        match &self.how {
            How::Run(config) => config.steps,
            How::Released(order) => order.1.steps(),
            // Where a method is published with a number of its own.
            How::Work(work) => work.steps().unwrap_or(0),
        }
    }

    /// What it does, in a word.
    pub fn done(&self) -> &'static str {
        match &self.how {
            How::Run(_) => "sample",
            How::Released(order) => match order.1.begins() {
                None => "sample",
                Some(Begins { in_part: true, .. }) => "restore",
                Some(Begins { in_part: false, .. }) => "edit",
            },
            How::Work(work) => match **work {
                Work::Restore(_) => "restore",
                Work::Edit(_) => "edit",
                Work::Separate(_) => "separate",
            },
        }
    }

    /// What will be drawn, for whoever wants to draw it again.
    pub fn value(&self, shelf: &Shelf) -> Value {
        let served = shelf.at(self.model);
        let ([height, width], solver, guidance, negative) = match (&self.how, &served.kind) {
            (How::Released(order), _) => {
                let (request, prepared) = &**order;
                (prepared.size, prepared.solver(), prepared.guidance(), request.negative.as_deref())
            }
            (How::Run(config), kind) => (kind.size(), config.solver.name(), config.guidance.scale, None),
            (How::Work(work), kind) => {
                let usual = kind.guidance();
                (kind.size(), work.method(), work.overrides().guidance.unwrap_or(usual), None)
            }
        };
        let steps = match (&self.how, &served.kind) {
            (How::Work(work), Kind::Run(run)) => work.steps().unwrap_or(run.usual.steps),
            (How::Released(order), _) => order.1.asked_steps(),
            _ => self.steps(),
        };
        let strength = match &self.how {
            How::Released(order) => order.1.begins().map(|begins| begins.strength),
            _ => None,
        };
        let size = (width > 0).then(|| format!("{width}x{height}"));
        let frames = match &self.how {
            How::Released(order) => order.1.length.map(|length| length.frames),
            _ => None,
        };
        let solid = matches!(&served.kind, Kind::Run(run) if run.opened.makes() == Makes::Shapes);
        json!({
            "do": self.done(), "model": served.name, "seed": self.seed, "n": self.wanted.len(), "size": size,
            "steps": steps, "solver": solver, "guidance_scale": guidance, "negative_prompt": negative,
            "strength": strength, "frames": frames, "resolution": solid.then_some(1 << self.depth), "note": self.note,
        })
    }

    /// What picture `index` shows, in words.
    pub fn shows(&self, shelf: &Shelf, index: usize) -> Option<String> {
        match &self.wanted.get(index)?.asked {
            Asked::Nothing | Asked::Picture(_) => None,
            Asked::Class(class) => shelf.at(self.model).class(*class),
            Asked::Prompt(text) => Some(text.clone()),
        }
    }
}
