//! The recordings that are separated, what is worth saying of each, and what its outputs are called.

use super::same;
use crate::Error;
use media::audio::{self, Levels, Sound};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A recording, and what the names of its outputs begin with.
pub(super) struct Input {
    pub path: PathBuf,
    pub name: String,
}

/// The recordings at `input`, in name order.
pub(super) fn inputs(input: &Path, output: &Path, queries: &[String]) -> Result<Vec<Input>, Error> {
    for (i, query) in queries.iter().enumerate() {
        if let Some(before) = queries[..i].iter().find(|before| slug(before) == slug(query)) {
            return Err(Error::Usage(format!(
                "--query \"{query}\" and \"{before}\" would be written to the same file"
            )));
        }
    }
    let paths = if input.is_dir() { in_folder(input, output)? } else { vec![input.to_path_buf()] };
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    paths.iter().for_each(|path| *stems.entry(stem(path)).or_default() += 1);
    let named = |path: PathBuf| {
        // `a.wav` beside `a.flac`: both keep their endings.
        let name = match stems[&stem(&path)] {
            1 => stem(&path),
            _ => path.file_name().unwrap_or_default().to_string_lossy().replace('.', "-"),
        };
        Input { path, name }
    };
    Ok(paths.into_iter().map(named).collect())
}

fn in_folder(input: &Path, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let place = input.display();
    if same(input, output) {
        return Err(Error::Usage(format!(
            "--output {place}: the outputs would lie among the recordings; give another folder"
        )));
    }
    let unread = |error: std::io::Error| Error::Failure(format!("{place}: {error}"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(input).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.is_file() && audio::is_sound(&path) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Error::Usage(format!("--input {place}: no WAV, FLAC, Ogg or MP3 file lies in it")));
    }
    Ok(found)
}

/// The recording at `path`, and what is worth saying of it.
pub(super) fn read(path: &Path) -> Result<(Sound, Vec<String>), Error> {
    let reading = audio::read(path)?;
    let mut said = Levels::of(&reading.sound).complaints();
    if reading.damaged > 0 {
        said.push(format!("{} damaged packets passed over", reading.damaged));
    }
    Ok((reading.sound, said))
}

/// A query as part of a file's name.
pub(super) fn slug(query: &str) -> String {
    let words: Vec<String> =
        query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let name: String = words.join("-").chars().take(60).collect();
    if name.is_empty() { "query".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_do_not_meet() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a.wav", "a.FLAC", "b.mp3", "notes.txt"] {
            std::fs::write(root.path().join(name), "x").unwrap();
        }
        let out = root.path().join("out");
        let of =
            |queries: &[&str]| inputs(root.path(), &out, &queries.iter().map(|q| q.to_string()).collect::<Vec<_>>());
        let names: Vec<String> = of(&["x"]).unwrap().into_iter().map(|input| input.name).collect();
        assert_eq!(names, ["a-FLAC", "a-wav", "b"]);
        assert!(of(&["A bell!", "a  bell"]).err().unwrap().to_string().contains("same file"));
        let q = ["x".to_string()];
        assert!(inputs(root.path(), root.path(), &q).err().unwrap().to_string().contains("another folder"));
        let none = tempfile::tempdir().unwrap();
        assert!(inputs(none.path(), &out, &q).err().unwrap().to_string().contains("no WAV"));
        assert_eq!((slug("A bell/../x"), slug("ü?"), slug("?")), ("a-bell-x".into(), "ü".into(), "query".into()));
        assert_eq!(slug(&"long ".repeat(500)).chars().count(), 60);
    }
}
