//! Recordings: what a folder or set of them holds, with a sheet of spectrograms.

use crate::{Error, output, sound::read};
use data::fetch::registry::{self, Kind};
use data::sounds::{are_in, recordings};
use media::audio::{self, Levels, Mel, MelConfig, Sound, picture};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub use crate::sound::{LibraryConfig, Part, library, prepare};

/// Seconds of each recording on a sheet.
const SHOWN: f64 = 1.0;

/// Whether `what` is a named set of recordings, or a folder with more of them than pictures.
pub fn are_at(what: &str) -> bool {
    let named = registry::find(what).map(|set| set.kind == Kind::Sounds);
    named.unwrap_or_else(|| are_in(Path::new(what)))
}

/// Facts about the recordings at `what`; spectrograms of `count` of them, evenly chosen, go to `sheet`.
///
/// # Errors
/// No recordings there, or none that can be read; a sheet that cannot be written.
pub fn show(what: &str, sheet: &Path, count: usize) -> Result<Value, Error> {
    output::file(sheet, &["png"])?;
    let recordings = recordings(what)?;
    let (mut labels, mut rates, mut channels) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut seconds, mut shortest, mut longest) = (0.0, f64::INFINITY, 0.0f64);
    let mut left_out = recordings.left_out.clone();
    let mut remarks = Vec::new();
    let mut pictures = Vec::new();
    let mel = Mel::new(&MelConfig::default())?;
    let readable = recordings.found.len();
    for (i, recording) in recordings.found.iter().enumerate() {
        let reading = match read(&recordings, recording) {
            Ok(reading) => reading,
            Err(error) => {
                left_out.push(error.to_string());
                continue;
            }
        };
        let sound = &reading.sound;
        *labels.entry(recording.label.clone()).or_insert(0usize) += 1;
        *rates.entry(sound.rate).or_insert(0usize) += 1;
        *channels.entry(sound.channels.len()).or_insert(0usize) += 1;
        seconds += sound.seconds();
        shortest = shortest.min(sound.seconds());
        longest = longest.max(sound.seconds());
        let mut found = Levels::of(sound).complaints();
        if reading.damaged > 0 {
            found.push(format!("{} damaged packets passed over", reading.damaged));
        }
        if !found.is_empty() {
            remarks.push(format!("{}: {}", recording.name, found.join(", ")));
        }
        // Evenly over the set, so that a sheet of few shows more than the first label.
        if (i * count) / readable != ((i + 1) * count) / readable {
            let start = Sound { rate: sound.rate, channels: vec![first(sound)] };
            let heard = audio::resample(&start, mel.config().rate)?;
            pictures.push(mel.log_mel(&heard.channels[0])?);
        }
    }
    if seconds == 0.0 {
        let first = left_out.first().cloned().unwrap_or_default();
        return Err(Error::Failure(format!(
            "{}: none of its recordings could be read; first: {first}",
            recordings.place.display()
        )));
    }
    let frames = (SHOWN * f64::from(mel.config().rate)) as usize / mel.config().hop;
    let bitmap = picture::sheet(&pictures, frames, 6, 2);
    media::png::save(sheet, &bitmap, &[("parameters", what)])?;
    let count: usize = labels.values().sum();
    Ok(json!({
        "kind": "sounds",
        "place": recordings.place.display().to_string(),
        "recordings": count,
        "captioned": recordings.found.iter().filter(|r| r.caption.is_some()).count(),
        "seconds": (seconds * 100.0).round() / 100.0,
        "shortest_seconds": (shortest * 1000.0).round() / 1000.0,
        "longest_seconds": (longest * 1000.0).round() / 1000.0,
        "labels": named(&labels),
        "rates_hz": named(&rates),
        "channels": named(&channels),
        "sheet": sheet.display().to_string(),
        "remarks": remarks.join("\n"),
        "left_out": left_out.join("\n"),
    }))
}

fn named<K: ToString>(counts: &BTreeMap<K, usize>) -> Value {
    counts.iter().map(|(name, count)| (name.to_string(), Value::from(*count))).collect::<serde_json::Map<_, _>>().into()
}

/// The first second of a recording, in one channel.
fn first(sound: &Sound) -> Vec<f32> {
    let mut samples = sound.mixed_down();
    samples.truncate((SHOWN * f64::from(sound.rate)).ceil() as usize);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::audio::Depth;

    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (label, hertz, rate) in [("low", 200.0, 8000u32), ("high", 2000.0, 44_100)] {
            for i in 0..4 {
                let wave = |k: usize| 0.3 + 0.2 * (k as f32 * std::f32::consts::TAU * hertz / rate as f32).sin();
                let tone: Vec<f32> = (0..rate as usize / (2 + i)).map(wave).collect();
                let sound = Sound { rate, channels: vec![tone; 1 + i % 2] };
                audio::write(&root.path().join(format!("{label}/{i}.wav")), &sound, Depth::Int24).unwrap();
            }
        }
        std::fs::write(root.path().join("low/broken.wav"), b"RIFF\0\0\0\0WAVE").unwrap();
        std::fs::write(root.path().join("notes.md"), b"x").unwrap();
        root
    }

    #[test]
    fn a_folder_is_shown_with_everything_that_was_left_out() {
        let root = folder();
        let what = root.path().to_str().unwrap();
        let sheet = root.path().join("sheet.png");
        assert!(are_at(what) && !are_at("minilm") && are_at("sonic-pi"));
        let facts = show(what, &sheet, 5).unwrap();
        assert_eq!(facts["recordings"], 8);
        assert_eq!(facts["labels"], json!({ "low": 4, "high": 4 }));
        assert_eq!(facts["rates_hz"], json!({ "8000": 4, "44100": 4 }));
        assert_eq!(facts["channels"], json!({ "1": 4, "2": 4 }));
        let left = facts["left_out"].as_str().unwrap();
        assert!(left.contains("notes.md") && left.contains("broken.wav"), "{left}");
        assert!(facts["remarks"].as_str().unwrap().contains("offset of 0.3"));
        assert!((facts["seconds"].as_f64().unwrap() - 2.0 * (0.5 + 1.0 / 3.0 + 0.25 + 0.2)).abs() < 0.02);
        assert!(sheet.is_file());
    }

    #[test]
    fn a_library_is_split_without_overlap_and_prepared() {
        let root = folder();
        std::fs::remove_file(root.path().join("low/broken.wav")).unwrap();
        let what = root.path().to_str().unwrap();
        let of = |part| LibraryConfig { what, rate: 16_000, labels: &[], held_out: 4, part };
        let (train, left) = library(&of(Part::Train)).unwrap();
        let (test, _) = library(&of(Part::Test)).unwrap();
        assert_eq!((train.clips().len(), test.clips().len(), left.len()), (6, 2, 1));
        assert_eq!(train.labels(), ["high", "low"]);
        assert!(train.clips().iter().all(|a| test.clips().iter().all(|b| a.name != b.name)));
        for clip in train.clips() {
            let peak = clip.samples.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let mean = clip.samples.iter().sum::<f32>() / clip.samples.len() as f32;
            assert!((peak - 0.5).abs() < 1e-5 && mean.abs() < 1e-4, "{peak} {mean}");
        }
        let labels = ["violin".to_owned()];
        let said = library(&LibraryConfig { labels: &labels, ..of(Part::Train) }).unwrap_err();
        assert!(said.exit_code() == 2 && said.to_string().contains("it has high, low"), "{said}");
    }
}
