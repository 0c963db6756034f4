//! Notes of the instruments of a bank as recordings: one clip to a key, the label its instrument.

use super::Part;
use crate::Error;
use base::{Key, Purpose};
use data::mixture::{Clip, Library};
use media::audio::{
    Normalise, level,
    soundfont::{Bank, Note},
};
use std::path::Path;

/// MIDI keys of the notes: A2 to C6.
const KEYS: std::ops::RangeInclusive<i32> = 45..=84;
/// How hard they are struck.
const VELOCITY: i32 = 100;
/// Seconds until a note is let go, and rendered in all.
const SECONDS: [f64; 2] = [0.9, 1.2];

/// The notes of the instruments of the bank at `path` whose names are `labels` (whatever the case), at `rate`: all but one key in
/// `held_out` of each, or these. Which keys are held out differs from instrument to instrument.
///
/// # Errors
/// A bank that cannot be read, an instrument that it does not have, no label at all.
pub(crate) fn notes(path: &Path, labels: &[String], rate: u32, held_out: usize, part: Part) -> Result<Library, Error> {
    let bank = Bank::open(path)?;
    let named = |label: &str| bank.instruments().iter().find(|i| i.bank == 0 && i.name.eq_ignore_ascii_case(label));
    let known = || {
        let names = bank.instruments().iter().filter(|i| i.bank == 0).map(|i| i.name.to_lowercase());
        names.collect::<Vec<_>>().join(", ")
    };
    if labels.is_empty() {
        let which = format!("data.classes: name the instruments of the bank to train on; it has {}", known());
        return Err(Error::Usage(which));
    }
    let mut clips = Vec::new();
    for (label, name) in labels.iter().enumerate() {
        let Some(instrument) = named(name) else {
            return Err(Error::Usage(format!("data.classes: the bank has no `{name}`; it has {}", known())));
        };
        let mut keys: Vec<i32> = KEYS.collect();
        let order = Key::new(0, Purpose::Order).fold(label as u64);
        keys.sort_by_key(|key| order.bits(*key as u64));
        for (i, key) in keys.into_iter().enumerate() {
            if (i % held_out == held_out - 1) != (part == Part::Test) {
                continue;
            }
            let note = Note { key, velocity: VELOCITY, held: SECONDS[0], seconds: SECONDS[1] };
            let mut sound = bank.render(instrument, note, rate)?;
            level::remove_offset(&mut sound);
            let gain = Normalise::Peak { peak: 0.5 }.gain(&sound);
            level::amplify(&mut sound, gain);
            let samples = sound.channels.swap_remove(0);
            if samples.iter().any(|v| *v != 0.0) {
                clips.push(Clip { samples, label, name: format!("{name}, key {key}") });
            }
        }
    }
    Ok(Library::new(path, labels.to_vec(), clips)?)
}
