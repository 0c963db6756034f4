//! The bytes of a checkpoint file: a safetensors header with our metadata, the tensors, and one checksum over all.
//!
//! The checksum stands in the header as eight hexadecimal digits and is computed over the whole file with those eight
//! bytes read as zeros, so that no byte of the file can change unnoticed, padding and length prefix included.

use super::CheckpointError;
use crate::params::Info;
use base::TensorData;
use burn::tensor::DType;
use crc32c::crc32c_append;
use kernels::{Mapped, Precision};
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Value of the metadata key `format`; the number after the slash grows when older readers would misread the file.
pub const FORMAT: &str = "rectiflow.checkpoint/1";

const CRC_KEY: &str = "\"crc32c\":\"";
const CRC_BLANK: &str = "00000000";
/// No header of ours comes near this; a larger length means the file is something else.
const MAX_HEADER: u64 = 100 << 20;

/// What a checkpoint says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Samples seen: where the data stream continues.
    pub images: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Seconds of training so far; only runs limited by time store it, so that others are reproducible to the bit.
    pub seconds: Option<f64>,
    /// Seed of the run.
    pub seed: u64,
    /// The resolved recipe, as text.
    pub recipe: String,
    /// Fingerprint of the training data.
    pub data: String,
    /// The path, as its configuration in JSON.
    pub path: String,
    /// The parameterization, as its configuration in JSON.
    pub parameterization: String,
    /// Operands of products while it was trained. Files say it only where it is not f32.
    pub precision: Precision,
    /// Decays of the averages in the file, primary first.
    pub ema: Vec<f64>,
    /// Checksum of the file with the weights that these correct, where they are corrections.
    pub frozen: Option<String>,
    /// Anything else, for instance the stage of a demo. Keys of this struct's other fields may not be used.
    pub extra: BTreeMap<String, String>,
}

impl Meta {
    fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = self.extra.clone();
        let decays: Vec<String> = self.ema.iter().map(f64::to_string).collect();
        let mut put = |key: &str, value: String| map.insert(key.to_string(), value);
        put("format", FORMAT.to_string());
        put("images", self.images.to_string());
        put("steps", self.steps.to_string());
        put("seed", self.seed.to_string());
        put("recipe", self.recipe.clone());
        put("data", self.data.clone());
        put("path", self.path.clone());
        put("parameterization", self.parameterization.clone());
        put("ema", decays.join(","));
        if self.precision != Precision::default() {
            put("precision", self.precision.name().to_string());
        }
        if let Some(frozen) = &self.frozen {
            put("frozen", frozen.clone());
        }
        if let Some(seconds) = self.seconds {
            put("seconds", seconds.to_string());
        }
        map
    }

    fn from_map(mut map: BTreeMap<String, String>) -> Result<Self, String> {
        fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
            text.parse().map_err(|_| format!("metadata key `{key}` is `{text}`, not a number"))
        }
        map.remove("crc32c");
        let mut take = |key: &str| map.remove(key).ok_or_else(|| format!("metadata key `{key}` is missing"));
        let format = take("format")?;
        if format != FORMAT {
            return Err(format!("its format is `{format}`, this program reads `{FORMAT}`"));
        }
        let ema = take("ema")?;
        let precision = take("precision").unwrap_or_else(|_| Precision::default().name().to_string());
        let unknown = || format!("metadata key `precision` is `{precision}`, this program knows f32 and bf16");
        let mut meta = Self {
            images: number("images", &take("images")?)?,
            steps: number("steps", &take("steps")?)?,
            seed: number("seed", &take("seed")?)?,
            recipe: take("recipe")?,
            data: take("data")?,
            path: take("path")?,
            parameterization: take("parameterization")?,
            precision: Precision::parse(&precision).ok_or_else(unknown)?,
            ema: ema.split(',').filter(|d| !d.is_empty()).map(|d| number("ema", d)).collect::<Result<_, _>>()?,
            frozen: take("frozen").ok(),
            seconds: take("seconds").ok().map(|s| number("seconds", &s)).transpose()?,
            extra: BTreeMap::new(),
        };
        meta.extra = map;
        Ok(meta)
    }
}

