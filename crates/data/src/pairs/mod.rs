//! The pair store: `(x0, x1, class)` made by a teacher, on disk between `pairs` and `reflow`/`distill`.
//!
//! A folder of safetensors files named `pairs-<first index>.safetensors`. Each holds a run of consecutive samples as
//! tensors `x0` and `x1` (`f32`, `n` points of the store's shape), `class` and `index` (`i64 [n]`), where there are captions
//! their letters one after another in `caption` (`u8`) and their lengths in `caption_length` (`i64 [n]`, -1 for none), and in its metadata how the pairs were made
//! ([`PairMeta`]) and a CRC-32C over the whole file, so that a flipped bit anywhere is found. Files are written beside
//! their place, synced and renamed: a killed writer leaves whole files only and continues at [`PairWriter::next_index`].
//! Several writers may fill different ranges of indices of one folder at once.

mod loader;
mod shard;
mod store;
mod writer;

pub use loader::PairLoader;
pub use store::{PairBatch, PairStore};
pub use writer::PairWriter;

use crate::{DataError, Result};
use base::Shape;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the file format.
pub const FORMAT: u32 = 1;

/// How the pairs of a store were made. Every file of a store carries the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairMeta {
    /// [`FORMAT`].
    pub format: u32,
    /// Which network made them: name and digest of its checkpoint.
    pub teacher: String,
    /// The teacher's path, by name.
    pub path: String,
    /// What the teacher predicts, by name.
    pub parameterization: String,
    /// The solver, by name.
    pub solver: String,
    /// The schedule, by name.
    pub schedule: String,
    /// Steps of the solver.
    pub steps: usize,
    /// Operands of products in the teacher, by name; stores made before there was a choice are f32.
    #[serde(default = "single")]
    pub precision: String,
    /// Guidance scale; 1 for none.
    pub guidance: f64,
    /// Seed of the source points: sample `index` starts from the noise of this seed and `index`.
    pub seed: u64,
    /// Shape of a point.
    pub shape: Shape,
    /// Number of classes; 0 for none.
    pub classes: usize,
    /// Fingerprint of the data the teacher was trained on, or empty.
    pub data: String,
    /// Times at which trajectories begin, are cut and end: pair `index` is piece `index % n` of trajectory `index / n`, `n` one
    /// less than there are times. `[0, 1]`, whole trajectories, for stores made before there was a choice.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub times: Vec<f64>,
    /// Where the pairs start: `noise`, or the fingerprint of a second data set.
    #[serde(default = "noise")]
    pub start: String,
    /// Whether each pair has a caption; stores made before there was a choice have none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captions: bool,
    /// Share of the pairs whose data end is real and whose source end the backward flow found.
    #[serde(default)]
    pub inverted: f64,
}

fn whole() -> Vec<f64> {
    vec![0.0, 1.0]
}

fn is_whole(times: &[f64]) -> bool {
    times == [0.0, 1.0]
}

fn noise() -> String {
    "noise".into()
}

fn single() -> String {
    "f32".into()
}

impl PairMeta {
    /// Times between which pair `index` lies.
    pub fn span(&self, index: u64) -> [f64; 2] {
        let pieces = self.times.len().saturating_sub(1).max(1);
        let piece = (index % pieces as u64) as usize;
        let at = |i: usize, default| self.times.get(i).copied().unwrap_or(default);
        [at(piece, 0.0), at(piece + 1, 1.0)]
    }

    /// Whether pairs are whole trajectories.
    pub fn is_whole(&self) -> bool {
        is_whole(&self.times)
    }

    /// Numbers in a point.
    pub fn len(&self) -> usize {
        self.shape.numel()
    }

    /// Whether a point has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses `other`, found in `file`, if its pairs were made in another way, and says where they differ.
    fn require_same(&self, other: &Self, file: &Path) -> Result<()> {
        let json = |meta: &Self| serde_json::to_value(meta).unwrap_or_default();
        let (ours, theirs) = (json(self), json(other));
        // A key that is not written has its usual value, on either side.
        let keys = [&ours, &theirs].into_iter().filter_map(|meta| meta.as_object()).flat_map(|meta| meta.keys());
        let Some(key) = keys.into_iter().find(|key| ours.get(key.as_str()) != theirs.get(key.as_str())) else {
            return Ok(());
        };
        let said = |meta: &serde_json::Value| meta.get(key).map_or("as usual".to_string(), ToString::to_string);
        let what = format!("its pairs were made with {key} = {}, these with {}", said(&theirs), said(&ours));
        Err(DataError::malformed(file, what, "one store holds pairs of one kind: use another folder"))
    }
}

/// One pair to be stored. The fields are named so that source and data cannot change places.
#[derive(Clone, Copy, Debug)]
pub struct PairRecord<'a> {
    /// Number of the sample, whose noise and condition it determines.
    pub index: u64,
    /// The source point (noise), its numbers in a row.
    pub x0: &'a [f32],
    /// The data point the teacher carried it to.
    pub x1: &'a [f32],
    /// Its class; -1 for none.
    pub class: i64,
    /// Its caption; kept where the store has captions.
    pub caption: Option<&'a str>,
}
