//! Recordings with their labels: a folder of sound files, or a named set of them.
//!
//! In a folder of one's own, subfolders are labels, as for images; without subfolders a file's name is, without the number at its
//! end. A `.txt` beside a recording is its caption. Nothing here decodes: that is `media::audio`'s.

use crate::fetch::registry::{self, Kind};
use crate::fetch::{cache_dir, is_fetched};
use crate::{DataError, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A recording that has not been read yet.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its path below the folder.
    pub name: String,
    /// What it is a recording of.
    pub label: String,
    /// What is written of it, where something is.
    pub caption: Option<String>,
    content: Where,
}

#[derive(Clone, Debug)]
enum Where {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Recording {
    /// The bytes of its file.
    ///
    /// # Errors
    /// The file has gone or may not be read.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        match &self.content {
            Where::Bytes(bytes) => Ok(bytes.clone()),
            Where::File(path) => fs::read(path).map_err(|e| DataError::io(path, "read", e)),
        }
    }
}

/// The recordings of a place, in name order, and what else lies there.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// Where they were found.
    pub place: PathBuf,
    /// The recordings.
    pub found: Vec<Recording>,
    /// Files that are no sounds.
    pub left_out: Vec<String>,
}

/// The recordings of the named set or folder `name`.
///
/// # Errors
/// No such set or folder; a set that was not fetched or has no recordings; a folder without any.
pub fn recordings(name: &str) -> Result<Recordings> {
    match registry::find(name) {
        Some(set) if set.kind == Kind::Sounds => {
            let cache = cache_dir()?;
            let dir = registry::folder(name, &cache)?;
            if !is_fetched(set, &cache) {
                return Err(DataError::NotFetched { name: name.to_string(), dir });
            }
            let Some(tar) = set.contents.iter().find(|c| c.is_folder()).map(|c| dir.join(c.file)) else {
                let what = format!("`{name}` is a bank of instruments, not a set of recordings");
                return Err(DataError::config("name", what, "`rectiflow data list` shows the sets"));
            };
            in_tar(&tar, name)
        }
        Some(_) => {
            let what = format!("`{name}` is not a set of sounds");
            Err(DataError::config("name", what, "`rectiflow data list` shows the sets"))
        }
        None => in_folder(Path::new(name)),
    }
}

/// The recordings below the folder `place`.
///
/// # Errors
/// As [`recordings`].
pub fn in_folder(place: &Path) -> Result<Recordings> {
    if !place.is_dir() {
        let remedy = "give a folder of recordings, or a named set (`rectiflow data list`)".to_string();
        return Err(DataError::Missing { path: place.to_path_buf(), remedy });
    }
    let mut files = BTreeMap::new();
    walk(place, "", &mut files)?;
    sort(place, files, of_folder)
}

/// Whether the folder `place` is one of recordings: it has some below it, and more of them than pictures.
pub fn are_in(place: &Path) -> bool {
    let mut files = BTreeMap::new();
    if walk(place, "", &mut files).is_err() {
        return false; // whoever opens it as pictures says why
    }
    let picture = |name: &&String| crate::is_picture(Path::new(name.as_str()));
    let (sounds, pictures) = (files.keys().filter(|name| is_sound(name)).count(), files.keys().filter(picture).count());
    sounds > pictures
}

fn walk(folder: &Path, before: &str, files: &mut BTreeMap<String, Where>) -> Result<()> {
    let io = |e| DataError::io(folder, "read", e);
    for item in fs::read_dir(folder).map_err(io)? {
        let item = item.map_err(io)?;
        let (path, kind) = (item.path(), item.file_type().map_err(io)?);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder may lead back to where it lies: it is left out, and said to be.
        if kind.is_dir() {
            walk(&path, &format!("{before}{name}/"), files)?;
        } else {
            files.insert(format!("{before}{name}"), Where::File(path));
        }
    }
    Ok(())
}

fn in_tar(path: &Path, set: &str) -> Result<Recordings> {
    let broken = |e: std::io::Error| DataError::malformed(path, format!("damaged ({e})"), "delete it and fetch again");
    let file = fs::File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let mut archive = tar::Archive::new(std::io::BufReader::new(file));
    let mut files = BTreeMap::new();
    for member in archive.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(broken)?;
        files.insert(name, Where::Bytes(bytes));
    }
    match set {
        "sonic-pi" => sort(path, files, |name, _| sonic_pi(stem(name)).to_owned()),
        "asterisk-prompts" => sort(path, files, |name, _| stem(name).replace(['-', '_'], " ")),
        _ => sort(path, files, |name, caption| caption.map_or_else(|| of_folder(name, None), animal)),
    }
}

fn sort(
    place: &Path,
    files: BTreeMap<String, Where>,
    label: impl Fn(&str, Option<&str>) -> String,
) -> Result<Recordings> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for (name, content) in &files {
        if is_sound(name) {
            let caption = match files.get(&format!("{}.txt", name.rsplit_once('.').map_or(name.as_str(), |(n, _)| n))) {
                Some(text) => first_line(text)?,
                None => None,
            };
            let label = label(name, caption.as_deref());
            found.push(Recording { name: name.clone(), label, caption, content: content.clone() });
        } else if !name.ends_with(".txt") {
            left_out.push(name.clone());
        }
    }
    if found.is_empty() {
        let what = format!("no WAV, FLAC, Ogg or MP3 file among its {} files", files.len());
        return Err(DataError::malformed(place, what, "give a folder of recordings"));
    }
    Ok(Recordings { place: place.to_path_buf(), found, left_out })
}

