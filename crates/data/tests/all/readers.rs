//! Every format gives back the pixels, labels and captions that were put in.

use crate::common;
use common::*;
use data::{DataConfig, DataError, Dataset, Fit, Split, open};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// All samples of `path` as they are.
fn whole(path: &Path) -> Arc<dyn Dataset> {
    open(&DataConfig { holdout: 0.0, ..DataConfig::at(path) }).unwrap()
}

#[test]
fn idx_raw_and_gz_give_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = idx_folder(dir.path(), 5);
    let raw = whole(dir.path());
    assert_eq!((raw.len(), raw.shape(), raw.classes()), (5, [1, 4, 3].into(), 3));
    let second = raw.get(1).unwrap();
    assert_eq!(second.pixels()[..3], [84, 91, 98]);
    assert_eq!(second.label, Some(1));

    let zipped = tempfile::tempdir().unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, &fs::read(dir.path().join(name)).unwrap()).unwrap();
        fs::write(zipped.path().join(format!("{name}.gz")), out.finish().unwrap()).unwrap();
    }
    assert_eq!(whole(zipped.path()).fingerprint(), raw.fingerprint());
    assert_eq!(whole(&path).fingerprint(), raw.fingerprint());
}

#[test]
fn cifar_binary_and_png_batches_give_the_same_images() {
    let (bin, png) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let value = |batch: usize, image: usize, at: usize, channel: usize| {
        (batch * 31 + image * 17 + at * 3 + channel * 101) as u8
    };
    let mut labels = Vec::new();
    for batch in 1..=5 {
        let (mut records, mut rows) = (Vec::new(), Vec::new());
        for image in 0..3 {
            labels.push((batch + image) % 10);
            records.push(((batch + image) % 10) as u8);
            (0..3).for_each(|channel| records.extend((0..1024).map(|at| value(batch, image, at, channel))));
            rows.extend((0..1024).flat_map(|at| [0, 1, 2].map(|channel| value(batch, image, at, channel))));
        }
        fs::write(bin.path().join(format!("data_batch_{batch}.bin")), records).unwrap();
        let rows = image::RgbImage::from_raw(1024, 3, rows).unwrap();
        fs::write(png.path().join(format!("data_batch_{batch}.png")), encode(rows.into(), image::ImageFormat::Png))
            .unwrap();
    }
    fs::write(png.path().join("train_lables.json"), serde_json::to_string(&labels).unwrap()).unwrap();
    let (a, b) = (whole(bin.path()), whole(png.path()));
    assert_eq!((a.len(), a.shape(), a.class_names()[9].as_str()), (15, [3, 32, 32].into(), "truck"));
    assert_eq!(a.fingerprint(), b.fingerprint());
    let sample = a.get(4).unwrap(); // batch 2, image 1
    assert_eq!(sample.pixels()[3 * 40 + 2], value(2, 1, 40, 2));
    assert_eq!(sample.label, Some(3));
}

#[test]
fn class_folders_and_captions() {
    let dir = tempfile::tempdir().unwrap();
    for (class, blue) in [("cat", 1), ("dog", 2)] {
        fs::create_dir_all(dir.path().join(class)).unwrap();
        fs::write(dir.path().join(class).join("b.png"), png(4, 4, blue)).unwrap();
        fs::write(dir.path().join(class).join("a.jpg"), png(4, 4, blue + 10)).unwrap(); // the name lies, the content counts
        fs::write(dir.path().join(class).join("b.txt"), format!("a {class}\n")).unwrap();
    }
    let set = whole(dir.path());
    assert_eq!(set.class_names(), ["cat", "dog"]);
    let seen: Vec<_> =
        (0..4).map(|i| set.get(i).unwrap()).map(|s| (s.label, s.pixels()[2], s.caption.clone())).collect();
    let caption = |text: &str| Some(text.to_string());
    let expected =
        [(Some(0), 11, None), (Some(0), 1, caption("a cat")), (Some(1), 12, None), (Some(1), 2, caption("a dog"))];
    assert_eq!(seen, expected);
}

