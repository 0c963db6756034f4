//! Recordings that something is missing of: which, where, and how a model hears each channel of them.

use super::{Gap, Window, inputs::Source};
use crate::{
    Error,
    sound::{self, Analysis, Hearing},
};
use data::{
    DataConfig,
    fetch::registry::{self, Kind},
    sounds::recordings,
};
use media::audio::{self, Sound};
use std::{collections::BTreeMap, ops::Range, path::Path};

/// Samples at the model's rate beyond the gap that a resampler may have smeared what was lost over.
const SMEARED: usize = 64;

/// One recording.
pub(crate) struct Recording {
    /// For files.
    pub name: String,
    /// As it came, silent in the gap.
    pub torn: Sound,
    /// What it was before, where that is known.
    pub original: Option<Sound>,
    /// Samples that are lost.
    pub gap: Range<usize>,
}

/// One channel of one of them around its gap, at the model's rate.
pub(crate) struct Voice {
    /// Whose it is.
    pub recording: usize,
    /// Which.
    pub channel: usize,
    /// The whole channel.
    whole: Vec<f32>,
    /// Where the gap of its window begins in it.
    at: usize,
    /// What the model hears, silent in the gap.
    pub torn: Vec<f32>,
    /// The same of the original.
    pub original: Option<Vec<f32>>,
}

/// The recordings that `source` names: a file, a folder, or a named set (of it what the model's codec kept apart); and what they are called.
///
/// # Errors
/// None there, or what cannot be read; a gap that leaves one; originals that do not match.
pub(crate) fn read(source: &Source, gap: &Gap, hearing: &Hearing) -> Result<(String, Vec<Recording>), Error> {
    if gap.is_drawn() && !source.degrade {
        return Err(Error::Usage(
            "--gap: it was drawn for originals, which --degrade cuts; of recordings that have a gap already say where it begins and how \
             long it is, --gap START,SECONDS"
                .into(),
        ));
    }
    let set = named(source.input).then(|| held_out(source.input, hearing)).transpose()?;
    let found = match set {
        Some(found) => found,
        None => files(Path::new(source.input), "--input")?,
    };
    let others = source.originals.map(|place| files(Path::new(place), "--originals")).transpose()?;
    let most = source.count.unwrap_or(usize::MAX);
    let made = found.into_iter().take(most).enumerate().map(|(number, (name, whole))| {
        let gap = gap.samples(number as u64, &name, whole.frames(), whole.rate)?;
        let original = match &others {
            None => source.degrade.then(|| whole.clone()),
            Some(others) => Some(original(&name, &whole, others, source.originals.unwrap_or_default())?),
        };
        let mut torn = whole;
        torn.channels.iter_mut().for_each(|channel| channel[gap.clone()].fill(0.0));
        Ok(Recording { name, torn, original, gap })
    });
    Ok((source.input.to_owned(), made.collect::<Result<_, Error>>()?))
}

/// Whether `place` is a named set of recordings.
fn named(place: &str) -> bool {
    registry::find(place).is_some_and(|set| set.kind == Kind::Sounds)
}

/// What of the set `name` was kept apart when the model's codec was trained, or would have been.
fn held_out(name: &str, hearing: &Hearing) -> Result<Vec<(String, Sound)>, Error> {
    let own = hearing.data.path.is_none() && hearing.data.name.as_deref() == Some(name);
    let classes = if own { hearing.data.classes.clone() } else { Vec::new() };
    let (_, kept, _) = sound::libraries(&DataConfig { classes, ..DataConfig::named(name) }, &hearing.task)?;
    let plain = |name: &str| {
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let clip =
        |clip: &data::mixture::Clip| (plain(&clip.name), Sound::mono(hearing.task.mel.rate, clip.samples.clone()));
    Ok(kept.clips().iter().map(clip).collect())
}

/// The recordings at `place`, by name; `option` names it.
fn files(place: &Path, option: &str) -> Result<Vec<(String, Sound)>, Error> {
    if place.is_file() {
        let name = place.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![(name, audio::read(place)?.sound)]);
    }
    let found =
        recordings(&place.display().to_string()).map_err(|error| Error::Failure(format!("{option}: {error}")))?;
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).replace(['/', '\\'], "_");
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    found.found.iter().for_each(|one| *stems.entry(stem(&one.name)).or_default() += 1);
    let read = |one: &data::sounds::Recording| {
        // `a.wav` beside `a.flac`: both keep their endings.
        let name = match stems[&stem(&one.name)] {
            1 => stem(&one.name),
            _ => one.name.replace(['/', '\\'], "_").replace('.', "-"),
        };
        Ok((name, sound::read(&found, one)?.sound))
    };
    found.found.iter().map(read).collect()
}

