//! Notes rendered from a bank of instruments (SoundFont 2), through `rustysynth`: dry, one note at a time.

use super::Sound;
use crate::MediaError;
use rustysynth::{SoundFont, Synthesizer, SynthesizerSettings};
use std::{fs, io::Cursor, path::Path, sync::Arc};

/// A bank of instruments.
pub struct Bank {
    font: Arc<SoundFont>,
    instruments: Vec<Instrument>,
}

/// One instrument of a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name in the bank.
    pub name: String,
    /// MIDI bank: 0 for the usual ones, 128 for drum kits.
    pub bank: i32,
    /// MIDI program, 0 to 127.
    pub program: i32,
}

/// A note to render.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// MIDI key, 60 for middle C; in a drum kit, which drum.
    pub key: i32,
    /// How hard it is struck, 1 to 127.
    pub velocity: i32,
    /// Seconds until it is let go.
    pub held: f64,
    /// Seconds rendered.
    pub seconds: f64,
}

impl Bank {
    /// Reads the bank at `path`.
    ///
    /// # Errors
    /// [`MediaError::Io`] where it cannot be read, [`MediaError::Format`] where it is no SoundFont 2.
    pub fn open(path: &Path) -> Result<Self, MediaError> {
        let bytes = fs::read(path).map_err(MediaError::io("read", path))?;
        let font = SoundFont::new(&mut Cursor::new(bytes)).map_err(|error| MediaError::Format {
            kind: "SoundFont",
            path: path.into(),
            reason: format!("{error}; fetch it again, or give another bank"),
        })?;
        let mut instruments: Vec<Instrument> = font
            .get_presets()
            .iter()
            .map(|p| Instrument {
                name: p.get_name().trim().to_owned(),
                bank: p.get_bank_number(),
                program: p.get_patch_number(),
            })
            .collect();
        instruments.sort_by_key(|i| (i.bank, i.program));
        Ok(Self { font: Arc::new(font), instruments })
    }

    /// Its instruments, by bank and program.
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// `note` of `instrument` in one channel at `rate`.
    ///
    /// # Errors
    /// [`MediaError::Setting`] for a rate outside 16 000 to 192 000 Hz, a key or velocity outside MIDI's, or a length that
    /// is not above zero and below an hour.
    pub fn render(&self, instrument: &Instrument, note: Note, rate: u32) -> Result<Sound, MediaError> {
        let Note { key, velocity, held, seconds } = note;
        let known = (0..128).contains(&key) && (1..128).contains(&velocity);
        if !(known && seconds > 0.0 && seconds < 3600.0 && held > 0.0) {
            return Err(MediaError::setting(format!("{note:?}"), "keys and velocities are below 128, lengths above 0"));
        }
        let mut settings = SynthesizerSettings::new(rate.try_into().unwrap_or(i32::MAX));
        settings.enable_reverb_and_chorus = false; // a room would be part of the reference
        let mut synthesizer = Synthesizer::new(&self.font, &settings)
            .map_err(|error| MediaError::setting(format!("a note at {rate} Hz: {error}"), "use 16000 to 192000"))?;
        let channel = if instrument.bank == 128 { 9 } else { 0 };
        synthesizer.process_midi_message(channel, 0xb0, 0, if instrument.bank == 128 { 0 } else { instrument.bank });
        synthesizer.process_midi_message(channel, 0xc0, instrument.program, 0);
        synthesizer.note_on(channel, key, velocity);
        let frames = (seconds * f64::from(rate)) as usize;
        let (mut left, mut right) = (vec![0.0f32; frames], vec![0.0f32; frames]);
        let until = ((held * f64::from(rate)) as usize).min(frames);
        synthesizer.render(&mut left[..until], &mut right[..until]);
        synthesizer.note_off(channel, key);
        synthesizer.render(&mut left[until..], &mut right[until..]);
        Ok(Sound::mono(rate, left.iter().zip(&right).map(|(l, r)| 0.5 * (l + r)).collect()))
    }
}