fn first_line(text: &Where) -> Result<Option<String>> {
    let bytes = match text {
        Where::Bytes(bytes) => bytes.clone(),
        Where::File(path) => fs::read(path).map_err(|e| DataError::io(path, "read", e))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned))
}

fn is_sound(name: &str) -> bool {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    end.is_some_and(|end| ["wav", "flac", "ogg", "oga", "mp3"].contains(&end.as_str()))
}

/// The file's name without folders and ending.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// The first folder, or the name without the number at its end.
fn of_folder(name: &str, _: Option<&str>) -> String {
    let label = match name.split_once('/') {
        Some((folder, _)) => folder,
        None => stem(name).trim_end_matches(|c: char| c.is_ascii_digit() || "-_ ".contains(c)),
    };
    let label = if label.is_empty() { stem(name) } else { label };
    label.replace(['-', '_'], " ")
}

/// "A crow." as "crow".
fn animal(caption: &str) -> String {
    let words = caption.trim_end_matches(['.', '!']).to_lowercase();
    ["a ", "an ", "the "].iter().find_map(|article| words.strip_prefix(article)).unwrap_or(&words).to_owned()
}

/// What the recordings of sonic-pi are of: their names are abbreviations.
fn sonic_pi(stem: &str) -> &'static str {
    const BY_START: [(&str, &str); 27] = [
        ("bd_", "kick drum"),
        ("drum_bass", "kick drum"),
        ("drum_heavy_kick", "kick drum"),
        ("elec_hollow_kick", "kick drum"),
        ("elec_soft_kick", "kick drum"),
        ("sn_", "snare drum"),
        ("drum_snare", "snare drum"),
        ("elec_snare", "snare drum"),
        ("elec_filt_snare", "snare drum"),
        ("elec_hi_snare", "snare drum"),
        ("elec_lo_snare", "snare drum"),
        ("elec_mid_snare", "snare drum"),
        ("drum_cymbal", "cymbal"),
        ("drum_splash", "cymbal"),
        ("elec_cymbal", "cymbal"),
        ("drum_tom", "tom"),
        ("elec_fuzz_tom", "tom"),
        ("tabla_", "tabla"),
        ("perc_bell", "bell"),
        ("drum_cowbell", "bell"),
        ("elec_bell", "bell"),
        ("elec_chime", "bell"),
        ("elec_triangle", "bell"),
        ("guit_", "guitar"),
        ("bass_", "bass"),
        ("ambi_", "ambience"),
        ("loop_", "loop"),
    ];
    let found = BY_START.iter().find(|(start, _)| stem.starts_with(start)).map(|(_, label)| *label);
    found.unwrap_or_else(|| match stem.split('_').next() {
        Some("elec") => "electronic blip",
        Some("perc" | "misc" | "drum") => "percussion",
        Some("vinyl") => "vinyl",
        _ => "glitch",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_names_and_texts_label_recordings() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("wood_pecker/one.wav", "RIFF");
        put("wood_pecker/one.txt", "  a woodpecker at work \nmore");
        put("crow/deep/er.FLAC", "fLaC");
        put("door 12.mp3", "x");
        put("7.ogg", "x");
        put("notes.md", "x");
        put(".hidden.wav", "x");
        let recordings = in_folder(root.path()).unwrap();
        let found: Vec<_> =
            recordings.found.iter().map(|r| (r.name.as_str(), r.label.as_str(), r.caption.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("7.ogg", "7", None),
                ("crow/deep/er.FLAC", "crow", None),
                ("door 12.mp3", "door", None),
                ("wood_pecker/one.wav", "wood pecker", Some("a woodpecker at work")),
            ]
        );
        assert_eq!(recordings.left_out, ["notes.md"]);
        assert_eq!(recordings.found[1].bytes().unwrap(), b"fLaC");
        assert!(are_in(root.path()));
        for name in ["1.png", "2.JPG", "3.png", "4.webp"] {
            put(name, "x");
        }
        assert!(!are_in(root.path()), "as many pictures: a folder of pictures with sounds beside them");
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_back_is_left_out_and_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.wav"), "RIFF").unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        let recordings = in_folder(root.path()).unwrap();
        assert_eq!((recordings.found.len(), recordings.left_out), (1, vec!["again".to_owned()]));
    }

    #[test]
    fn what_is_no_place_of_sounds_is_said() {
        let root = tempfile::tempdir().unwrap();
        assert!(!are_in(root.path()) && !are_in(&root.path().join("nowhere")));
        assert!(in_folder(root.path()).unwrap_err().to_string().contains("no WAV"));
        assert!(in_folder(&root.path().join("x")).unwrap_err().to_string().contains("not found"));
        assert!(recordings("minilm").unwrap_err().to_string().contains("not a set of sounds"));
    }

    #[test]
    fn names_of_the_sets_become_words() {
        assert_eq!(
            (sonic_pi("bd_808"), sonic_pi("elec_lo_snare"), sonic_pi("elec_ping")),
            ("kick drum", "snare drum", "electronic blip")
        );
        assert_eq!(animal("A crow."), "crow");
        assert_eq!(animal("An African elephant!"), "african elephant");
    }
}
