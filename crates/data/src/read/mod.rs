//! Readers: each turns a file or folder into a [`Source`], a list of samples whose pixels are still where they lie.

pub(crate) mod cifar;
pub(crate) mod emoji;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod webdataset;

use crate::decode::{Raw, decode};
use crate::{DataError, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a reader found.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) class_names: Vec<String>,
    pub(crate) entries: Vec<Entry>,
    /// Whether the set keeps its test part apart itself, so that nothing need be held out.
    pub(crate) own_split: bool,
    /// Samples of one number stay on one side of a split; empty where each stands for itself.
    pub(crate) groups: Vec<u32>,
}

/// A sample before decoding.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) label: Option<u32>,
    pub(crate) caption: Option<String>,
    pub(crate) pixels: Pixels,
}

/// Where the pixels of a sample lie.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// An image file, with the name it has relative to the data set and its length.
    File { path: PathBuf, name: String, bytes: u64 },
    /// An image file inside a tar.
    Member { tar: Arc<PathBuf>, name: String, offset: u64, bytes: u64 },
    /// Image `index` of an array in memory.
    Row { block: Arc<Block>, index: usize },
}

/// Images of one shape in memory, `[n h w c]`.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    pub(crate) fn image(&self, index: usize) -> &[u8] {
        let size = self.height * self.width * self.channels;
        &self.bytes[index * size..][..size]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / (self.height * self.width * self.channels).max(1)
    }
}

impl Pixels {
    /// The decoded image, of whatever shape it has.
    pub(crate) fn decode(&self) -> Result<Raw> {
        match self {
            Self::File { path, .. } => decode(path, &std::fs::read(path).map_err(|e| DataError::io(path, "read", e))?),
            Self::Member { tar, name, offset, bytes } => {
                let io = |e| DataError::io(tar, "read", e);
                let mut file = File::open(&**tar).map_err(io)?;
                file.seek(SeekFrom::Start(*offset)).map_err(io)?;
                let mut content = Vec::new();
                file.take(*bytes).read_to_end(&mut content).map_err(io)?;
                decode(&tar.join(name), &content)
            }
            Self::Row { block, index } => Ok(Raw {
                pixels: block.image(*index).to_vec(),
                height: block.height,
                width: block.width,
                channels: block.channels,
            }),
        }
    }

    /// Its file's name without ending, relative to the data set: what counterparts in two sets share.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::File { name, .. } | Self::Member { name, .. } => {
                let base = name.rfind('/').map_or(0, |at| at + 1);
                Some(name[base..].rfind('.').map_or(name.as_str(), |dot| &name[..base + dot]))
            }
            Self::Row { .. } => None,
        }
    }

    /// What errors call it.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File { path, .. } => path.clone(),
            Self::Member { tar, name, .. } => tar.join(name),
            Self::Row { block, index } => PathBuf::from(format!("{} (image {index})", block.path.display())),
        }
    }

    /// What stands for the content in the fingerprint of a set that is not decoded at once.
    pub(crate) fn identity(&self) -> Vec<u8> {
        match self {
            Self::File { name, bytes, .. } | Self::Member { name, bytes, .. } => {
                [name.as_bytes(), &bytes.to_le_bytes()].concat()
            }
            Self::Row { block, index } => block.image(*index).to_vec(),
        }
    }
}

/// `bytes`, gunzipped if they begin as gzip does.
pub(crate) fn gunzip(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    match flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(e) => Err(DataError::malformed(path, format!("not a whole gzip file ({e})"), "download or copy it again")),
    }
}

/// Entries for every image of `block`, with `labels` if there are any.
pub(crate) fn rows(block: Block, labels: Option<&[u32]>) -> Vec<Entry> {
    let block = Arc::new(block);
    let entry = |index| Entry {
        label: labels.map(|labels| labels[index]),
        caption: None,
        pixels: Pixels::Row { block: block.clone(), index },
    };
    (0..block.len()).map(entry).collect()
}

/// "0", "1", ... up to the largest of the labels in `path`.
pub(crate) fn numbered_classes(path: &Path, labels: &[u32]) -> Result<Vec<String>> {
    let count = labels.iter().max().map_or(0, |&largest| u64::from(largest) + 1);
    if count > 1_000_000 {
        let what = format!("a label is {}: as a class number that is not plausible", count - 1);
        return Err(DataError::malformed(path, what, "number the classes from 0 without gaps"));
    }
    Ok((0..count).map(|class| class.to_string()).collect())
}
