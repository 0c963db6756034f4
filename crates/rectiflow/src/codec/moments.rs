//! Means and deviations of a codec's latents, one of each to a channel: flows start from standard normal noise and learn best
//! between that and data of the same width (the scaling factor of latent diffusion, Rombach et al., 2022, app. G, per channel).

use super::Whitening;
use crate::Error;
use base::{Shape, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Of each channel: the first axis of a picture's latent `[c h w]`, the second of planes `[3 c h w]`, the last of a set's `[n d]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, above 0.
    pub deviation: Vec<f32>,
    /// Numbers of a channel that stand one after another.
    pub each: usize,
    /// What also takes the channels' correlations away, and brings them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
    /// Where the surface of a latent's shape lies in its field, found by measurement; 0 where the field itself says it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks by reference
fn is_zero(offset: &f64) -> bool {
    *offset == 0.0
}

/// Symmetric maps of the channels, `[c c]`, row by row (TriFlow, arXiv:2501.00651).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixing {
    /// To uncorrelated channels of deviation 1.
    pub forward: Vec<f32>,
    /// Back from there.
    pub back: Vec<f32>,
    /// The largest variance of the channels' covariance over the smallest, before both were raised; none where a direction never
    /// varies, and of codecs of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<f64>,
}

/// Variances are raised by this share of their mean, so that channels which hardly vary are not blown up.
const RIDGE: f64 = 1e-4;

impl Moments {
    /// Those that change nothing.
    pub fn none(latent: Shape) -> Self {
        let (channels, each) = match latent.lengths() {
            [_, d] => (*d, 1),
            // All planes share the channels.
            [_, c, h, w] => (*c, h * w),
            lengths => (lengths[0], latent.numel() / lengths[0]),
        };
        Self { mean: vec![0.0; channels], deviation: vec![1.0; channels], each, mixing: None, offset: 0.0 }
    }

    /// What tells latents under these from the same ones whitened in another way; nothing where they are whitened by channel.
    pub fn mark(&self) -> &'static str {
        let plain = self.mean.iter().all(|v| *v == 0.0) && self.deviation.iter().all(|v| *v == 1.0);
        match (&self.mixing, plain) {
            (Some(_), _) => "-zca",
            (None, true) => "-raw",
            (None, false) => "",
        }
    }

    /// Of these latents, rows of `latent`.
    ///
    /// # Errors
    /// A covariance that cannot be taken apart.
    pub fn of(rows: &[f32], latent: Shape, whitening: Whitening) -> Result<Self, Error> {
        match whitening {
            Whitening::None => Ok(Self::none(latent)),
            Whitening::Channels => Ok(Self::of_channels(rows, latent)),
            Whitening::Zca => {
                let found = Self::of_channels(rows, latent);
                let (channels, each) = (found.mean.len(), found.each);
                // A row for each place of each latent.
                let vector = |block: &[f32], at: usize| (0..channels).map(|c| block[c * each + at]).collect::<Vec<_>>();
                let blocks = rows.chunks_exact(channels * each);
                let vectors: Vec<f32> =
                    blocks.flat_map(|block| (0..each).flat_map(move |at| vector(block, at))).collect();
                let count = vectors.len() / channels;
                let gaussian = metrics::Gaussian::of(&metrics::Matrix::new(vectors, count, channels)?)?;
                let map = metrics::statistics::whitening::Whitening::of(&gaussian, RIDGE)?;
                let single = |map: Vec<f64>| map.into_iter().map(|v| v as f32).collect();
                let (condition, forward, back) = (map.condition, single(map.forward), single(map.back));
                let mixing = Some(Mixing { forward, back, condition });
                Ok(Self { deviation: vec![1.0; channels], mixing, ..found })
            }
        }
    }

    /// The condition of the channels' covariance, where it was taken apart.
    pub fn condition(&self) -> Option<f64> {
        self.mixing.as_ref().and_then(|mixing| mixing.condition)
    }

    fn of_channels(rows: &[f32], latent: Shape) -> Self {
        let mut found = Self::none(latent);
        let size = latent.numel();
        let (each, channels) = (found.each, found.mean.len());
        for channel in 0..channels {
            let own = |i: &usize| i / each % channels == channel;
            let places: Vec<usize> = (0..size).filter(own).collect();
            let values = || rows.chunks_exact(size).flat_map(|row| places.iter().map(|i| f64::from(row[*i])));
            let count = values().count().max(1) as f64;
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            // A channel that says nothing stays as it is.
            let deviation = if variance > 1e-12 { variance.sqrt() } else { 1.0 };
            (found.mean[channel], found.deviation[channel]) = (mean as f32, deviation as f32);
        }
        found
    }

    fn row(&self, values: &[f32], like: &Tensor<2>) -> Tensor<2> {
        let length = like.dims()[1];
        let row: Vec<f32> = (0..length).map(|i| values[i / self.each % values.len()]).collect();
        Tensor::from_data(TensorData::new(row, [1, length]), &like.device())
    }

    /// Latents to mean 0 and deviation 1.
    pub fn whiten(&self, rows: Tensor<2>) -> Tensor<2> {
        let (mean, deviation) = (self.row(&self.mean, &rows), self.row(&self.deviation, &rows));
        let even = (rows - mean) / deviation;
        match &self.mixing {
            Some(mixing) => self.mixed(even, &mixing.forward),
            None => even,
        }
    }

    /// `map` applied to the channels at each place.
    fn mixed(&self, rows: Tensor<2>, map: &[f32]) -> Tensor<2> {
        let ([b, n], channels) = (rows.dims(), self.mean.len());
        let map = Tensor::<2>::from_data(TensorData::new(map.to_vec(), [channels, channels]), &rows.device());
        let blocks = b * n / (channels * self.each);
        let places = rows.reshape([blocks, channels, self.each]).swap_dims(1, 2);
        let mixed = places.reshape([blocks * self.each, channels]).matmul(map); // symmetric: either side will do
        mixed.reshape([blocks, self.each, channels]).swap_dims(1, 2).reshape([b, n])
    }

    /// Back from there.
    pub fn colour(&self, rows: Tensor<2>) -> Tensor<2> {
        let mean = self.row(&self.mean, &rows);
        self.stretch(rows) + mean
    }

    /// What becomes of a difference of two latents on the way back.
    pub fn stretch(&self, rows: Tensor<2>) -> Tensor<2> {
        let deviation = self.row(&self.deviation, &rows);
        let even = match &self.mixing {
            Some(mixing) => self.mixed(rows, &mixing.back),
            None => rows,
        };
        even * deviation
    }

    /// Mean of the channels' variances on that way, of differences with variance 1: trace(Sigma) / C.
    pub fn mean_variance(&self) -> f64 {
        let channels = self.mean.len();
        let square = |v: f32| f64::from(v).powi(2);
        let sum: f64 = match &self.mixing {
            Some(mixing) => {
                mixing.back.iter().enumerate().map(|(i, v)| square(*v) * square(self.deviation[i % channels])).sum()
            }
            None => self.deviation.iter().map(|d| square(*d)).sum(),
        };
        sum / channels as f64
    }

    /// Where a run keeps them.
    pub(crate) fn place(run: &Path) -> PathBuf {
        run.join("codec.json")
    }

    /// Refuses moments of other latents.
    pub(crate) fn check(&self, latent: Shape) -> Result<(), Error> {
        let none = Self::none(latent);
        let fits = self.mean.len() == none.mean.len() && self.deviation.len() == none.mean.len();
        let sound =
            self.mean.iter().chain(&self.deviation).all(|v| v.is_finite()) && self.deviation.iter().all(|d| *d > 0.0);
        let square = none.mean.len().pow(2);
        let mixes = self.mixing.as_ref().is_none_or(|mixing| {
            let all = mixing.forward.iter().chain(&mixing.back);
            mixing.forward.len() == square && mixing.back.len() == square && all.into_iter().all(|v| v.is_finite())
        });
        match fits && sound && mixes && self.offset.is_finite() && self.each == none.each {
            true => Ok(()),
            false => Err(Error::Failure(format!(
                "codec.json says nothing sound of latents of shape {latent}; run `rectiflow codec … --resume latest` again"
            ))),
        }
    }

    /// From a run's file.
    pub(crate) fn read(file: &Path) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::Failure(format!(
                "{}: {error}; it is written when the codec's training ends: continue it with `rectiflow codec … --resume latest`",
                file.display()
            ))
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
        serde_json::from_str(&text).map_err(|error| wrong(&error))
    }

    /// As the run keeps them.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers are always JSON") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: one moment for all channels; the deviation multiplied on both ways.
    #[test]
    fn whitened_latents_have_mean_0_and_deviation_1_and_come_back() {
        let latent = Shape::from([2, 1, 3]);
        let rows: Vec<f32> =
            (0..60).map(|i| if i % 6 < 3 { 5.0 + (i as f32).sin() } else { 0.1 * (i as f32).cos() }).collect();
        let found = Moments::of(&rows, latent, Whitening::Channels).unwrap();
        assert!(found.check(latent).is_ok() && found.check([3, 1, 3].into()).is_err());
        let tensor = Tensor::<2>::from_data(TensorData::new(rows.clone(), [10, 6]), &base::Device::flex());
        let white = found.whiten(tensor);
        let values: Vec<f32> = white.to_data().iter::<f32>().collect();
        let again = Moments::of(&values, latent, Whitening::Channels).unwrap();
        for (mean, deviation) in again.mean.iter().zip(&again.deviation) {
            assert!(mean.abs() < 1e-5 && (deviation - 1.0).abs() < 1e-5, "{again:?}");
        }
        // Kept latents of one codec whitened in three ways are three files.
        let marks = [Whitening::None, Whitening::Channels, Whitening::Zca]
            .map(|how| Moments::of(&rows, latent, how).unwrap().mark());
        assert_eq!(marks, ["-raw", "", "-zca"]);
        let back: Vec<f32> = found.colour(white).into_data().iter::<f32>().collect();
        assert!(back.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-5));
        // Of a set the channels stand last: three tokens of two numbers. Mutant: the first axis for both.
        let tokens: Vec<f32> = (0..60).map(|i| if i % 2 == 0 { 5.0 + (i as f32).sin() } else { 0.1 }).collect();
        let found = Moments::of(&tokens, [3, 2].into(), Whitening::Channels).unwrap();
        assert!((found.mean[0] - 5.0).abs() < 0.2 && (found.mean[1] - 0.1).abs() < 1e-6, "{found:?}");
        let tensor = Tensor::<2>::from_data(TensorData::new(tokens.clone(), [10, 6]), &base::Device::flex());
        let back: Vec<f32> = found.colour(found.whiten(tensor)).into_data().iter::<f32>().collect();
        assert!(back.iter().zip(&tokens).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// Channels of pictures, of sets and of planes, mixed: uncorrelated afterwards, and back. Mutants: the two maps exchanged; a
    /// picture's channels taken from its last axis; planes' from their first.
    #[test]
    fn mixed_channels_come_apart_and_back() {
        for latent in [Shape::from([2, 1, 3]), Shape::from([3, 2]), Shape::from([3, 2, 1, 2])] {
            // Numbers of a channel that stand one after another.
            let each = match latent.lengths().len() {
                2 => 1,
                3 => 3,
                _ => 2,
            };
            let place = |i: usize| (i / (2 * each) * each + i % each, i / each % 2);
            let rows: Vec<f32> = (0..1200)
                .map(|i| {
                    let (at, channel) = place(i);
                    let (a, b) = ((at as f32 * 0.7391).sin(), (at as f32 * 1.9173).sin());
                    if channel == 0 { 10.0 * a + b } else { 10.0 * a - b + 3.0 }
                })
                .collect();
            let found = Moments::of(&rows, latent, Whitening::Zca).unwrap();
            assert!(found.check(latent).is_ok());
            let tensor = Tensor::<2>::from_data(
                TensorData::new(rows.clone(), [1200 / latent.numel(), latent.numel()]),
                &base::Device::flex(),
            );
            let white = found.whiten(tensor);
            let values: Vec<f32> = white.to_data().iter::<f32>().collect();
            let mut sums = [0.0f64; 3];
            for at in 0..600 {
                let value = |channel: usize| {
                    (0..1200).find(|i| place(*i) == (at, channel)).map_or(0.0, |i| f64::from(values[i]))
                };
                let (x, y) = (value(0), value(1));
                sums = [sums[0] + x * x / 600.0, sums[1] + y * y / 600.0, sums[2] + x * y / 600.0];
            }
            assert!((sums[0] - 1.0).abs() < 2e-2 && (sums[1] - 1.0).abs() < 2e-2 && sums[2].abs() < 2e-2, "{sums:?}");
            let back: Vec<f32> = found.colour(white).into_data().iter::<f32>().collect();
            assert!(back.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
}
