//! Pair files: what people said of two samples, in the columns that VideoAlign's training reads (Liu et al., arXiv 2501.13918):
//! `path_A`, `path_B`, `prompt`, an axis a column (`VQ`, `MQ`, `TA`) with `A`, `B`, `same` or `invalid`, and where they are known `fps_A`,
//! `num_frames_A` and a score of each sample on an axis, `MOS_A_VQ`.
//!
//! The same pair judged several times is one pair: each row is a vote, most votes win, and a draw counts for nobody.

mod rows;
mod votes;

use crate::{LeftOut, Result};
use std::path::{Path, PathBuf};

/// What was said of two samples on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    /// The first is better.
    A,
    /// The second is.
    B,
    /// Neither.
    Same,
    /// Nothing, or nothing to be counted.
    Invalid,
}

/// One pair with all that was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Line of the file where it stands first.
    pub line: usize,
    /// The two samples, as written.
    pub paths: [String; 2],
    /// What both were asked for; empty where nothing is said.
    pub prompt: String,
    /// An answer on each axis.
    pub said: Vec<Said>,
    /// A score of each sample on each axis, where all are there.
    pub scores: Option<[Vec<f64>; 2]>,
    /// Frames to a second, where they are said.
    pub fps: [Option<f64>; 2],
    /// Numbers of frames, where they are said.
    pub frames: [Option<usize>; 2],
}

/// A pair file.
#[derive(Clone, Debug, PartialEq)]
pub struct PairFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Names of the axes.
    pub axes: Vec<String>,
    /// Rows that were read.
    pub rows: usize,
    /// Pairs, each once.
    pub pairs: Vec<Pair>,
    /// What the file holds and is not used.
    pub left_out: Vec<LeftOut>,
}

impl PairFile {
    /// Where the sample written as `path` lies: beside the file, or else where the program runs.
    pub fn place(&self, path: &str) -> PathBuf {
        let beside = self.path.parent().unwrap_or(Path::new("")).join(path);
        if beside.exists() || !Path::new(path).exists() { beside } else { path.into() }
    }

    /// How often each of A, B, same and invalid was said on the axis `at`.
    pub fn counts(&self, at: usize) -> [usize; 4] {
        let mut counts = [0; 4];
        for pair in &self.pairs {
            counts[pair.said[at] as usize] += 1;
        }
        counts
    }
}

/// The pair file at `path` (`.csv`, `.tsv`, `.jsonl`): its `axes`, or every column whose values are `A`, `B`, `same` and `invalid` alone
/// where none are named.
///
/// # Errors
/// A file that cannot be read, columns that are missing, a value that is none, by its line; no pair.
pub fn read(path: &Path, axes: Option<&[String]>) -> Result<PairFile> {
    let table = rows::read(path)?;
    let (axes, rows, mut found) = rows::understood(path, &table, axes)?;
    let count = rows.len();
    let pairs = votes::counted(rows, &axes, &mut found);
    if pairs.is_empty() {
        let what = format!("of {count} rows none has two samples and an answer{}", found.told());
        return Err(crate::DataError::malformed(path, what, "label some pairs with `rectiflow label`"));
    }
    Ok(PairFile { path: path.to_path_buf(), axes, rows: count, pairs, left_out: found.into_list() })
}

#[cfg(test)]
mod tests;
