//! The short-time Fourier transform and its inverse, as `librosa` defines them: a periodic Hann window, frames centred on
//! multiples of the hop, the ends reflected (Allen and Rabiner, Proceedings of the IEEE 65(11), 1977).
//!
//! Transforms run in `f64`: the logarithm of a quiet band would otherwise show the rounding of its loud neighbours.

use crate::MediaError;
use realfft::{RealFftPlanner, num_complex::Complex};
use std::ops::Range;

/// Window and hop of a transform, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stft {
    window: usize,
    hop: usize,
}

/// A complex spectrum `[frames bins]`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Number of frames.
    pub frames: usize,
    /// Frequencies of each frame: half the window and one.
    pub bins: usize,
    /// `[frames bins]`.
    pub values: Vec<Complex<f64>>,
}

impl Spectrum {
    /// Magnitudes, `[frames bins]`.
    pub fn magnitude(&self) -> Vec<f32> {
        self.values.iter().map(|v| v.norm() as f32).collect()
    }
}

impl Stft {
    /// Windows of `window` samples (even), one every `hop`.
    ///
    /// # Errors
    /// [`MediaError::Setting`] for sizes from which a signal could not be had back.
    pub fn new(window: usize, hop: usize) -> Result<Self, MediaError> {
        if window < 4 || window % 2 == 1 || window > 1 << 20 || hop == 0 || hop > window / 2 {
            let what = format!("a transform with window {window} and hop {hop}");
            return Err(MediaError::setting(what, "use an even window and a hop of at most half of it"));
        }
        Ok(Self { window, hop })
    }

    /// Samples of a window.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Samples from one frame to the next.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Frequencies of a frame.
    pub fn bins(&self) -> usize {
        self.window / 2 + 1
    }

    /// Frames of `samples` samples.
    pub fn frames(&self, samples: usize) -> usize {
        if samples == 0 { 0 } else { 1 + samples / self.hop }
    }

    /// The frames of a signal of `samples` samples whose windows see any of `range`.
    pub fn seeing(&self, range: &Range<usize>, samples: usize) -> Range<usize> {
        let half = self.window / 2;
        let sees = |f: &usize| f * self.hop + half > range.start && f * self.hop < range.end + half;
        let all = 0..self.frames(samples);
        let first = all.clone().find(sees).unwrap_or(all.end);
        first..all.clone().rev().find(sees).map_or(first, |last| last + 1)
    }

    /// The spectrum of `samples`.
    pub fn forward(&self, samples: &[f32]) -> Spectrum {
        let (frames, bins) = (self.frames(samples.len()), self.bins());
        let transform = RealFftPlanner::<f64>::new().plan_fft_forward(self.window);
        let (mut frame, mut scratch) = (transform.make_input_vec(), transform.make_scratch_vec());
        let window = hann(self.window);
        let mut values = vec![Complex::default(); frames * bins];
        for (f, row) in values.chunks_exact_mut(bins).enumerate() {
            for (i, (value, weight)) in frame.iter_mut().zip(&window).enumerate() {
                let at = (f * self.hop + i) as isize - (self.window / 2) as isize;
                *value = weight * f64::from(samples[reflected(at, samples.len())]);
            }
            // Sizes are those of the plan, which is the only thing it can refuse.
            let done = transform.process_with_scratch(&mut frame, row, &mut scratch);
            debug_assert!(done.is_ok());
        }
        Spectrum { frames, bins, values }
    }

