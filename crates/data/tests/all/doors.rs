//! The files people really have: every layout is read as it is meant, and whatever is not used is counted and named.

use crate::common;
use common::*;
use data::{DataConfig, DataError, Dataset, LeftOut, Split, open, open_test};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn config(path: &Path) -> DataConfig {
    DataConfig { holdout: 0.0, ..DataConfig::at(path) }
}

#[track_caller]
fn whole(path: &Path) -> Arc<dyn Dataset> {
    open(&config(path)).unwrap()
}

/// A folder of these files; images say in blue how many came before.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, name) in names.iter().enumerate() {
        put(&dir, name, &png(4, 4, number as u8));
    }
    dir
}

fn put(dir: &tempfile::TempDir, name: &str, content: &[u8]) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Label, caption and the number that the image says.
fn samples(set: &dyn Dataset) -> Vec<(Option<u32>, Option<String>, u8)> {
    (0..set.len()).map(|i| set.get(i).unwrap()).map(|s| (s.label, s.caption.clone(), s.pixels()[2])).collect()
}

fn captions(set: &dyn Dataset) -> Vec<(Option<String>, u8)> {
    samples(set).into_iter().map(|(_, caption, number)| (caption, number)).collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.into())
}

/// How many of what was left out, the first of its names.
fn left_out<'a>(set: &'a dyn Dataset, what: &str) -> (usize, &'a str) {
    let kinds: Vec<&LeftOut> = set.left_out().iter().filter(|kind| kind.what == what).collect();
    assert!(!kinds.is_empty(), "no `{what}` among {:?}", set.left_out());
    (kinds.iter().map(|kind| kind.count).sum(), &kinds[0].first[0])
}

#[test]
fn a_class_called_train_is_a_class() {
    let dir = folder(&["car/0.png", "car/1.png", "train/0.png", "train/1.png", "truck/0.png", "truck/1.png"]);
    let set = whole(dir.path());
    assert_eq!((set.len(), set.class_names()), (6, &["car", "train", "truck"].map(String::from)[..]));
    // One called `test` or `none` as well.
    let dir = folder(&["none/0.png", "test/1.png", "x/2.png"]);
    assert_eq!(whole(dir.path()).class_names(), ["none", "test", "x"]);
}

#[test]
fn parts_are_found_whatever_their_case_and_what_lies_beside_them_is_named() {
    let names = ["Training/a/0.png", "Training/b/1.png", "Training/c/2.png", "Testing/a/3.png", "Testing/c/4.png"];
    let dir = folder(&names);
    put(&dir, "preview.png", &png(4, 4, 9));
    put(&dir, "extra/7.png", &png(4, 4, 7));
    let set = whole(dir.path());
    assert_eq!((set.len(), set.class_names().len()), (3, 3));
    assert_eq!(left_out(&*set, "images"), (2, "extra/"));
    // The test part has no `b`, and its classes keep their numbers.
    let test = open(&config(dir.path()).with_split(Split::Test)).unwrap();
    let labels: Vec<_> = samples(&*test).into_iter().map(|(label, _, number)| (label, number)).collect();
    assert_eq!(labels, [(Some(0), 3), (Some(2), 4)]);
    put(&dir, "Testing/z/5.png", &png(4, 4, 5));
    let test = open(&config(dir.path()).with_split(Split::Test)).unwrap();
    assert_eq!((test.len(), test.label(2)), (3, None));
    assert_eq!(left_out(&*test, "labels of the test part"), (1, "z"));
    // A test part alone is the whole set.
    let dir = folder(&["test/x/0.png", "test/y/1.png"]);
    assert_eq!(whole(dir.path()).class_names(), ["x", "y"]);
}

