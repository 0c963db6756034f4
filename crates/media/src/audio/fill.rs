//! A gap in a sound filled with what has given magnitudes: the phase is looked for as by Griffin and Lim (1984), with the momentum of
//! Perraudin, Balazs and Søndergaard (2013, alg. 2), and in every round what is known around the gap is put back, so that phases grow
//! into it from both sides.

use super::griffin_lim::GriffinLim;
use super::stft::{Spectrum, Stft};
use crate::MediaError;
use realfft::num_complex::Complex;
use std::ops::Range;

/// `sound` with the samples in `gap` replaced; all others are returned as they are, and what stood in the gap is not looked at.
/// `magnitude` `[frames bins]` is read in the frames that see the gap ([`Stft::seeing`]).
///
/// # Errors
/// [`MediaError::Setting`] where `magnitude` is not of this transform and length, or the gap leaves the sound.
pub fn fill(
    stft: &Stft,
    sound: &[f32],
    gap: &Range<usize>,
    magnitude: &[f32],
    how: &GriffinLim,
) -> Result<Vec<f32>, MediaError> {
    let (frames, bins) = (stft.frames(sound.len()), stft.bins());
    if magnitude.len() != frames * bins {
        let what = format!("{} magnitudes for {} samples", magnitude.len(), sound.len());
        return Err(MediaError::setting(what, format!("{frames} frames of {bins} are needed")));
    }
    if gap.start >= gap.end || gap.end > sound.len() {
        let what = format!("a gap from sample {} to {} of {}", gap.start, gap.end, sound.len());
        return Err(MediaError::setting(what, "it must lie inside and have a sample"));
    }
    let seeing = stft.seeing(gap, sound.len());
    let cells = seeing.start * bins..seeing.end * bins;
    let mut filled = sound.to_vec();
    filled[gap.clone()].fill(0.0);
    let share = how.momentum / (1.0 + how.momentum);
    let mut before = vec![Complex::default(); cells.len()];
    for _ in 0..how.iterations {
        let mut values = stft.forward(&filled).values;
        for ((value, old), size) in values[cells.clone()].iter_mut().zip(&mut before).zip(&magnitude[cells.clone()]) {
            let step = *value - *old * share;
            *old = *value;
            *value = step / (step.norm() + f64::MIN_POSITIVE) * f64::from(*size);
        }
        let made = stft.inverse(&Spectrum { frames, bins, values }, sound.len())?;
        filled[gap.clone()].copy_from_slice(&made[gap.clone()]);
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A steady tone with the magnitudes of the whole: outside the gap nothing moves, to the bit, and in it the tone goes on through both
    /// seams.
    ///
    /// Mutants, named and not run: known samples not put back (the tone drifts); magnitudes of all frames read (a wrong one far away is heard); the
    /// gap's own samples looked at.
    #[test]
    fn a_tone_goes_on_through_a_gap() {
        let stft = Stft::new(256, 64).unwrap();
        let tone: Vec<f32> = (0..4096).map(|i| 0.4 * (0.31 * i as f32).sin()).collect();
        let gap = 2000..2160;
        let mut magnitude = stft.forward(&tone).magnitude();
        magnitude[..10 * stft.bins()].fill(9.0);
        let mut torn = tone.clone();
        torn[gap.clone()].fill(f32::MAX);
        let filled = fill(&stft, &torn, &gap, &magnitude, &GriffinLim::default()).unwrap();
        for (i, (a, b)) in filled.iter().zip(&tone).enumerate() {
            let most = if gap.contains(&i) { 0.08 } else { 0.0 };
            assert!((a - b).abs() <= most, "{i}: {a} is not {b}");
        }
        assert_eq!(stft.seeing(&gap, 4096), 30..36);
        let told = |gap: Range<usize>| fill(&stft, &tone, &gap, &magnitude, &GriffinLim::default());
        assert!(told(4000..4097).is_err() && told(5..5).is_err());
        assert!(fill(&stft, &tone, &gap, &magnitude[1..], &GriffinLim::default()).is_err());
    }
}
