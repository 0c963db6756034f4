//! Separation by masking: the mixture's own spectrum, each cell scaled by a number in [0, 1], so its phase is kept.
//!
//! A waveform made from a mel picture alone has an invented phase, and measures that compare waveforms (SI-SDR) mean nothing
//! there however good the picture. Scaling the mixture to the picture's magnitudes keeps them meaningful.

use super::mel::{LogMel, Mel};
use super::stft::Spectrum;
use crate::MediaError;

/// `mixture` with each cell scaled to `magnitude` `[frames bins]`, by at most 1.
///
/// # Errors
/// [`MediaError::Setting`] where the two have different shapes.
pub fn to_magnitude(mixture: &Spectrum, magnitude: &[f32]) -> Result<Spectrum, MediaError> {
    check(mixture, magnitude.len())?;
    let scaled = |(v, m): (&_, &f32)| -> realfft::num_complex::Complex<f64> {
        let v: &realfft::num_complex::Complex<f64> = v;
        v * (f64::from(*m) / v.norm().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    };
    let values = mixture.values.iter().zip(magnitude).map(scaled).collect();
    Ok(Spectrum { values, ..*mixture })
}

/// The waveform of `mixture` (at the rate of `mel`) with each cell scaled by what `picture` tells of the target over what the
/// mixture's own picture tells, at most 1; as long as `mixture`.
///
/// FlowSep's specification divides by the mixture's spectrum itself. A picture's magnitudes are smooth over a band, so
/// that a pure tone would lose 8 dB to its own smoothed image; dividing like by like leaves it whole.
///
/// # Errors
/// As [`to_magnitude`]; a picture of other frames than the mixture's.
pub fn resynthesise(mel: &Mel, mixture: &[f32], picture: &LogMel) -> Result<Vec<f32>, MediaError> {
    let stft = mel.stft();
    let mut spectrum = stft.forward(mixture);
    let (wanted, heard) = (mel.magnitude(picture), mel.magnitude(&mel.log_mel_of(&spectrum)));
    check(&spectrum, wanted.len())?;
    for ((value, wanted), heard) in spectrum.values.iter_mut().zip(wanted).zip(heard) {
        *value *= (f64::from(wanted) / f64::from(heard).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
    }
    stft.inverse(&spectrum, mixture.len())
}

/// The oracle that masks with both references in hand: each cell scaled by `|target| / (|target| + |rest|)`.
///
/// # Errors
/// [`MediaError::Setting`] where the three have different shapes.
pub fn ideal_ratio(mixture: &Spectrum, target: &Spectrum, rest: &Spectrum) -> Result<Spectrum, MediaError> {
    check(mixture, target.values.len())?;
    check(mixture, rest.values.len())?;
    let references = target.values.iter().zip(&rest.values);
    let share = |(t, r): (&realfft::num_complex::Complex<f64>, &realfft::num_complex::Complex<f64>)| {
        t.norm() / (t.norm() + r.norm()).max(f64::MIN_POSITIVE)
    };
    let values = mixture.values.iter().zip(references.map(share)).map(|(v, m)| v * m).collect();
    Ok(Spectrum { values, ..*mixture })
}

fn check(mixture: &Spectrum, cells: usize) -> Result<(), MediaError> {
    if mixture.values.len() == cells {
        return Ok(());
    }
    let what = format!("a mask of {cells} cells for a spectrum of {} x {}", mixture.frames, mixture.bins);
    Err(MediaError::setting(what, "make both with the same transform and length"))
}
