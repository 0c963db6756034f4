//! The samples that a pair file names: what can be read of them, whose pairs can be used, and what of their speeds and lengths is odd.

use super::file::Loaded;
use crate::{Context, Error, context::Event, model::Subject, sampling::named};
use base::NULL_CLASS;
use data::preferences::{Pair, PairFile};
use std::collections::{BTreeMap, HashMap};

/// Frames to a second that differ by more than this share are another speed.
const SPEED: f64 = 0.05;

/// The samples of a pair file, each once, by the name it has there.
pub(super) struct PairSamples {
    /// Those that could be read.
    pub rows: BTreeMap<String, Loaded>,
    /// Why the others could not.
    broken: HashMap<String, String>,
}

impl PairSamples {
    pub fn read(file: &PairFile, subject: &Subject, context: &mut Context) -> Result<Self, Error> {
        let mut samples = Self { rows: BTreeMap::new(), broken: HashMap::new() };
        let total = file.pairs.len() as u64;
        context.tell(Event::Begin { what: "pairs read", total });
        for (done, pair) in file.pairs.iter().enumerate() {
            context.go_on()?;
            for path in &pair.paths {
                if samples.rows.contains_key(path) || samples.broken.contains_key(path) {
                    continue;
                }
                match Loaded::open(&file.place(path), subject.shape) {
                    Ok(sample) => drop(samples.rows.insert(path.clone(), sample)),
                    Err(error) => drop(samples.broken.insert(path.clone(), error.to_string())),
                }
            }
            context.tell(Event::Advance { done: done as u64 + 1 });
        }
        context.tell(Event::End);
        Ok(samples)
    }

    /// The pairs whose samples and prompts can be used, with their classes; the others are refused or left out, counted.
    pub fn usable(
        &self,
        file: &PairFile,
        (subject, asks): (&Subject, bool),
        skip: bool,
        context: &mut Context,
    ) -> Result<Vec<(Pair, i64)>, Error> {
        let shown = file.path.display();
        let (mut kept, mut lost, mut unread) = (Vec::new(), Vec::new(), 0);
        for pair in &file.pairs {
            let broken = pair.paths.iter().find_map(|path| self.broken.get(path));
            let class = class_of(&pair.prompt, &subject.classes).or_else(|why| {
                unread += 1;
                if asks { Err(why) } else { Ok(NULL_CLASS) }
            });
            match (broken, class) {
                (None, Ok(class)) => kept.push((pair.clone(), class)),
                (Some(why), _) => lost.push(format!("line {}: {why}", pair.line)),
                (None, Err(why)) => lost.push(format!("line {}: {why}", pair.line)),
            }
        }
        if let Some(first) = lost.first() {
            let (count, all) = (lost.len(), file.pairs.len());
            if !skip || kept.is_empty() {
                let remedy = if kept.is_empty() {
                    "mend the file"
                } else {
                    "mend them, or leave them out with --skip-unreadable"
                };
                return Err(Error::Failure(format!(
                    "{shown}: {first}; {count} of {all} pairs cannot be used like this; {remedy}"
                )));
            }
            context.note(format!("{shown}: {count} of {all} pairs are left out, the first: {first}"));
        }
        if unread > 0 && !asks {
            context.note(format!("{shown}: {unread} prompts are no class, and no axis asks for them"));
        }
        Ok(kept)
    }

