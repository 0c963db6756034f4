//! The idx format of MNIST and its relatives, gzipped or raw: two zero bytes, a type byte (8: unsigned bytes), the number of
//! dimensions, each dimension as a big-endian u32, then the numbers.

use super::{Ask, Block, Limits, Source, numbered_classes, rows};
use crate::{DataError, Result, Split};
use std::path::{Path, PathBuf};

/// The bytes of an idx file with `ranks` dimensions allowed.
fn parse(path: &Path, bytes: Vec<u8>, ranks: &[usize], limits: Limits) -> Result<(Vec<usize>, Vec<u8>)> {
    let again = "download or copy it again";
    if bytes.is_empty() {
        return Err(DataError::malformed(path, "the file is empty", again));
    }
    let mut bytes = limits.gunzip(path, bytes)?;
    let magic = bytes.get(..4).ok_or_else(|| DataError::malformed(path, "shorter than an idx header", again))?;
    let rank = usize::from(magic[3]);
    if magic[..3] != [0, 0, 8] || !ranks.contains(&rank) {
        let expected: Vec<String> = ranks.iter().map(|rank| format!("0000080{rank}")).collect();
        let found = crate::fingerprint::hex(magic);
        let what = format!("the idx magic is {found}, expected {} (unsigned bytes)", expected.join(" or "));
        return Err(DataError::malformed(path, what, "is it the right file? images and labels may be exchanged"));
    }
    let header = 4 + 4 * rank;
    let sides = bytes.get(4..header).ok_or_else(|| DataError::malformed(path, "shorter than its idx header", again))?;
    let dims: Vec<usize> =
        sides.chunks_exact(4).map(|side| u32::from_be_bytes([side[0], side[1], side[2], side[3]]) as usize).collect();
    let expected = dims.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    let found = bytes.len() - header;
    if expected != Some(found) {
        let what = format!("the header promises {dims:?} bytes, the file holds {found}");
        return Err(DataError::malformed(path, format!("truncated or damaged: {what}"), again));
    }
    bytes.drain(..header);
    Ok((dims, bytes))
}

/// The images of `images` `[n h w]` or `[n h w c]` with the labels of `labels`; both are (path for errors, content).
pub(crate) fn read(images: (&Path, Vec<u8>), labels: Option<(&Path, Vec<u8>)>, limits: Limits) -> Result<Source> {
    let (path, content) = images;
    let (dims, bytes) = parse(path, content, &[3, 4], limits)?;
    let channels = dims.get(3).copied().unwrap_or(1);
    if dims[1] * dims[2] == 0 || (channels != 1 && channels != 3) {
        let what = format!("images of shape {:?}", &dims[1..]);
        return Err(DataError::malformed(path, what, "idx images are [n h w] or [n h w 3]"));
    }
    let labels = match labels {
        None => None,
        Some((label_path, content)) => {
            let (count, labels) = parse(label_path, content, &[1], limits)?;
            if count[0] != dims[0] {
                let what = format!("{} labels for the {} images of {}", count[0], dims[0], path.display());
                return Err(DataError::malformed(label_path, what, "take both files from the same set and part"));
            }
            Some(labels.into_iter().map(u32::from).collect::<Vec<_>>())
        }
    };
    let mut block = Block { path: path.to_path_buf(), height: dims[1], width: dims[2], channels, bytes };
    let mut labels = labels;
    let mut class_names = numbered_classes(path, labels.as_deref().unwrap_or_default())?;
    if let Some((characters, first)) = emnist(path) {
        block = block.transposed();
        let known = first..first + characters.len() as u32;
        if let Some(labels) = labels.as_mut().filter(|labels| labels.iter().all(|label| known.contains(label))) {
            labels.iter_mut().for_each(|label| *label -= first);
            class_names = characters.into_iter().map(String::from).collect();
        }
    }
    Ok(Source { class_names, entries: rows(block, labels.as_deref()), own_split: true, ..Source::default() })
}

/// The images file `path` with the labels file beside it, if there is one.
pub(crate) fn open_file(path: &Path, ask: Ask) -> Result<Source> {
    let read_file = |path: &Path| ask.limits.read(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let labels = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let plain = labels.trim_end_matches(".gz").to_string();
    let candidates = [labels.clone(), plain.clone(), format!("{plain}.gz")];
    let found = candidates.iter().filter(|labels| **labels != name).map(|labels| path.with_file_name(labels));
    let labels = found.into_iter().find(|labels| labels.is_file());
    let labels = labels.as_deref().map(|path| Ok((path, read_file(path)?))).transpose()?;
    Ok(Source { own_split: false, ..read((path, read_file(path)?), labels, ask.limits)? })
}

/// The images files of `split` in `dir`, by the usual names: of one set, or of several such as EMNIST's.
fn candidates(dir: &Path, split: Split) -> Vec<PathBuf> {
    let stems: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["t10k", "test"],
    };
    let names =
        stems.iter().flat_map(|stem| ["-images-idx3-ubyte", "-images.idx3-ubyte"].map(|tail| format!("{stem}{tail}")));
    let names: Vec<String> = names.collect();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|item| item.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        names.iter().any(|known| plain == known.as_str() || plain.ends_with(&format!("-{known}"))) && path.is_file()
    });
    // The unpacked file before the packed one, the plain name before one with a set's name in front.
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    files
}

/// The images file of `split` in `dir`.
pub(crate) fn find(dir: &Path, split: Split) -> Option<PathBuf> {
    candidates(dir, split).into_iter().next()
}

/// What stands in front of `train-images...` or `test-images...` in a name: `emnist-letters-`.
fn set_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let end = ["train-images", "t10k-images", "test-images"].iter().find_map(|stem| name.find(stem)).unwrap_or(0);
    name[..end].to_string()
}

/// The `split` of a folder of idx files.
pub(crate) fn open_dir(dir: &Path, ask: Ask) -> Result<Source> {
    let split = ask.split;
    let path = find(dir, split).ok_or_else(|| DataError::Missing {
        path: dir.join(if split == Split::Train { "train-images-idx3-ubyte" } else { "t10k-images-idx3-ubyte" }),
        remedy: "an idx folder needs the images file of each part, raw or .gz".to_string(),
    })?;
    let all = candidates(dir, split);
    if let Some(other) = all.iter().find(|other| set_of(other) != set_of(&path)) {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = format!("holds several sets ({}, {})", name(&path), name(other));
        return Err(DataError::malformed(dir, what, "keep one of them in the folder"));
    }
    Ok(Source { own_split: true, ..open_file(&path, ask)? })
}

/// The characters of EMNIST's classes and the number of the first, if `path` is of that set (Cohen et al., arXiv 1702.05373). It
/// stores its images column by column, and counts its letters from 1.
fn emnist(path: &Path) -> Option<(Vec<char>, u32)> {
    let set = set_of(path);
    let (digits, upper) = ('0'..='9', 'A'..='Z');
    Some(match set.strip_prefix("emnist-")?.trim_end_matches('-') {
        "letters" => (upper.collect(), 1),
        "balanced" | "bymerge" => (digits.chain(upper).chain("abdefghnqrt".chars()).collect(), 0),
        "byclass" => (digits.chain(upper).chain('a'..='z').collect(), 0),
        _ => (digits.collect(), 0),
    })
}
