//! TensorBoard event files: protocol buffers in TFRecord frames.
//!
//! A frame is the length (`u64`), the masked CRC-32C of those eight bytes, the record, and the masked CRC-32C of the
//! record, all little-endian. The messages carry only the fields this project writes; field numbers are those of
//! TensorFlow's `event.proto` and `summary.proto`.

use super::numbers::numbers;
use crate::TrainError;
use crate::event::{Event, Observer};
use prost::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct EventMessage {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Samples seen.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// File version or summary.
    #[prost(oneof = "What", tags = "3, 5")]
    pub what: Option<What>,
}

/// Content of a record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// First record of every file: `brain.Event:2`.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Values.
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// Values of one step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A named value.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Name with slashes for groups: `train/loss`.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// The value.
    #[prost(oneof = "Datum", tags = "2, 4, 8")]
    pub datum: Option<Datum>,
    /// Who shows it; numbers and images need not say.
    #[prost(message, tag = "9")]
    pub metadata: Option<Metadata>,
}

/// Who shows a value.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// The part of TensorBoard.
    #[prost(message, tag = "1")]
    pub plugin: Option<Plugin>,
}

/// A part of TensorBoard.
#[derive(Clone, PartialEq, Message)]
pub struct Plugin {
    /// Its name: `text`.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A number, an image or strings.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Datum {
    /// A number.
    #[prost(float, tag = "2")]
    Scalar(f32),
    /// An encoded image.
    #[prost(message, tag = "4")]
    Image(Image),
    /// Strings.
    #[prost(message, tag = "8")]
    Strings(Strings),
}

/// A TensorFlow tensor of strings.
#[derive(Clone, PartialEq, Message)]
pub struct Strings {
    /// 7, TensorFlow's number of this type.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Its lengths; none, a single string.
    #[prost(message, tag = "2")]
    pub shape: Option<Lengths>,
    /// The strings.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub values: Vec<Vec<u8>>,
}

/// Lengths of a tensor that has none.
#[derive(Clone, PartialEq, Message)]
pub struct Lengths {}

/// An encoded image.
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    /// Height in pixels.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Width in pixels.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 1 grey, 3 RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// PNG bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// TensorFlow's number of strings.
const STRING: i32 = 7;

