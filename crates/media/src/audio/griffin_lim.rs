//! Phase from magnitudes: Griffin and Lim (1984), with the momentum of Perraudin, Balazs and Søndergaard (2013, alg. 2).

use super::stft::{Spectrum, Stft};
use crate::MediaError;
use realfft::num_complex::Complex;

/// How long to look for a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GriffinLim {
    /// Rounds.
    pub iterations: usize,
    /// Share of the last step that is taken again, in [0, 1); 0 is the method of 1984.
    pub momentum: f64,
}

impl Default for GriffinLim {
    fn default() -> Self {
        Self { iterations: 60, momentum: 0.99 }
    }
}

/// `samples` samples whose magnitudes are near `magnitude` `[frames bins]`. `start` is the angle of each cell at first; an
/// empty one stands for zeros.
///
/// # Errors
/// [`MediaError::Setting`] where `magnitude` or `start` is not of this transform and length.
pub fn griffin_lim(
    stft: &Stft,
    magnitude: &[f32],
    samples: usize,
    start: &[f32],
    how: &GriffinLim,
) -> Result<Vec<f32>, MediaError> {
    let (frames, bins) = (stft.frames(samples), stft.bins());
    if magnitude.len() != frames * bins || !(start.is_empty() || start.len() == magnitude.len()) {
        let what = format!("{} magnitudes and {} angles for {samples} samples", magnitude.len(), start.len());
        return Err(MediaError::setting(what, format!("{frames} frames of {bins} are needed")));
    }
    let angle = |i: usize| start.get(i).copied().unwrap_or(0.0);
    let mut phases: Vec<Complex<f64>> =
        (0..magnitude.len()).map(|i| Complex::from_polar(1.0, angle(i).into())).collect();
    let mut before = vec![Complex::default(); magnitude.len()];
    let together = |phases: &[Complex<f64>]| Spectrum {
        frames,
        bins,
        values: phases.iter().zip(magnitude).map(|(p, m)| p * f64::from(*m)).collect(),
    };
    let share = how.momentum / (1.0 + how.momentum);
    for _ in 0..how.iterations {
        let heard = stft.forward(&stft.inverse(&together(&phases), samples)?).values;
        for ((phase, now), old) in phases.iter_mut().zip(&heard).zip(&before) {
            let step = now - old * share;
            *phase = step / (step.norm() + f64::MIN_POSITIVE);
        }
        before = heard;
    }
    stft.inverse(&together(&phases), samples)
}

/// `| |STFT(x)| - magnitude | / |magnitude|` (Frobenius norms): how far `x` is from having these magnitudes.
pub fn spectral_convergence(stft: &Stft, x: &[f32], magnitude: &[f32]) -> f64 {
    let pairs = stft.forward(x).magnitude();
    let apart: f64 = pairs.iter().zip(magnitude).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let whole: f64 = magnitude.iter().map(|b| f64::from(*b).powi(2)).sum();
    (apart / whole.max(f64::MIN_POSITIVE)).sqrt()
}
