//! Mel spectrograms in Slaney's scale and norm (Auditory Toolbox, 1998), in natural logarithms above a floor: the picture of
//! sound that AudioLDM and FlowSep (arXiv:2409.07614) learn.
//!
//! The scale is linear below 1000 Hz (3 mels to 200 Hz) and logarithmic above (27 mels to a factor of 6.4); each triangle
//! has the area 2 / (its width in hertz). Magnitudes enter, not powers.

use super::stft::{Spectrum, Stft};
use crate::MediaError;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How sound becomes a mel picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MelConfig {
    /// Frames of sound to a second.
    pub rate: u32,
    /// Samples of a window.
    pub window: usize,
    /// Samples from one column to the next.
    pub hop: usize,
    /// Bands.
    pub bins: usize,
    /// Lower edge of the lowest band, in hertz.
    pub low: f64,
    /// Upper edge of the highest band, in hertz; at most half the rate.
    pub high: f64,
    /// Smallest magnitude of a band before the logarithm.
    pub floor: f64,
}

impl Default for MelConfig {
    /// That of FlowSep and AudioLDM at 16 kHz.
    fn default() -> Self {
        Self { rate: 16_000, window: 1024, hop: 160, bins: 64, low: 0.0, high: 8000.0, floor: 1e-5 }
    }
}

/// The transform of a [`MelConfig`] with its filters.
#[derive(Clone, Debug)]
pub struct Mel {
    config: MelConfig,
    stft: Stft,
    filters: Vec<f64>,
    /// Where each filter is above zero: a few of all frequencies.
    heard: Vec<Range<usize>>,
    inverse: Vec<f64>,
}

/// A log-mel picture `[frames bins]`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMel {
    /// Columns of the picture, in time.
    pub frames: usize,
    /// Bands, low to high.
    pub bins: usize,
    /// Natural logarithms, `[frames bins]`.
    pub values: Vec<f32>,
}

impl LogMel {
    /// Cut or lengthened to `frames` at its end; what is added is silence, `ln floor`, never 0 (which would be loud).
    pub fn with_frames(mut self, frames: usize, floor: f64) -> Self {
        self.values.resize(frames * self.bins, floor.ln() as f32);
        Self { frames, ..self }
    }
}

/// Hertz to mels on Slaney's scale.
pub fn mel(hertz: f64) -> f64 {
    if hertz < 1000.0 { hertz * 3.0 / 200.0 } else { 15.0 + 27.0 * (hertz / 1000.0).ln() / 6.4f64.ln() }
}

/// Mels to hertz on Slaney's scale.
pub fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * (6.4f64.ln() * (mel - 15.0) / 27.0).exp() }
}

impl Mel {
    /// Filters of `config`.
    ///
    /// # Errors
    /// [`MediaError::Setting`] naming what cannot be.
    pub fn new(config: &MelConfig) -> Result<Self, MediaError> {
        let stft = Stft::new(config.window, config.hop)?;
        let MelConfig { rate, bins, low, high, floor, .. } = *config;
        let half = f64::from(rate) / 2.0;
        if !(low >= 0.0 && low < high && high <= half) {
            let what = format!("mel bands from {low} to {high} Hz at {rate} Hz");
            return Err(MediaError::setting(what, format!("use 0 <= low < high <= {half}")));
        }
        if !(floor > 0.0 && floor.is_finite()) || bins == 0 || bins > stft.bins() {
            let what = format!("{bins} mel bands with floor {floor}");
            return Err(MediaError::setting(what, format!("use 1 to {} bands and a floor above 0", stft.bins())));
        }
        let filters = filters(config, stft.bins());
        let inverse = pseudo_inverse(&filters, bins, stft.bins()).ok_or_else(|| {
            let what = format!("{bins} mel bands of a window of {} samples: some hear nothing", config.window);
            MediaError::setting(what, "use fewer bands or a longer window")
        })?;
        let heard = filters.chunks_exact(stft.bins()).map(support).collect();
        Ok(Self { config: config.clone(), stft, filters, heard, inverse })
    }

    /// What made it.
    pub fn config(&self) -> &MelConfig {
        &self.config
    }

    /// Its transform.
    pub fn stft(&self) -> Stft {
        self.stft
    }

    /// The filters, `[bins frequencies]`.
    pub fn filters(&self) -> &[f64] {
        &self.filters
    }

    /// The filters' pseudo-inverse, `[frequencies bins]`.
    pub fn inverse_filters(&self) -> &[f64] {
        &self.inverse
    }

    /// What silence looks like.
    pub fn silence(&self) -> f32 {
        self.config.floor.ln() as f32
    }