/// A file of events, flushed after every record.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl EventFile {
    /// Creates `events.out.tfevents.<seconds>.rectiflow` in `folder`. A resumed run writes a new file beside the
    /// old one; TensorBoard joins them.
    pub fn create(folder: &Path) -> Result<Self, TrainError> {
        let seconds = wall_time() as u64;
        for n in 0.. {
            let path = folder.join(format!("events.out.tfevents.{}.rectiflow", seconds + n));
            match File::create_new(&path) {
                Ok(file) => {
                    let mut this = Self { path, writer: BufWriter::new(file) };
                    this.write(0, What::FileVersion("brain.Event:2".to_string()))?;
                    return Ok(this);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(TrainError::io("create", path)(e)),
            }
        }
        unreachable!("the loop has no end but its returns")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes numbers at `images` samples seen.
    pub fn scalars(&mut self, images: u64, scalars: &[(&str, f64)]) -> Result<(), TrainError> {
        let value = scalars
            .iter()
            .map(|(tag, v)| Value { tag: tag.to_string(), datum: Some(Datum::Scalar(*v as f32)), metadata: None })
            .collect();
        self.write(images, What::Summary(Summary { value }))
    }

    /// Writes a PNG image of `size` `(width, height)` at `images` images seen.
    pub fn image(&mut self, images: u64, tag: &str, size: (u32, u32), png: Vec<u8>) -> Result<(), TrainError> {
        let image = Image { width: size.0 as i32, height: size.1 as i32, colorspace: 3, encoded: png };
        let value = vec![Value { tag: tag.to_string(), datum: Some(Datum::Image(image)), metadata: None }];
        self.write(images, What::Summary(Summary { value }))
    }

    /// Writes a text, which is shown as Markdown, at `images` samples seen.
    pub fn text(&mut self, images: u64, tag: &str, text: &str) -> Result<(), TrainError> {
        let strings = Strings { kind: STRING, shape: Some(Lengths {}), values: vec![text.into()] };
        let metadata = Some(Metadata { plugin: Some(Plugin { name: "text".into() }) });
        let value = vec![Value { tag: tag.to_string(), datum: Some(Datum::Strings(strings)), metadata }];
        self.write(images, What::Summary(Summary { value }))
    }

    fn write(&mut self, images: u64, what: What) -> Result<(), TrainError> {
        let event = EventMessage { wall_time: wall_time(), step: images as i64, what: Some(what) };
        let record = frame(&event.encode_to_vec());
        self.writer.write_all(&record).and_then(|()| self.writer.flush()).map_err(TrainError::io("write", &self.path))
    }
}

impl Observer for EventFile {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        if let Some((images, values)) = numbers(event) {
            let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            self.scalars(images, &values)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A TFRecord frame around `record`.
pub fn frame(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(record.len() + 16);
    framed.extend_from_slice(&length);
    framed.extend_from_slice(&masked_crc(&length).to_le_bytes());
    framed.extend_from_slice(record);
    framed.extend_from_slice(&masked_crc(record).to_le_bytes());
    framed
}

/// CRC-32C, rotated and offset so that a checksum of data that contain checksums stays a good one.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads frames back, checking both checksums.
    fn records(mut bytes: &[u8]) -> Vec<EventMessage> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked_crc(&bytes[..8]).to_le_bytes());
            let record = &bytes[12..12 + length];
            assert_eq!(bytes[12 + length..16 + length], masked_crc(record).to_le_bytes());
            events.push(EventMessage::decode(record).unwrap());
            bytes = &bytes[16 + length..];
        }
        events
    }

    #[test]
    fn the_checksum_is_castagnoli_and_the_mask_is_tfrecords() {
        // CRC-32C's published check value.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // Its lowest 15 bits (0x1283) moved to the top, the other 17 (0x1c60d) down, plus 0xa282ead8, modulo 2^32.
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path()).unwrap();
        file.scalars(128, &[("train/loss", 0.5), ("train/lr", 1e-3)]).unwrap();
        file.image(256, "samples", (4, 2), vec![1, 2, 3]).unwrap();
        file.text(256, "recipe", "    seed = 1").unwrap();
        let second = EventFile::create(folder.path()).unwrap();
        assert_ne!(file.path(), second.path(), "a second file never overwrites the first");
        let events = records(&std::fs::read(file.path()).unwrap());
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".into())));
        let What::Summary(summary) = events[1].what.clone().unwrap() else { panic!("{events:?}") };
        assert_eq!((events[1].step, summary.value[0].tag.as_str()), (128, "train/loss"));
        assert_eq!(summary.value[0].datum, Some(Datum::Scalar(0.5)));
        let What::Summary(summary) = events[2].what.clone().unwrap() else { panic!("{events:?}") };
        let Some(Datum::Image(image)) = &summary.value[0].datum else { panic!("{summary:?}") };
        assert_eq!((image.height, image.width, image.encoded.as_slice()), (2, 4, &[1u8, 2, 3][..]));
        let What::Summary(summary) = events[3].what.clone().unwrap() else { panic!("{events:?}") };
        let Some(Datum::Strings(strings)) = &summary.value[0].datum else { panic!("{summary:?}") };
        assert_eq!((strings.kind, &strings.values[..]), (7, &[b"    seed = 1".to_vec()][..]));
    }

    #[test]
    fn the_bytes_are_protocol_buffers_by_hand() {
        // step = 1 (field 2, varint), file_version = "x" (field 3, length 1): wire bytes worked out from the format.
        let event = EventMessage { wall_time: 0.0, step: 1, what: Some(What::FileVersion("x".into())) };
        assert_eq!(event.encode_to_vec(), [0x10, 1, 0x1a, 1, b'x']);
        // Summary (5) { Value (1) { tag (1) "a", simple_value (2, fixed32) 1.0 } }
        let value = Value { tag: "a".into(), datum: Some(Datum::Scalar(1.0)), metadata: None };
        let event = EventMessage { wall_time: 0.0, step: 0, what: Some(What::Summary(Summary { value: vec![value] })) };
        assert_eq!(event.encode_to_vec(), [0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f]);
        // Value { tensor (8) { dtype (1) 7, tensor_shape (2) {}, string_val (8) "x" }, metadata (9) { plugin_data (1) { plugin_name (1) "t" } } }
        let strings = Strings { kind: STRING, shape: Some(Lengths {}), values: vec![b"x".to_vec()] };
        let metadata = Some(Metadata { plugin: Some(Plugin { name: "t".into() }) });
        let value = Value { tag: String::new(), datum: Some(Datum::Strings(strings)), metadata };
        let wire = [0x42, 7, 0x08, 7, 0x12, 0, 0x42, 1, b'x', 0x4a, 5, 0x0a, 3, 0x0a, 1, b't'];
        assert_eq!(value.encode_to_vec(), wire);
    }
}
