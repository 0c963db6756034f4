//! Recordings that something is missing of: which, and where.

use super::{
    Gap,
    inputs::{Source, check_distinct},
};
use crate::{
    Error,
    sound::{self, Hearing},
};
use data::{
    DataConfig,
    fetch::registry::{self, Kind},
    sounds::{Recordings, recordings},
};
use media::audio::{self, Sound};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

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
    let mut listed = match named(source.input) {
        true => held_out(source.input, hearing)?,
        false => Listed::at(Path::new(source.input), "--input")?,
    };
    listed.names.truncate(source.count.unwrap_or(usize::MAX));
    check_distinct(&listed.names, |i| listed.own(i), "--input")?;
    let others = source.originals.map(|place| Listed::at(Path::new(place), "--originals")).transpose()?;
    if let Some(others) = &others {
        check_distinct(&others.names, |i| others.own(i), "--originals")?;
    }
    let made = listed.names.iter().enumerate().map(|(number, name)| {
        let (name, whole) = (name.clone(), listed.read(number)?);
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
fn held_out(name: &str, hearing: &Hearing) -> Result<Listed, Error> {
    let own = hearing.data.path.is_none() && hearing.data.name.as_deref() == Some(name);
    let classes = if own { hearing.data.classes.clone() } else { Vec::new() };
    let (_, kept, _) = sound::libraries(&DataConfig { classes, ..DataConfig::named(name) }, &hearing.task)?;
    let plain = |name: &str| {
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let (clips, rate) = (kept.clips(), hearing.task.mel.rate);
    let sound = |clip: &data::mixture::Clip| (clip.name.clone(), Sound::mono(rate, clip.samples.clone()));
    Ok(Listed {
        names: clips.iter().map(|clip| plain(&clip.name)).collect(),
        content: Content::Clips(clips.iter().map(sound).collect()),
    })
}

/// Recordings by name, of which files have not been read yet.
struct Listed {
    /// For files; those that are wanted, the first of the content's.
    names: Vec<String>,
    content: Content,
}

enum Content {
    One(PathBuf),
    Folder(Recordings),
    Clips(Vec<(String, Sound)>),
}

impl Listed {
    /// What lies at `place`; `option` names it.
    fn at(place: &Path, option: &str) -> Result<Self, Error> {
        if place.is_file() {
            let name = place.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Self { names: vec![name], content: Content::One(place.to_path_buf()) });
        }
        let found =
            recordings(&place.display().to_string()).map_err(|error| Error::Failure(format!("{option}: {error}")))?;
        let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).replace(['/', '\\'], "_");
        let mut stems: BTreeMap<String, usize> = BTreeMap::new();
        found.found.iter().for_each(|one| *stems.entry(stem(&one.name)).or_default() += 1);
        let name = |one: &data::sounds::Recording| match stems[&stem(&one.name)] {
            1 => stem(&one.name),
            // `a.wav` beside `a.flac`: both keep their endings.
            _ => one.name.replace(['/', '\\'], "_").replace('.', "-"),
        };
        Ok(Self { names: found.found.iter().map(name).collect(), content: Content::Folder(found) })
    }

    /// What number `i` is called where it lies.
    fn own(&self, i: usize) -> String {
        match &self.content {
            Content::One(place) => place.display().to_string(),
            Content::Folder(found) => found.found[i].name.clone(),
            Content::Clips(clips) => clips[i].0.clone(),
        }
    }

    /// The sound of number `i`.
    fn read(&self, i: usize) -> Result<Sound, Error> {
        match &self.content {
            Content::One(place) => Ok(audio::read(place)?.sound),
            Content::Folder(found) => Ok(sound::read(found, &found.found[i])?.sound),
            Content::Clips(clips) => Ok(clips[i].1.clone()),
        }
    }
}

/// The original of `name` among `others`, which must be as long, as fast and of as many channels.
fn original(name: &str, torn: &Sound, others: &Listed, place: &str) -> Result<Sound, Error> {
    let usage = |why: String| Err(Error::Usage(format!("--originals {place}: {why}")));
    let Some(number) = others.names.iter().position(|other| other == name) else {
        return usage(format!(
            "there is no original called {name} (originals have the names of the recordings with a gap)"
        ));
    };
    let found = others.read(number)?;
    let form = |sound: &Sound| (sound.channels.len(), sound.frames(), sound.rate);
    if form(&found) != form(torn) {
        let [(a, b, c), (d, e, f)] = [form(&found), form(torn)];
        return usage(format!(
            "{name} has {a} channels of {b} samples at {c} Hz there, and {d} of {e} at {f} Hz in --input"
        ));
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::recipe::Separate;
    use media::audio::Depth;

    pub(in crate::restoring) fn hearing() -> Hearing {
        Hearing { task: Separate::default(), data: DataConfig::named("nothing") }
    }

    pub(in crate::restoring) fn source<'a>(input: &'a str, degrade: bool, originals: Option<&'a str>) -> Source<'a> {
        Source { input, degrade, originals, count: None, resize: false, noise: 0.0, seed: 0 }
    }

    /// Only what is asked for is read, and no two results have one name.
    ///
    /// Mutants: the folder read whole; names compared before `/` became `_`; endings kept in one of two.
    #[test]
    fn what_is_not_asked_for_is_not_read_and_names_are_one_each() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let sound = Sound::mono(16_000, vec![0.1; 16_000]);
            audio::write(&folder.path().join(name), &sound, Depth::Int16).unwrap();
        };
        put("one/a.wav");
        std::fs::write(folder.path().join("one/b.wav"), b"RIFF\0\0\0\0WAVE").unwrap();
        let gap = Gap::parse("0.1", 0).unwrap();
        let one = folder.path().join("one").display().to_string();
        let found = |input: &str, count| {
            let found = read(&Source { count, ..source(input, true, None) }, &gap, &hearing());
            found.map(|(_, found)| found.into_iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(found(&one, Some(1)).unwrap(), ["a"]);
        assert!(found(&one, Some(2)).unwrap_err().to_string().contains("b.wav"));
        for files in [["two/x/a.wav", "two/x_a.wav"].as_slice(), &["three/a.wav", "three/a.flac", "three/a-wav.wav"]] {
            files.iter().for_each(|file| put(file));
            let place = folder.path().join(files[0].split('/').next().unwrap()).display().to_string();
            let error = found(&place, None).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("would both be called"), "{error}");
            assert_eq!(found(&place, Some(1)).unwrap().len(), 1);
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