/// The original of `name` among `others`, which must be as long, as fast and of as many channels.
fn original(name: &str, torn: &Sound, others: &[(String, Sound)], place: &str) -> Result<Sound, Error> {
    let usage = |why: String| Err(Error::Usage(format!("--originals {place}: {why}")));
    let Some((_, found)) = others.iter().find(|(other, _)| other == name) else {
        return usage(format!(
            "there is no original called {name} (originals have the names of the recordings with a gap)"
        ));
    };
    let form = |sound: &Sound| (sound.channels.len(), sound.frames(), sound.rate);
    if form(found) != form(torn) {
        let [(a, b, c), (d, e, f)] = [form(found), form(torn)];
        return usage(format!(
            "{name} has {a} channels of {b} samples at {c} Hz there, and {d} of {e} at {f} Hz in --input"
        ));
    }
    Ok(found.clone())
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
        let torn = audio::resample(&one.torn, rate)?;
        let original = one.original.as_ref().map(|sound| audio::resample(sound, rate)).transpose()?;
        for (channel, whole) in torn.channels.into_iter().enumerate() {
            let mut torn = window.excerpt(&whole, at);
            torn[window.gap()].fill(0.0);
            let original = original.as_ref().map(|sound| window.excerpt(&sound.channels[channel], at));
            voices.push(Voice { recording: number, channel, whole, at, torn, original });
        }
    }
    Ok((window, voices))
}

impl Voice {
    /// Puts what `filled`, its excerpt, has in the gap into `sound`, a copy of `recording`; nothing else is touched.
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
            channel[place] = back.channels[0].get(place).copied().unwrap_or(0.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Separate;
    use media::audio::Depth;

    fn hearing() -> Hearing {
        Hearing { task: Separate::default(), data: DataConfig::named("nothing") }
    }

    fn source<'a>(input: &'a str, degrade: bool, originals: Option<&'a str>) -> Source<'a> {
        Source { input, degrade, originals, count: None, resize: false, noise: 0.0, seed: 0 }
    }

    /// At the model's rate and at another, mono and stereo: what is put back stands in the gap of its channel alone, in its place.
    ///
    /// Mutants, named and not run: the gap's place not scaled to the model's rate; one channel's filling in the other; samples beside the gap replaced.
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

    #[test]
    fn what_does_not_match_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, frames: usize| {
            let sound = Sound::mono(16_000, vec![0.1; frames]);
            audio::write(&folder.path().join(name), &sound, Depth::Int16).unwrap();
        };
        put("in/a.wav", 16_000);
        put("in/b.wav", 16_000);
        put("there/a.wav", 16_000);
        put("short/a.wav", 900);
        put("short/b.wav", 16_000);
        let at = |name: &str| folder.path().join(name).display().to_string();
        let refused = |source: Source, gap: &str, words: &str| {
            let error = read(&source, &Gap::parse(gap, 0).unwrap(), &hearing()).err().unwrap();
            assert!(error.to_string().contains(words), "{error}");
        };
        refused(source(&at("in"), false, None), "0.1", "--gap START,SECONDS");
        refused(source(&at("in"), false, Some(&at("there"))), "0.2,0.1", "no original called b");
        refused(source(&at("in"), false, Some(&at("short"))), "0.2,0.1", "1 channels of 900 samples");
        refused(source(&at("in"), true, None), "0.95,0.1", "a has 1.000 s");
        refused(source(&at("nowhere"), true, None), "0.1", "--input");
        std::fs::write(folder.path().join("in/c.wav"), b"RIFF\0\0\0\0WAVE").unwrap();
        refused(source(&at("in"), true, None), "0.1", "c.wav");
    }
}