#[test]
fn metadata_lines_name_files_texts_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.png"), png(2, 2, 5)).unwrap();
    fs::write(dir.path().join("y.png"), png(2, 2, 6)).unwrap();
    let lines = "{\"file_name\": \"y.png\", \"text\": \"why\", \"label\": \"b\", \"other\": 1}\n\n{\"file_name\": \"x.png\", \"label\": \"a\"}\n";
    fs::write(dir.path().join("metadata.jsonl"), lines).unwrap();
    let set = whole(dir.path());
    let first = set.get(0).unwrap();
    assert_eq!((first.label, first.caption.as_deref(), first.pixels()[2]), (Some(1), Some("why"), 6));
    assert_eq!(set.class_names(), ["a", "b"]);
    fs::write(dir.path().join("metadata.jsonl"), "{\"file_name\": \"z.png\"}").unwrap();
    let error = open(&DataConfig::at(dir.path())).err().unwrap().to_string();
    assert!(error.contains("z.png") && error.contains("line 1"), "{error}");
}

#[test]
fn webdataset_members_form_samples_in_memory_and_lazily() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (png(2, 2, 1), png(2, 2, 2));
    let shard = tar(&[
        ("x/0.1/000.png", &a),
        ("x/0.1/000.cls", b"1"),
        ("x/0.1/000.txt", b"one"),
        ("x/0.1/001.json", b"{\"caption\": \"two\", \"label\": 0}"),
        ("x/0.1/001.PNG", &b),
    ]);
    fs::write(dir.path().join("train-0.tar"), &shard).unwrap();
    fs::write(dir.path().join("test-0.tar"), tar(&[("9.png", &a)])).unwrap();
    for memory_mib in [1024, 0] {
        let set = open(&DataConfig { memory_mib, ..DataConfig::at(dir.path()) }).unwrap();
        assert_eq!((set.len(), set.in_memory()), (2, memory_mib > 0));
        let samples: Vec<_> = (0..2).map(|i| set.get(i).unwrap()).collect();
        assert_eq!(
            (samples[0].label, samples[0].caption.as_deref(), samples[0].pixels()[2]),
            (Some(1), Some("one"), 1)
        );
        assert_eq!(
            (samples[1].label, samples[1].caption.as_deref(), samples[1].pixels()[2]),
            (Some(0), Some("two"), 2)
        );
    }
    assert_eq!(open(&DataConfig::at(dir.path()).with_split(Split::Test)).unwrap().len(), 1);
}

#[test]
fn npy_and_npz_in_every_layout_and_range() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..24).map(|v| v * 10).collect(); // 2 images of 2 x 2 RGB, channels innermost
    let planes: Vec<u8> = (0..2)
        .flat_map(|n| (0..3).flat_map(move |c| (0..4).map(move |at| (n, c, at))))
        .map(|(n, c, at)| bytes[n * 12 + at * 3 + c])
        .collect();
    let last = npy("|u1", &[2, 2, 2, 3], &bytes);
    let unit: Vec<f32> = planes.iter().map(|&v| f32::from(v) / 255.0).collect();
    let signed: Vec<f32> = planes.iter().map(|&v| data::normalize(v)).collect();
    let files = [
        ("a.npy", last.clone()),
        ("b.npy", npy("|u1", &[2, 3, 2, 2], &planes)),
        ("c.npy", npy("<f4", &[2, 3, 2, 2], &floats(&unit))),
        ("d.npy", npy("<f4", &[2, 3, 2, 2], &floats(&signed))),
        ("e.npz", zip(&[("images.npy", last)])),
    ];
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
        let set = whole(&dir.path().join(name));
        assert_eq!(set.shape(), [3, 2, 2].into(), "{name}");
        let pixels: Vec<u8> = (0..2).flat_map(|i| set.get(i).unwrap().pixels().to_vec()).collect();
        assert_eq!(pixels, bytes, "{name}");
    }
    let labels = npy("<i8", &[2], &[4i64.to_le_bytes(), 1i64.to_le_bytes()].concat());
    fs::write(dir.path().join("a_labels.npy"), labels).unwrap();
    let set = whole(&dir.path().join("a.npy"));
    assert_eq!((set.label(0), set.label(1), set.classes()), (Some(4), Some(1), 5));
}

