//! The idx format of MNIST and its relatives, gzipped or raw: two zero bytes, a type byte (8: unsigned bytes), the number of
//! dimensions, each dimension as a big-endian u32, then the numbers.

use super::{Block, Source, gunzip, numbered_classes, rows};
use crate::{DataError, Result, Split};
use std::path::{Path, PathBuf};

/// The bytes of an idx file with `ranks` dimensions allowed.
fn parse(path: &Path, bytes: Vec<u8>, ranks: &[usize]) -> Result<(Vec<usize>, Vec<u8>)> {
    let again = "download or copy it again";
    if bytes.is_empty() {
        return Err(DataError::malformed(path, "the file is empty", again));
    }
    let mut bytes = gunzip(path, bytes)?;
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
pub(crate) fn read(images: (&Path, Vec<u8>), labels: Option<(&Path, Vec<u8>)>) -> Result<Source> {
    let (path, content) = images;
    let (dims, bytes) = parse(path, content, &[3, 4])?;
    let channels = dims.get(3).copied().unwrap_or(1);
    if dims[1] * dims[2] == 0 || (channels != 1 && channels != 3) {
        let what = format!("images of shape {:?}", &dims[1..]);
        return Err(DataError::malformed(path, what, "idx images are [n h w] or [n h w 3]"));
    }
    let labels = match labels {
        None => None,
        Some((label_path, content)) => {
            let (count, labels) = parse(label_path, content, &[1])?;
            if count[0] != dims[0] {
                let what = format!("{} labels for the {} images of {}", count[0], dims[0], path.display());
                return Err(DataError::malformed(label_path, what, "take both files from the same set and part"));
            }
            Some(labels.into_iter().map(u32::from).collect::<Vec<_>>())
        }
    };
    let block = Block { path: path.to_path_buf(), height: dims[1], width: dims[2], channels, bytes };
    Ok(Source {
        class_names: numbered_classes(path, labels.as_deref().unwrap_or_default())?,
        entries: rows(block, labels.as_deref()),
        own_split: true,
        ..Source::default()
    })
}

/// The images file `path` with the labels file beside it, if there is one.
pub(crate) fn open_file(path: &Path) -> Result<Source> {
    let read_file = |path: &Path| std::fs::read(path).map_err(|e| DataError::io(path, "read", e));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let labels = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let plain = labels.trim_end_matches(".gz").to_string();
    let candidates = [labels.clone(), plain.clone(), format!("{plain}.gz")];
    let found = candidates.iter().filter(|labels| **labels != name).map(|labels| path.with_file_name(labels));
    let labels = found.into_iter().find(|labels| labels.is_file());
    let labels = labels.as_deref().map(|path| Ok((path, read_file(path)?))).transpose()?;
    Ok(Source { own_split: false, ..read((path, read_file(path)?), labels)? })
}

/// The images file of `split` in `dir`, by the usual names.
pub(crate) fn find(dir: &Path, split: Split) -> Option<PathBuf> {
    let stems: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["t10k", "test"],
    };
    let names = stems.iter().flat_map(|stem| {
        ["-images-idx3-ubyte", "-images.idx3-ubyte"].map(|tail| [format!("{stem}{tail}"), format!("{stem}{tail}.gz")])
    });
    names.flatten().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// The `split` of a folder of idx files.
pub(crate) fn open_dir(dir: &Path, split: Split) -> Result<Source> {
    let path = find(dir, split).ok_or_else(|| DataError::Missing {
        path: dir.join(if split == Split::Train { "train-images-idx3-ubyte" } else { "t10k-images-idx3-ubyte" }),
        remedy: "an idx folder needs the images file of each part, raw or .gz".to_string(),
    })?;
    Ok(Source { own_split: true, ..open_file(&path)? })
}
