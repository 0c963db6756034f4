//! Levels: peak, mean square, offset, clipping and numbers that are none, each found and named; one explicit gain.

use super::Sound;
use serde::{Deserialize, Serialize};

/// Samples at the rails in a row that count as clipped: one or two there may be honest peaks.
const RUN: usize = 3;

/// What stands out in a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Levels {
    /// Largest magnitude of all channels.
    pub peak: f32,
    /// Root of the mean square in decibels below full scale; minus infinity for silence.
    pub rms_db: f64,
    /// Mean of the channel whose mean is farthest from zero.
    pub offset: f32,
    /// Samples in runs of three or more at full scale.
    pub clipped: usize,
    /// Samples that are not finite.
    pub not_finite: usize,
}

impl Levels {
    /// Measures `sound`. Samples that are not finite enter `not_finite` alone.
    pub fn of(sound: &Sound) -> Self {
        let mut levels = Self { peak: 0.0, rms_db: f64::NEG_INFINITY, offset: 0.0, clipped: 0, not_finite: 0 };
        let (mut squares, mut count) = (0.0, 0usize);
        for channel in &sound.channels {
            let (mut sum, mut run, mut here) = (0.0, 0, 0usize);
            for &value in channel {
                if !value.is_finite() {
                    levels.not_finite += 1;
                    run = 0;
                    continue;
                }
                levels.peak = levels.peak.max(value.abs());
                sum += f64::from(value);
                squares += f64::from(value).powi(2);
                here += 1;
                // 16-bit full scale is 1 - 2^-15 above and -1 below.
                run = if value.abs() >= 1.0 - 2.0 / 32_768.0 { run + 1 } else { 0 };
                levels.clipped += match run {
                    RUN => RUN,
                    more if more > RUN => 1,
                    _ => 0,
                };
            }
            let mean = (sum / here.max(1) as f64) as f32;
            if mean.abs() > levels.offset.abs() {
                levels.offset = mean;
            }
            count += here;
        }
        levels.rms_db = 10.0 * (squares / count.max(1) as f64).log10();
        levels
    }

    /// What a listener would complain about, in words; empty for a clean recording.
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.not_finite > 0 {
            found.push(format!("{} samples are not numbers", self.not_finite));
        }
        if self.peak == 0.0 {
            found.push("silent".to_owned());
        }
        // Floats go beyond full scale whole; what is cut off there lies at it.
        if self.peak > 1.0 {
            found.push(format!("peak of {:.2}, louder than full scale", self.peak));
        } else if self.clipped > 0 {
            found.push(format!("{} samples clipped", self.clipped));
        }
        if self.offset.abs() > 0.01 {
            found.push(format!("offset of {:.3}", self.offset));
        }
        found
    }
}

/// Channel, frame and value of the first number that is none.
pub fn first_not_finite(sound: &Sound) -> Option<(usize, usize, f32)> {
    let of = |(c, channel): (usize, &Vec<f32>)| channel.iter().position(|v| !v.is_finite()).map(|i| (c, i, channel[i]));
    sound.channels.iter().enumerate().find_map(of)
}

/// To which level a recording is brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalise {
    /// Its largest magnitude becomes this.
    Peak {
        /// In (0, 1].
        peak: f32,
    },
    /// Its mean square becomes this.
    Rms {
        /// Decibels below full scale, negative.
        decibels: f64,
    },
    /// It stays.
    None {},
}

impl Normalise {
    /// What `sound` is to be multiplied by; 1 for silence.
    pub fn gain(self, sound: &Sound) -> f32 {
        let levels = Levels::of(sound);
        match self {
            _ if levels.peak == 0.0 => 1.0,
            Self::Peak { peak } => peak / levels.peak,
            Self::Rms { decibels } => 10f64.powf((decibels - levels.rms_db) / 20.0) as f32,
            Self::None {} => 1.0,
        }
    }
}

/// Takes each channel's mean away.
pub fn remove_offset(sound: &mut Sound) {
    for channel in &mut sound.channels {
        let mean = (channel.iter().map(|v| f64::from(*v)).sum::<f64>() / channel.len().max(1) as f64) as f32;
        channel.iter_mut().for_each(|v| *v -= mean);
    }
}

/// Multiplies every sample.
pub fn amplify(sound: &mut Sound, gain: f32) {
    sound.channels.iter_mut().flatten().for_each(|v| *v *= gain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out_is_found() {
        let mut samples: Vec<f32> =
            (0..1000).map(|i| 0.25 + 0.5 * (i as f32 * 0.1 * std::f32::consts::TAU).sin()).collect();
        let levels = Levels::of(&Sound::mono(8000, samples.clone()));
        assert!((levels.offset - 0.25).abs() < 1e-3 && levels.clipped == 0 && levels.not_finite == 0, "{levels:?}");
        // Mean square of an offset sine: 0.0625 + 0.125.
        assert!((levels.rms_db - 10.0 * 0.1875f64.log10()).abs() < 1e-2, "{levels:?}");
        samples[10..15].fill(-1.0);
        samples[40..42].fill(1.0);
        samples[70] = f32::NAN;
        let levels = Levels::of(&Sound::mono(8000, samples.clone()));
        assert_eq!((levels.clipped, levels.not_finite), (5, 1), "two at the rails are no clipping");
        let found = first_not_finite(&Sound::mono(8000, samples)).unwrap();
        assert_eq!((found.0, found.1), (0, 70));
        assert!(Levels::of(&Sound::mono(8000, vec![0.0; 9])).complaints().contains(&"silent".to_owned()));
        // Beyond full scale nothing is cut off. Mutant: the number of its samples called clipped.
        let loud = Levels::of(&Sound::mono(8000, vec![2.5; 9])).complaints();
        assert_eq!(loud, ["peak of 2.50, louder than full scale", "offset of 2.500"]);
    }

    #[test]
    fn gains_reach_their_level_and_leave_silence() {
        let sound = Sound::mono(8000, (0..800).map(|i| 0.1 * (i as f32 * 0.3).sin()).collect());
        for how in [Normalise::Peak { peak: 0.5 }, Normalise::Rms { decibels: -20.0 }] {
            let mut loud = sound.clone();
            amplify(&mut loud, how.gain(&sound));
            let levels = Levels::of(&loud);
            match how {
                Normalise::Peak { .. } => assert!((levels.peak - 0.5).abs() < 1e-6),
                _ => assert!((levels.rms_db + 20.0).abs() < 1e-4),
            }
        }
        assert_eq!(Normalise::Peak { peak: 0.5 }.gain(&Sound::mono(8000, vec![0.0; 4])), 1.0);
        let mut offset = Sound { rate: 1, channels: vec![vec![1.0, 2.0, 3.0], vec![5.0; 3]] };
        remove_offset(&mut offset);
        assert_eq!(offset.channels, [vec![-1.0, 0.0, 1.0], vec![0.0; 3]]);
    }
}