/// Shrinking takes every pixel into account: a chequerboard of single pixels becomes grey. Mutant: nearest neighbours, black or white.
#[test]
fn shrunk_images_are_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let board: Vec<u8> = (0..16 * 16).flat_map(|i| [if (i / 16 + i % 16) % 2 == 0 { 255u8 } else { 0 }; 3]).collect();
    fs::write(dir.path().join("a.npy"), npy("|u1", &[1, 16, 16, 3], &board)).unwrap();
    let config = DataConfig { holdout: 0.0, size: Some(8), ..DataConfig::at(dir.path().join("a.npy")) };
    let grey = open(&config).unwrap().get(0).unwrap();
    assert!(grey.pixels().iter().all(|v| (100..155).contains(v)), "{:?}", grey.pixels());
}

#[test]
fn images_come_to_one_square_form() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("wide.png"), png(4, 8, 9)).unwrap();
    let at = DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()) };
    let get = |config: DataConfig| open(&config).unwrap().get(0).unwrap();
    // Cropping 8 x 4 to its middle 4 columns without resizing is exact: green starts at column 2.
    let crop = get(DataConfig { size: Some(4), ..at.clone() });
    assert_eq!(crop.pixels()[..6], [0, 20, 9, 0, 30, 9]);
    let stretch = get(DataConfig { size: Some(4), fit: Fit::Stretch, ..at.clone() });
    assert!(stretch.pixels()[1] < 15 && stretch.pixels()[10] > 55, "{:?}", &stretch.pixels()[..12]);
    // A flat colour stays that colour at any size.
    let flat = image::RgbImage::from_pixel(9, 9, image::Rgb([200, 100, 50]));
    fs::write(dir.path().join("wide.png"), encode(flat.into(), image::ImageFormat::Png)).unwrap();
    assert!(get(DataConfig { size: Some(4), ..at.clone() }).pixels().chunks(3).all(|p| p == [200, 100, 50]));
    // Rec. 709: 0.2126 * 200 + 0.7152 * 100 + 0.0722 * 50 = 117.65.
    assert!(get(DataConfig { channels: Some(1), ..at.clone() }).pixels().iter().all(|&p| p == 118));
    // Half-transparent black over white is grey.
    let glass = image::RgbaImage::from_pixel(3, 3, image::Rgba([0, 0, 0, 128]));
    fs::write(dir.path().join("wide.png"), encode(glass.into(), image::ImageFormat::Png)).unwrap();
    assert!(get(at).pixels().iter().all(|&p| p == 127));
}

#[test]
fn a_grey_first_image_does_not_grey_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let grey = image::GrayImage::from_pixel(4, 4, image::Luma([70]));
    fs::write(dir.path().join("a.png"), encode(grey.into(), image::ImageFormat::Png)).unwrap();
    fs::write(dir.path().join("b.png"), png(4, 4, 200)).unwrap();
    let set = whole(dir.path());
    assert_eq!(set.shape(), [3, 4, 4].into());
    assert_eq!(set.get(0).unwrap().pixels()[..3], [70, 70, 70]);
    assert_eq!(set.get(1).unwrap().pixels()[2], 200);
}

