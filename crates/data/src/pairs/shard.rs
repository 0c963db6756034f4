//! One file of a pair store: encoding, verification and the place of each row in it.

use super::{FORMAT, PairMeta};
use crate::{DataError, Result};
use base::Shape;
use safetensors::tensor::{Dtype, Metadata, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Rows not yet written.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) x0: Vec<f32>,
    pub(super) x1: Vec<f32>,
    pub(super) class: Vec<i64>,
    pub(super) captions: Vec<Option<String>>,
    pub(super) index: Vec<i64>,
}

/// A verified file.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) meta: PairMeta,
    pub(super) checksum: String,
    /// Sample numbers of its rows.
    pub(super) indices: Range<u64>,
    pub(super) class: Vec<i64>,
    /// Of each row; empty where the store has none.
    pub(super) captions: Vec<Option<String>>,
    file: File,
    x0: u64,
    x1: u64,
}

// JSON escapes quotes inside strings, so this can only be the key itself.
const CHECKSUM_KEY: &[u8] = b"\"crc32c\":\"";
const BLANK: &str = "00000000";
const REMEDY: &str = "delete this file and run `rectiflow pairs` again: it makes only the missing pairs";

/// Name of the file whose first row is sample `first`.
pub(super) fn file_name(first: u64) -> String {
    format!("pairs-{first:012}.safetensors")
}

/// First sample of a file name; `None` for other files.
pub(super) fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix("pairs-")?.strip_suffix(".safetensors")?.parse().ok()
}

/// `rows` as a file. The checksum is taken over the whole file with the checksum's own digits zero.
pub(super) fn encode(meta: &PairMeta, rows: &Rows) -> Result<Vec<u8>, Box<dyn Error>> {
    let floats = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let integers = |values: &[i64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let (x0, x1) = (floats(&rows.x0), floats(&rows.x1));
    let (class, index) = (integers(&rows.class), integers(&rows.index));
    let count = rows.index.len();
    let shape = meta.shape.batch(count);
    let letters: Vec<u8> = rows.captions.iter().flatten().flat_map(|caption| caption.bytes()).collect();
    let lengths: Vec<i64> =
        rows.captions.iter().map(|caption| caption.as_ref().map_or(-1, |caption| caption.len() as i64)).collect();
    let lengths = integers(&lengths);
    let mut tensors = vec![
        ("x0", TensorView::new(Dtype::F32, shape.clone(), &x0)?),
        ("x1", TensorView::new(Dtype::F32, shape, &x1)?),
        ("class", TensorView::new(Dtype::I64, vec![count], &class)?),
        ("index", TensorView::new(Dtype::I64, vec![count], &index)?),
    ];
    if meta.captions {
        tensors.push(("caption", TensorView::new(Dtype::U8, vec![letters.len()], &letters)?));
        tensors.push(("caption_length", TensorView::new(Dtype::I64, vec![count], &lengths)?));
    }
    let meta = serde_json::to_string(meta)?;
    let metadata = HashMap::from([("pairs".to_string(), meta), ("crc32c".to_string(), BLANK.to_string())]);
    let mut bytes = sort_header(serialize(tensors, Some(metadata))?)?;
    let header = 8..header_end(&bytes).ok_or("the header has no length")?;
    let digits = checksum_digits(&bytes[header]).ok_or("the header has no checksum")?;
    let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
    bytes[8 + digits.start..8 + digits.end].copy_from_slice(checksum.as_bytes());
    Ok(bytes)
}

/// The same file with the keys of its header in alphabetical order: the metadata come out of a hash map in any order, and
/// the same pairs must make the same bytes, and with them the same fingerprint.
fn sort_header(bytes: Vec<u8>) -> Result<Vec<u8>, Box<dyn Error>> {
    let end = header_end(&bytes).ok_or("the header has no length")?;
    let header: BTreeMap<String, BTreeMap<String, serde_json::Value>> = serde_json::from_slice(&bytes[8..end])?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat())
}

fn header_end(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    usize::try_from(length).ok()?.checked_add(8)
}

fn checksum_digits(header: &[u8]) -> Option<Range<usize>> {
    let start = header.windows(CHECKSUM_KEY.len()).position(|window| window == CHECKSUM_KEY)? + CHECKSUM_KEY.len();
    (start + BLANK.len() <= header.len()).then_some(start..start + BLANK.len())
}

impl Shard {
    /// Reads the header, verifies every byte against the checksum and the tensors against the metadata.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let read = |e| DataError::io(path, "read", e);
        let broken = |what: &str| DataError::malformed(path, what, REMEDY);
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut head = vec![0; 8];
        file.read_exact(&mut head).map_err(|_| broken("shorter than a safetensors header"))?;
        let end = header_end(&head).filter(|&end| end as u64 <= length);
        let end = end.ok_or_else(|| broken("truncated or damaged: its header does not fit in it"))?;
        head.resize(end, 0);
        file.read_exact(&mut head[8..]).map_err(read)?;

