//! Spectra and mel pictures as tensor operations, so that a loss on them reaches the waveform (what vocoders are trained by).
//!
//! A frame is a row of the waveform's samples, picked by index; its spectrum is two products with the windowed cosines and
//! sines of the transform. The same picture as `media::audio::Mel` makes, up to `f32`.

use crate::NetsError;
use base::{Device, Int, Tensor, TensorData};
use std::f64::consts::TAU;

/// A differentiable short-time spectrum.
#[derive(Clone, Debug)]
pub struct SpectrumTransform {
    cosines: Tensor<2>,
    sines: Tensor<2>,
    window: usize,
    hop: usize,
}

impl SpectrumTransform {
    /// Frames of `window` samples under a Hann window every `hop`, centred and mirrored at the ends.
    ///
    /// # Errors
    /// An odd or empty window, a hop of zero.
    pub fn new(window: usize, hop: usize, device: &Device) -> Result<Self, NetsError> {
        let bins = window / 2 + 1;
        if window < 2 || window % 2 == 1 || hop == 0 {
            return Err(NetsError::config(format!(
                "a spectrum with window {window} and hop {hop}: use an even window and a hop above 0"
            )));
        }
        let hann = |i: usize| 0.5 - 0.5 * (TAU * i as f64 / window as f64).cos();
        let matrix = |wave: fn(f64) -> f64| {
            let value = |at: usize| {
                let (i, k) = (at / bins, at % bins);
                // The product is reduced first: an angle of a million would lose its digits.
                (hann(i) * wave(TAU * (i * k % window) as f64 / window as f64)) as f32
            };
            Tensor::from_data(TensorData::new((0..window * bins).map(value).collect(), [window, bins]), device)
        };
        Ok(Self { cosines: matrix(f64::cos), sines: matrix(f64::sin), window, hop })
    }

    /// Waveforms `[b samples]` (more than half a window) to magnitudes `[b frames bins]`.
    pub fn forward(&self, waves: Tensor<2>) -> Tensor<3> {
        let [b, samples] = waves.dims();
        let (frames, bins) = (1 + samples / self.hop, self.window / 2 + 1);
        let at = |place: usize| {
            let at = ((place / self.window) * self.hop + place % self.window) as i64 - (self.window / 2) as i64;
            let period = 2 * (samples as i64 - 1).max(1);
            let at = at.rem_euclid(period);
            at.min(period - at).min(samples as i64 - 1)
        };
        let places: Vec<i64> = (0..frames * self.window).map(at).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [frames * self.window]), &waves.device());
        let rows = waves.select(1, places).reshape([b * frames, self.window]); // [b*frames window]
        let real = rows.clone().matmul(self.cosines.clone());
        let imaginary = rows.matmul(self.sines.clone());
        // The root has no slope at zero; what is added lies far below any floor.
        (real.powi_scalar(2) + imaginary.powi_scalar(2) + 1e-16).sqrt().reshape([b, frames, bins])
    }
}

/// A differentiable log-mel transform.
#[derive(Clone, Debug)]
pub struct MelTransform {
    spectrum: SpectrumTransform,
    filters: Tensor<2>,
    floor: f64,
}

impl MelTransform {
    /// Frames of `window` samples every `hop`, centred and mirrored at the ends; `filters` `[bands window/2+1]` row by row.
    ///
    /// # Errors
    /// An odd or empty window, a hop of zero, filters that are no whole number of bands, a floor that is not above zero.
    pub fn new(window: usize, hop: usize, filters: &[f32], floor: f64, device: &Device) -> Result<Self, NetsError> {
        let bins = window / 2 + 1;
        let spectrum = SpectrumTransform::new(window, hop, device)?;
        if filters.is_empty() || !filters.len().is_multiple_of(bins) {
            return Err(NetsError::config(format!(
                "a mel transform with window {window} and {} filter values: use {bins} values to a band",
                filters.len()
            )));
        }
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(NetsError::config(format!("a mel transform with floor {floor}: use one above 0")));
        }
        let filters = Tensor::<2>::from_data(TensorData::new(filters.to_vec(), [filters.len() / bins, bins]), device);
        Ok(Self { spectrum, filters: filters.transpose(), floor })
    }

    /// Waveforms `[b samples]` (more than half a window) to log-mel pictures `[b frames bands]`.
    pub fn forward(&self, waves: Tensor<2>) -> Tensor<3> {
        let magnitude = self.spectrum.forward(waves);
        let ([b, frames, bins], bands) = (magnitude.dims(), self.filters.dims()[1]);
        let mel = magnitude.reshape([b * frames, bins]).matmul(self.filters.clone());
        mel.clamp_min(self.floor).log().reshape([b, frames, bands])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::TensorSource;
    use base::{Key, Purpose};
    use safetensors::SafeTensors;

    fn golden(name: &str) -> Vec<f32> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/librosa/golden.safetensors");
        let bytes = std::fs::read(path).unwrap();
        SafeTensors::deserialize(&bytes).unwrap().read(name).unwrap()
    }

    fn row(values: &[f32], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), device)
    }

    #[test]
    fn pictures_are_librosas() {
        let device = Device::flex();
        let transform = MelTransform::new(512, 128, &golden("filters"), 1e-5, &device).unwrap();
        let picture = transform.forward(row(&golden("wave"), &device));
        assert_eq!(picture.dims(), [1, 24, 40]);
        let got: Vec<f32> = picture.into_data().try_to_vec().unwrap();
        let worst = got.iter().zip(golden("mel.log")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{worst}");
        assert!(MelTransform::new(511, 128, &[0.0; 257], 1e-5, &device).is_err());
        assert!(MelTransform::new(512, 128, &[0.0; 256], 1e-5, &device).is_err());
    }

    /// The slope of the mean of a picture along a direction, against its difference quotient.
    #[test]
    fn gradients_reach_the_waveform() {
        let device = Device::flex().autodiff();
        let transform =
            MelTransform::new(64, 16, &(0..5 * 33).map(|i| (i % 7) as f32 * 0.1).collect::<Vec<_>>(), 1e-5, &device);
        let transform = transform.unwrap();
        // Noise, so that no bin is near zero: a magnitude has a kink there, and a difference quotient would straddle it.
        let wave: Vec<f32> = Key::new(1, Purpose::Probe).normals(0, 200).collect();
        let direction: Vec<f32> = (0..200).map(|i| (i as f32 * 0.11).cos()).collect();
        let mean = |wave: Tensor<2>| transform.forward(wave).mean();
        let leaf = row(&wave, &device).require_grad();
        let gradient: Vec<f32> = leaf.grad(&mean(leaf.clone()).backward()).unwrap().into_data().try_to_vec().unwrap();
        let slope: f32 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let at = |h: f32| -> f32 {
            let moved: Vec<f32> = wave.iter().zip(&direction).map(|(w, d)| w + h * d).collect();
            mean(row(&moved, &device)).into_scalar()
        };
        let quotient = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert!((slope - quotient).abs() < 0.01 * quotient.abs(), "{slope} {quotient}");
    }
}