    /// The signal of `samples` samples whose spectrum is nearest to `spectrum` in least squares (Griffin and Lim, 1984,
    /// eq. 6): windowed frames added up and divided by the sum of the squared windows.
    ///
    /// # Errors
    /// [`MediaError::Setting`] where `spectrum` is not of this transform and length.
    pub fn inverse(&self, spectrum: &Spectrum, samples: usize) -> Result<Vec<f32>, MediaError> {
        let (frames, bins) = (self.frames(samples), self.bins());
        if (spectrum.frames, spectrum.bins) != (frames, bins) || spectrum.values.len() != frames * bins {
            let what = format!("a spectrum of {} x {} for {samples} samples", spectrum.frames, spectrum.bins);
            return Err(MediaError::setting(what, format!("{frames} frames of {bins} are needed")));
        }
        let transform = RealFftPlanner::<f64>::new().plan_fft_inverse(self.window);
        let (mut row, mut frame) = (transform.make_input_vec(), transform.make_output_vec());
        let mut scratch = transform.make_scratch_vec();
        let window = hann(self.window);
        let padded = (frames.max(1) - 1) * self.hop + self.window;
        let (mut sum, mut weights) = (vec![0.0f64; padded], vec![0.0f64; padded]);
        for (f, values) in spectrum.values.chunks_exact(bins).enumerate() {
            row.copy_from_slice(values);
            row[0].im = 0.0; // a real signal has none there, and the transform insists
            row[bins - 1].im = 0.0;
            let done = transform.process_with_scratch(&mut row, &mut frame, &mut scratch);
            debug_assert!(done.is_ok());
            for i in 0..self.window {
                sum[f * self.hop + i] += window[i] * frame[i] / self.window as f64;
                weights[f * self.hop + i] += window[i] * window[i];
            }
        }
        let middle = self.window / 2..self.window / 2 + samples;
        let value = |i: usize| if weights[i] > 1e-11 { (sum[i] / weights[i]) as f32 } else { 0.0 };
        Ok(middle.map(|i| if i < padded { value(i) } else { 0.0 }).collect())
    }
}

/// The periodic Hann window.
pub fn hann(length: usize) -> Vec<f64> {
    (0..length).map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / length as f64).cos()).collect()
}

/// Where index `at` falls in a signal of `length` samples that is mirrored at its ends, again and again.
fn reflected(at: isize, length: usize) -> usize {
    if length < 2 {
        return 0;
    }
    let period = 2 * (length as isize - 1);
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chirp(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.05 + (i * i) as f32 * 1e-5).sin()).collect()
    }

    /// Mutants: a symmetric window, no division by the squared windows, ends padded with zeros (the first samples are lost).
    #[test]
    fn a_signal_comes_back() {
        for (window, hop, n) in [(64, 16, 1000), (64, 32, 37), (128, 40, 999), (64, 16, 1)] {
            let stft = Stft::new(window, hop).unwrap();
            let x = chirp(n);
            let back = stft.inverse(&stft.forward(&x), n).unwrap();
            // At half the window the last samples of a signal may fall where no window reaches.
            let covered = (stft.frames(n) - 1) * hop + window / 2;
            let worst = x.iter().zip(&back).take(covered).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{window} {hop} {n}: {worst}");
        }
    }

    /// Parseval: of a frame far from the ends, energy in time and frequency agree.
    #[test]
    fn energy_is_kept() {
        let (window, x) = (256, chirp(4096));
        let stft = Stft::new(window, 64).unwrap();
        let spectrum = stft.forward(&x);
        let f = 20;
        let row = &spectrum.values[f * spectrum.bins..(f + 1) * spectrum.bins];
        let twice = |k: usize| if k == 0 || k == window / 2 { 1.0 } else { 2.0 };
        let heard: f64 = row.iter().enumerate().map(|(k, v)| twice(k) * v.norm_sqr()).sum::<f64>() / window as f64;
        let start = f * 64 - window / 2;
        let told: f64 = hann(window).iter().zip(&x[start..]).map(|(w, x)| (w * f64::from(*x)).powi(2)).sum();
        assert!((heard / told - 1.0).abs() < 1e-9, "{heard} {told}");
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(Stft::new(63, 16).is_err() && Stft::new(64, 0).is_err() && Stft::new(64, 33).is_err());
        let stft = Stft::new(64, 16).unwrap();
        let spectrum = stft.forward(&chirp(100));
        assert!(stft.inverse(&spectrum, 200).is_err());
        assert_eq!(stft.forward(&[]).frames, 0);
        assert!(stft.inverse(&stft.forward(&[]), 0).unwrap().is_empty());
    }
}