/// A tensor on its way into a file.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Full name, prefix included.
    pub info: Info,
    /// Values, `f32`; `f16` or `bf16` in files that nothing is trained from.
    pub data: TensorData,
}

/// Writes `blobs` and `meta` as one safetensors file; returns the number of bytes.
pub fn encode(meta: &Meta, blobs: &[Blob], to: &mut impl Write) -> std::io::Result<u64> {
    let mut order: Vec<&Blob> = blobs.iter().collect();
    order.sort_by(|a, b| a.info.name.cmp(&b.info.name));

    let mut header = serde_json::Map::new();
    let mut strings = meta.to_map();
    strings.insert("crc32c".to_string(), CRC_BLANK.to_string());
    header.insert("__metadata__".to_string(), serde_json::json!(strings));
    let mut end = 0u64;
    for blob in &order {
        let start = end;
        end += blob.data.as_bytes().len() as u64;
        let entry =
            serde_json::json!({"dtype": stored(&blob.data)?, "shape": blob.info.shape, "data_offsets": [start, end]});
        header.insert(blob.info.name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let length = (header.len() as u64).to_le_bytes();
    let mut crc = crc32c_append(crc32c_append(0, &length), &header);
    for blob in &order {
        crc = crc32c_append(crc, blob.data.as_bytes());
    }
    let place = crc_place(&header).ok_or_else(|| std::io::Error::other("the header lost its checksum key"))?;
    header[place..place + 8].copy_from_slice(format!("{crc:08x}").as_bytes());

    to.write_all(&length)?;
    to.write_all(&header)?;
    for blob in &order {
        to.write_all(blob.data.as_bytes())?;
    }
    Ok(8 + header.len() as u64 + end)
}

/// What a file calls the type of `data`.
fn stored(data: &TensorData) -> std::io::Result<safetensors::Dtype> {
    match data.dtype() {
        DType::F32 => Ok(safetensors::Dtype::F32),
        DType::F16 => Ok(safetensors::Dtype::F16),
        DType::BF16 => Ok(safetensors::Dtype::BF16),
        other => Err(std::io::Error::other(format!("checkpoints hold no {other:?} numbers"))),
    }
}

/// Where the eight digits of the checksum stand in a header. Quotes inside strings are escaped in JSON, so the key
/// with its quotes cannot occur inside a recipe.
fn crc_place(header: &[u8]) -> Option<usize> {
    let key = CRC_KEY.as_bytes();
    let place = header.windows(key.len()).position(|w| w == key)? + key.len();
    (place + 8 < header.len() && header[place + 8] == b'"').then_some(place)
}

/// An open checkpoint whose every byte has been checked.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    file: Mapped,
    start: usize,
    header: Metadata,
    meta: Meta,
    checksum: u32,
}

impl Checkpoint {
    /// Opens `path` and checks its structure and checksum. The file is mapped: its tensors are read where they lie.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref().to_path_buf();
        let io = |error| CheckpointError::Io { action: "read", path: path.clone(), error };
        let file = Mapped::open(&File::open(&path).map_err(io)?).map_err(io)?;
        Self::of(path, file)
    }

    /// As [`open`](Self::open), of bytes that are in the program; messages call them `name`.
    pub fn inside(name: &str, bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        Self::of(PathBuf::from(name), Mapped::inside(bytes))
    }

    fn of(path: PathBuf, file: Mapped) -> Result<Self, CheckpointError> {
        let foreign = |reason: String| CheckpointError::Foreign { path: path.clone(), reason };
        let truncated = |expected: usize, found: usize| CheckpointError::Truncated {
            path: path.clone(),
            expected: expected as u64,
            found: found as u64,
        };
        let Some((length, rest)) = file.bytes().split_first_chunk::<8>() else {
            return Err(truncated(8, file.bytes().len()));
        };
        let header_length = u64::from_le_bytes(*length);
        if header_length > MAX_HEADER {
            return Err(foreign("its first bytes are not a safetensors header".to_string()));
        }
        let start = 8 + header_length as usize;
        let Some((header, tensors)) = rest.split_at_checked(header_length as usize) else {
            return Err(truncated(start, file.bytes().len()));
        };
        let mut bytes = header.to_vec();
        let header: Metadata =
            serde_json::from_slice(&bytes).map_err(|e| foreign(format!("its safetensors header is invalid: {e}")))?;
        let strings = header.metadata().clone().unwrap_or_default();
        let end = header.tensors().values().map(|t| t.data_offsets.1).max().unwrap_or(0);

        let place = crc_place(&bytes).ok_or_else(|| foreign("it has no `crc32c` in its metadata".to_string()))?;
        let digits = String::from_utf8_lossy(&bytes[place..place + 8]).into_owned();
        let expected = u32::from_str_radix(&digits, 16)
            .map_err(|_| foreign(format!("its `crc32c` is `{digits}`, not eight hexadecimal digits")))?;
        if tensors.len() < end {
            return Err(truncated(start + end, file.bytes().len()));
        }
        bytes[place..place + 8].copy_from_slice(CRC_BLANK.as_bytes());
        let found = crc32c_append(crc32c_append(crc32c_append(0, length), &bytes), tensors);
        if found != expected || digits != format!("{expected:08x}") {
            return Err(CheckpointError::Damaged { path, expected, found });
        }
        let meta = Meta::from_map(strings.into_iter().collect()).map_err(foreign)?;
        Ok(Self { path, file, start, header, meta, checksum: found })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the checkpoint says about itself.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The file's checksum, as eight hexadecimal digits.
    pub fn checksum(&self) -> String {
        format!("{:08x}", self.checksum)
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// Names and shapes of all tensors whose name starts with `prefix`, without it, in order of name.
    pub fn infos(&self, prefix: &str) -> Vec<Info> {
        let tensors = self.header.tensors();
        let mut infos: Vec<Info> = tensors
            .iter()
            .filter_map(|(name, t)| Some(Info::new(name.strip_prefix(prefix)?, t.shape.clone())))
            .collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Values of the tensor `name` (prefix included), `[n]` in row-major order, `f32`: in the file's own memory where they are
    /// stored so, else widened.
    pub fn read(&self, name: &str) -> Result<TensorData, CheckpointError> {
        let len = self.header.info(name).map_or(0, |info| info.shape.iter().product());
        self.shaped(name, &[len])
    }

    /// As [`read`](Self::read), in the numbers of the file: halves stay halves.
    pub fn stored(&self, name: &str) -> Result<TensorData, CheckpointError> {
        let len = self.header.info(name).map_or(0, |info| info.shape.iter().product());
        self.lying(name, &[len])
    }

    /// As [`read`](Self::read), in a shape of as many numbers.
    pub fn shaped(&self, name: &str, shape: &[usize]) -> Result<TensorData, CheckpointError> {
        let data = self.lying(name, shape)?;
        Ok(if data.dtype() == DType::F32 { data } else { data.convert_dtype(DType::F32) })
    }

    /// Where and as it lies in the file.
    fn lying(&self, name: &str, shape: &[usize]) -> Result<TensorData, CheckpointError> {
        let absent = || CheckpointError::Absent {
            path: self.path.clone(),
            what: format!("tensor `{name}`"),
            available: format!("{} tensors", self.header.tensors().len()),
        };
        let info = self.header.info(name).ok_or_else(absent)?;
        let (begin, end) = info.data_offsets;
        let len = info.shape.iter().product::<usize>();
        let refused = || {
            let reason = format!("tensor `{name}` is {:?} {:?} in {} bytes", info.dtype, info.shape, end - begin);
            CheckpointError::Foreign { path: self.path.clone(), reason }
        };
        let (dtype, size) = match info.dtype {
            safetensors::Dtype::F32 => (DType::F32, 4),
            safetensors::Dtype::F16 => (DType::F16, 2),
            safetensors::Dtype::BF16 => (DType::BF16, 2),
            _ => return Err(refused()),
        };
        if end - begin != size * len || len != shape.iter().product::<usize>() {
            return Err(refused());
        }
        let range = self.start + begin..self.start + end;
        Ok(match dtype {
            DType::F32 => self.file.tensor(range, shape),
            short => self.file.typed(range, shape, short),
        })
    }
}
