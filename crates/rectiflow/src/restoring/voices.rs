//! How a model hears each channel of a recording that something is missing of, and how what it fills in is put back.

use super::{Gap, Window, recordings::Recording};
use crate::{
    Error,
    sound::{self, Analysis},
};
use media::audio::{self, Normalise, Sound};
use std::ops::Range;

/// Samples at the model's rate beyond the gap that a resampler may have smeared what was lost over.
const SMEARED: usize = 64;

/// How the known samples of a recording are brought to the level of what models learn from ([`sound::prepare`]).
struct Level {
    /// Mean of each channel.
    offsets: Vec<f32>,
    /// What all channels are multiplied by then.
    gain: f32,
}

/// One channel of one of them around its gap, at the model's rate and level.
pub(crate) struct Voice {
    /// Whose it is.
    pub recording: usize,
    /// Which.
    pub channel: usize,
    /// What was taken away from it.
    offset: f32,
    /// What it was multiplied by then.
    gain: f32,
    /// The whole channel.
    whole: Vec<f32>,
    /// Where the gap of its window begins in it.
    at: usize,
    /// What the model hears, silent in the gap.
    pub torn: Vec<f32>,
    /// The same of the original.
    pub original: Option<Vec<f32>>,
}

impl Level {
    /// By what is known of `recording`.
    fn of(recording: &Recording) -> Self {
        let known = |channel: &Vec<f32>| [&channel[..recording.gap.start], &channel[recording.gap.end..]].concat();
        let mut sound =
            Sound { rate: recording.torn.rate, channels: recording.torn.channels.iter().map(known).collect() };
        let mean = |channel: &Vec<f32>| {
            (channel.iter().map(|v| f64::from(*v)).sum::<f64>() / channel.len().max(1) as f64) as f32
        };
        let offsets: Vec<f32> = sound.channels.iter().map(mean).collect();
        audio::level::remove_offset(&mut sound);
        let gain = Normalise::Peak { peak: sound::PEAK }.gain(&sound);
        // What is so quiet that no number brings it there is silence.
        Self { offsets, gain: if gain.is_finite() { gain } else { 1.0 } }
    }

    /// `sound`, silent in `lost`.
    fn bring(&self, sound: &Sound, lost: Option<&Range<usize>>) -> Sound {
        let mut sound = sound.clone();
        for (channel, offset) in sound.channels.iter_mut().zip(&self.offsets) {
            channel.iter_mut().for_each(|v| *v = (*v - offset) * self.gain);
            lost.into_iter().for_each(|lost| channel[lost.clone()].fill(0.0));
        }
        sound
    }
}

/// How many samples at the model's `rate` gaps of `recordings` take, those that a resampler smears included.
fn span(recordings: &[Recording], gap: &Gap, rate: u32) -> (usize, usize) {
    let smeared = if recordings.iter().all(|one| one.torn.rate == rate) { 0 } else { SMEARED };
    (gap.span(rate).max(1) + 2 * smeared + usize::from(smeared > 0), smeared)
}

/// The window around gaps of `recordings`, and each channel in it.
///
/// # Errors
/// A gap that leaves the model nothing to hear; rates that cannot be reached.
pub(crate) fn voices(recordings: &[Recording], gap: &Gap, analysis: Analysis) -> Result<(Window, Vec<Voice>), Error> {
    let rate = analysis.mel().config().rate;
    let (span, smeared) = span(recordings, gap, rate);
    let window = Window::new(analysis, span)?;
    let mut voices = Vec::new();
    for (number, one) in recordings.iter().enumerate() {
        let start = one.gap.start as u64 * u64::from(rate) / u64::from(one.torn.rate);
        let at = (start as usize).saturating_sub(smeared);
        let level = Level::of(one);
        let torn = audio::resample(&level.bring(&one.torn, Some(&one.gap)), rate)?;
        let original =
            one.original.as_ref().map(|sound| audio::resample(&level.bring(sound, None), rate)).transpose()?;
        for (channel, whole) in torn.channels.into_iter().enumerate() {
            let mut torn = window.excerpt(&whole, at);
            torn[window.gap()].fill(0.0);
            let original = original.as_ref().map(|sound| window.excerpt(&sound.channels[channel], at));
            let (offset, gain) = (level.offsets[channel], level.gain);
            voices.push(Voice { recording: number, channel, offset, gain, whole, at, torn, original });
        }
    }
    Ok((window, voices))
}

