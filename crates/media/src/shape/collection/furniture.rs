//! Catalogues of Sweet Home 3D (.sh3f): a zip of OBJ models with a properties file that names, sorts and measures them.

use super::Entry;
use crate::MediaError;
use crate::shape::read::{self, Loaded, ldraw::Library};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const LIST: &str = "PluginFurnitureCatalog.properties";
/// The largest model of the five Debian catalogues unpacks to some 20 MB; a zip can unfold to any size.
const LARGEST: u64 = 512 << 20;

/// A catalogue and the names its models have in it, by the names of the entries.
pub(super) struct Catalogue {
    path: PathBuf,
    models: BTreeMap<String, String>,
}

type Listed = (Vec<Entry>, Vec<Catalogue>, Vec<String>);

pub(super) fn entries(paths: &[&PathBuf]) -> Result<Listed, MediaError> {
    let (mut all, mut catalogues, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for &path in paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let list = properties(&String::from_utf8_lossy(&member(path, LIST)?));
        let (mut models, mut others) = (BTreeMap::new(), 0);
        for (key, model) in list.iter().filter(|(key, _)| key.starts_with("model#")) {
            let number = &key["model#".len()..];
            let of = |key: &str| list.get(&format!("{key}#{number}")).cloned().unwrap_or_default();
            if !model.to_lowercase().ends_with(".obj") {
                others += 1;
                continue;
            }
            let name = format!("{stem}/{}", model.trim_start_matches('/'));
            let caption = of("name");
            let family = caption.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_string();
            models.insert(name.clone(), model.trim_start_matches('/').to_string());
            all.push(Entry { name, caption, class: of("category"), family });
        }
        if others > 0 {
            notes.push(format!("left out: {others} models of {stem} that are no .obj"));
        }
        catalogues.push(Catalogue { path: path.clone(), models });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let before = all.len();
    all.dedup_by(|a, b| a.name == b.name);
    if before > all.len() {
        notes.push(format!("left out: {} entries whose model another entry shows", before - all.len()));
    }
    Ok((all, catalogues, notes))
}

pub(super) fn load(catalogues: &[Catalogue], name: &str) -> Result<Loaded, MediaError> {
    let found = catalogues.iter().find_map(|catalogue| Some((catalogue, catalogue.models.get(name)?)));
    let gone = || std::io::Error::new(std::io::ErrorKind::NotFound, "no catalogue has it");
    let (catalogue, model) = found.ok_or_else(gone).map_err(MediaError::io("read", Path::new(name)))?;
    read::decode(&member(&catalogue.path, model)?, Path::new(name), &Library::default())
}

/// The bytes of one file of the zip.
fn member(path: &Path, name: &str) -> Result<Vec<u8>, MediaError> {
    let fail = |reason: String| MediaError::Format { kind: "furniture catalogue", path: path.into(), reason };
    let file = File::open(path).map_err(MediaError::io("read", path))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| fail(error.to_string()))?;
    let member = archive.by_name(name).map_err(|error| fail(format!("{name}: {error}")))?;
    let mut bytes = Vec::new();
    member.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| fail(format!("{name}: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(fail(format!("{name} unpacks to more than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// Java properties: `key=value` lines with `\uXXXX` escapes.
fn properties(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let mut plain = String::new();
        let mut rest = value.trim();
        while let Some(at) = rest.find('\\') {
            plain.push_str(&rest[..at]);
            let code = rest.get(at + 2..at + 6).filter(|_| rest[at + 1..].starts_with('u'));
            match code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32) {
                Some(letter) => {
                    plain.push(letter);
                    rest = &rest[at + 6..];
                }
                None => rest = &rest[at + 1..],
            }
        }
        plain.push_str(rest);
        Some((key.trim().to_string(), plain))
    };
    text.lines().filter(|text| !text.trim_start().starts_with('#')).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_broken_ones_do_no_harm() {
        let list = properties("# a=b\nname#1=Fen\\u00eatre \\\nname#2 = \\u00zz ende\\\nnonsense\n");
        assert_eq!(list["name#1"], "Fenêtre ");
        assert_eq!(list["name#2"], "u00zz ende");
        assert_eq!(list.len(), 2);
    }
}
