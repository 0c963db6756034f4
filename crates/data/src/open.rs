//! From a [`DataConfig`] to a data set: find it, choose its part, classes and samples, bring the images to one form.

use crate::decode::Form;
use crate::fetch::registry::{self, Kind};
use crate::fetch::{cache_dir, is_fetched};
use crate::lazy::Lazy;
use crate::memory::InMemory;
use crate::moving::{MOVING, clips};
use crate::order::Order;
use crate::read::{Entry, Pixels, Source, cifar, emoji, folder, idx, npy, webdataset};
use crate::{DataConfig, DataError, Dataset, EMBEDDED, Label, Result, Sample, Split};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TRAIN_IMAGES: &[u8] = include_bytes!("../assets/train-images-idx3-ubyte.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../assets/train-labels-idx1-ubyte.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../assets/t10k-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../assets/t10k-labels-idx1-ubyte.gz");

/// Opens the data set that `config` describes. Small sets are decoded at once and kept in memory; of larger ones, images
/// are decoded when they are asked for.
///
/// ```
/// use data::{DataConfig, Dataset, Split, open};
/// let test = open(&DataConfig { split: Split::Test, ..DataConfig::default() })?;
/// assert_eq!((test.len(), test.shape(), test.classes()), (2000, [1, 28, 28], 10));
/// assert_eq!(test.class_names()[9], "Ankle boot");
/// # Ok::<(), data::DataError>(())
/// ```
///
/// # Errors
/// A setting out of range, a file that is missing, unreadable or not what it should be, a class that does not exist.
pub fn open(config: &DataConfig) -> Result<Arc<dyn Dataset>> {
    config.check()?;
    if config.name.as_deref() == Some(MOVING) {
        return Ok(Arc::new(moving_garments(config)?));
    }
    let (name, source) = source(config)?;
    let name = if config.split == Split::Test { format!("{name} (test)") } else { name };
    let source = hold_out(source, config, &name)?;
    let source = match (config.label, config.split) {
        (Label::Class, _) => source,
        (Label::Caption, Split::Train) => by_caption(captions(&source), source, &name)?,
        (Label::Caption, Split::Test) => {
            let part = config.with_split(Split::Train);
            let training = hold_out(self::source(&part)?.1, &part, &name)?;
            by_caption(captions(&training), source, &name)?
        }
    };
    let mut source = choose_classes(source, config)?;
    source.entries.truncate(config.limit.unwrap_or(usize::MAX));
    finish(&name, source, config)
}

/// The clips made of the embedded set. What would change the garments' form is refused rather than passed over.
fn moving_garments(config: &DataConfig) -> Result<InMemory> {
    let asked =
        DataConfig { split: config.split, limit: config.limit, holdout: config.holdout, ..DataConfig::named(MOVING) };
    if *config != (DataConfig { memory_mib: config.memory_mib, ..asked }) {
        let what = format!("`{MOVING}` takes `split` and `limit` alone");
        return Err(DataError::config("name", what, "leave the other keys of `data` out"));
    }
    let garments = DataConfig { split: config.split, limit: config.limit, ..DataConfig::default() };
    let name = if config.split == Split::Test { format!("{MOVING} (test)") } else { MOVING.to_string() };
    clips(&name, &*open(&garments)?)
}

fn source(config: &DataConfig) -> Result<(String, Source)> {
    if let Some(path) = &config.path {
        return Ok((path.display().to_string(), at_path(path, config.split)?));
    }
    let name = config.name.as_deref().unwrap_or(EMBEDDED);
    if name == EMBEDDED {
        return Ok((name.to_string(), embedded(config.split)?));
    }
    Ok((name.to_string(), named(name, &cache_dir()?, config.split)?))
}

/// A set that was fetched into `cache`. One that is there in part is as good as not there.
fn named(name: &str, cache: &Path, split: Split) -> Result<Source> {
    let dir = registry::folder(name, cache)?;
    let set = registry::find(name);
    if !set.map_or(dir.is_dir(), |set| is_fetched(set, cache)) {
        return Err(DataError::NotFetched { name: name.to_string(), dir });
    }
    if set.is_some_and(|set| set.kind == Kind::Weights) {
        let what = format!("`{name}` is a set of weights for metrics, not of images");
        return Err(DataError::config("name", what, "`rectiflow data list` shows the sets of images"));
    }
    if set.is_some_and(|set| set.kind == Kind::Shapes) {
        let what = format!("`{name}` is a set of shapes, not of images");
        let remedy = format!("look at it with `rectiflow shape show {}`", dir.display());
        return Err(DataError::config("name", what, remedy));
    }
    let mut source = at_path(&dir, split)?;
    if let Some(set) = set.filter(|set| set.classes.len() == source.class_names.len()) {
        source.class_names = set.classes.iter().map(|class| class.to_string()).collect();
    }
    Ok(source)
}

