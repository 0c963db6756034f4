//! Which shapes a recipe asks for: their names, classes and captions, before anything of them is read.

use super::place as at;
use crate::Error;
use data::{DataConfig, Fit, LeftOut, Split};
use media::shape::{Collection, sample::uniform, solid::Kind};
use std::collections::BTreeSet;

/// The name of the set of solids by formula.
pub const SOLIDS: &str = "solids";
/// Solids of the training part unless `data.limit` says otherwise, and of the test part at most.
const TRAINING: usize = 2000;
const TEST: usize = 200;

/// One shape to be.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Unlike any other's of its set.
    pub name: String,
    pub caption: String,
    pub class: u32,
    pub origin: Origin,
}

/// Where a shape comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A solid's class, seed and number.
    Solid(Kind, u64, u64),
    /// Its number in the collection.
    Entry(usize),
}

/// The shapes asked for.
pub(super) struct List {
    pub items: Vec<Item>,
    pub classes: Vec<String>,
    pub name: String,
    pub left_out: Vec<LeftOut>,
    /// Where entries are read from.
    pub collection: Option<Collection>,
}

impl List {
    pub fn is_solids(&self) -> bool {
        self.collection.is_none()
    }

    pub fn of(config: &DataConfig) -> Result<Self, Error> {
        config.check()?;
        for (key, is_set) in [
            ("size", config.size.is_some()),
            ("channels", config.channels.is_some()),
            ("flip", config.flip),
            ("fit", config.fit != Fit::default()),
        ] {
            if is_set {
                return Err(Error::Usage(format!("data.{key} is for pictures, and these are shapes; leave it out")));
            }
        }
        match (&config.name, &config.path) {
            (Some(name), _) if name == SOLIDS => Self::solids(config),
            (Some(name), _) => Self::collected(name, config),
            (None, Some(path)) => Self::collected(&path.display().to_string(), config),
            (None, None) => Err(Error::Usage(format!(
                "a shape codec needs shapes: set data.name = \"{SOLIDS}\", \"ldraw\" or \"furniture\", or data.path to a folder \
                 of meshes"
            ))),
        }
    }

    /// Keeps `most` of the shapes, whichever their numbers by name choose: some of each class, however they are ordered.
    pub fn spread(&mut self, most: usize) {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by_key(|&i| (hash(&self.items[i].name), i));
        order.truncate(most);
        order.sort_unstable();
        self.items = order.into_iter().map(|i| self.items[i].clone()).collect();
    }

    fn solids(config: &DataConfig) -> Result<Self, Error> {
        let all: Vec<String> = Kind::ALL.iter().map(|kind| kind.name().to_string()).collect();
        let classes = chosen(&all, &config.classes)?;
        let (seed, count) = match config.split {
            Split::Train => (0, config.limit.unwrap_or(TRAINING)),
            Split::Test => (1, config.limit.unwrap_or(TEST).min(TEST)),
        };
        let item = |i: usize| {
            let class = i % classes.len();
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == classes[class]).unwrap_or(Kind::Box);
            Item {
                name: format!("{}-{}", kind.name(), i / classes.len()),
                caption: kind.name().to_string(),
                class: class as u32,
                origin: Origin::Solid(kind, seed, (i / classes.len()) as u64),
            }
        };
        let items = (0..count).map(item).collect();
        let name = if config.split == Split::Test { format!("{SOLIDS} (test)") } else { SOLIDS.into() };
        Ok(Self { items, classes, name, left_out: Vec::new(), collection: None })
    }

    fn collected(place: &str, config: &DataConfig) -> Result<Self, Error> {
        let collection = Collection::open(&at(place)?)?;
        let entries = collection.entries();
        let all: Vec<String> =
            entries.iter().map(|entry| entry.class.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let classes = chosen(&all, &config.classes)?;
        let test = config.split == Split::Test;
        let mut items = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let Some(class) = classes.iter().position(|class| *class == entry.class) else { continue };
            // All variants of a family lie on one side, whatever else is in the set.
            let apart = uniform(hash(&entry.family), 0, 0, 0) < config.holdout;
            if apart == test {
                let (name, caption) = (entry.name.clone(), entry.caption.clone());
                items.push(Item { name, caption, class: class as u32, origin: Origin::Entry(i) });
            }
        }
        items.truncate(config.limit.unwrap_or(usize::MAX));
        let name = if test { format!("{place} (test)") } else { place.to_string() };
        let left_out = collection.notes().iter().map(|note| LeftOut {
            what: note.trim_start_matches("left out: ").to_string(),
            count: 1,
            first: Vec::new(),
            why: "they show no shape of their own".into(),
        });
        Ok(Self { items, classes, name, left_out: left_out.collect(), collection: Some(collection) })
    }
}

/// The classes asked for, in their order; all where none is.
fn chosen(all: &[String], asked: &[String]) -> Result<Vec<String>, Error> {
    if let Some(unknown) = asked.iter().find(|class| !all.contains(class)) {
        let few: Vec<&str> = all.iter().take(20).map(String::as_str).collect();
        let more = if all.len() > few.len() { format!(" and {} more", all.len() - few.len()) } else { String::new() };
        return Err(Error::Usage(format!(
            "data.classes: there is no class `{unknown}`; there are {}{more}",
            few.join(", ")
        )));
    }
    Ok(if asked.is_empty() { all.to_vec() } else { asked.to_vec() })
}

/// FNV-1a: short, stable across platforms and versions.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
