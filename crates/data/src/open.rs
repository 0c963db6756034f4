//! From a [`DataConfig`] to a data set: find it, choose its part, classes and samples.

use crate::fetch::registry::{self, Kind};
use crate::fetch::{cache_dir, is_fetched};
use crate::finish::finish;
use crate::memory::InMemory;
use crate::moving::{MOVING, clips};
use crate::order::Order;
use crate::read::{Ask, Entry, Pixels, Source, idx, layout, npy, parquet, tree, webdataset};
use crate::{DataConfig, DataError, Dataset, EMBEDDED, Result, Split};
use std::collections::HashMap;
use std::path::Path;
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
/// assert_eq!((test.len(), test.shape(), test.classes()), (2000, [1, 28, 28].into(), 10));
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
    let (name, source) = chosen(config)?;
    finish(&name, source, config)
}

/// The part of a set that is judged on.
pub struct TestPart {
    /// Its samples.
    pub set: Arc<dyn Dataset>,
    /// Whether it comes with the set, rather than being held out of it.
    pub is_own: bool,
}

/// The part of the set that is judged on; `None` where nothing is kept apart: a set of too few samples without a test part of its
/// own, or `holdout = 0`.
///
/// # Errors
/// Those of [`open`].
pub fn open_test(config: &DataConfig) -> Result<Option<TestPart>> {
    let test = config.with_split(Split::Test);
    test.check()?;
    if test.name.as_deref() == Some(MOVING) {
        return Ok(Some(TestPart { set: Arc::new(moving_garments(&test)?), is_own: true }));
    }
    match chosen(&test) {
        Ok((_, source)) if source.entries.is_empty() && !source.own_split => Ok(None),
        Ok((name, source)) => {
            let is_own = source.own_split;
            Ok(Some(TestPart { set: finish(&name, source, &test)?, is_own }))
        }
        Err(DataError::Config { key: "holdout", .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The samples that `config` describes, before they are decoded, with the set's name.
pub(crate) fn chosen(config: &DataConfig) -> Result<(String, Source)> {
    let (name, source) = source(config)?;
    let name = if config.split == Split::Test { format!("{name} (test)") } else { name };
    let source = hold_out(source, config, &name)?;
    let mut source = choose_classes(source, config)?;
    source.entries.truncate(config.limit.unwrap_or(usize::MAX));
    Ok((name, source))
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
    let ask = Ask::of(config);
    if let Some(path) = &config.path {
        let mut source = at_path(path, ask)?;
        if source.own_split && ask.split == Split::Test && !source.class_names.is_empty() {
            let training = at_path(path, Ask { split: Split::Train, ..ask })?;
            as_in_training(&mut source, training.class_names);
        }
        return Ok((path.display().to_string(), source));
    }
    let name = config.name.as_deref().unwrap_or(EMBEDDED);
    if name == EMBEDDED {
        return Ok((name.to_string(), embedded(ask)?));
    }
    Ok((name.to_string(), named(name, &cache_dir()?, ask)?))
}

/// Numbers the classes of a test part as in its training part, which may have more of them.
fn as_in_training(test: &mut Source, class_names: Vec<String>) {
    if test.class_names == class_names {
        return;
    }
    let number = |label: u32| class_names.iter().position(|name| *name == test.class_names[label as usize]);
    let numbers: HashMap<u32, Option<u32>> =
        (0..test.class_names.len() as u32).map(|label| (label, number(label).map(|at| at as u32))).collect();
    for entry in &mut test.entries {
        let Some(label) = entry.label else { continue };
        entry.label = numbers.get(&label).copied().flatten();
        if entry.label.is_none() {
            let name = test.class_names[label as usize].clone();
            test.found.note("labels of the test part", name, "the training part has no such class");
        }
    }
    test.class_names = class_names;
}

/// A set that was fetched into `cache`. One that is there in part is as good as not there.
fn named(name: &str, cache: &Path, ask: Ask) -> Result<Source> {
    let dir = registry::folder(name, cache)?;
    let set = registry::find(name);
    if !set.map_or(dir.is_dir(), |set| is_fetched(set, cache)) {
        return Err(DataError::NotFetched { name: name.to_string(), dir });
    }
    if let Some(set) = set.filter(|set| matches!(set.kind, Kind::Weights | Kind::Sounds)) {
        let what = if set.kind == Kind::Weights { "weights for metrics" } else { "sounds" };
        let what = format!("`{name}` is a set of {what}, not of images");
        return Err(DataError::config("name", what, "`rectiflow data list` shows the sets of images"));
    }
    if set.is_some_and(|set| set.kind == Kind::Shapes) {
        let what = format!("`{name}` is a set of shapes, not of images");
        let remedy = format!("look at it with `rectiflow shape show {}`", dir.display());
        return Err(DataError::config("name", what, remedy));
    }
    let mut source = at_path(&dir, ask)?;
    if let Some(set) = set.filter(|set| set.classes.len() == source.class_names.len()) {
        source.class_names = set.classes.iter().map(|class| class.to_string()).collect();
    }
    Ok(source)
}

fn embedded(ask: Ask) -> Result<Source> {
    let (images, labels) = match ask.split {
        Split::Train => (TRAIN_IMAGES, TRAIN_LABELS),
        Split::Test => (TEST_IMAGES, TEST_LABELS),
    };
    let path = Path::new("embedded Fashion-MNIST");
    let source = idx::read((path, images.to_vec()), Some((path, labels.to_vec())), ask.limits)?;
    Ok(Source { class_names: registry::FASHION.map(String::from).to_vec(), ..source })
}

/// The set at `path`, whichever reader it needs.
fn at_path(path: &Path, ask: Ask) -> Result<Source> {
    if path.is_dir() {
        return layout::open(path, ask);
    }
    if !path.exists() {
        let remedy = "check `data.path`; relative paths start at the current folder".to_string();
        return Err(DataError::Missing { path: path.to_path_buf(), remedy });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".tar") {
        webdataset::open(&[path.to_path_buf()], false, ask)
    } else if name.ends_with(".parquet") {
        parquet::open(&[path.to_path_buf()], false, ask)
    } else if name.ends_with(".npy") || name.ends_with(".npz") {
        npy::open_file(path, ask)
    } else if name.contains("idx") || name.contains("ubyte") {
        idx::open_file(path, ask)
    } else if tree::begins_as_image(path) {
        let bytes = std::fs::metadata(path).map_err(|e| DataError::io(path, "read", e))?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pixels = Pixels::File { path: path.to_path_buf(), name, bytes };
        Ok(Source { entries: vec![Entry { label: None, caption: None, pixels }], ..Source::default() })
    } else {
        let packed =
            [".zip", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"].iter().any(|ending| name.ends_with(ending));
        let remedy = match packed {
            true => "unpack it and give the folder",
            false => {
                "give a folder, an image, or a file whose name contains `idx` or `ubyte` or ends in .npy, .npz, .parquet or .tar"
            }
        };
        Err(DataError::malformed(path, "no data set file this program knows by its name", remedy))
    }
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
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups];
    (0..count).for_each(|index| members[group(index)].push(index));
    // No class may lose its last sample, and a set not all of it. Groups are told apart by more than their class.
    let label = |index: usize| source.entries[index].label;
    let mut left: HashMap<Option<u32>, usize> = HashMap::new();
    (0..count).for_each(|index| *left.entry(label(index)).or_default() += 1);
    let mut is_test = vec![false; groups];
    let mut order = Order::new(groups, Some(0)); // not the run's seed: the parts must not change with it
    let mut taken = 0;
    for position in 0..groups as u64 {
        if taken == held {
            break;
        }
        let chosen = order.at(position);
        let mut rest = left.clone();
        members[chosen].iter().for_each(|&index| *rest.entry(label(index)).or_default() -= 1);
        if source.groups.is_empty() && members[chosen].iter().any(|&index| rest[&label(index)] == 0) {
            continue;
        }
        (left, is_test[chosen]) = (rest, true);
        taken += 1;
    }
    let wanted = config.split == Split::Test;
    let kept: Vec<bool> = (0..count).map(|index| is_test[group(index)] == wanted).collect();
    let chosen = source.entries.into_iter().zip(kept).filter(|(_, kept)| *kept);
    Ok(Source { entries: chosen.map(|(entry, _)| entry).collect(), groups: Vec::new(), ..source })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_fetched_in_part_is_not_fetched() {
        let cache = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(cache.path().join("mnist/.download")).unwrap();
        std::fs::write(cache.path().join("mnist/train-images-idx3-ubyte"), b"x").unwrap();
        let error = named("mnist", cache.path(), Ask::of(&DataConfig::default())).unwrap_err();
        assert!(matches!(error, DataError::NotFetched { .. }), "{error}");
    }
}
