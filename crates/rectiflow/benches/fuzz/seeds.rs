//! Whole files, small, of every kind that is read: written here, or of the repository's fixtures.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use media::audio::{Depth, Sound, to_wav};
use media::shape::Mesh;
use rectiflow::media::{self, Bitmap, animation};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// The repository's file `name`.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// The bytes of the repository's files `names`.
pub fn files(names: &[impl AsRef<str>]) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|name| {
            let name = name.as_ref();
            fs::read(own(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        })
        .collect()
}

/// Copies the repository's folder `name` into `to`.
pub fn copy(name: &str, to: &Path) -> std::io::Result<()> {
    fn deep(from: &Path, to: &Path) -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        for item in fs::read_dir(from)? {
            let item = item?;
            let there = to.join(item.file_name());
            if item.file_type()?.is_dir() {
                deep(&item.path(), &there)?;
            } else {
                fs::copy(item.path(), there)?;
            }
        }
        Ok(())
    }
    deep(&own(name), to)
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 20) as u8, (y * 25) as u8, (x * y) as u8]))
}

/// A small picture in colour, grey and with transparency.
pub fn pictures(format: ImageFormat) -> Vec<Vec<u8>> {
    let rgb = DynamicImage::ImageRgb8(picture(12, 9));
    let kinds = match format {
        ImageFormat::Jpeg => vec![rgb.clone(), rgb.grayscale()],
        ImageFormat::Png => {
            vec![rgb.clone(), rgb.grayscale(), DynamicImage::ImageRgba8(rgb.to_rgba8()), rgb.to_rgb16().into()]
        }
        _ => vec![rgb.clone(), DynamicImage::ImageRgba8(rgb.to_rgba8())],
    };
    kinds.into_iter().map(|kind| written(&kind, format)).collect()
}

pub fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).expect("a small picture is written");
    out.into_inner()
}

/// A clip of four frames as animated PNG, and as GIF.
pub fn clips() -> Vec<Vec<u8>> {
    let frame = |i: u8| Bitmap {
        width: 8,
        height: 6,
        channels: 3,
        pixels: (0..144).map(|p| (p as u8).wrapping_mul(i)).collect(),
    };
    let frames: Vec<Bitmap> = (1..5).map(frame).collect();
    let mut gif = Vec::new();
    let turned = |i: u32| {
        let mut picture = DynamicImage::ImageRgb8(picture(8, 6)).to_rgba8();
        picture.get_pixel_mut(i, 0).0 = [255, 0, 0, 255];
        image::Frame::new(picture)
    };
    image::codecs::gif::GifEncoder::new(&mut gif).encode_frames((0..4).map(turned)).expect("a small clip is written");
    vec![animation::encode(&frames, 100, 100).expect("a small clip is written"), gif]
}

/// A second of two channels, at each depth.
pub fn waves() -> Vec<Vec<u8>> {
    let tone = |f: f32| (0..800).map(|i| 0.5 * (i as f32 * f).sin()).collect::<Vec<f32>>();
    let sound = Sound { rate: 8000, channels: vec![tone(0.1), tone(0.3)] };
    [Depth::Int16, Depth::Int24, Depth::Float].map(|depth| to_wav(&sound, depth).expect("a wave is written")).into()
}

/// A mesh written as `ending`.
pub fn meshes(ending: &str) -> Vec<Vec<u8>> {
    let mesh = Mesh {
        points: vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        faces: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
    };
    let dir = tempfile::tempdir().expect("a folder for a moment");
    let path = dir.path().join(format!("mesh.{ending}"));
    media::shape::write::write(&path, &mesh).expect("a small mesh is written");
    vec![fs::read(&path).expect("what was written is read")]
}

/// numpy's array file.
pub fn npy(kind: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    header.extend(iter::repeat_n(' ', 63 - (header.len() + 10) % 64));
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

/// Arrays of pictures as bytes and as floats.
pub fn arrays() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..4 * 36).map(|i| (i * 7) as u8).collect();
    let floats: Vec<u8> = (0..4 * 36).flat_map(|i| (i as f32 / 144.0).to_le_bytes()).collect();
    vec![npy("|u1", "(4, 6, 6)", &bytes), npy("<f4", "(4, 6, 6)", &floats), npy("<f4", "(4, 1, 6, 6)", &floats)]
}

pub fn zip(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).and_then(|()| Ok(writer.write_all(content)?)).expect("an archive is written");
    }
    writer.finish().expect("an archive is written").into_inner()
}

pub fn tar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &content[..]).expect("an archive is written");
    }
    builder.into_inner().expect("an archive is written")
}

/// Yann LeCun's format, as bytes.
pub fn idx(lengths: &[u32], values: usize) -> Vec<u8> {
    let head = [0, 0, 8, lengths.len() as u8];
    let lengths: Vec<u8> = lengths.iter().flat_map(|n| n.to_be_bytes()).collect();
    [&head[..], &lengths, &(0..values).map(|i| (i * 5 % 3) as u8).collect::<Vec<u8>>()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A checkpoint of PyTorch: one tensor `[2 3]` in an archive.
pub fn torch() -> Vec<u8> {
    let pickle = [
        b"\x80\x02}(".to_vec(),
        text("weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        b"K\x06tQK\x00(K\x02K\x03t(K\x03K\x01t\x89ccollections\nOrderedDict\n)RtRu.".to_vec(),
    ];
    let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    zip(&[("archive/data.pkl", pickle.concat()), ("archive/data/0", values)], false)
}

/// A batch of CIFAR-10 as Python pickled it: two pictures.
pub fn cifar() -> Vec<u8> {
    let short = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    let planes: Vec<u8> = (0..2 * 3072).map(|v| (v * 31 % 251) as u8).collect();
    [
        b"\x80\x02}q\x01(".to_vec(),
        short("data"),
        b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01".to_vec(),
        b"K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R".to_vec(),
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T".to_vec(),
        (planes.len() as u32).to_le_bytes().to_vec(),
        planes,
        b"tb".to_vec(),
        short("labels"),
        b"](K\x09K\x04eu.".to_vec(),
    ]
    .concat()
}

/// Weights in blocks: one tensor of floats and one of Q8_0.
pub fn gguf() -> Vec<u8> {
    fn name(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let mut out = [b"GGUF", &3u32.to_le_bytes()[..], &2u64.to_le_bytes(), &2u64.to_le_bytes()].concat();
    name(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    name(&mut out, "flux");
    name(&mut out, "general.alignment");
    out.extend([4u32.to_le_bytes(), 64u32.to_le_bytes()].concat());
    for (tensor, kind, lengths, offset) in [("a", 0u32, [4u64, 2], 0u64), ("b", 8, [32, 1], 64)] {
        name(&mut out, tensor);
        out.extend(2u32.to_le_bytes());
        lengths.iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(64), 0);
    out.extend((0..8).flat_map(|i| (i as f32).to_le_bytes()));
    out.resize(out.len().next_multiple_of(64), 0);
    out.extend([0, 60]);
    out.extend(0..32);
    out
}