#[test]
fn archives_beside_images_hide_nothing() {
    let dir = folder(&["red/0.png", "green/1.png"]);
    let shard = tar(&[("red/0.png", &png(4, 4, 0))]);
    put(&dir, "backup.tar", &shard);
    put(&dir, "old.zip", b"PK");
    put(&dir, "00000.parquet", b"PAR1");
    let set = whole(dir.path());
    assert_eq!((set.len(), set.class_names()), (2, &["green", "red"].map(String::from)[..]));
    assert_eq!(left_out(&*set, "archives").0, 3);
    let flat = folder(&["0.png", "1.png"]);
    put(&flat, "backup.tar", &shard);
    let error = open(&config(flat.path())).err().unwrap().to_string();
    assert!(error.contains("2 images") && error.contains("two data sets"), "{error}");
    // Nothing but archives: the error names them.
    let packed = tempfile::tempdir().unwrap();
    put(&packed, "photos.zip", b"PK");
    let error = open(&config(packed.path())).err().unwrap().to_string();
    assert!(error.contains("photos.zip") && error.contains("unpack"), "{error}");
    let error = open(&config(&packed.path().join("photos.zip"))).err().unwrap().to_string();
    assert!(error.contains("unpack it"), "{error}");
}

#[test]
fn strangers_broken_links_and_hidden_files_are_counted() {
    let dir = folder(&["a/0.png", "b/1.png"]);
    for name in ["README.md", "Thumbs.db", "a/notes.doc", "b/lone.txt", "a/.DS_Store", "__MACOSX/a/._0.png"] {
        put(&dir, name, b"words");
    }
    fs::create_dir(dir.path().join("empty")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/nowhere/at/all.png", dir.path().join("b/gone.png")).unwrap();
    let set = whole(dir.path());
    assert_eq!((set.len(), set.classes()), (2, 2));
    assert_eq!(left_out(&*set, "files that are no images"), (3, "README.md"));
    assert_eq!(left_out(&*set, "texts without an image of their name"), (1, "b/lone.txt"));
    assert_eq!(left_out(&*set, "hidden or system files"), (2, "__MACOSX"));
    assert_eq!(left_out(&*set, "folders without an image"), (1, "empty"));
    #[cfg(unix)]
    assert_eq!(left_out(&*set, "broken links"), (1, "b/gone.png"));
    // Links that lead back up hold nothing new; one to a folder beside is followed. Mutants: followed round and round; none followed.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", dir.path().join("b/up")).unwrap();
        std::os::unix::fs::symlink("../a", dir.path().join("b/beside")).unwrap();
        let set = whole(dir.path());
        assert_eq!((set.len(), left_out(&*set, "links to a folder above")), (3, (1, "b/up")));
        fs::remove_file(dir.path().join("b/up")).unwrap();
        fs::remove_file(dir.path().join("b/beside")).unwrap();
    }
    assert_eq!(data::describe(&*set).unwrap().left_out, set.left_out());
    // An image by its content alone, and one beside the class folders.
    put(&dir, "a/photo", &png(4, 4, 5));
    assert_eq!(whole(dir.path()).len(), 3);
    put(&dir, "cover.png", &png(4, 4, 6));
    assert!(matches!(open(&config(dir.path())), Err(DataError::Malformed { .. })));
    let set = open(&DataConfig { skip_unreadable: true, ..config(dir.path()) }).unwrap();
    assert_eq!((set.len(), left_out(&*set, "images")), (3, (1, "cover.png")));
}

#[test]
fn unreadable_images_that_are_skipped_are_named() {
    let dir = folder(&["0.png", "1.png"]);
    put(&dir, "2.png", b"junk");
    for memory_mib in [0, 1024] {
        let set = open(&DataConfig { skip_unreadable: true, memory_mib, ..config(dir.path()) }).unwrap();
        let (count, name) = left_out(&*set, "images that cannot be read");
        assert!(set.len() == 2 && count == 1 && name.ends_with("2.png"), "{:?}", set.left_out());
    }
}

/// Mutant: the remedy that is already followed, `data.skip_unreadable = true`.
#[test]
fn a_held_out_part_of_which_nothing_can_be_read_says_what_helps() {
    let dir = folder(&[]);
    (0..4).for_each(|k| put(&dir, &format!("{k}.png"), b"junk"));
    for memory_mib in [0, 1024] {
        let all = DataConfig { skip_unreadable: true, memory_mib, holdout: 0.5, ..config(dir.path()) };
        let error = data::open_test(&all).err().unwrap().to_string();
        assert!(error.contains("held out can be read") && error.contains("data.holdout = 0"), "{error}");
        assert!(!error.contains("skip_unreadable"), "{error}");
        let error = open(&all).err().unwrap().to_string();
        assert!(error.contains("no file of this one could be read"), "{error}");
        let plain = DataConfig { skip_unreadable: false, ..all };
        assert!(open(&plain).err().unwrap().to_string().contains("skip_unreadable"));
    }
}