fn embedded(split: Split) -> Result<Source> {
    let (images, labels) = match split {
        Split::Train => (TRAIN_IMAGES, TRAIN_LABELS),
        Split::Test => (TEST_IMAGES, TEST_LABELS),
    };
    let path = Path::new("embedded Fashion-MNIST");
    let source = idx::read((path, images.to_vec()), Some((path, labels.to_vec())))?;
    Ok(Source { class_names: registry::FASHION.map(String::from).to_vec(), ..source })
}

/// The set at `path`, whichever reader it needs.
fn at_path(path: &Path, split: Split) -> Result<Source> {
    if path.is_dir() {
        return in_folder(path, split);
    }
    if !path.exists() {
        let remedy = "check `data.path`; relative paths start at the current folder".to_string();
        return Err(DataError::Missing { path: path.to_path_buf(), remedy });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".tar") {
        webdataset::open(&[path.to_path_buf()], false)
    } else if name.ends_with(".npy") || name.ends_with(".npz") {
        npy::open_file(path)
    } else if name.contains("idx") || name.contains("ubyte") {
        idx::open_file(path)
    } else {
        let remedy = "give a folder, or a file whose name contains `idx` or `ubyte` or ends in .npy, .npz or .tar";
        Err(DataError::malformed(path, "no data set file this program knows by its name", remedy))
    }
}

fn in_folder(dir: &Path, split: Split) -> Result<Source> {
    let both = [Split::Train, Split::Test];
    if both.iter().any(|&split| idx::find(dir, split).is_some()) {
        return idx::open_dir(dir, split);
    }
    if both.iter().any(|&split| cifar::find(dir, split).is_some()) {
        return cifar::open_dir(dir, split);
    }
    if let Some(tar) = emoji::find(dir) {
        return emoji::open(dir, &tar);
    }
    let (tars, own_split) = webdataset::find(dir, split)?;
    if !tars.is_empty() {
        return webdataset::open(&tars, own_split);
    }
    let train = part(dir, Split::Train);
    let (Some(train), test) = (train, part(dir, Split::Test)) else { return folder::open_dir(dir) };
    let own_split = test.is_some();
    let path = if split == Split::Test { test.unwrap_or(train) } else { train };
    let source = if path.is_dir() { folder::open_dir(&path)? } else { npy::open_file(&path)? };
    Ok(Source { own_split, ..source })
}

/// The sub-folder or array file of `split`, by the usual names.
fn part(dir: &Path, split: Split) -> Option<PathBuf> {
    let stems: &[&str] = match split {
        Split::Train => &["train", "training"],
        Split::Test => &["test", "val", "valid", "validation"],
    };
    let names = stems.iter().flat_map(|stem| [stem.to_string(), format!("{stem}.npz"), format!("{stem}.npy")]);
    names.map(|name| dir.join(name)).find(|path| path.is_dir() || (path.is_file() && path.extension().is_some()))
}

/// Takes the test part off a set that has none of its own: the same samples for the same number of files, whole groups where
/// there are groups.
fn hold_out(source: Source, config: &DataConfig, name: &str) -> Result<Source> {
    let count = source.entries.len();
    if source.own_split || count < 2 || config.holdout == 0.0 {
        if config.split == Split::Test && !source.own_split {
            let what = format!("{name}: there is no test part, and none is held out");
            return Err(DataError::config("holdout", what, "set `data.holdout`, or make folders `train` and `test`"));
        }
        return Ok(source);
    }
    let group = |index: usize| source.groups.get(index).map_or(index, |&group| group as usize);
    let groups = (0..count).map(group).max().map_or(0, |last| last + 1);
    let held = (groups as f64 * config.holdout).ceil() as usize;
    let mut is_test = vec![false; groups];
    let mut order = Order::new(groups, Some(0)); // not the run's seed: the parts must not change with it
    (0..held as u64).for_each(|position| is_test[order.at(position)] = true);
    let wanted = config.split == Split::Test;
    let kept: Vec<bool> = (0..count).map(|index| is_test[group(index)] == wanted).collect();
    let chosen = source.entries.into_iter().zip(kept).filter(|(_, kept)| *kept);
    Ok(Source { entries: chosen.map(|(entry, _)| entry).collect(), groups: Vec::new(), ..source })
}

/// The different captions, in order.
fn captions(source: &Source) -> Vec<String> {
    let different: BTreeSet<&String> = source.entries.iter().filter_map(|entry| entry.caption.as_ref()).collect();
    different.into_iter().cloned().collect()
}

/// Every one of `captions` a class; samples with another, or without one, have none.
fn by_caption(captions: Vec<String>, mut source: Source, name: &str) -> Result<Source> {
    if captions.is_empty() {
        let what = format!("is `caption`, and no sample of {name} has one");
        return Err(DataError::config("label", what, "leave it out, or put `.txt` files beside the images"));
    }
    for entry in &mut source.entries {
        let caption = entry.caption.as_ref().and_then(|caption| captions.binary_search(caption).ok());
        entry.label = caption.map(|at| at as u32);
    }
    Ok(Source { class_names: captions, ..source })
}

