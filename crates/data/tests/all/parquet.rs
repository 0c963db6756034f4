//! Parquet files that pyarrow wrote, in the layout of the hub's data sets: every picture, class and caption, in each compression.
//!
//! Mutants: an image of the neighbouring row, group or file; the missing caption taken from the next row; a row without an image given
//! the next one's; classes numbered by their names' order.

use crate::common::*;
use data::{DataConfig, Dataset, Split, open};
use std::fs;
use std::path::Path;

fn files() -> [&'static str; 4] {
    ["snappy", "zstd", "gzip", "lz4"]
}

fn put(dir: &Path, name: &str, from: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(Path::new(PARQUET).join(from), path).unwrap();
}

fn check(set: &dyn Dataset) {
    assert_eq!((set.len(), set.shape()), (8, [3, 3, 4].into()));
    assert_eq!(set.class_names(), ["cat, black", "dog", "bird"]);
    // From the back as well, so that groups are asked for in another order than they are kept in.
    for at in (0..8).chain([7, 0, 5, 2, 6, 1]) {
        let sample = set.get(at).unwrap();
        assert_eq!(sample.pixels()[..3], [at as u8, 100, 200], "row {at}");
        assert_eq!(sample.label, Some(at as u32 % 2), "row {at}");
        assert_eq!(sample.caption, (at != 3).then(|| format!("picture {at}")), "row {at}");
    }
}

#[test]
fn every_compression_gives_back_the_rows_as_they_were_written() {
    let mut prints = Vec::new();
    for name in files() {
        let path = Path::new(PARQUET).join(format!("{name}.parquet"));
        for memory_mib in [0, 1024] {
            let config = DataConfig { memory_mib, holdout: 0.0, ..DataConfig::at(&path) };
            let set = open(&config).unwrap();
            check(&*set);
            let left = set.left_out().iter().find(|left| left.what == "columns").expect("the score is told of");
            assert_eq!((left.count, left.first[0].as_str()), (1, "score"));
            if memory_mib > 0 {
                prints.push(set.fingerprint().to_string());
            }
        }
    }
    assert!(prints.iter().all(|print| *print == prints[0]), "the same pictures have one fingerprint: {prints:?}");
}

#[test]
fn rows_without_an_image_shift_no_other() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.parquet", "zstd.parquet");
    put(dir.path(), "b.parquet", "holes.parquet");
    for memory_mib in [0, 1024] {
        let config = DataConfig { memory_mib, holdout: 0.0, skip_unreadable: true, ..DataConfig::at(dir.path()) };
        let set = open(&config).unwrap();
        let numbers: Vec<u8> = (0..8).chain([50, 52, 54]).collect();
        assert_eq!(set.len(), numbers.len());
        // From one file to the other and back.
        for at in [8, 0, 9, 1, 10, 2, 7] {
            let sample = set.get(at).unwrap();
            assert_eq!(sample.pixels()[..3], [numbers[at], 100, 200], "{at}");
            assert_eq!(sample.caption, Some(format!("picture {}", numbers[at])), "{at}");
        }
    }
    let error = open(&DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()) }).err().unwrap().to_string();
    assert!(error.contains("b.parquet/row 1") && error.contains("2 of 13"), "{error}");
}

#[test]
fn parts_are_told_by_the_names_of_files_and_folders() {
    for (train, test) in [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "validation/0000.parquet"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), train, "zstd.parquet");
        put(dir.path(), &train.replace("0000", "0001"), "snappy.parquet");
        put(dir.path(), test, "gzip.parquet");
        let set = open(&DataConfig::at(dir.path())).unwrap();
        assert_eq!(set.len(), 16, "{train}");
        check(&*open(&DataConfig::at(dir.path()).with_split(Split::Test)).unwrap());
    }
}

#[test]
fn what_is_no_set_of_pictures_is_refused_with_its_columns_and_beside_pictures_named() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.parquet", "links.parquet");
    let error = open(&DataConfig::at(dir.path())).err().unwrap().to_string();
    assert!(error.contains("a.parquet") && error.contains("url, text"), "{error}");
    let whole = fs::read(Path::new(PARQUET).join("zstd.parquet")).unwrap();
    for cut in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(dir.path().join("a.parquet"), &whole[..cut]).unwrap();
        let error = open(&DataConfig::at(dir.path())).err().unwrap().to_string();
        assert!(error.contains("a.parquet") && error.contains("download or copy it again"), "{cut}: {error}");
    }
    fs::write(dir.path().join("0.png"), png(4, 4, 0)).unwrap();
    fs::write(dir.path().join("1.png"), png(4, 4, 1)).unwrap();
    let set = open(&DataConfig { holdout: 0.0, ..DataConfig::at(dir.path()) }).unwrap();
    assert_eq!((set.len(), set.left_out()[0].first[0].as_str()), (2, "a.parquet"));
}
