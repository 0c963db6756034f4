//! The library that mixtures are made of: recordings as clips of one channel and rate, split into what is trained on and what is held out.

use crate::Error;
use base::{Key, Purpose};
use data::mixture::{Clip, Library};
use data::sounds::{Recording, Recordings, recordings};
use media::audio::{self, Normalise, Reading, Sound};

/// Largest magnitude of a clip.
pub(crate) const PEAK: f32 = 0.5;

/// Which recordings of a label are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but every `held_out`-th.
    Train,
    /// Every `held_out`-th: at least one of a label that has two.
    Test,
}

/// What a library is made of.
#[derive(Clone, Debug)]
pub struct LibraryConfig<'a> {
    /// A named set or a folder.
    pub what: &'a str,
    /// Rate of the mixtures.
    pub rate: u32,
    /// Labels taken; all where empty.
    pub labels: &'a [String],
    /// One in this many recordings of a label is held out.
    pub held_out: usize,
    /// Which part.
    pub part: Part,
}

/// Recordings as clips of one channel and rate, without offset, their peak at one half. Also what was left out, and why.
///
/// # Errors
/// No recordings there; a label that is not there; fewer than two labels.
pub fn library(config: &LibraryConfig) -> Result<(Library, Vec<String>), Error> {
    let recordings = recordings(config.what)?;
    let mut labels: Vec<String> = match config.labels {
        [] => recordings.found.iter().map(|r| r.label.clone()).collect(),
        some => some.to_vec(),
    };
    labels.sort();
    labels.dedup();
    if let Some(missing) = labels.iter().find(|label| recordings.found.iter().all(|r| r.label != **label)) {
        let known: std::collections::BTreeSet<&str> = recordings.found.iter().map(|r| r.label.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!("{} has no recording of `{missing}`; it has {known}", config.what)));
    }
    let mut left_out = recordings.left_out.clone();
    let mut clips = Vec::new();
    for (number, label) in labels.iter().enumerate() {
        let mut of: Vec<&Recording> = recordings.found.iter().filter(|r| r.label == *label).collect();
        // Names come sorted by kind and loudness; which of them are held out should not.
        let key = Key::new(0, Purpose::Order).fold(number as u64);
        of.sort_by_key(|r| key.bits(r.name.bytes().fold(0u64, |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b))));
        for (i, recording) in of.into_iter().enumerate() {
            let held = config.held_out > 0 && i % config.held_out == config.held_out - 1;
            if held != (config.part == Part::Test) {
                continue;
            }
            let prepared = read(&recordings, recording).and_then(|reading| prepare(&reading.sound, config.rate));
            match prepared {
                Ok(samples) if samples.iter().any(|v| *v != 0.0) => {
                    clips.push(Clip { samples, label: number, name: recording.name.clone() });
                }
                Ok(_) => left_out.push(format!("{}: silent", recording.name)),
                Err(error) => left_out.push(error.to_string()),
            }
        }
    }
    Ok((Library::new(&recordings.place, labels, clips)?, left_out))
}

/// One channel at `rate`, its mean taken away, its peak at one half.
///
/// # Errors
/// A rate that cannot be reached.
pub fn prepare(sound: &Sound, rate: u32) -> Result<Vec<f32>, Error> {
    let mut mono = audio::resample(&Sound::mono(sound.rate, sound.mixed_down()), rate)?;
    audio::level::remove_offset(&mut mono);
    let gain = Normalise::Peak { peak: PEAK }.gain(&mono);
    audio::level::amplify(&mut mono, gain);
    Ok(mono.channels.swap_remove(0))
}

/// One recording as it came.
pub(crate) fn read(recordings: &Recordings, recording: &Recording) -> Result<Reading, Error> {
    Ok(audio::from_bytes(recording.bytes()?, &recordings.place.join(&recording.name))?)
}
