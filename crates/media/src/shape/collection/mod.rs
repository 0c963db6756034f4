//! Many shapes with their captions: a folder of meshes, the LDraw library, catalogues of furniture.

mod furniture;
mod ldraw;

use super::read::{self, Loaded, ldraw::Library};
use crate::MediaError;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// One shape of a collection, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the collection, unlike any other's.
    pub name: String,
    /// What it shows, in words.
    pub caption: String,
    /// Its class: the first word of an LDraw caption, a piece of furniture's category, a mesh's sub-folder.
    pub class: String,
    /// What all variants of one shape share: whoever holds shapes out holds out whole families.
    pub family: String,
}

/// Where the meshes of a collection lie.
enum Source {
    Files(Vec<PathBuf>),
    Ldraw(Library),
    Furniture(Vec<furniture::Catalogue>),
}

/// A set of shapes.
pub struct Collection {
    entries: Vec<Entry>,
    notes: Vec<String>,
    source: Source,
}

/// Folders may lie in one another so deep.
const DEPTH: usize = 12;

impl Collection {
    /// The collection at `path`: a folder with `ldraw.tar`, `parts` or `.sh3f` files, one of these, or a folder of meshes, whose
    /// sub-folders are classes.
    ///
    /// # Errors
    /// A path that is none of these or cannot be read; a folder without a mesh.
    pub fn open(path: &Path) -> Result<Self, MediaError> {
        std::fs::metadata(path).map_err(MediaError::io("read", path))?;
        let tar = path.join("ldraw.tar");
        if path.join("parts").is_dir() || tar.is_file() || has_ending(path, "tar") {
            let library = Library::open(if tar.is_file() { &tar } else { path })?;
            let (entries, notes) = ldraw::entries(&library)?;
            return Ok(Self { entries, notes, source: Source::Ldraw(library) });
        }
        let files = if path.is_dir() { files(path)? } else { vec![path.to_path_buf()] };
        let catalogues: Vec<&PathBuf> = files.iter().filter(|file| has_ending(file, "sh3f")).collect();
        if !catalogues.is_empty() {
            let (entries, catalogues, notes) = furniture::entries(&catalogues)?;
            return Ok(Self { entries, notes, source: Source::Furniture(catalogues) });
        }
        Self::of_files(path, files)
    }

    fn of_files(root: &Path, files: Vec<PathBuf>) -> Result<Self, MediaError> {
        let (meshes, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| read::ENDINGS.iter().any(|ending| has_ending(file, ending)));
        if meshes.is_empty() {
            let reason = format!("there is no mesh ({}) in it", read::ENDINGS.join(", "));
            return Err(MediaError::Format { kind: "collection", path: root.into(), reason });
        }
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let entry = |file: &PathBuf| {
            let inside = file.strip_prefix(root).unwrap_or(file);
            let class = text(inside.parent().and_then(Path::file_name));
            let stem = text(inside.file_stem());
            Entry {
                name: inside.display().to_string(),
                caption: stem.replace(['_', '-'], " "),
                class,
                family: stem.trim_end_matches(|c: char| c.is_ascii_digit()).to_string(),
            }
        };
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for other in &others {
            *kinds
                .entry(other.extension().map_or("no ending".into(), |e| format!(".{}", e.to_string_lossy())))
                .or_default() += 1;
        }
        let notes =
            kinds.iter().map(|(kind, count)| format!("left out: {count} files ({kind}) that are no meshes")).collect();
        Ok(Self { entries: meshes.iter().map(entry).collect(), notes, source: Source::Files(meshes) })
    }

    /// Its shapes, in order of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same for the same names, captions, classes and, of single files, sizes and times: what a copy made of it rests on.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        for entry in &self.entries {
            (&entry.name, &entry.caption, &entry.class).hash(&mut hash);
        }
        if let Source::Files(files) = &self.source {
            for facts in files.iter().filter_map(|file| std::fs::metadata(file).ok()) {
                (facts.len(), facts.modified().ok()).hash(&mut hash);
            }
        }
        hash.finish()
    }

    /// What was left out, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads shape `i`.
    ///
    /// # Errors
    /// As [`read::read`].
    pub fn load(&self, i: usize) -> Result<Loaded, MediaError> {
        let entry = &self.entries[i];
        let loaded = match &self.source {
            Source::Files(paths) => read::read(&paths[i]),
            Source::Ldraw(library) => {
                let path = Path::new(&entry.name);
                let gone = || std::io::Error::new(std::io::ErrorKind::NotFound, "it is no longer in the library");
                let bytes = library.bytes(&entry.name)?.ok_or_else(gone).map_err(MediaError::io("read", path))?;
                read::decode(&bytes, path, library)
            }
            Source::Furniture(catalogues) => furniture::load(catalogues, &entry.name),
        }?;
        Ok(Loaded { caption: Some(entry.caption.clone()), ..loaded })
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.to_string_lossy().eq_ignore_ascii_case(ending))
}

/// All files below `folder` whose names do not begin with a dot, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, MediaError> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for item in std::fs::read_dir(&folder).map_err(MediaError::io("read", &folder))? {
            let item = item.map_err(MediaError::io("read", &folder))?;
            let path = item.path();
            if item.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth < DEPTH {
                    open.push((path, depth + 1));
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