    /// Says what of speeds and lengths is not as it should be, and refuses sounds of several rates.
    pub fn speeds(&self, file: &PairFile, pairs: &[(Pair, i64)], context: &mut Context) -> Result<(), Error> {
        let shown = file.path.display();
        let differs = |a: f64, b: f64| (a - b).abs() > SPEED * a.max(b);
        let (mut said_otherwise, mut within, mut counted_otherwise) = (Vec::new(), Vec::new(), Vec::new());
        let mut speeds: BTreeMap<u64, usize> = BTreeMap::new();
        for (pair, _) in pairs {
            let samples = pair.paths.iter().map(|path| self.rows.get(path));
            let own: Vec<Option<&Loaded>> = samples.collect();
            let found: Vec<Option<f64>> = (0..2).map(|side| pair.fps[side].or(own[side].and_then(|s| s.fps))).collect();
            for side in 0..2 {
                let line = || format!("line {}", pair.line);
                if let (Some(said), Some(own)) = (pair.fps[side], own[side].and_then(|sample| sample.fps))
                    && differs(said, own)
                {
                    said_otherwise.push(format!("{} says {said} for {own:.3}", line()));
                }
                if let (Some(said), Some(own)) = (pair.frames[side], own[side].and_then(|sample| sample.frames))
                    && said != own
                {
                    counted_otherwise.push(format!("{} says {said} for {own}", line()));
                }
                found[side].iter().for_each(|fps| *speeds.entry((fps * 20.0).round() as u64).or_default() += 1);
            }
            if let [Some(a), Some(b)] = found[..]
                && differs(a, b)
            {
                within.push(format!("line {}: {a:.3} and {b:.3}", pair.line));
            }
        }
        let mut warn = |what: &str, all: &[String]| {
            if let Some(first) = all.first() {
                context.note(format!(
                    "warning: {shown}: {what} ({}, the first {first}): this shifts what motion is worth",
                    all.len()
                ));
            }
        };
        warn("frames to a second that the clips themselves contradict", &said_otherwise);
        warn("pairs of clips at different frames to a second", &within);
        warn("numbers of frames that the clips contradict", &counted_otherwise);
        if speeds.len() > 1 && within.is_empty() {
            let all: Vec<String> =
                speeds.iter().map(|(fps, count)| format!("{count} at {}", *fps as f64 / 20.0)).collect();
            context.note(format!(
                "warning: {shown}: clips at several frames to a second ({}): this shifts what motion is worth",
                all.join(", ")
            ));
        }
        self.lengths(&shown.to_string(), context)
    }

    fn lengths(&self, shown: &str, context: &mut Context) -> Result<(), Error> {
        let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
        let mut rates: BTreeMap<u32, &str> = BTreeMap::new();
        let (mut cut, mut filled) = (0, 0);
        for (path, sample) in &self.rows {
            sample.frames.iter().for_each(|frames| *lengths.entry(*frames).or_default() += 1);
            if let Some((rate, over)) = sample.sound {
                rates.entry(rate).or_insert(path);
                cut += usize::from(over > 0);
                filled += usize::from(over < 0);
            }
        }
        if lengths.len() > 1 {
            let all: Vec<String> = lengths.iter().map(|(frames, count)| format!("{count} of {frames}")).collect();
            context.note(format!(
                "{shown}: clips of several lengths ({} frames): each is read at frames spread evenly over it",
                all.join(", ")
            ));
        }
        if cut + filled > 0 {
            context.note(format!(
                "{shown}: {cut} sounds are longer than a sample and cut, {filled} shorter and end in silence"
            ));
        }
        let mut each = rates.iter();
        match (each.next(), each.next()) {
            (Some((a, first)), Some((b, second))) => Err(Error::Failure(format!(
                "{shown}: {first} has {a} numbers to a second and {second} {b}; bring all sounds to one rate"
            ))),
            _ => Ok(()),
        }
    }
}

/// The class that `prompt` names; of models without classes none.
pub(super) fn class_of(prompt: &str, classes: &[String]) -> Result<i64, String> {
    if prompt.is_empty() || classes.is_empty() {
        return Ok(NULL_CLASS);
    }
    let number = || prompt.parse::<usize>().ok().filter(|number| *number < classes.len());
    let class = named(classes, prompt).or_else(number);
    class.map(|class| class as i64).ok_or_else(|| {
        let known: Vec<&str> = classes.iter().take(20).map(String::as_str).collect();
        format!("the prompt `{prompt}` is no class of this model; there are {}", known.join(", "))
    })
}
