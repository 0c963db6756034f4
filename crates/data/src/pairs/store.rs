//! Reading pairs: rows of all files of a store, by number.

use super::PairMeta;
use super::shard::{Shard, first_of};
use crate::fingerprint::Fingerprint;
use crate::{DataError, Result};
use base::Shape;
use std::fs;
use std::path::{Path, PathBuf};

/// A pair store opened for reading. Every byte is verified once when it is opened; rows are then read where they lie.
#[derive(Debug)]
pub struct PairStore {
    dir: PathBuf,
    meta: PairMeta,
    shards: Vec<Shard>,
    /// Row at which each shard starts, and the number of rows at the end.
    starts: Vec<usize>,
}

/// Some pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct PairBatch {
    /// Source points (noise), rows `[b n]`.
    pub x0: Vec<f32>,
    /// Data points, rows `[b n]`.
    pub x1: Vec<f32>,
    /// What the `n` numbers of a row are.
    pub shape: Shape,
    /// Class of each pair, `[b]`; -1 for none.
    pub labels: Vec<i64>,
    /// Caption of each pair, `[b]`; empty for stores without.
    pub captions: Vec<Option<String>>,
    /// Sample number of each pair, `[b]`: the one its noise was made with.
    pub index: Vec<u64>,
    /// Number of each sample in the whole stream since the start of training, `[b]`; its row when read by
    /// [`PairStore::batch`].
    pub indices: Vec<u64>,
    /// Times `[from, to]` between which each pair lies, `[b]`; empty where all are whole trajectories.
    pub spans: Vec<[f64; 2]>,
}

impl PairStore {
    /// Opens and verifies the store in `dir`.
    ///
    /// # Errors
    /// No pairs there; a file that is truncated or has a flipped bit; files that do not belong together.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut shards = Vec::new();
        for item in fs::read_dir(dir).map_err(|e| DataError::io(dir, "read", e))? {
            let path = item.map_err(|e| DataError::io(dir, "read", e))?.path();
            if first_of(&path.file_name().unwrap_or_default().to_string_lossy()).is_some() {
                shards.push(Shard::open(&path)?);
            }
        }
        shards.sort_by_key(|shard| shard.indices.start);
        let Some(first) = shards.first() else {
            let remedy = "no pairs there; make them with `rectiflow pairs`".to_string();
            return Err(DataError::Missing { path: dir.join("pairs-*.safetensors"), remedy });
        };
        let meta = first.meta.clone();
        let (mut starts, mut next) = (vec![0], 0);
        for shard in &shards {
            meta.require_same(&shard.meta, &shard.path)?;
            if shard.indices.start < next {
                let what = format!("sample {} is in the file before it too", shard.indices.start);
                return Err(DataError::malformed(&shard.path, what, "delete one of the two files"));
            }
            next = shard.indices.end;
            starts.push(starts[starts.len() - 1] + shard.class.len());
        }
        Ok(Self { dir: dir.to_path_buf(), meta, shards, starts })
    }

    /// How the pairs were made.
    pub fn meta(&self) -> &PairMeta {
        &self.meta
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Identity of the content, 16 hexadecimal digits: the same for the same pairs in the same files.
    pub fn fingerprint(&self) -> String {
        let mut hash = Fingerprint::new(self.meta.shape, &[]);
        for shard in &self.shards {
            hash.add(None, None, shard.checksum.as_bytes());
        }
        hash.finish()
    }

    /// Sample number of a row; `None` beyond the last.
    pub fn index(&self, row: usize) -> Option<u64> {
        let number = self.starts.partition_point(|&start| start <= row).checked_sub(1)?;
        Some(self.shards.get(number)?.indices.start + (row - self.starts[number]) as u64)
    }

    /// The pairs of `rows` (below [`PairStore::len`]), in that order, exactly as they were written.
    ///
    /// # Errors
    /// A row that does not exist, a number that is not finite, a failing disk.
    pub fn batch(&self, rows: &[usize]) -> Result<PairBatch> {
        let numbers = rows.len() * self.meta.len();
        let (mut x0, mut x1) = (Vec::with_capacity(numbers), Vec::with_capacity(numbers));
        let mut captions = Vec::new();
        let (mut labels, mut index) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for &row in rows {
            if row >= self.len() {
                let what = format!("row {row} asked of {}, which has {}", self.dir.display(), self.len());
                return Err(DataError::config("pairs", what, "ask for fewer pairs"));
            }
            let number = self.starts.partition_point(|&start| start <= row) - 1;
            let (shard, within) = (&self.shards[number], row - self.starts[number]);
            shard.read_row(within, &mut x0, &mut x1)?;
            labels.push(shard.class[within]);
            captions.extend(shard.captions.get(within).cloned());
            index.push(shard.indices.start + within as u64);
        }
        let indices = rows.iter().map(|&row| row as u64).collect();
        let whole = self.meta.is_whole();
        let spans = if whole { Vec::new() } else { index.iter().map(|&i| self.meta.span(i)).collect() };
        Ok(PairBatch { x0, x1, shape: self.meta.shape, labels, captions, index, indices, spans })
    }
}
