//! Random truncation and random byte flips of every format: an error or other pixels, never a panic.

use crate::common;
use common::*;
use data::{DataConfig, open};
use proptest::prelude::*;
use std::fs;

/// Each format as (file to damage, content, files beside it).
type Format = (&'static str, Vec<u8>, Vec<(&'static str, Vec<u8>)>);

fn formats() -> Vec<Format> {
    let photo: image::DynamicImage =
        image::RgbImage::from_fn(24, 20, |x, y| image::Rgb([(x * y) as u8, (7 * x) as u8, (y * y) as u8])).into();
    let pixels: Vec<u8> = (0..48).collect();
    let gz = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, &idx([0, 0, 8, 3], &[4, 4, 3], &pixels)).unwrap();
        out.finish().unwrap()
    };
    let image = |format| encode(photo.clone(), format);
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    let parquet = |name: &str| fs::read(format!("{PARQUET}/{name}.parquet")).unwrap();
    let labels = npy("|u1", &[4], &[0, 1, 2, 0]);
    vec![
        ("a.png", image(Png), vec![]),
        ("a.jpg", image(Jpeg), vec![]),
        ("a.webp", image(WebP), vec![]),
        ("a.bmp", image(Bmp), vec![]),
        ("a.gif", image(Gif), vec![]),
        ("x-images-idx3-ubyte", idx([0, 0, 8, 3], &[4, 4, 3], &pixels), vec![]),
        ("x-images-idx3-ubyte.gz", gz, vec![]),
        (
            "x-labels-idx1-ubyte",
            idx([0, 0, 8, 1], &[4], &[0, 1, 2, 0]),
            vec![("x-images-idx3-ubyte", idx([0, 0, 8, 3], &[4, 4, 3], &pixels))],
        ),
        ("a.npy", npy("|u1", &[4, 4, 3], &pixels), vec![]),
        ("a.npy", npy("<f4", &[1, 4, 3], &floats(&[0.25; 12])), vec![]),
        ("a.npz", zip(&[("images.npy", npy("|u1", &[4, 4, 3], &pixels)), ("labels.npy", labels)]), vec![]),
        ("a.tar", tar(&[("0.png", &image(Png)), ("0.txt", b"text"), ("0.cls", b"1")]), vec![]),
        (
            "metadata.jsonl",
            b"{\"file_name\": \"a.png\", \"text\": \"t\", \"label\": 1}".to_vec(),
            vec![("a.png", image(Png))],
        ),
        ("data_batch_1.bin", vec![1; 2 * 3073], vec![]),
        ("train_lables.json", b"[1]".to_vec(), vec![]),
        ("a.parquet", parquet("snappy"), vec![]),
        ("a.parquet", parquet("zstd"), vec![]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn damaged_files_never_panic(
        cut in proptest::option::of(any::<prop::sample::Index>()),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (name, content, beside) in formats() {
            let mut bytes = content;
            edits.iter().for_each(|(at, value)| { let at = at.index(bytes.len()); bytes[at] = *value; });
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let dir = tempfile::tempdir().unwrap();
            beside.iter().for_each(|(name, content)| fs::write(dir.path().join(name), content).unwrap());
            fs::write(dir.path().join(name), bytes).unwrap();
            let path = match name {
                "x-labels-idx1-ubyte" => dir.path().join("x-images-idx3-ubyte"),
                _ if name.contains("idx") || name.contains(".np") || name.ends_with(".tar") => dir.path().join(name),
                _ => dir.path().to_path_buf(),
            };
            for memory_mib in [0, 1024] {
                if let Ok(set) = open(&DataConfig { memory_mib, ..DataConfig::at(&path) }) {
                    (0..set.len()).for_each(|index| drop(set.get(index)));
                }
            }
        }
    }
}
