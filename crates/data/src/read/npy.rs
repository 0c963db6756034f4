//! NumPy files: `.npy` with labels beside it, `.npz` with both inside, perhaps in parts (`x_train`, `test_images`, ...).
//!
//! Images are `[n h w]`, `[n h w c]` or `[n c h w]` with c = 1 or 3; what numbers mean is told in [`super::array`].

use super::array::{Array, REMEDY};
use super::{Ask, Block, Source, annotation, rows};
use crate::found::Found;
use crate::{DataError, Result, Split};
use std::io::{Cursor, Read};
use std::path::Path;

const IMAGES: [&str; 9] = ["images", "x", "data", "samples", "arr_0", "image", "imgs", "features", "pixels"];
const LABELS: [&str; 7] = ["labels", "label", "y", "arr_1", "targets", "classes", "fine_labels"];
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

/// The images of a `.npy` or `.npz` file.
pub(crate) fn open_file(path: &Path, ask: Ask) -> Result<Source> {
    let bytes = ask.limits.read(path)?;
    if bytes.is_empty() {
        return Err(DataError::malformed(path, "the file is empty", REMEDY));
    }
    let mut found = Found::default();
    let (images, labels, own_split) = if bytes.starts_with(b"PK") {
        members(path, bytes, ask, &mut found)?
    } else {
        let beside = label_files(path).into_iter().map(|name| path.with_file_name(name));
        let beside = beside.into_iter().find(|file| file.is_file() && file != path);
        (bytes, beside.map(|file| ask.limits.read(&file)).transpose()?, false)
    };
    let block = block(path, &images, &mut found)?;
    drop(images);
    let said = labels.map(|bytes| Array::new(path, &bytes)?.labels(block.len(), &mut found)).transpose()?.flatten();
    let (class_names, labels) = match &said {
        Some(said) => annotation::classes(path, said)?,
        None => (Vec::new(), Vec::new()),
    };
    let mut entries = rows(block, None);
    entries.iter_mut().zip(labels).for_each(|(entry, label)| entry.label = label);
    Ok(Source { class_names, entries, own_split, found, ..Source::default() })
}

/// Names under which the labels of an array are looked for.
fn label_files(path: &Path) -> [String; 3] {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    [format!("{stem}_labels.npy"), format!("{stem}.labels.npy"), stem.replace("images", "labels") + ".npy"]
}

/// Whether a file by its name holds labels.
pub(crate) fn is_labels(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    stem == "y" || stem.starts_with("y_") || stem.contains("label")
}

/// Keys of the arrays of `names` (any case) with a part's name before or after them.
fn keys(names: &[&str], part: &[&str]) -> Vec<String> {
    let both = |part: &str, name: &str| [format!("{part}_{name}"), format!("{name}_{part}")];
    part.iter().flat_map(|part| names.iter().flat_map(move |name| both(part, name))).collect()
}

/// The image and label arrays of an archive, as npy files, and whether it keeps a test part.
fn members(path: &Path, bytes: Vec<u8>, ask: Ask, found: &mut Found) -> Result<(Vec<u8>, Option<Vec<u8>>, bool)> {
    let broken =
        |e: &dyn std::fmt::Display| DataError::malformed(path, format!("not a whole npz file ({e})"), "save it again");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let names: Result<Vec<String>, _> = archive.file_names().map(|name| name.map(|name| name.into_owned())).collect();
    let names = names.map_err(|e| broken(&e))?;
    let find = |keys: &[String]| {
        let of = |key: &String| {
            names.iter().position(|name| name.strip_suffix(".npy").is_some_and(|n| n.eq_ignore_ascii_case(key)))
        };
        keys.iter().find_map(of)
    };
    let plain = |list: &[&str]| list.iter().map(|key| key.to_string()).collect::<Vec<_>>();
    let part = |split: Split| {
        let part: &[&str] = if split == Split::Train { &TRAIN } else { &TEST };
        find(&keys(&IMAGES, part)).map(|images| (images, find(&label_keys(&names[images], part))))
    };
    let (train, test) = (part(Split::Train), part(Split::Test));
    let own_split = train.is_some() && test.is_some();
    let whole = find(&plain(&IMAGES)).map(|images| (images, find(&plain(&LABELS))));
    let chosen = match (train, test, ask.split) {
        (Some(_), Some(test), Split::Test) => Some(test),
        (Some(train), Some(_), Split::Train) => Some(train),
        (train, test, _) => whole.or(train).or(test),
    };
    let Some((images, labels)) = chosen else {
        let remedy = format!("name it one of {}", IMAGES.join(", "));
        return Err(DataError::malformed(path, format!("no array of images in it ({})", names.join(", ")), remedy));
    };
    let of_part = |part: Option<(usize, Option<usize>)>, at: usize| part.is_some_and(|(i, l)| i == at || l == Some(at));
    for (at, name) in names.iter().enumerate() {
        let used = of_part(chosen, at) || own_split && (of_part(train, at) || of_part(test, at));
        if !used {
            found.note("arrays of the archive", name.clone(), "others in it are the data");
        }
    }
    let mut read = |at: usize| -> Result<Vec<u8>> {
        let mut member = archive.by_name(&names[at]).map_err(|e| broken(&e))?;
        ask.limits.unpacked(path, member.size())?;
        let mut content = Vec::new();
        member.by_ref().take(ask.limits.bytes).read_to_end(&mut content).map_err(|e| broken(&e))?;
        Ok(content)
    };
    Ok((read(images)?, labels.map(&mut read).transpose()?, own_split))
}

/// Where the labels of the images `images` of a part are looked for: under the same word for the part first.
fn label_keys(images: &str, part: &[&str]) -> Vec<String> {
    let images = images.to_ascii_lowercase();
    let mut part = part.to_vec();
    part.sort_by_key(|word| !images.contains(word));
    keys(&LABELS, &part)
}

fn block(path: &Path, bytes: &[u8], found: &mut Found) -> Result<Block> {
    let array = Array::new(path, bytes)?;
    let broken = || DataError::malformed(path, format!("an array of shape {:?}", array.shape), REMEDY);
    let colours = |c: usize| c == 1 || c == 3;
    let (planar, height, width, channels) = match array.shape[..] {
        [_, h, w] => (false, h, w, 1),
        [_, h, w, c] if colours(c) => (false, h, w, c),
        [_, c, h, w] if colours(c) => (true, h, w, c),
        _ => return Err(broken()),
    };
    if height == 0 || width == 0 {
        return Err(broken());
    }
    let mut values = array.bytes(found)?;
    if planar {
        let plane = height * width;
        let interleave = |image: &[u8]| -> Vec<u8> {
            (0..plane).flat_map(|at| (0..channels).map(move |c| (at, c))).map(|(at, c)| image[c * plane + at]).collect()
        };
        values = values.chunks_exact(plane * channels).flat_map(interleave).collect();
    }
    Ok(Block { path: path.to_path_buf(), height, width, channels, bytes: values })
}