    /// The picture of `samples` at this transform's rate.
    ///
    /// # Errors
    /// [`MediaError::Setting`] where there are none.
    pub fn log_mel(&self, samples: &[f32]) -> Result<LogMel, MediaError> {
        if samples.is_empty() {
            return Err(MediaError::setting("a mel picture of no samples", "give at least one"));
        }
        Ok(self.log_mel_of(&self.stft.forward(samples)))
    }

    /// The picture of a spectrum of this transform.
    pub fn log_mel_of(&self, spectrum: &Spectrum) -> LogMel {
        let (bins, width) = (self.config.bins, self.stft.bins());
        let mut values = Vec::with_capacity(spectrum.frames * bins);
        let mut magnitude = vec![0.0; width];
        for row in spectrum.values.chunks_exact(width) {
            magnitude.iter_mut().zip(row).for_each(|(m, v)| *m = v.norm());
            for (filter, at) in self.filters.chunks_exact(width).zip(&self.heard) {
                let heard: f64 = filter[at.clone()].iter().zip(&magnitude[at.clone()]).map(|(f, m)| f * m).sum();
                values.push(heard.max(self.config.floor).ln() as f32);
            }
        }
        LogMel { frames: spectrum.frames, bins, values }
    }

    /// Magnitudes `[frames frequencies]` that would give this picture, the smallest in least squares, never below zero.
    pub fn magnitude(&self, picture: &LogMel) -> Vec<f32> {
        let (bins, width) = (self.config.bins, self.stft.bins());
        let mut values = Vec::with_capacity(picture.frames * width);
        let mut heard = vec![0.0; bins];
        for row in picture.values.chunks_exact(bins) {
            heard.iter_mut().zip(row).for_each(|(h, v)| *h = f64::from(*v).exp());
            for weights in self.inverse.chunks_exact(bins) {
                let value: f64 = weights.iter().zip(&heard).map(|(w, h)| w * h).sum();
                values.push(value.max(0.0) as f32);
            }
        }
        values
    }
}

/// From the first to the last number above zero.
fn support(filter: &[f64]) -> Range<usize> {
    let first = filter.iter().position(|f| *f > 0.0).unwrap_or(0);
    first..filter.iter().rposition(|f| *f > 0.0).map_or(first, |last| last + 1)
}

/// Triangles between neighbouring edges, `[bins frequencies]`.
fn filters(config: &MelConfig, width: usize) -> Vec<f64> {
    let MelConfig { rate, window, bins, low, high, .. } = *config;
    let (first, last) = (mel(low), mel(high));
    let edge = |i: usize| hertz(first + (last - first) * i as f64 / (bins + 1) as f64);
    let mut filters = Vec::with_capacity(bins * width);
    for band in 0..bins {
        let (left, middle, right) = (edge(band), edge(band + 1), edge(band + 2));
        for k in 0..width {
            let at = k as f64 * f64::from(rate) / window as f64;
            let triangle = ((at - left) / (middle - left)).min((right - at) / (right - middle)).max(0.0);
            filters.push(triangle * 2.0 / (right - left));
        }
    }
    filters
}

/// `F^T (F F^T)^-1` of `F` `[rows columns]`, by Gauss-Jordan elimination; nothing where the rows are not independent.
fn pseudo_inverse(f: &[f64], rows: usize, columns: usize) -> Option<Vec<f64>> {
    let row = |i: usize| &f[i * columns..(i + 1) * columns];
    // [F F^T | I], row by row
    let mut table: Vec<Vec<f64>> = (0..rows)
        .map(|i| {
            let gram = (0..rows).map(|j| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum());
            gram.chain((0..rows).map(|j| f64::from(u8::from(i == j)))).collect()
        })
        .collect();
    let scale = (0..rows).map(|i| table[i][i]).fold(0.0, f64::max);
    for i in 0..rows {
        let pivot = (i..rows).max_by(|a, b| table[*a][i].abs().total_cmp(&table[*b][i].abs()))?;
        table.swap(i, pivot);
        let by = table[i][i];
        if by.abs() <= 1e-12 * scale {
            return None;
        }
        table[i].iter_mut().for_each(|v| *v /= by);
        let done = table[i].clone();
        for (j, other) in table.iter_mut().enumerate() {
            if j != i && other[i] != 0.0 {
                let by = other[i];
                other.iter_mut().zip(&done).for_each(|(v, d)| *v -= by * d);
            }
        }
    }
    let mut inverse = vec![0.0; columns * rows];
    for k in 0..columns {
        for j in 0..rows {
            inverse[k * rows + j] = (0..rows).map(|i| f[i * columns + k] * table[i][rows + j]).sum();
        }
    }
    Some(inverse)
}
