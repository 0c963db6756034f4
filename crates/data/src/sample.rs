//! The samples of a data set and what a data set is: a fixed-length, random-access list of samples with labels and captions.

use crate::{LeftOut, Result};
use base::Shape;
use std::collections::HashMap;

/// The numbers of a sample, in the type they are kept in.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pixels of a picture or clip in [0, 255], row by row, the first axis of the shape innermost: `[h w c]` of `[c h w]`.
    Pixels(Vec<u8>),
    /// Numbers as networks see them, in the order of the shape: latents, spectrograms, sets of points.
    Numbers(Vec<f32>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Pixels(pixels) => pixels.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One sample with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its numbers.
    pub values: Values,
    /// What they are.
    pub shape: Shape,
    /// Class index, if it has one.
    pub label: Option<u32>,
    /// Caption, if it has one.
    pub caption: Option<String>,
}

impl Sample {
    /// Its pixels, see [`Values::Pixels`]; none of a sample that is no picture.
    pub fn pixels(&self) -> &[u8] {
        match &self.values {
            Values::Pixels(pixels) => pixels,
            Values::Numbers(_) => &[],
        }
    }

    /// The row that networks see, in the order of the shape, appended to `out`: pixels as `x / 127.5 - 1` in [-1, 1], mirrored
    /// left to right if `flip`, and numbers as they are, which nobody knows how to mirror.
    pub fn normalize_into(&self, flip: bool, out: &mut Vec<f32>) {
        out.reserve(self.values.len());
        let pixels = match &self.values {
            Values::Pixels(pixels) => pixels,
            Values::Numbers(numbers) => return out.extend_from_slice(numbers),
        };
        let (channels, width) = (self.shape.lengths()[0], self.shape.lengths()[self.shape.lengths().len() - 1]);
        for channel in 0..channels {
            for row in pixels.chunks_exact(width * channels) {
                let values = row.iter().skip(channel).step_by(channels).map(|&value| normalize(value));
                if flip { out.extend(values.rev()) } else { out.extend(values) }
            }
        }
    }
}

/// A byte in [0, 255] as a number in [-1, 1].
pub fn normalize(value: u8) -> f32 {
    f32::from(value) / 127.5 - 1.0
}

/// The byte nearest to a number in [-1, 1]; numbers outside saturate. Inverse of [`normalize`].
pub fn denormalize(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

/// A data set: `len` samples of one shape, readable in any order from any thread.
pub trait Dataset: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index`, below [`Dataset::len`].
    ///
    /// # Errors
    /// What reading and decoding its file may say.
    fn get(&self, index: usize) -> Result<Sample>;

    /// The label of sample `index`, without decoding it.
    fn label(&self, index: usize) -> Option<u32>;

    /// The caption of sample `index`, without decoding it.
    fn caption(&self, index: usize) -> Option<&str> {
        let _ = index;
        None
    }

    /// The name of sample `index`'s file without its ending, relative to the set: counterparts in two sets have the same.
    /// `None` where samples are rows of an array.
    fn key(&self, index: usize) -> Option<&str> {
        let _ = index;
        None
    }

    /// Names of the classes, in the order of the labels; empty if there are no classes.
    fn class_names(&self) -> &[String];

    /// Number of classes; 0 if there are no labels.
    fn classes(&self) -> usize {
        self.class_names().len()
    }

    /// Shape of every sample.
    fn shape(&self) -> Shape;

    /// What to call it in reports.
    fn name(&self) -> &str;

    /// Identity of the content: the same for the same samples in the same order and shape, different (up to a hash
    /// collision) for any other. 16 hexadecimal digits. Sets too large for memory are identified by their files' names, sizes, labels and
    /// captions instead of their pixels.
    fn fingerprint(&self) -> &str;

    /// Whether [`Dataset::get`] is a copy from memory rather than a file to decode.
    fn in_memory(&self) -> bool;

    /// What was found beside the samples and is not used, each kind counted, named and with its reason.
    fn left_out(&self) -> &[LeftOut] {
        &[]
    }
}

/// For each sample of `a` its counterpart in `b`: the one whose file has the same name.
pub fn counterparts(a: &dyn Dataset, b: &dyn Dataset) -> Vec<Option<usize>> {
    let places: HashMap<&str, usize> = (0..b.len()).filter_map(|index| Some((b.key(index)?, index))).collect();
    (0..a.len()).map(|index| places.get(a.key(index)?).copied()).collect()
}