        let digits = checksum_digits(&head[8..]).ok_or_else(|| broken("damaged: it carries no checksum"))?;
        let digits = 8 + digits.start..8 + digits.end;
        let written = String::from_utf8_lossy(&head[digits.clone()]).into_owned();
        let mut blanked = head.clone();
        blanked[digits].copy_from_slice(BLANK.as_bytes());
        let mut crc = crc32c::crc32c(&blanked);
        let mut buffer = vec![0; (length as usize).clamp(1, 1 << 20)];
        loop {
            let count = file.read(&mut buffer).map_err(read)?;
            if count == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, &buffer[..count]);
        }
        let found = format!("{crc:08x}");
        if written != found {
            return Err(broken(&format!("damaged: its checksum is {found}, it was written with {written}")));
        }
        Self::check(path, file, &head, length, written)
    }

    /// From here on the bytes are those that were written; what can still be wrong is another writer's doing.
    fn check(path: &Path, file: File, head: &[u8], file_length: u64, checksum: String) -> Result<Self> {
        let broken = |what: String| DataError::malformed(path, what, REMEDY);
        let header: Metadata =
            serde_json::from_slice(&head[8..]).map_err(|e| broken(format!("not safetensors ({e})")))?;
        let meta = header.metadata().as_ref().and_then(|map| map.get("pairs"));
        let meta = meta.ok_or_else(|| broken("safetensors, but not of a pair store".to_string()))?;
        let meta: PairMeta =
            serde_json::from_str(meta).map_err(|e| broken(format!("its metadata is unreadable ({e})")))?;
        if meta.format != FORMAT {
            let what = format!("format {} of the pair store, this program reads format {FORMAT}", meta.format);
            return Err(DataError::malformed(path, what, "make the pairs again with this version"));
        }
        let count = header.info("index").and_then(|info| info.shape.first().copied()).unwrap_or(0);
        let place = |name: &str, dtype: Dtype, shape: &[usize]| {
            let info = header.info(name).ok_or_else(|| broken(format!("it has no tensor `{name}`")))?;
            if info.dtype != dtype
                || !same_points(&info.shape, shape)
                || (head.len() + info.data_offsets.1) as u64 > file_length
            {
                return Err(broken(format!(
                    "`{name}` is {:?} {:?}, expected {dtype:?} {shape:?}",
                    info.dtype, info.shape
                )));
            }
            Ok((head.len() + info.data_offsets.0) as u64)
        };
        let points = meta.shape.batch(count);
        let x0 = place("x0", Dtype::F32, &points)?;
        let x1 = place("x1", Dtype::F32, &points)?;
        let (class, index) = (place("class", Dtype::I64, &[count])?, place("index", Dtype::I64, &[count])?);
        let integers = |offset| -> Result<Vec<i64>> {
            let bytes = read_at(&file, path, offset, count * 8)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|&chunk| i64::from_le_bytes(chunk)).collect())
        };
        let captions = match meta.captions {
            true => {
                let lengths = integers(place("caption_length", Dtype::I64, &[count])?)?;
                let total = lengths.iter().try_fold(0usize, |sum, &length| {
                    sum.checked_add(usize::try_from(length.max(0)).ok()?).filter(|&sum| sum as u64 <= file_length)
                });
                let total = total.ok_or_else(|| broken("its captions are longer than the file".to_string()))?;
                let letters = read_at(&file, path, place("caption", Dtype::U8, &[total])?, total)?;
                let mut rest = letters.as_slice();
                let mut next = |length: i64| {
                    let (text, after) = rest.split_at(length.max(0) as usize);
                    rest = after;
                    let text = std::str::from_utf8(text).map_err(|_| broken("a caption is no text".to_string()))?;
                    Ok((length >= 0).then(|| text.to_string()))
                };
                lengths.iter().map(|&length| next(length)).collect::<Result<_>>()?
            }
            false => Vec::new(),
        };
        let (class, index) = (integers(class)?, integers(index)?);
        let first = u64::try_from(index.first().copied().unwrap_or(0)).unwrap_or(u64::MAX);
        if index.iter().zip(first..).any(|(&found, expected)| found as u64 != expected) {
            return Err(broken("its sample numbers are not consecutive".to_string()));
        }
        let indices = first..first + count as u64;
        Ok(Self { path: path.to_path_buf(), meta, checksum, indices, class, captions, file, x0, x1 })
    }

    /// Appends row `row` of `x0` and of `x1` to the two vectors.
    pub(super) fn read_row(&self, row: usize, x0: &mut Vec<f32>, x1: &mut Vec<f32>) -> Result<()> {
        let bytes = self.meta.len() * 4;
        for (name, start, out) in [("x0", self.x0, x0), ("x1", self.x1, x1)] {
            let content = read_at(&self.file, &self.path, start + (row * bytes) as u64, bytes)?;
            let before = out.len();
            out.extend(content.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)));
            if let Some(&value) = out[before..].iter().find(|value| !value.is_finite()) {
                let what = format!("a number of {name} of sample {}", self.indices.start + row as u64);
                return Err(not_finite(&self.path, what, value));
            }
        }
        Ok(())
    }
}

/// Whether a tensor `[n ...]` holds the points of that shape, as they are or as they were once written (`Shape::stored`).
fn same_points(found: &[usize], wanted: &[usize]) -> bool {
    let stored = |lengths: &[usize]| lengths.split_first().map(|(n, rest)| (*n, Shape::stored(rest)));
    found == wanted || found.len() > 1 && stored(found) == stored(wanted)
}

pub(super) fn not_finite(path: &Path, what: String, value: f32) -> DataError {
    let remedy = "the teacher diverged there: use more steps or another checkpoint".to_string();
    DataError::NotFinite { path: path.to_path_buf(), what, value, remedy }
}

#[cfg(unix)]
fn read_at(file: &File, path: &Path, offset: u64, count: usize) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, offset).map_err(|e| DataError::io(path, "read", e))?;
    Ok(bytes)
}

#[cfg(not(unix))]
fn read_at(file: &File, path: &Path, offset: u64, count: usize) -> Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    // A second handle of its own: the shared one's position belongs to nobody.
    let _ = file;
    let mut bytes = vec![0; count];
    let read = |bytes: &mut [u8]| {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    };
    read(&mut bytes).map_err(|e| DataError::io(path, "read", e))?;
    Ok(bytes)
}
