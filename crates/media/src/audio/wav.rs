//! WAV files (RIFF): integers of 8, 16, 24 and 32 bits and 32-bit floats, in and out, through `hound`.

use super::Sound;
use crate::MediaError;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::{io::Cursor, path::Path};

/// How a written file keeps its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Integers of 16 bits: what every program plays.
    #[default]
    Int16,
    /// Integers of 24 bits.
    Int24,
    /// Floats of 32 bits, which clip nothing (a FLAC file has 24-bit integers instead).
    Float,
}

impl Depth {
    /// Bits to a number.
    pub fn bits(self) -> u16 {
        match self {
            Self::Int16 => 16,
            Self::Int24 => 24,
            Self::Float => 32,
        }
    }
}

pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Sound, MediaError> {
    let fail = |error: hound::Error| MediaError::Format {
        kind: "WAV",
        path: path.into(),
        reason: format!("{error}; it may be cut short or of a kind that only its maker reads: export it as 16-bit WAV"),
    };
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(fail)?;
    let WavSpec { channels: count, sample_rate: rate, bits_per_sample: bits, sample_format } = reader.spec();
    if rate == 0 || count == 0 {
        let reason = format!("its header says {count} channels at {rate} Hz; export it again");
        return Err(MediaError::Format { kind: "WAV", path: path.into(), reason });
    }
    let mut channels = vec![Vec::new(); count.into()];
    let mut put = |at: usize, value: f32| channels[at % usize::from(count)].push(value);
    match sample_format {
        SampleFormat::Float => {
            for (at, value) in reader.samples::<f32>().enumerate() {
                put(at, value.map_err(fail)?);
            }
        }
        SampleFormat::Int => {
            let scale = 0.5f64.powi(i32::from(bits) - 1);
            for (at, value) in reader.samples::<i32>().enumerate() {
                put(at, (f64::from(value.map_err(fail)?) * scale) as f32);
            }
        }
    }
    Ok(Sound { rate, channels })
}

/// `value` in [-1, 1] as an integer of `bits` bits; what lies outside is cut off there.
pub(super) fn integer(value: f32, bits: u16) -> i32 {
    let full = (1i64 << (bits - 1)) as f64;
    (f64::from(value) * full).round().clamp(-full, full - 1.0) as i32
}

pub(super) fn encode(sound: &Sound, depth: Depth) -> Result<Vec<u8>, MediaError> {
    let fail = |error: hound::Error| MediaError::setting(format!("this sound as WAV: {error}"), "write it as FLAC");
    let channels = u16::try_from(sound.channels.len())
        .map_err(|_| MediaError::setting("more than 65 535 channels", "a WAV file holds no more"))?;
    let sample_format = if depth == Depth::Float { SampleFormat::Float } else { SampleFormat::Int };
    let spec = WavSpec { channels, sample_rate: sound.rate, bits_per_sample: depth.bits(), sample_format };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).map_err(fail)?;
    for frame in 0..sound.frames() {
        for channel in &sound.channels {
            match depth {
                Depth::Float => writer.write_sample(channel[frame]),
                _ => writer.write_sample(integer(channel[frame], depth.bits())),
            }
            .map_err(fail)?;
        }
    }
    writer.finalize().map_err(fail)?;
    Ok(bytes.into_inner())
}
