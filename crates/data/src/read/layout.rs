//! Which layout a folder has: idx files, CIFAR batches, shards, arrays, or images, alone or in parts for training and test.

use super::tree::{Kind, Tree};
use super::{Ask, Source, cifar, emoji, folder, idx, npy, parquet, webdataset};
use crate::{DataError, Result, Split};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 8] = ["test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev"];

/// The set in the folder `dir`.
pub(crate) fn open(dir: &Path, ask: Ask) -> Result<Source> {
    let both = [Split::Train, Split::Test];
    if both.iter().any(|&split| idx::find(dir, split).is_some()) {
        return beside(dir, idx::open_dir(dir, ask)?);
    }
    if both.iter().any(|&split| cifar::is_in(dir, split)) {
        return beside(dir, cifar::open_dir(dir, ask)?);
    }
    if let Some(tar) = emoji::find(dir) {
        return emoji::open(dir, &tar, ask);
    }
    let mut tree = Tree::new(dir)?;
    let hidden = std::mem::take(&mut tree.found);
    let mut source = in_tree(dir, &tree, ask)?;
    source.found.extend(hidden);
    Ok(source)
}

fn in_tree(dir: &Path, tree: &Tree, ask: Ask) -> Result<Source> {
    let direct = |path: &Path| path.parent() == Some(dir);
    let count = tree.of(Kind::Image).count();
    let files = |kind| tree.of(kind).map(|item| item.path.clone()).collect::<Vec<PathBuf>>();
    let (shards, tables) = (files(Kind::Shard), files(Kind::Parquet));
    if !shards.is_empty() && count == 0 {
        let (chosen, own_split) = webdataset::part(shards, ask.split);
        return rest(tree, &[Kind::Shard], webdataset::open(&chosen, own_split, ask)?);
    }
    if !tables.is_empty() && count == 0 {
        let (chosen, own_split) = webdataset::part(tables, ask.split);
        return rest(tree, &[Kind::Parquet], parquet::open(&chosen, own_split, ask)?);
    }
    if let Some(image) = tree.of(Kind::Image).find(|image| direct(&image.path))
        && shards.iter().any(|shard| direct(shard))
    {
        let what =
            format!("holds {count} images ({}, ...) and {} tars: two data sets", tree.name(&image.path), shards.len());
        return Err(DataError::malformed(dir, what, "move one of them away, or name a tar as the data"));
    }
    if count == 0 {
        return arrays(dir, tree, ask);
    }
    // Images by the folder of `dir` they lie in.
    let mut folders: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for image in tree.of(Kind::Image).filter(|image| !direct(&image.path)) {
        let first = image.path.strip_prefix(dir).ok().and_then(|inside| inside.components().next());
        let name = first.map(|first| first.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
        folders.entry(name).or_default().push(&image.path);
    }
    let is = |list: &[&str], name: &str| list.iter().position(|known| name.eq_ignore_ascii_case(known));
    let best =
        |list: &[&str]| folders.keys().filter_map(|name| Some((is(list, name)?, name))).min().map(|(_, name)| name);
    let (train, test) = (best(&TRAIN), best(&TEST));
    let others: Vec<&String> =
        folders.keys().filter(|name| is(&TRAIN, name).is_none() && is(&TEST, name).is_none()).collect();
    let deep = |name: &String| folders[name].iter().any(|path| path.parent() != Some(dir.join(name).as_path()));
    let train = match (train, test) {
        // `train` among other folders is a class, unless it is plainly a part: it has folders of its own, and there is a test part.
        (Some(train), test) if others.is_empty() || (test.is_some() && deep(train)) => train,
        // A test part alone is the whole set.
        (None, Some(alone)) if folders.len() == 1 && !tree.of(Kind::Image).any(|image| direct(&image.path)) => {
            return folder::open(tree, &dir.join(alone), ask);
        }
        _ => return folder::open(tree, dir, ask),
    };
    let part = if ask.split == Split::Test { test.unwrap_or(train) } else { train };
    let mut source = folder::open(tree, &dir.join(part), ask)?;
    for (name, images) in folders.iter().filter(|(name, _)| *name != train && Some(*name) != test) {
        let why = match test {
            Some(test) => format!("`{train}` and `{test}` are the parts of this set"),
            None => format!("`{train}` is this set's training part"),
        };
        source.found.count("images", images.len(), format!("{name}/"), &why);
    }
    for item in tree.items.iter().filter(|item| direct(&item.path)) {
        let what = match item.kind {
            Kind::Image => "images",
            Kind::Array => "arrays",
            Kind::Shard | Kind::Parquet | Kind::Archive => "archives",
            Kind::Text | Kind::Other => "files that are no images",
            Kind::Table => continue,
        };
        source.found.note(what, tree.name(&item.path), "they lie beside the parts of this set");
    }
    source.own_split = test.is_some();
    Ok(source)
}

/// A folder without images and shards: one array of images, or one for each part.
fn arrays(dir: &Path, tree: &Tree, ask: Ask) -> Result<Source> {
    let all: Vec<&Path> = tree.of(Kind::Array).map(|item| &*item.path).collect();
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let part = |list: &[&str]| {
        list.iter()
            .find_map(|known| all.iter().find(|path| stem(path) == *known && path.parent() == Some(dir)).copied())
    };
    let images: Vec<&Path> = all.iter().copied().filter(|path| !npy::is_labels(path)).collect();
    let (file, own_split) = match (part(&TRAIN), part(&TEST), &images[..]) {
        (Some(train), test, _) => {
            (if ask.split == Split::Test { test.unwrap_or(train) } else { train }, test.is_some())
        }
        (None, _, [one]) => (*one, false),
        (None, _, []) => return rest(tree, &[], Source::default()),
        (None, _, [first, ..]) => {
            let what = format!("holds {} arrays ({}, ...)", images.len(), tree.name(first));
            return Err(DataError::malformed(dir, what, "name one of them as the data, or call them train and test"));
        }
    };
    let mut source = npy::open_file(file, ask)?;
    source.own_split |= own_split;
    for other in images
        .iter()
        .filter(|other| **other != file && !(own_split && [part(&TRAIN), part(&TEST)].contains(&Some(**other))))
    {
        source.found.note("arrays", tree.name(other), "another one is the data");
    }
    rest(tree, &[Kind::Array], source)
}

/// `source` with all of `tree` that is not of its kind counted as left out.
fn rest(tree: &Tree, used: &[Kind], mut source: Source) -> Result<Source> {
    for item in tree.items.iter().filter(|item| !used.contains(&item.kind)) {
        let (what, why) = match item.kind {
            Kind::Array => ("arrays", "something else is the data"),
            Kind::Archive => ("archives", "archives are not read; unpack them"),
            Kind::Shard | Kind::Parquet => ("archives", "something else is the data; to use one, name it"),
            Kind::Image => ("images", "something else is the data"),
            Kind::Table => ("tables", "there are no images beside them"),
            Kind::Text | Kind::Other => ("files that are no images", "not read"),
        };
        source.found.note(what, tree.name(&item.path), why);
    }
    Ok(source)
}

/// `source`, whose files lie directly in `dir`, with the images, arrays and archives beside them counted as left out.
fn beside(dir: &Path, mut source: Source) -> Result<Source> {
    let tree = Tree::new(dir)?;
    for item in tree.items.iter().filter(|item| !matches!(item.kind, Kind::Text | Kind::Table | Kind::Other)) {
        let name = item.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if !name.contains("ubyte") && !cifar::owns(&item.path) {
            source.found.note(
                "images, arrays and archives",
                tree.name(&item.path),
                "the files of a known data set beside them are the data",
            );
        }
    }
    Ok(source)
}
