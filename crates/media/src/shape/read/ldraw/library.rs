//! Where an LDraw part finds its sub-files: a folder with `parts` and `p`, or a tar of one (what `rectiflow data get ldraw` keeps).

use super::Found;
use super::lines::{self, Source};
use crate::MediaError;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where files are looked for, in LDraw's order: parts and sub-parts, then primitives.
const PLACES: [&str; 2] = ["parts", "p"];

/// An LDraw library. Each sub-file is parsed once.
#[derive(Debug, Default)]
pub struct Library {
    /// Folders with `parts` and `p`, and the folder of the part itself.
    folders: Vec<PathBuf>,
    tar: Option<Tar>,
    parsed: Mutex<HashMap<String, Found>>,
}

/// A tar whose members are read where they lie.
#[derive(Debug)]
struct Tar {
    path: PathBuf,
    /// Begin and length of each member, by its name in small letters.
    members: HashMap<String, (u64, u64)>,
}

impl Library {
    /// The library in the folder or tar at `path`.
    ///
    /// # Errors
    /// A file that cannot be read or is no tar; a folder without `parts`.
    pub fn open(path: &Path) -> Result<Self, MediaError> {
        if path.is_dir() {
            if !path.join("parts").is_dir() {
                let reason = "it has no folder `parts`; give the folder that holds `parts` and `p`".to_string();
                return Err(MediaError::Format { kind: "LDraw library", path: path.into(), reason });
            }
            return Ok(Self { folders: vec![path.into()], ..Self::default() });
        }
        Ok(Self { tar: Some(Tar::open(path)?), ..Self::default() })
    }

    /// What lies around the part at `path`: its own folder, and each folder above it that has `p` or `parts` in it.
    pub fn around(path: &Path) -> Self {
        let own = path.parent().unwrap_or(Path::new(""));
        let whole = std::path::absolute(own).unwrap_or_else(|_| own.into());
        let above = whole.ancestors().filter(|folder| PLACES.iter().any(|place| folder.join(place).is_dir()));
        let folders = std::iter::once(own.to_path_buf()).chain(above.take(4).map(Path::to_path_buf)).collect();
        Self { folders, ..Self::default() }
    }

    /// The names of the parts in `parts`, without its sub-folders, in order.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn parts(&self) -> Result<Vec<String>, MediaError> {
        let mut names = Vec::new();
        for folder in self.folders.iter().map(|folder| folder.join("parts")).filter(|folder| folder.is_dir()) {
            for item in std::fs::read_dir(&folder).map_err(MediaError::io("read", &folder))? {
                let item = item.map_err(MediaError::io("read", &folder))?;
                names.push(item.file_name().to_string_lossy().to_lowercase());
            }
        }
        let tar = self.tar.iter().flat_map(|tar| tar.members.keys());
        names.extend(tar.filter_map(|name| name.strip_prefix("parts/")).map(String::from));
        names.retain(|name| name.ends_with(".dat") && !name.contains('/'));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The bytes of the file `name` (small letters, `/`), wherever it lies.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, MediaError> {
        // The name is text of a file: it must not lead out of the library.
        if name.split('/').any(|part| part == ".." || part.is_empty()) || name.contains(':') {
            return Ok(None);
        }
        for folder in &self.folders {
            for place in [folder.clone(), folder.join("parts"), folder.join("p")] {
                let path = place.join(name);
                if path.is_file() {
                    return std::fs::read(&path).map(Some).map_err(MediaError::io("read", &path));
                }
            }
        }
        let Some(tar) = &self.tar else { return Ok(None) };
        let member = PLACES.iter().find_map(|place| tar.members.get(&format!("{place}/{name}")));
        member.map(|&(start, length)| tar.read(start, length)).transpose()
    }

    /// The parsed file `name`; `None` where the library has none.
    pub(super) fn find(&self, name: &str) -> Result<Found, MediaError> {
        let lock = || self.parsed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = lock().get(name) {
            return Ok(found.clone());
        }
        let bytes = self.bytes(name)?;
        let parse = |bytes: Vec<u8>| -> Result<Arc<Source>, MediaError> {
            let source = lines::parse(&String::from_utf8_lossy(&bytes));
            Ok(Arc::new(source.map_err(|what| super::broken("LDraw", Path::new(name), what))?))
        };
        let found = bytes.map(parse).transpose()?;
        lock().insert(name.into(), found.clone());
        Ok(found)
    }
}

impl Tar {
    fn open(path: &Path) -> Result<Self, MediaError> {
        let file = File::open(path).map_err(MediaError::io("read", path))?;
        let broken = |error: std::io::Error| MediaError::Format {
            kind: "LDraw library",
            path: path.into(),
            reason: format!("it is neither a folder nor a whole tar ({error})"),
        };
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(file);
        for member in archive.entries_with_seek().map_err(broken)? {
            let member = member.map_err(broken)?;
            let name = String::from_utf8_lossy(&member.path_bytes()).to_lowercase();
            members.insert(name, (member.raw_file_position(), member.size()));
        }
        if !members.keys().any(|name| name.starts_with("parts/")) {
            let reason = "it holds no folder `parts`".to_string();
            return Err(MediaError::Format { kind: "LDraw library", path: path.into(), reason });
        }
        Ok(Self { path: path.into(), members })
    }

    fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, MediaError> {
        let io = MediaError::io("read", &self.path);
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(io)
    }
}