impl Voice {
    /// Puts what `filled`, its excerpt, has in the gap, at the recording's own level, into `sound`, a copy of `recording`; nothing else is touched.
    ///
    /// # Errors
    /// Rates that cannot be reached.
    pub fn put(&self, filled: &[f32], window: &Window, recording: &Recording, sound: &mut Sound) -> Result<(), Error> {
        let mut whole = self.whole.clone();
        for (place, value) in whole.iter_mut().skip(self.at).zip(&filled[window.gap()]) {
            *place = *value;
        }
        let back = audio::resample(&Sound::mono(window.rate(), whole), sound.rate)?;
        let channel = &mut sound.channels[self.channel];
        for place in recording.gap.clone() {
            channel[place] = back.channels[0].get(place).copied().unwrap_or(0.0) / self.gain + self.offset;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::recordings::{
        read,
        tests::{hearing, source},
    };
    use super::*;
    use media::audio::Depth;

    /// At the model's rate and at another, mono and stereo: what is put back stands in the gap of its channel alone, in its place.
    ///
    /// Mutants, named and not run: the gap's place not scaled to the model's rate; one channel's filling in the other; samples beside the gap
    /// replaced.
    #[test]
    fn what_is_filled_stands_in_its_gap_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tone = |rate: u32, hertz: f32| -> Vec<f32> {
            (0..2 * rate).map(|i| 0.3 * (std::f32::consts::TAU * hertz * i as f32 / rate as f32).sin()).collect()
        };
        let put = |name: &str, rate: u32, hertz: &[f32]| {
            let sound = Sound { rate, channels: hertz.iter().map(|hertz| tone(rate, *hertz)).collect() };
            audio::write(&folder.path().join(name), &sound, Depth::Float).unwrap();
        };
        put("same.wav", 16_000, &[500.0]);
        put("other.wav", 44_100, &[300.0, 700.0]);
        let place = folder.path().display().to_string();
        let gap = Gap::parse("0.7,0.1", 0).unwrap();
        let (_, recordings) = read(&source(&place, true, None), &gap, &hearing()).unwrap();
        let names: Vec<&str> = recordings.iter().map(|one| &*one.name).collect();
        assert_eq!((names, recordings[1].gap.clone()), (vec!["other", "same"], 11_200..12_800));
        let analysis = Analysis::new(&hearing().task).unwrap();
        let (window, voices) = voices(&recordings, &gap, analysis).unwrap();
        assert_eq!(voices.iter().map(|v| (v.recording, v.channel)).collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 0)]);
        for voice in &voices {
            assert!(voice.torn[window.gap()].iter().all(|v| *v == 0.0));
            let one = &recordings[voice.recording];
            let mut sound = one.torn.clone();
            // What the original has there, so that the original must come out.
            voice.put(voice.original.as_ref().unwrap(), &window, one, &mut sound).unwrap();
            let wanted = &one.original.as_ref().unwrap().channels;
            for (channel, (made, wanted)) in sound.channels.iter().zip(wanted).enumerate() {
                for (i, (a, b)) in made.iter().zip(wanted).enumerate() {
                    let most = match (one.gap.contains(&i), channel == voice.channel) {
                        (false, _) => 0.0,
                        (true, true) => 2e-3,
                        (true, false) => continue,
                    };
                    assert!((a - b).abs() <= most, "{} {channel} {i}: {a} is not {b}", one.name);
                }
            }
        }
    }

    /// A model hears every recording as loud as what it learned from, and what it fills in is as loud as what stands around it: a quarter of a
    /// recording, off its middle, is heard as the recording is and filled with a quarter, off the middle as far. One gain for all channels.
    ///
    /// Mutants: levels not undone; offset and gain undone in the other order; the gap's own zeros heard as samples; a gain to each channel.
    #[test]
    fn levels_are_taken_from_what_is_known_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let rate = 16_000;
        let tone = |k: f32, gain: f32| -> Vec<f32> {
            (0..rate).map(|i| gain * (k * 0.01 * i as f32).sin() + 0.2 * gain * (0.37 * i as f32).cos()).collect()
        };
        let plain = Sound { rate, channels: vec![tone(7.0, 0.75), tone(9.0, 0.25)] };
        let mut small = plain.clone();
        small.channels.iter_mut().flatten().for_each(|v| *v = 0.25 * *v + 0.125);
        audio::write(&folder.path().join("a.wav"), &plain, Depth::Float).unwrap();
        audio::write(&folder.path().join("b.wav"), &small, Depth::Float).unwrap();
        let place = folder.path().display().to_string();
        let gap = Gap::parse("0.4,0.1", 0).unwrap();
        let (_, recordings) = read(&source(&place, false, None), &gap, &hearing()).unwrap();
        let (window, voices) = voices(&recordings, &gap, Analysis::new(&hearing().task).unwrap()).unwrap();
        let peak = |voice: &Voice| voice.whole.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!((peak(&voices[0]) - sound::PEAK).abs() < 1e-3 && peak(&voices[1]) < 0.5 * sound::PEAK);
        let made: Vec<Sound> = (0..2)
            .map(|number| {
                let mut sound = recordings[number].torn.clone();
                for channel in 0..2 {
                    // The offsets lie in the gap too, where a hole would show as a step of them.
                    let (one, other) = (&voices[channel], &voices[2 + channel]);
                    let far = one.torn.iter().zip(&other.torn).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(far < 1e-5, "channel {channel}: {far}");
                    let voice = &voices[2 * number + channel];
                    let filling: Vec<f32> = (0..voice.torn.len()).map(|i| 0.3 * (0.05 * i as f32).sin()).collect();
                    voice.put(&filling, &window, &recordings[number], &mut sound).unwrap();
                }
                sound
            })
            .collect();
        for (plain, small) in made[0].channels.iter().zip(&made[1].channels) {
            for (i, (a, b)) in plain.iter().zip(small).enumerate() {
                assert!((0.25 * a + 0.125 - b).abs() < 1e-5, "{i}: {a} {b}");
            }
            assert!(plain[6400..8000].iter().any(|v| v.abs() > 0.3));
        }
    }
}