#[test]
fn metadata_is_read_above_beside_and_below_the_images() {
    let line = |file: &str, rest: &str| format!("{{\"file_name\": \"{file}\", {rest}}}\n");
    let both = line("train/1.png", "\"text\": \"one\", \"label\": \"x\"") + &line("train/0.png", "\"text\": \"zero\"");
    let above = folder(&["train/0.png", "train/1.png", "train/2.png"]);
    put(&above, "metadata.jsonl", both.as_bytes());
    let set = whole(above.path());
    assert_eq!(samples(&*set), [(Some(0), text("one"), 1), (None, text("zero"), 0)]);
    assert_eq!(left_out(&*set, "images"), (1, "train/2.png"));
    let below = folder(&["a/0.png", "b/1.png"]);
    put(&below, "a/metadata.jsonl", line("0.png", "\"caption\": \"A\"").as_bytes());
    put(&below, "b/metadata.csv", "\u{feff}file_name;text\r\n1.png;\"B; really\"\r\n".as_bytes());
    let set = whole(below.path());
    assert_eq!(samples(&*set), [(Some(0), text("A"), 0), (Some(1), text("B; really"), 1)]);
    // In a folder of its own, by the bare name, by the stem, with the separators of Windows.
    let apart = folder(&["images/0.png", "images/1.png", "images/2.png"]);
    put(&apart, "labels.csv", b"filename,label\n0.png,3\n1,5\nimages\\2.png,-1\n");
    let set = whole(apart.path());
    assert_eq!(samples(&*set).iter().map(|s| s.0).collect::<Vec<_>>(), [Some(3), Some(5), None]);
    assert_eq!(set.class_names(), ["0", "1", "2", "3", "4", "5"]);
    // A table that names none of the images is said to be of no use.
    put(&apart, "labels.csv", b"filename,label\nelse.png,3\n");
    let set = open(&DataConfig { skip_unreadable: true, ..config(apart.path()) }).unwrap();
    assert_eq!((set.len(), left_out(&*set, "tables")), (3, (1, "labels.csv")));
    // Of two tables in one folder one is read, the other named; a record without its image is named where that is wished.
    put(&apart, "labels.csv", b"filename,label\n0.png,cat\ngone.png,dog\n");
    put(&apart, "metadata.json", br#"{"1.png": "one", "0.png": {"caption": "zero", "label": 0}}"#);
    assert!(open(&config(apart.path())).is_ok());
    let set = whole(apart.path());
    assert_eq!(left_out(&*set, "tables"), (1, "labels.csv"));
    assert_eq!(captions(&*set), [(text("zero"), 0), (text("one"), 1)]);
}

#[test]
fn byte_order_marks_are_no_part_of_the_text() {
    let dir = folder(&["0.png", "1.png"]);
    put(&dir, "metadata.jsonl", "\u{feff}{\"file_name\": \"0.png\", \"text\": \"a\"}".as_bytes());
    assert_eq!(captions(&*whole(dir.path())), [(text("a"), 0)]);
    let dir = folder(&["0.png", "1.png", "2.png", "3.v1.png"]);
    put(&dir, "0.txt", "\u{feff}a".as_bytes());
    put(&dir, "1.TXT", &"\u{feff}b".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    put(&dir, "2.caption", b"c\n");
    put(&dir, "3.v1.png.txt", b"d");
    assert_eq!(captions(&*whole(dir.path())), [(text("a"), 0), (text("b"), 1), (text("c"), 2), (text("d"), 3)]);
}

#[test]
fn a_table_of_images_counts_the_same_in_whichever_part_it_would_fall() {
    let dir = folder(&["0.png", "1.png", "2.png"]);
    put(&dir, "metadata.csv", b"file_name,text,label\n0.png,zero,1\n1.png,one,0\n2.png,,1.0\n");
    let set = whole(dir.path());
    assert_eq!(samples(&*set), [(Some(1), text("zero"), 0), (Some(0), text("one"), 1), (Some(1), None, 2)]);
    let part = |split| open(&DataConfig::at(dir.path()).with_split(split)).unwrap().len();
    assert_eq!((part(Split::Train), part(Split::Test)), (2, 1));
}

#[test]
fn no_class_loses_its_last_image_to_the_test_part() {
    let names: Vec<String> = (0..40).map(|i| format!("c{i:02}/0.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dir = folder(&names);
    let set = open(&DataConfig::at(dir.path())).unwrap();
    assert_eq!((set.len(), set.classes()), (40, 40));
    assert!(open_test(&DataConfig::at(dir.path())).unwrap().is_none());
    put(&dir, "c07/1.png", &png(4, 4, 1));
    let test = open_test(&DataConfig::at(dir.path())).unwrap().unwrap();
    assert!(test.set.len() == 1 && test.set.label(0) == Some(7) && !test.is_own);
    // One image is a set, with nothing to hold out; so is an image named by itself.
    let one = folder(&["a.png"]);
    for path in [one.path().to_path_buf(), one.path().join("a.png")] {
        assert_eq!(open(&DataConfig::at(&path)).unwrap().len(), 1);
        assert!(open_test(&DataConfig::at(&path)).unwrap().is_none());
    }
}

#[test]
fn images_beyond_the_limits_are_refused_before_they_are_unpacked() {
    let dir = folder(&["0.png"]);
    let large = image::GrayImage::new(3000, 2000);
    put(&dir, "large.png", &encode(large.into(), image::ImageFormat::Png));
    let limited = |max_megapixels| DataConfig { max_megapixels, size: Some(4), ..config(dir.path()) };
    assert_eq!(open(&limited(6)).unwrap().len(), 2);
    let error = open(&limited(5)).err().unwrap().to_string();
    assert!(
        error.contains("large.png") && error.contains("6 million pixels") && error.contains("max_megapixels"),
        "{error}"
    );
    let set = open(&DataConfig { skip_unreadable: true, ..limited(5) }).unwrap();
    assert_eq!((set.len(), left_out(&*set, "images that cannot be read").0), (1, 1));
    // Archives of nothing but zeros, and a file larger than allowed.
    let zeros = vec![0; 3 << 20];
    let limited = |path: &Path| open(&DataConfig { max_file_mib: 2, ..config(path) }).err().unwrap().to_string();
    let gz = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, &idx([0, 0, 8, 3], &[3, 1024, 1024], &zeros)).unwrap();
        out.finish().unwrap()
    };
    for (name, content) in [
        ("x-idx3-ubyte.gz", gz),
        ("x.npz", zip(&[("images.npy", npy("|u1", &[3, 1024, 1024], &zeros))])),
        ("x.npy", npy("|u1", &[3, 1024, 1024], &zeros)),
    ] {
        put(&dir, name, &content);
        let error = limited(&dir.path().join(name));
        assert!(error.contains("max_file_mib"), "{name}: {error}");
    }
}

#[test]
fn jpegs_with_a_trailer_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let photo = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 7, y as u8 * 7, 9]));
    let jpeg = encode(photo.into(), image::ImageFormat::Jpeg);
    put(&dir, "0.jpg", &[&jpeg[..], b"\xff\xda\x00\x08MotionPhoto_Data\xff\xda"].concat());
    put(&dir, "1.jpg", &jpeg);
    let set = whole(dir.path());
    assert_eq!(set.get(0).unwrap().pixels(), set.get(1).unwrap().pixels());
}