#[test]
fn classes_are_chosen_renumbered_and_limited() {
    let config = DataConfig { classes: vec!["Bag".into(), "0".into()], limit: Some(50), ..DataConfig::default() };
    let set = open(&config).unwrap();
    assert_eq!((set.len(), set.class_names()), (50, &["Bag".to_string(), "T-shirt/top".to_string()][..]));
    let all = open(&DataConfig::default()).unwrap();
    let expected: Vec<_> = (0..all.len()).filter(|&i| matches!(all.label(i), Some(8 | 0))).take(50).collect();
    for (index, &original) in expected.iter().enumerate() {
        let (ours, theirs) = (set.get(index).unwrap(), all.get(original).unwrap());
        assert_eq!(ours.pixels(), theirs.pixels());
        assert_eq!(ours.label, Some(u32::from(theirs.label == Some(0))));
    }
    let error = open(&DataConfig { classes: vec!["Hat".into()], ..DataConfig::default() }).err().unwrap();
    assert!(error.to_string().contains("Ankle boot"), "{error}");
}

#[test]
fn the_held_out_part_and_the_rest_are_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    (0..40).for_each(|i| fs::write(dir.path().join(format!("{i:02}.png")), png(2, 2, i)).unwrap());
    let part = |split| {
        let set = open(&DataConfig { holdout: 0.1, ..DataConfig::at(dir.path()).with_split(split) }).unwrap();
        (0..set.len()).map(|i| set.get(i).unwrap().pixels()[2]).collect::<Vec<_>>()
    };
    let (train, test) = (part(Split::Train), part(Split::Test));
    assert_eq!((train.len(), test.len()), (36, 4));
    let mut all = [train, test].concat();
    all.sort();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    let none = DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()).with_split(Split::Test) };
    assert!(matches!(open(&none), Err(DataError::Config { key: "holdout", .. })));
}

#[test]
fn fingerprints_tell_content_apart() {
    let dir = tempfile::tempdir().unwrap();
    idx_folder(dir.path(), 4);
    let before = whole(dir.path()).fingerprint().to_string();
    assert_eq!(whole(dir.path()).fingerprint(), before);
    let path = dir.path().join("train-images-idx3-ubyte");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_ne!(whole(dir.path()).fingerprint(), before);
    // Pinned: recipes and checkpoints carry it.
    assert_eq!(open(&DataConfig::default()).unwrap().fingerprint(), EMBEDDED_FINGERPRINT);
}

const EMBEDDED_FINGERPRINT: &str = "7efab646226c3e09";

#[test]
fn the_described_embedded_set_is_the_published_one() {
    let set = open(&DataConfig::default()).unwrap();
    let summary = data::describe(&*set).unwrap();
    assert_eq!((summary.samples, summary.shape, summary.unlabelled), (12_000, [1, 28, 28].into(), 0));
    // Published mean and deviation of the whole training set: 0.2860, 0.3530; 12 000 of its 60 000 images agree to 0.005.
    assert!((summary.mean[0] - 0.286).abs() < 0.005 && (summary.std[0] - 0.353).abs() < 0.005, "{summary}");
    assert_eq!(summary.classes.iter().map(|(_, count)| count).sum::<usize>(), 12_000);
    assert!(summary.classes.iter().all(|&(_, count)| count > 1_100), "{summary}");
}

/// An emoji package of four emoji, the second of which has two skin tones, in a style told by `blue`.
fn emoji_package(blue: u8) -> Vec<u8> {
    let json = r#"[
        {"name": "HASH KEY", "image": "0023.png", "category": "Symbols", "has_img_google": true},
        {"name": "WAVING HAND", "image": "1f44b.png", "category": "People & Body", "skin_variations": {
            "1F3FB": {"image": "1f44b-1f3fb.png"}, "1F3FC": {"image": "1f44b-1f3fc.png"}}},
        {"name": "APPLE", "image": "1f34e.png", "category": "Food & Drink"},
        {"name": "DRAWN ELSEWHERE", "image": "ffff.png", "category": "Objects"}]"#;
    let images = ["1f44b", "0023", "1f34e", "1f44b-1f3fc", "1f44b-1f3fb"];
    let names: Vec<String> = images.iter().map(|name| format!("{name}.png")).collect();
    let pictures: Vec<Vec<u8>> = (0..5).map(|i| png(3, 3, blue + i)).collect();
    let mut members: Vec<(&str, &[u8])> = vec![("emoji.json", json.as_bytes())];
    let mut inner: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)).collect();
    inner.sort();
    let images = tar(&inner);
    members.push(("emoji.tar", &images));
    tar(&members)
}