fn choose_classes(source: Source, config: &DataConfig) -> Result<Source> {
    if config.classes.is_empty() {
        return Ok(source);
    }
    let mut numbers: Vec<u32> = Vec::with_capacity(config.classes.len());
    for wanted in &config.classes {
        let by_name = source.class_names.iter().position(|name| name == wanted);
        let by_number = wanted.parse().ok().filter(|&number: &usize| number < source.class_names.len());
        let Some(number) = by_name.or(by_number).map(|number| number as u32) else {
            let known = source.class_names.join(", ");
            let remedy = if known.is_empty() {
                "the set has no classes: leave it out".to_string()
            } else {
                format!("the classes are {known}")
            };
            return Err(DataError::config("classes", format!("no class is named or numbered `{wanted}`"), remedy));
        };
        if numbers.contains(&number) {
            return Err(DataError::config("classes", format!("`{wanted}` is given twice"), "give each class once"));
        }
        numbers.push(number);
    }
    let renumber = |label: Option<u32>| numbers.iter().position(|&number| Some(number) == label).map(|at| at as u32);
    let renumbered = source
        .entries
        .into_iter()
        .filter_map(|entry| renumber(entry.label).map(|label| Entry { label: Some(label), ..entry }));
    let entries = renumbered.collect();
    let class_names = numbers.iter().map(|&number| source.class_names[number as usize].clone()).collect();
    Ok(Source { entries, class_names, ..source })
}

fn finish(name: &str, mut source: Source, config: &DataConfig) -> Result<Arc<dyn Dataset>> {
    let empty = || DataError::config("path", format!("{name} has no samples"), "choose another set, part or class");
    let files = source.entries.iter().any(|entry| !matches!(entry.pixels, Pixels::Row { .. }));
    if files && config.skip_unreadable {
        let readable: Vec<bool> = source.entries.par_iter().map(|entry| entry.pixels.decode().is_ok()).collect();
        let mut readable = readable.into_iter();
        source.entries.retain(|_| readable.next().unwrap_or(false));
    }
    // Grey only if all of these are grey: a folder whose first picture is grey must not lose its colours.
    let step = source.entries.len().div_ceil(64).max(1);
    let probes: Vec<_> = source.entries.iter().step_by(step).filter_map(|entry| entry.pixels.decode().ok()).collect();
    let Some(first) = probes.first() else {
        return Err(match source.entries.first() {
            None => empty(),
            Some(_) => unreadable(&source.entries).unwrap_or_else(empty),
        });
    };
    let colours = probes.iter().map(|raw| raw.channels).max().unwrap_or(1);
    let form = Form { channels: config.channels.unwrap_or(colours), size: config.size, fit: config.fit };
    let shape = [form.channels, form.size.unwrap_or(first.height), form.size.unwrap_or(first.width)];
    let bytes = source.entries.len().saturating_mul(shape.iter().product());
    let lazy = Lazy::new(name, shape, form, source);
    if bytes > config.memory_mib.saturating_mul(1 << 20) {
        return Ok(Arc::new(lazy));
    }
    let samples: Result<Vec<Sample>> = (0..lazy.len()).into_par_iter().map(|index| lazy.get(index)).collect();
    // Told in name order and with their number, whichever thread met the first.
    let samples = samples.map_err(|e| unreadable(&lazy.entries).filter(|_| files).unwrap_or(e))?;
    let keys = lazy.entries.iter().map(|entry| entry.pixels.key().map(String::from)).collect();
    Ok(Arc::new(InMemory::new(name, shape, lazy.class_names, samples)?.with_keys(keys)))
}

/// The error for the entries that cannot be decoded, if there are any.
fn unreadable(entries: &[Entry]) -> Option<DataError> {
    let failed = |entry: &Entry| entry.pixels.decode().err().map(|error| (entry.pixels.path(), error));
    let errors: Vec<_> = entries.par_iter().filter_map(failed).collect();
    let count = errors.len();
    let (first, error) = errors.into_iter().next()?;
    let reason = match error {
        DataError::Malformed { what, .. } => what,
        other => return Some(other),
    };
    Some(DataError::Unreadable { first, reason, count, total: entries.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_fetched_in_part_is_not_fetched() {
        let cache = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(cache.path().join("mnist/.download")).unwrap();
        std::fs::write(cache.path().join("mnist/train-images-idx3-ubyte"), b"x").unwrap();
        let error = named("mnist", cache.path(), Split::Train).unwrap_err();
        assert!(matches!(error, DataError::NotFetched { .. }), "{error}");
    }
}
