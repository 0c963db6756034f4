//! Means and deviations of a codec's latents, one of each to a channel: flows start from standard normal noise and learn best
//! between that and data of the same width (the scaling factor of latent diffusion, Rombach et al., 2022, app. G, per channel).

use crate::Error;
use base::{Shape, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Of each channel, the first axis of a latent's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, above 0.
    pub deviation: Vec<f32>,
    /// Numbers of a channel in one latent.
    pub each: usize,
}

impl Moments {
    /// Those that change nothing.
    pub fn none(latent: Shape) -> Self {
        let channels = latent.lengths()[0];
        Self { mean: vec![0.0; channels], deviation: vec![1.0; channels], each: latent.numel() / channels }
    }

    /// Of these latents, rows of `latent`.
    pub fn of(rows: &[f32], latent: Shape) -> Self {
        let mut found = Self::none(latent);
        let size = latent.numel();
        for channel in 0..found.mean.len() {
            let place = channel * found.each..(channel + 1) * found.each;
            let values = || rows.chunks_exact(size).flat_map(|row| &row[place.clone()]).map(|v| f64::from(*v));
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
        let row: Vec<f32> = values.iter().flat_map(|value| std::iter::repeat_n(*value, self.each)).collect();
        let length = row.len();
        Tensor::from_data(TensorData::new(row, [1, length]), &like.device())
    }

    /// Latents to mean 0 and deviation 1.
    pub fn whiten(&self, rows: Tensor<2>) -> Tensor<2> {
        let (mean, deviation) = (self.row(&self.mean, &rows), self.row(&self.deviation, &rows));
        (rows - mean) / deviation
    }

    /// Back from there.
    pub fn colour(&self, rows: Tensor<2>) -> Tensor<2> {
        let (mean, deviation) = (self.row(&self.mean, &rows), self.row(&self.deviation, &rows));
        rows * deviation + mean
    }

    /// Where a run keeps them.
    pub(crate) fn place(run: &Path) -> PathBuf {
        run.join("codec.json")
    }

    /// Refuses moments of other latents.
    pub(crate) fn check(&self, latent: Shape) -> Result<(), Error> {
        let channels = latent.lengths()[0];
        let fits = self.mean.len() == channels && self.deviation.len() == channels;
        let sound =
            self.mean.iter().chain(&self.deviation).all(|v| v.is_finite()) && self.deviation.iter().all(|d| *d > 0.0);
        match fits && sound && self.each * channels == latent.numel() {
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
        let found = Moments::of(&rows, latent);
        assert!(found.check(latent).is_ok() && found.check([3, 1, 3].into()).is_err());
        let tensor = Tensor::<2>::from_data(TensorData::new(rows.clone(), [10, 6]), &base::Device::flex());
        let white = found.whiten(tensor);
        let values: Vec<f32> = white.to_data().iter::<f32>().collect();
        let again = Moments::of(&values, latent);
        for (mean, deviation) in again.mean.iter().zip(&again.deviation) {
            assert!(mean.abs() < 1e-5 && (deviation - 1.0).abs() < 1e-5, "{again:?}");
        }
        let back: Vec<f32> = found.colour(white).into_data().iter::<f32>().collect();
        assert!(back.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
