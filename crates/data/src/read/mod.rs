//! Readers: each turns a file or folder into a [`Source`], a list of samples whose pixels are still where they lie.

mod annotation;
mod array;
mod caught;
pub(crate) mod cifar;
pub(crate) mod emoji;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod layout;
pub(crate) mod npy;
pub(crate) mod parquet;
mod table;
pub(crate) mod tree;
pub(crate) mod webdataset;

use crate::decode::{Header, Raw, decode, header};
use crate::found::Found;
use crate::{DataConfig, DataError, Result, Sample, Split, Values};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is asked of a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) split: Split,
    /// Whether what cannot be used is passed over instead of refused.
    pub(crate) skip: bool,
    pub(crate) limits: Limits,
}

/// What one file may cost: small files can unpack to more than a machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Pixels of an image.
    pub(crate) pixels: u64,
    /// Bytes of a file, and of what it unpacks to.
    pub(crate) bytes: u64,
}

impl Ask {
    pub(crate) fn of(config: &DataConfig) -> Self {
        let pixels = (config.max_megapixels as u64).saturating_mul(1_000_000);
        let limits = Limits { pixels, bytes: (config.max_file_mib as u64).saturating_mul(1 << 20) };
        Self { split: config.split, skip: config.skip_unreadable, limits }
    }
}

impl Limits {
    /// The content of the file `path`.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let io = |e| DataError::io(path, "read", e);
        self.unpacked(path, std::fs::metadata(path).map_err(io)?.len())?;
        std::fs::read(path).map_err(io)
    }

    /// `bytes`, gunzipped if they begin as gzip does.
    pub(crate) fn gunzip(&self, path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(bytes);
        }
        let mut plain = Vec::new();
        let reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
        match reader.take(self.bytes.saturating_add(1)).read_to_end(&mut plain) {
            Ok(length) => self.unpacked(path, length as u64).map(|()| plain),
            Err(e) => {
                Err(DataError::malformed(path, format!("not a whole gzip file ({e})"), "download or copy it again"))
            }
        }
    }

    /// Refuses `bytes` beyond the limit, to which `path` would unpack.
    pub(crate) fn unpacked(&self, path: &Path, bytes: u64) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let what = format!("more than data.max_file_mib = {} MiB once it is read", self.bytes >> 20);
        Err(DataError::malformed(path, what, "raise that limit if the machine has the memory, or leave the file out"))
    }
}

/// What a reader found.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) class_names: Vec<String>,
    pub(crate) entries: Vec<Entry>,
    /// Whether the set keeps its test part apart itself, so that nothing need be held out.
    pub(crate) own_split: bool,
    /// Samples of one number stay on one side of a split; empty where each stands for itself.
    pub(crate) groups: Vec<u32>,
    /// What is there besides and not used.
    pub(crate) found: Found,
}

/// A sample before decoding.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) label: Option<u32>,
    pub(crate) caption: Option<String>,
    pub(crate) pixels: Pixels,
}

impl Entry {
    /// The sample, of `raw` pixels, which must have `shape` `[c h w]`.
    pub(crate) fn sample(&self, raw: Raw, shape: [usize; 3]) -> Result<Sample> {
        self.saying(self.caption.clone(), raw, shape)
    }

    /// The same, of an entry that is needed no more: captions of a large set are not held twice.
    pub(crate) fn into_sample(mut self, raw: Raw, shape: [usize; 3]) -> Result<Sample> {
        let caption = self.caption.take();
        self.saying(caption, raw, shape)
    }

    fn saying(&self, caption: Option<String>, raw: Raw, shape: [usize; 3]) -> Result<Sample> {
        if [raw.channels, raw.height, raw.width] != shape {
            let [_, height, width] = shape;
            let what = format!("{} x {} pixels, the first image has {width} x {height}", raw.width, raw.height);
            return Err(DataError::malformed(&self.pixels.path(), what, ONE_SIZE));
        }
        let (values, shape) = (Values::Pixels(raw.pixels), shape.into());
        Ok(Sample { values, shape, label: self.label, caption })
    }
}

