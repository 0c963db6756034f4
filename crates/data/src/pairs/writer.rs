//! Writing pairs: in order of their sample numbers, continuing where an earlier writer stopped.

use super::shard::{self, Rows, Shard, encode, file_name, first_of};
use super::{PairMeta, PairRecord};
use crate::write::{PART, create_dir, write_atomic};
use crate::{DataError, Result};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Writes the pairs of a range of sample numbers into a store.
///
/// ```
/// use data::pairs::{FORMAT, PairMeta, PairRecord, PairStore, PairWriter};
/// # let folder = tempfile::tempdir().unwrap();
/// # let dir = folder.path();
/// let meta = PairMeta {
///     format: FORMAT, teacher: "base".into(), path: "linear".into(), parameterization: "velocity".into(),
///     solver: "euler".into(), schedule: "uniform".into(), steps: 20, precision: "f32".into(),
///     guidance: 1.0, seed: 7, shape: [2].into(), classes: 0, data: String::new(), times: vec![0.0, 1.0],
///     start: "noise".into(), inverted: 0.0, captions: false,
/// };
/// let mut writer = PairWriter::open(dir, &meta, 0..100)?;
/// for index in writer.missing(4) {
///     writer.push(PairRecord { index, x0: &[0.5, -0.5], x1: &[1.0, -1.0], class: -1, caption: None })?;
/// }
/// writer.finish()?;
/// assert_eq!(PairWriter::open(dir, &meta, 0..100)?.next_index(), 4); // where the next run continues
/// assert_eq!(PairStore::open(dir)?.batch(&[2])?.x1, [1.0, -1.0]);
/// # Ok::<(), data::DataError>(())
/// ```
#[derive(Debug)]
pub struct PairWriter {
    dir: PathBuf,
    meta: PairMeta,
    range: Range<u64>,
    /// Ranges already on disk, in order.
    stored: Vec<Range<u64>>,
    next: u64,
    rows: Rows,
    rows_per_shard: usize,
}

impl PairWriter {
    /// Continues the store in `dir`, or starts it. Only samples of `range` are written, so that several writers can share
    /// a store, each with a range of its own.
    ///
    /// # Errors
    /// The folder cannot be written; it holds damaged files, or pairs made in another way.
    pub fn open(dir: &Path, meta: &PairMeta, range: Range<u64>) -> Result<Self> {
        if meta.is_empty() {
            return Err(DataError::config(
                "shape",
                format!("pairs of shape {}", meta.shape),
                "give a shape without zeros",
            ));
        }
        create_dir(dir)?;
        let mut stored = Vec::new();
        for item in fs::read_dir(dir).map_err(|e| DataError::io(dir, "read", e))? {
            let path = item.map_err(|e| DataError::io(dir, "read", e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(first) = unfinished(&name).filter(|first| range.contains(first)) {
                let _ = fs::remove_file(path); // what a killed writer left; sample {first} is made again
                let _ = first;
            } else if first_of(&name).is_some() {
                let shard = Shard::open(&path)?;
                meta.require_same(&shard.meta, &path)?;
                stored.push(shard.indices);
            }
        }
        stored.sort_by_key(|range| range.start);
        // About 64 MiB a file: few files, and little work lost with a killed writer.
        let rows_per_shard = ((64 << 20) / (meta.len() * 8)).clamp(1, 4096);
        let next = after(&stored, range.start);
        let (dir, meta) = (dir.to_path_buf(), meta.clone());
        Ok(Self { dir, meta, range, stored, next, rows: Rows::default(), rows_per_shard })
    }

    /// Sets how many pairs a file holds. A killed writer loses at most so many.
    pub fn rows_per_shard(self, rows: usize) -> Self {
        Self { rows_per_shard: rows.max(1), ..self }
    }

    /// The first sample that is not in the store: the only one [`PairWriter::push`] takes next.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// The next samples to make, at most `count`; empty when the range is complete.
    pub fn missing(&self, count: usize) -> Vec<u64> {
        let mut indices = Vec::with_capacity(count);
        let mut next = self.next;
        while indices.len() < count && next < self.range.end {
            indices.push(next);
            next = after(&self.stored, next + 1);
        }
        indices
    }

    /// How many samples of the range are not in the store yet.
    pub fn remaining(&self) -> u64 {
        let ahead = self.stored.iter().map(|r| r.end.min(self.range.end).saturating_sub(r.start.max(self.next))).sum();
        self.range.end.saturating_sub(self.next).saturating_sub(ahead)
    }

    /// Adds a pair, and writes a file whenever enough are waiting.
    ///
    /// # Errors
    /// A pair that is not the next one, of another shape, or with a number that is not finite; a full disk.
    pub fn push(&mut self, record: PairRecord<'_>) -> Result<()> {
        let PairRecord { index, x0, x1, class, caption } = record;
        if index != self.next || !self.range.contains(&index) {
            let what = format!("sample {index} pushed, the next of {:?} is {}", self.range, self.next);
            return Err(DataError::config("pairs", what, "push samples in the order of `missing`"));
        }
        if x0.len() != self.meta.len() || x1.len() != self.meta.len() {
            let what =
                format!("x0 has {} and x1 {} numbers, the store's shape is {}", x0.len(), x1.len(), self.meta.shape);
            return Err(DataError::config("pairs", what, "push points of the store's shape"));
        }
        if caption.is_some() && !self.meta.captions {
            let what = format!("sample {index} has a caption, the store none");
            return Err(DataError::config("pairs", what, "make the store with captions"));
        }
        for (name, values) in [("x0", x0), ("x1", x1)] {
            if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                return Err(shard::not_finite(&self.dir, format!("a number of {name} of sample {index}"), value));
            }
        }
        self.rows.x0.extend_from_slice(x0);
        self.rows.x1.extend_from_slice(x1);
        self.rows.class.push(class);
        self.rows.captions.push(caption.map(str::to_string));
        self.rows.index.push(index as i64);
        self.next = after(&self.stored, index + 1);
        // A file holds consecutive samples, so it ends where samples already stored follow.
        if self.rows.index.len() == self.rows_per_shard || self.next != index + 1 {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the waiting pairs, if any.
    ///
    /// # Errors
    /// A full or unwritable disk; the pairs go on waiting then, and files written before are untouched.
    pub fn flush(&mut self) -> Result<()> {
        let Some(&first) = self.rows.index.first() else { return Ok(()) };
        let path = self.dir.join(file_name(first as u64));
        let bytes = encode(&self.meta, &self.rows)
            .map_err(|e| DataError::malformed(&path, format!("cannot be encoded ({e})"), "please report this"))?;
        write_atomic(&path, &bytes)?;
        self.rows = Rows::default();
        Ok(())
    }

    /// Writes the waiting pairs and ends.
    ///
    /// # Errors
    /// As [`PairWriter::flush`].
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }
}

/// The first number from `next` on that is in none of the sorted `ranges`.
fn after(ranges: &[Range<u64>], next: u64) -> u64 {
    ranges.iter().fold(next, |next, range| if range.contains(&next) { range.end } else { next })
}

/// First sample of an unfinished file's name.
fn unfinished(name: &str) -> Option<u64> {
    let stem = name.strip_prefix('.')?.strip_suffix(PART)?;
    first_of(stem.rsplit_once('.')?.0)
}
