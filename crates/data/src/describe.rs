//! What a data set contains, in figures.

use crate::open::chosen;
use crate::read::Ask;
use crate::{DataConfig, Dataset, LeftOut, Result};
use base::Shape;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Figures of a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
    /// Shape of a sample.
    pub shape: Shape,
    /// Name and number of samples of each class.
    pub classes: Vec<(String, usize)>,
    /// Samples without a class.
    pub unlabelled: usize,
    /// Samples with a caption.
    pub captioned: usize,
    /// Mean of each channel (the first axis of the shape): of pictures in [0, 1].
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over all samples: of pictures in [0, 0.5].
    pub std: Vec<f64>,
    /// [`Dataset::fingerprint`].
    pub fingerprint: String,
    /// [`Dataset::left_out`].
    pub left_out: Vec<LeftOut>,
}

/// The sizes `[h w]` of the images that `config` describes before they are brought to one, most frequent first, with how many
/// have each. Images whose size cannot be told are not among them.
///
/// # Errors
/// What finding them may say.
pub fn sizes(config: &DataConfig) -> Result<Vec<([usize; 2], usize)>> {
    let (_, source) = chosen(config)?;
    let limits = Ask::of(config).limits;
    let headers: Vec<_> = source.entries.par_iter().filter_map(|entry| entry.pixels.header(limits).ok()).collect();
    let mut counts: BTreeMap<[usize; 2], usize> = BTreeMap::new();
    headers.iter().for_each(|header| *counts.entry([header.height, header.width]).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(counts)
}

/// Looks at every sample of `dataset`.
///
/// # Errors
/// What reading a sample may say.
pub fn describe(dataset: &dyn Dataset) -> Result<Summary> {
    let shape = dataset.shape();
    let channels = shape.lengths()[0];
    // Integers, so that the sums are exact and do not depend on the order of the threads.
    type Sums = (Vec<u64>, Vec<u64>, usize);
    let zero = || -> Sums { (vec![0; channels], vec![0; channels], 0) };
    let sample = |mut sums: Sums, index| {
        let sample = dataset.get(index)?;
        for pixel in sample.pixels().chunks_exact(channels) {
            for (channel, &value) in pixel.iter().enumerate() {
                sums.0[channel] += u64::from(value);
                sums.1[channel] += u64::from(value).pow(2);
            }
        }
        sums.2 += usize::from(sample.caption.is_some());
        Ok(sums)
    };
    let add = |a: Sums, b: Sums| -> Result<Sums> {
        let plus = |a: Vec<u64>, b: Vec<u64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
        Ok((plus(a.0, b.0), plus(a.1, b.1), a.2 + b.2))
    };
    let (sums, squares, captioned) = (0..dataset.len()).into_par_iter().try_fold(zero, sample).try_reduce(zero, add)?;
    let pixels = (dataset.len() * shape.numel() / channels).max(1) as f64;
    let mean: Vec<f64> = sums.iter().map(|&sum| sum as f64 / pixels / 255.0).collect();
    let deviation = |(&square, mean): (&u64, &f64)| (square as f64 / pixels / 65025.0 - mean * mean).max(0.0).sqrt();
    let std = squares.iter().zip(&mean).map(deviation).collect();

    let mut counts = vec![0; dataset.classes()];
    let mut unlabelled = 0;
    for index in 0..dataset.len() {
        match dataset.label(index) {
            Some(label) => counts[label as usize] += 1,
            None => unlabelled += 1,
        }
    }
    Ok(Summary {
        name: dataset.name().to_string(),
        samples: dataset.len(),
        shape,
        classes: dataset.class_names().iter().cloned().zip(counts).collect(),
        unlabelled,
        captioned,
        mean,
        std,
        fingerprint: dataset.fingerprint().to_string(),
        left_out: dataset.left_out().to_vec(),
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape.image() {
            Ok([channels @ (1 | 3), height, width]) => {
                let colour = if channels == 1 { "grey" } else { "RGB" };
                writeln!(f, "{}: {} images, {width} x {height} {colour}", self.name, self.samples)?;
            }
            _ => writeln!(f, "{}: {} samples of shape {}", self.name, self.samples, self.shape)?,
        }
        let list = |values: &[f64]| values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(" ");
        writeln!(f, "mean {}   standard deviation {}   (of 0 to 1)", list(&self.mean), list(&self.std))?;
        writeln!(f, "fingerprint {}", self.fingerprint)?;
        if self.captioned > 0 {
            writeln!(f, "{} with captions", self.captioned)?;
        }
        for (name, count) in &self.classes {
            writeln!(f, "{count:>8}  {name}")?;
        }
        if self.unlabelled > 0 {
            writeln!(f, "{:>8}  (no class)", self.unlabelled)?;
        }
        for kind in &self.left_out {
            writeln!(f, "not used: {kind}")?;
        }
        Ok(())
    }
}