/// What to do about images of several sizes.
pub(crate) const ONE_SIZE: &str =
    "set `data.size` to bring all images to one size, or give --size to `data show`, `inspect` and `score`";

/// Where the pixels of a sample lie.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// An image file, with the name it has relative to the data set and its length.
    File { path: PathBuf, name: String, bytes: u64 },
    /// An image file inside a tar.
    Member { tar: Arc<PathBuf>, name: String, offset: u64, bytes: u64 },
    /// An image file in a cell of a parquet file: row `row` of the group `group`.
    Cell { file: Arc<parquet::Parquet>, group: usize, row: usize, name: String },
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

    /// The same with rows and columns of every image exchanged.
    pub(crate) fn transposed(self) -> Self {
        let Self { height, width, channels, .. } = self;
        let places = (0..width).flat_map(|x| (0..height).map(move |y| (y * width + x) * channels));
        let places: Vec<usize> = places.flat_map(|at| at..at + channels).collect();
        let bytes = (0..self.len()).flat_map(|index| places.iter().map(move |at| (index, *at)));
        let bytes = bytes.map(|(index, at)| self.image(index)[at]).collect();
        Self { path: self.path, height: width, width: height, channels, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / (self.height * self.width * self.channels).max(1)
    }
}

impl Pixels {
    /// The decoded image, of whatever shape it has.
    pub(crate) fn decode(&self, limits: Limits) -> Result<Raw> {
        match self {
            Self::File { .. } | Self::Member { .. } | Self::Cell { .. } => {
                decode(&self.path(), &self.content(limits)?, limits)
            }
            Self::Row { block, index } => Ok(Raw {
                pixels: block.image(*index).to_vec(),
                height: block.height,
                width: block.width,
                channels: block.channels,
            }),
        }
    }

    /// Its shape, without decoding it.
    pub(crate) fn header(&self, limits: Limits) -> Result<Header> {
        match self {
            Self::File { .. } | Self::Member { .. } | Self::Cell { .. } => {
                header(&self.path(), &self.content(limits)?, limits)
            }
            Self::Row { block, .. } => {
                Ok(Header { height: block.height, width: block.width, channels: block.channels })
            }
        }
    }

    /// The content of its file.
    fn content(&self, limits: Limits) -> Result<Vec<u8>> {
        match self {
            Self::File { path, .. } => limits.read(path),
            Self::Member { tar, name, offset, bytes } => {
                limits.unpacked(&tar.join(name), *bytes)?;
                let io = |e| DataError::io(tar, "read", e);
                let mut file = File::open(&**tar).map_err(io)?;
                file.seek(SeekFrom::Start(*offset)).map_err(io)?;
                let mut content = Vec::new();
                file.take(*bytes).read_to_end(&mut content).map_err(io)?;
                Ok(content)
            }
            Self::Cell { file, group, row, name } => file.content(*group, *row, name, limits),
            Self::Row { block, index } => Ok(block.image(*index).to_vec()),
        }
    }

    /// Its file's name without ending, relative to the data set: what counterparts in two sets share.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::File { name, .. } | Self::Member { name, .. } => {
                let base = name.rfind('/').map_or(0, |at| at + 1);
                Some(name[base..].rfind('.').map_or(name.as_str(), |dot| &name[..base + dot]))
            }
            Self::Cell { name, .. } => Some(name),
            Self::Row { .. } => None,
        }
    }

    /// What errors call it.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File { path, .. } => path.clone(),
            Self::Member { tar, name, .. } => tar.join(name),
            Self::Cell { file, name, .. } => file.path(name),
            Self::Row { block, index } => PathBuf::from(format!("{} (image {index})", block.path.display())),
        }
    }

    /// What stands for the content in the fingerprint of a set that is not decoded at once.
    pub(crate) fn identity(&self) -> Vec<u8> {
        match self {
            Self::File { name, bytes, .. } | Self::Member { name, bytes, .. } => {
                [name.as_bytes(), &bytes.to_le_bytes()].concat()
            }
            Self::Cell { file, group, name, .. } => [name.as_bytes(), &file.bytes(*group)].concat(),
            Self::Row { block, index } => block.image(*index).to_vec(),
        }
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