#[test]
fn shards_as_people_make_them() {
    let dir = tempfile::tempdir().unwrap();
    let images: Vec<Vec<u8>> = (0..4).map(|i| png(4, 4, i)).collect();
    let shard = |members: &[(&str, &[u8])]| {
        put(&dir, "a.tar", &tar(members));
        whole(&dir.path().join("a.tar"))
    };
    // Made on a Mac.
    let set = shard(&[
        ("._0.png", b"x"),
        ("0.png", &images[0]),
        ("._0.txt", b"x"),
        ("0.txt", b"red"),
        ("__MACOSX/._1", b"x"),
    ]);
    assert_eq!((captions(&*set), left_out(&*set, "hidden or system files")), (vec![(text("red"), 0)], (3, "._0.png")));
    // Labels as names, in .cls or JSON; a null caption beside a text; members of one sample that stand apart.
    let set = shard(&[
        ("0.png", &images[0]),
        ("1.png", &images[1]),
        ("2.png", &images[2]),
        ("3.png", &images[3]),
        ("0.cls", b"dog\n"),
        ("1.json", br#"{"label": "cat", "caption": null, "text": "red"}"#),
        ("2.json", br#"{"class_name": "dog", "caption": ["a", "b"]}"#),
    ]);
    assert_eq!(set.class_names(), ["cat", "dog"]);
    let expected = [(Some(1), None, 0), (Some(0), text("red"), 1), (Some(1), text("a"), 2), (None, None, 3)];
    assert_eq!(samples(&*set), expected);
    let set = shard(&[("0.png", &images[0]), ("0.json", br#"{"label": "0"}"#), ("1.png", &images[1]), ("1.cls", b"1")]);
    assert_eq!(set.class_names(), ["0", "1"]);
    assert_eq!((set.label(0), set.label(1)), (Some(0), Some(1)));
    // Dotted names, one sample each; several images of one sample; what is not read at all.
    let set = shard(&[("a_0.5.png", &images[0]), ("a_0.5.txt", b"half"), ("a_0.7.png", &images[1])]);
    assert_eq!(captions(&*set), [(text("half"), 0), (None, 1)]);
    let set = shard(&[("0.mask.png", &images[0]), ("0.png", &images[1]), ("0.txt", b"one"), ("0.npy", b"x")]);
    assert_eq!(captions(&*set), [(text("one"), 1)]);
    assert_eq!(left_out(&*set, "further images of a sample"), (1, "0.mask.png"));
    assert_eq!(left_out(&*set, "members of a kind that is not read"), (1, "0.npy"));
    // A sample without its image.
    put(&dir, "a.tar", &tar(&[("0.png", &images[0]), ("1.txt", b"one"), ("2.png", &images[2])]));
    let error = open(&config(&dir.path().join("a.tar"))).err().unwrap().to_string();
    assert!(error.contains("sample 1 has no image") && error.contains("skip_unreadable"), "{error}");
    let set = open(&DataConfig { skip_unreadable: true, ..config(&dir.path().join("a.tar")) }).unwrap();
    assert_eq!((set.len(), left_out(&*set, "samples without an image")), (2, (1, "1")));
}

#[test]
fn arrays_of_every_kind_and_order() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [0u8, 50, 100, 255, 7, 8];
    let read = |content: &[u8]| {
        put(&dir, "a.npy", content);
        whole(&dir.path().join("a.npy")).get(0).unwrap().pixels().to_vec()
    };
    macro_rules! kinds {
        ($($name:literal $number:ty),*) => {$(
            let (low, high): (Vec<u8>, Vec<u8>) = (
                bytes.iter().flat_map(|&v| (v as $number).to_le_bytes()).collect(),
                bytes.iter().flat_map(|&v| (v as $number).to_be_bytes()).collect(),
            );
            assert_eq!(read(&npy(concat!("<", $name), &[1, 2, 3], &low)), bytes, "<{}", $name);
            assert_eq!(read(&npy(concat!(">", $name), &[1, 2, 3], &high)), bytes, ">{}", $name);
        )*};
    }
    kinds!("u2" u16, "u4" u32, "u8" u64, "i2" i16, "i4" i32, "i8" i64, "f4" f32, "f8" f64);
    // 0, 100 and 255 in half precision.
    assert_eq!(read(&npy("<f2", &[1, 1, 3], &[0, 0, 0x40, 0x56, 0xf8, 0x5b])), [0, 100, 255]);
    assert_eq!(read(&npy(">f2", &[1, 1, 3], &[0, 0, 0x56, 0x40, 0x5b, 0xf8])), [0, 100, 255]);
    assert_eq!(read(&npy("|b1", &[1, 1, 3], &[0, 1, 1])), [0, 255, 255]);
    let wide: Vec<u8> = [0u16, 257, 65535].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(read(&npy("<u2", &[1, 1, 3], &wide)), [0, 1, 255]);
    // Fortran order: the first side is the fastest. [n=2 h=1 w=3] of rows 0 1 2 and 3 4 5.
    let mut fortran = npy("|u1", &[2, 1, 3], &[0, 3, 1, 4, 2, 5]);
    let at = fortran.windows(5).position(|word| word == b"False").unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    put(&dir, "a.npy", &fortran);
    let set = whole(&dir.path().join("a.npy"));
    assert_eq!((set.get(0).unwrap().pixels(), set.get(1).unwrap().pixels()), (&[0, 1, 2][..], &[3, 4, 5][..]));
    // What a sampler overshoots is clamped, and said.
    let own: Vec<f32> = (0..16)
        .map(|i| {
            if i == 3 {
                1.17
            } else if i == 5 {
                -1.19
            } else {
                i as f32 / 8.0 - 1.0
            }
        })
        .collect();
    put(&dir, "a.npy", &npy("<f4", &[1, 4, 4], &floats(&own)));
    let set = whole(&dir.path().join("a.npy"));
    let pixels = set.get(0).unwrap().pixels().to_vec();
    assert_eq!((pixels[3], pixels[5], pixels[8]), (255, 0, 128));
    assert_eq!(left_out(&*set, "numbers outside [-1, 1]").0, 2);
    // Labels of one column, one-hot, in floats, as names.
    put(&dir, "a.npy", &npy("|u1", &[3, 1, 1], &[1, 2, 3]));
    let labels = |content: &[u8]| {
        put(&dir, "a_labels.npy", content);
        let set = whole(&dir.path().join("a.npy"));
        ((0..3).map(|i| set.label(i)).collect::<Vec<_>>(), set.class_names().to_vec())
    };
    let numbered = (vec![Some(1), Some(0), Some(1)], vec!["0".to_string(), "1".into()]);
    assert_eq!(labels(&npy("|u1", &[3, 1], &[1, 0, 1])), numbered);
    assert_eq!(labels(&npy("<f4", &[3], &floats(&[1.0, 0.0, 1.0]))), numbered);
    assert_eq!(labels(&npy("|u1", &[3, 2], &[0, 1, 1, 0, 0, 1])), numbered);
    let names: Vec<u8> = "dogcatdog".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    assert_eq!(labels(&npy("<U3", &[3], &names)).1, ["cat", "dog"]);
    let (none, classes) = labels(&npy("|u1", &[3, 2], &[1, 1, 1, 0, 0, 1]));
    assert!(none == [None; 3] && classes.is_empty());
    assert_eq!(left_out(&*whole(&dir.path().join("a.npy")), "arrays of labels").0, 1);
}

#[test]
fn archives_of_arrays_keep_their_parts() {
    let dir = tempfile::tempdir().unwrap();
    let one = |values: &[u8]| npy("|u1", &[values.len(), 1, 1], values);
    let column = |values: &[u8]| npy("|u1", &[values.len(), 1], values);
    let medmnist = [
        ("train_images.npy", one(&[1, 2, 3])),
        ("val_images.npy", one(&[4])),
        ("test_images.npy", one(&[5, 6])),
        ("train_labels.npy", column(&[0, 1, 2])),
        ("val_labels.npy", column(&[0])),
        ("test_labels.npy", column(&[1, 2])),
    ];
    let keras = [
        ("x_test.npy", one(&[5, 6])),
        ("x_train.npy", one(&[1, 2, 3])),
        ("y_train.npy", one(&[0, 1, 2])),
        ("y_test.npy", one(&[1, 2])),
    ];
    for (name, members, others) in [("pathmnist.npz", &medmnist[..], 2), ("mnist.npz", &keras[..], 0)] {
        put(&dir, name, &zip(members));
        let path = dir.path().join(name);
        let (train, test) = (whole(&path), open_test(&config(&path)).unwrap().unwrap());
        assert!(test.is_own);
        assert_eq!(samples_of(&*train), [(Some(0), 1), (Some(1), 2), (Some(2), 3)], "{name}");
        assert_eq!(samples_of(&*test.set), [(Some(1), 5), (Some(2), 6)], "{name}");
        let left: usize = train.left_out().iter().map(|kind| kind.count).sum();
        assert_eq!(left, others, "{name}: {:?}", train.left_out());
    }
}

fn samples_of(set: &dyn Dataset) -> Vec<(Option<u32>, u8)> {
    (0..set.len()).map(|i| set.get(i).unwrap()).map(|s| (s.label, s.pixels()[0])).collect()
}

#[test]
fn emnist_is_upright_and_has_its_characters() {
    let dir = tempfile::tempdir().unwrap();
    for (part, labels) in [("train", [1, 26]), ("test", [2, 3])] {
        put(
            &dir,
            &format!("emnist-letters-{part}-images-idx3-ubyte"),
            &idx([0, 0, 8, 3], &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]),
        );
        put(&dir, &format!("emnist-letters-{part}-labels-idx1-ubyte"), &idx([0, 0, 8, 1], &[2], &labels));
    }
    let set = whole(dir.path());
    assert_eq!((set.classes(), set.class_names()[25].as_str()), (26, "Z"));
    assert_eq!((set.label(0), set.label(1)), (Some(0), Some(25)));
    assert_eq!(set.get(0).unwrap().pixels(), [1, 3, 2, 4]);
    let test = open(&config(dir.path()).with_split(Split::Test)).unwrap();
    assert_eq!((test.label(0), test.classes()), (Some(1), 26));
}

#[test]
fn sizes_are_counted_where_they_differ() {
    let dir = folder(&["0.png", "1.png"]);
    put(&dir, "2.png", &png(8, 6, 0));
    assert_eq!(data::sizes(&config(dir.path())).unwrap(), [([4, 4], 2), ([8, 6], 1)]);
}

/// A pickle as Python 2 wrote those of CIFAR: `{'data': array [n 3072] of bytes, key: [labels], 'filenames': [...]}`.
fn pickled(key: &str, labels: &[u8], planes: &[u8]) -> Vec<u8> {
    let short = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    let number = |n: usize| [&[b'J'][..], &(n as u32).to_le_bytes()].concat();
    let mut out = b"\x80\x02}q\x01(".to_vec();
    out.extend(short("data"));
    out.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01");
    out.extend([number(labels.len()), number(3072), b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R".to_vec()].concat());
    out.extend(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    out.extend((planes.len() as u32).to_le_bytes());
    out.extend(planes);
    out.extend(b"tb");
    out.extend([short(key), b"](".to_vec(), labels.iter().flat_map(|&l| [b'K', l]).collect(), b"e".to_vec()].concat());
    out.extend(b"u.");
    out
}

#[test]
fn cifar_is_read_from_its_pickles_and_from_both_binaries() {
    let planes: Vec<u8> = (0..2 * 3072).map(|v| (v * 31 % 251) as u8).collect();
    let (python, binary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for batch in 1..=5 {
        put(&python, &format!("data_batch_{batch}"), &pickled("labels", &[9, 4], &planes));
        let records = [&[9][..], &planes[..3072], &[4], &planes[3072..]].concat();
        put(&binary, &format!("data_batch_{batch}.bin"), &records);
    }
    put(&python, "batches.meta", b"x");
    let (a, b) = (whole(python.path()), whole(binary.path()));
    assert_eq!((a.len(), a.label(1), a.class_names()[4].as_str()), (10, Some(4), "deer"));
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert_eq!(a.get(0).unwrap().pixels()[..3], [planes[0], planes[1024], planes[2048]]);
    // CIFAR-100: fine labels and their names.
    let (python, binary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(&python, "train", &pickled("fine_labels", &[2, 0], &planes));
    put(&python, "test", &pickled("fine_labels", &[1, 1], &planes));
    put(&python, "meta", b"\x80\x02}U\x10fine_label_names](U\x05appleU\x04bearU\x03bedes.");
    for part in ["train", "test"] {
        let labels: [u8; 2] = if part == "train" { [2, 0] } else { [1, 1] };
        let records = [&[7, labels[0]][..], &planes[..3072], &[8, labels[1]], &planes[3072..]].concat();
        put(&binary, &format!("{part}.bin"), &records);
    }
    put(&binary, "fine_label_names.txt", b"apple\nbear\nbed\n");
    let (a, b) = (whole(python.path()), whole(binary.path()));
    assert_eq!((a.class_names(), a.label(0)), (&["apple", "bear", "bed"].map(String::from)[..], Some(2)));
    assert_eq!(a.fingerprint(), b.fingerprint());
    let test = open_test(&config(python.path())).unwrap().unwrap();
    assert!(test.is_own && test.set.label(0) == Some(1));
    // A pickle that would run something.
    put(&python, "train", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.");
    let error = open(&config(python.path())).err().unwrap().to_string();
    assert!(error.contains("os.system") && error.contains("train"), "{error}");
}
