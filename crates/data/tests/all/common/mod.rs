//! Small data sets of every format, written by the tests themselves.
#![allow(dead_code)] // each test file uses its own part

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use data::pairs::{FORMAT, PairMeta, PairRecord, PairWriter};

/// Where the files are that pyarrow wrote.
pub const PARQUET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/parquet");

/// An idx file.
pub fn idx(magic: [u8; 4], dims: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    dims.iter().for_each(|side| out.extend(side.to_be_bytes()));
    out.extend(bytes);
    out
}

/// `n` images of 4 x 3 pixels with labels 0, 1, 2, 0, ... in `dir`.
pub fn idx_folder(dir: &Path, n: usize) -> PathBuf {
    let images: Vec<u8> = (0..n * 12).map(|v| (v * 7 % 256) as u8).collect();
    let labels: Vec<u8> = (0..n).map(|v| (v % 3) as u8).collect();
    fs::write(dir.join("train-images-idx3-ubyte"), idx([0, 0, 8, 3], &[n as u32, 4, 3], &images)).unwrap();
    fs::write(dir.join("train-labels-idx1-ubyte"), idx([0, 0, 8, 1], &[n as u32], &labels)).unwrap();
    dir.join("train-images-idx3-ubyte")
}

/// A PNG whose pixel (y, x) is (10 y, 10 x, blue).
pub fn png(height: u32, width: u32, blue: u8) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([10 * y as u8, 10 * x as u8, blue]));
    encode(image.into(), image::ImageFormat::Png)
}

pub fn encode(image: image::DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A tar of (name, content).
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An npy file; `kind` is for example `|u1` or `<f4`.
pub fn npy(kind: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(bytes);
    out
}

/// A zip of (name, content), as numpy.savez writes it.
pub fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn meta() -> PairMeta {
    PairMeta {
        format: FORMAT,
        teacher: "base \"crc32c\":\"00000000\"".to_string(), // a name that looks like the checksum must not fool it
        path: "linear".to_string(),
        parameterization: "velocity".to_string(),
        solver: "euler".to_string(),
        schedule: "uniform".to_string(),
        steps: 20,
        precision: "f32".to_string(),
        guidance: 1.5,
        seed: 7,
        shape: [1, 2, 2].into(),
        classes: 10,
        data: "0123456789abcdef".to_string(),
        times: vec![0.0, 1.0],
        start: "noise".to_string(),
        inverted: 0.0,
        captions: false,
    }
}

/// The numbers of sample `index` in the stores of the tests.
pub fn pair(index: u64) -> ([f32; 4], [f32; 4]) {
    let v = index as f32;
    ([v + 0.1, -v, 0.3, v / 3.0], [1e-7 * v, 2.5 - v, f32::MIN_POSITIVE, -0.0])
}

/// Pushes up to `count` of the missing samples.
pub fn push(writer: &mut PairWriter, count: usize) {
    for index in writer.missing(count) {
        let (x0, x1) = pair(index);
        writer.push(PairRecord { index, x0: &x0, x1: &x1, class: (index % 10) as i64, caption: None }).unwrap();
    }
}
