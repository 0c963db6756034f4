//! Sound: files in and out, levels, resampling, spectra, mel scales, and ways back from a spectrum to a waveform.
//!
//! A [`Sound`] is what a file holds: a rate and one row of numbers in [-1, 1] to a channel. Networks see a [`mel::LogMel`]
//! picture of it; what they answer becomes sound again by [`griffin_lim`] (phase invented), by [`mask`] (phase of the
//! mixture) or by a vocoder.
//!
//! ```
//! use media::audio::{Mel, MelConfig, Sound};
//! let tone = (0..16_000).map(|i| 0.5 * (i as f32 * 0.4).sin()).collect();
//! let sound = Sound::mono(16_000, tone);
//! let mel = Mel::new(&MelConfig::default())?;
//! let picture = mel.log_mel(&sound.channels[0])?;
//! assert_eq!((picture.frames, picture.bins), (101, 64));
//! # Ok::<(), media::MediaError>(())
//! ```

pub mod chunk;
mod compressed;
pub mod fill;
mod flac;
pub mod griffin_lim;
pub mod level;
pub mod mask;
pub mod mel;
pub mod picture;
mod resample;
pub mod soundfont;
pub mod stft;
pub mod wav;

pub use fill::fill;
pub use griffin_lim::{GriffinLim, griffin_lim};
pub use level::{Levels, Normalise};
pub use mel::{LogMel, Mel, MelConfig};
pub use resample::resample;
pub use stft::{Spectrum, Stft};
pub use wav::Depth;

use crate::{MediaError, atomic};
use std::{fs, path::Path};

/// A recording: every channel has the same number of frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Frames to a second.
    pub rate: u32,
    /// One row of numbers, usually in [-1, 1], to a channel.
    pub channels: Vec<Vec<f32>>,
}

/// A sound that was read, and what of its file could not be.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What was read.
    pub sound: Sound,
    /// Packets of a compressed stream that were damaged and are silent or absent in the sound.
    pub damaged: usize,
    /// "WAV", "FLAC", "Ogg Vorbis" or "MP3".
    pub kind: &'static str,
}

impl Sound {
    /// One channel.
    pub fn mono(rate: u32, samples: Vec<f32>) -> Self {
        Self { rate, channels: vec![samples] }
    }

    /// Frames of each channel.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate.max(1))
    }

    /// The mean of the channels.
    pub fn mixed_down(&self) -> Vec<f32> {
        let count = self.channels.len().max(1) as f32;
        (0..self.frames()).map(|i| self.channels.iter().map(|c| c[i]).sum::<f32>() / count).collect()
    }
}

/// Frames to a second at least.
const SLOWEST: u32 = 1000;

/// Reads the WAV, FLAC, Ogg Vorbis or MP3 file at `path`; its first bytes say which, not its name.
///
/// # Errors
/// [`MediaError::Io`] where it cannot be read; [`MediaError::Format`] where it is none of these, is cut short, holds no sound, numbers that are not
/// finite, or fewer than a thousand frames to a second. Damaged packets of a compressed file are counted in [`Reading::damaged`].
pub fn read(path: &Path) -> Result<Reading, MediaError> {
    from_bytes(fs::read(path).map_err(MediaError::io("read", path))?, path)
}

/// As [`read`], of the `bytes` of a file that is called `path`.
///
/// # Errors
/// As [`read`], but for reading.
pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Reading, MediaError> {
    from_bytes_within(bytes, path, usize::MAX)
}

/// As [`from_bytes`], of a sound of `most` numbers, all channels together: few compressed bytes may be many hours.
///
/// # Errors
/// As [`from_bytes`], and for a longer one.
pub fn from_bytes_within(bytes: Vec<u8>, path: &Path, most: usize) -> Result<Reading, MediaError> {
    let reading = decode(bytes, path, most)?;
    let sound = &reading.sound;
    // A WAV file is as long as its bytes say, and is looked at when it is read.
    if sound.frames().saturating_mul(sound.channels.len()) > most {
        return Err(too_long(reading.kind, path, most));
    }
    let format = |reason: String| MediaError::Format { kind: reading.kind, path: path.into(), reason };
    if sound.frames() == 0 {
        return Err(format("it holds no sound".into()));
    }
    // A damaged header would make hours of a second.
    if sound.rate < SLOWEST {
        let rate = sound.rate;
        return Err(format(format!(
            "its header says {rate} frames to a second, and below {SLOWEST} nothing is heard; export it again"
        )));
    }
    if let Some((channel, frame, value)) = level::first_not_finite(sound) {
        return Err(format(format!(
            "frame {frame} of channel {channel} is {value}; export it again, or as 16-bit, which holds numbers alone"
        )));
    }
    Ok(reading)
}

fn too_long(kind: &'static str, path: &Path, most: usize) -> MediaError {
    let reason = format!("it has more than {most} numbers, all channels together; cut it into shorter pieces");
    MediaError::Format { kind, path: path.into(), reason }
}

/// Whether a file of this name is one that [`read`] is for.
pub fn is_sound(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| ["wav", "flac", "ogg", "oga", "mp3"].contains(&e.as_str()))
}

fn decode(bytes: Vec<u8>, path: &Path, most: usize) -> Result<Reading, MediaError> {
    match bytes.as_slice() {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => {
            Ok(Reading { sound: wav::decode(&bytes, path)?, damaged: 0, kind: "WAV" })
        }
        [b'f', b'L', b'a', b'C', ..] => compressed::decode(bytes, path, "FLAC", "flac", most),
        [b'O', b'g', b'g', b'S', ..] => compressed::decode(bytes, path, "Ogg Vorbis", "ogg", most),
        [b'I', b'D', b'3', ..] => compressed::decode(bytes, path, "MP3", "mp3", most),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => compressed::decode(bytes, path, "MP3", "mp3", most),
        _ => Err(MediaError::Format {
            kind: "sound",
            path: path.into(),
            reason: "its first bytes are neither WAV, FLAC, Ogg nor MP3; convert it to one of these".into(),
        }),
    }
}

/// Writes `sound` to `path`, whole or not at all: FLAC (16 or 24 bits) where the name ends in `.flac`, WAV otherwise.
///
/// # Errors
/// [`MediaError::Setting`] for a sound without frames or with numbers that are not finite; [`MediaError::Io`].
pub fn write(path: &Path, sound: &Sound, depth: Depth) -> Result<(), MediaError> {
    check(path, sound)?;
    let is_flac = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("flac"));
    atomic::write(path, &if is_flac { flac::encode(sound, depth)? } else { wav::encode(sound, depth)? })
}

/// `sound` as the bytes of a WAV file.
///
/// # Errors
/// [`MediaError::Setting`], as [`write`].
pub fn to_wav(sound: &Sound, depth: Depth) -> Result<Vec<u8>, MediaError> {
    check(Path::new("a sound in memory"), sound)?;
    wav::encode(sound, depth)
}

/// Refuses what no file can hold.
fn check(path: &Path, sound: &Sound) -> Result<(), MediaError> {
    if let Some((channel, frame, value)) = level::first_not_finite(sound) {
        let what = format!("{}: frame {frame} of channel {channel} is {value}", path.display());
        return Err(MediaError::setting(what, "a sound file holds finite numbers alone"));
    }
    if sound.frames() == 0 || sound.channels.iter().any(|c| c.len() != sound.frames()) {
        let what = format!("{}: a sound of no frames, or with channels of different lengths", path.display());
        return Err(MediaError::setting(what, "give every channel the same number of frames, at least one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