#[test]
fn emoji_keep_skin_tones_together_and_meet_their_counterparts() {
    let sets: Vec<_> = [10, 100]
        .map(|blue| {
            let dir = tempfile::tempdir().unwrap();
            tar::Archive::new(&emoji_package(blue)[..]).unpack(dir.path()).unwrap();
            dir
        })
        .into();
    let set = whole(sets[0].path());
    assert_eq!(set.class_names(), ["Food & Drink", "Objects", "People & Body", "Symbols"]);
    let keys: Vec<_> = (0..set.len()).map(|i| set.key(i).unwrap().to_string()).collect();
    assert_eq!(keys, ["0023", "1f44b", "1f44b-1f3fb", "1f44b-1f3fc", "1f34e"]);
    let captions = [0, 2].map(|i| set.get(i).unwrap().caption.unwrap());
    assert_eq!(captions, ["hash key", "waving hand, skin tone 1f3fb"]);
    assert_eq!([0, 1, 2, 4].map(|i| set.label(i)), [Some(3), Some(2), Some(2), Some(0)]);
    // Whatever is held out, it is whole emoji, and the same ones in every style.
    let part = |dir: &tempfile::TempDir, split| {
        open(&DataConfig { holdout: 0.5, ..DataConfig::at(dir.path()) }.with_split(split)).unwrap()
    };
    let bases = |split| {
        let set = part(&sets[0], split);
        (0..set.len()).map(|i| set.key(i).unwrap().split('-').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    let (train, test) = (bases(Split::Train), bases(Split::Test));
    assert!(train.len() + test.len() == 5 && !test.is_empty() && train.iter().all(|base| !test.contains(base)));
    let (a, b) = (part(&sets[0], Split::Test), part(&sets[1], Split::Test));
    let met = data::counterparts(&*a, &*b);
    assert_eq!(met, (0..a.len()).map(Some).collect::<Vec<_>>());
    assert!(data::counterparts(&*a, &*part(&sets[1], Split::Train)).iter().all(Option::is_none));
    assert_ne!(a.fingerprint(), b.fingerprint());
}

#[test]
fn files_of_one_name_in_two_folders_are_counterparts() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, names) in [(&a, ["x/1.png", "x/2.png", "y/3.b.png"]), (&b, ["y/3.b.png", "x/2.png", "x/4.png"])] {
        for name in names {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), png(4, 4, 0)).unwrap();
        }
    }
    let (a, b) = (whole(a.path()), whole(b.path()));
    assert_eq!(a.key(2), Some("y/3.b"));
    assert_eq!(data::counterparts(&*a, &*b), [None, Some(0), Some(2)]);
}

#[test]
fn fetched_sets_have_their_published_counts() {
    let cache = data::fetch::cache_dir().unwrap();
    for (name, shape, train) in [("fashion-mnist", [1, 28, 28], 60_000), ("cifar10", [3, 32, 32], 50_000)] {
        let set = data::fetch::registry::find(name).unwrap();
        if !data::fetch::is_fetched(set, &cache) {
            eprintln!("skipped: {name} is not in {}; fetch it with `rectiflow data get {name}`", cache.display());
            continue;
        }
        for (split, count) in [(Split::Train, train), (Split::Test, 10_000)] {
            let set = open(&DataConfig::named(name).with_split(split)).unwrap();
            assert_eq!((set.len(), set.shape(), set.classes()), (count, shape.into(), 10));
            let labels: Vec<_> = (0..count).filter(|&i| set.label(i) == Some(3)).collect();
            assert_eq!(labels.len(), count / 10);
        }
        if name == "fashion-mnist" {
            // The embedded set is the beginning of the full one.
            let full = open(&DataConfig { limit: Some(12_000), ..DataConfig::named(name) }).unwrap();
            assert_eq!(full.fingerprint(), open(&DataConfig::default()).unwrap().fingerprint());
        }
    }
}
