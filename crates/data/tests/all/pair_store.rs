//! The pair store: exact, resumable, and every damage is found.

use crate::common;
use common::*;
use data::DataError;
use data::pairs::PairStore;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn store(dir: &Path, count: u64, rows: usize) {
    let mut writer = PairWriter::open(dir, &meta(), 0..count).unwrap().rows_per_shard(rows);
    push(&mut writer, count as usize);
    writer.finish().unwrap();
}

#[test]
fn pairs_come_back_bit_for_bit_and_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), 10, 4);
    let store = PairStore::open(dir.path()).unwrap();
    assert_eq!((store.len(), store.meta()), (10, &meta()));
    let batch = store.batch(&[7, 0, 7]).unwrap();
    assert_eq!((batch.shape, &batch.index[..], &batch.labels[..]), ([1, 2, 2].into(), &[7, 0, 7][..], &[7, 0, 7][..]));
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&batch.x0[..4]), bits(&pair(7).0));
    assert_eq!(bits(&batch.x1[4..8]), bits(&pair(0).1));
    assert!(store.batch(&[10]).is_err());
}

#[test]
fn the_files_are_plain_safetensors_with_named_tensors() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), 3, 8);
    let bytes = fs::read(dir.path().join("pairs-000000000000.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let x1 = tensors.tensor("x1").unwrap();
    assert_eq!((x1.shape(), x1.data()), (&[3, 1, 2, 2][..], &floats(&[pair(0).1, pair(1).1, pair(2).1].concat())[..]));
    assert_eq!(tensors.len(), 4);
}

#[test]
fn a_killed_writer_continues_where_whole_files_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::open(dir.path(), &meta(), 0..20).unwrap().rows_per_shard(4);
    push(&mut writer, 10);
    drop(writer); // two files of four; two pairs were waiting
    fs::write(dir.path().join(".pairs-000000000008.safetensors.1234.part"), b"half a file").unwrap();
    let mut writer = PairWriter::open(dir.path(), &meta(), 0..20).unwrap().rows_per_shard(4);
    assert_eq!((writer.next_index(), writer.remaining()), (8, 12));
    push(&mut writer, 12);
    assert!(writer.missing(1).is_empty());
    writer.finish().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "an unfinished file was left");

    let whole = tempfile::tempdir().unwrap();
    store(whole.path(), 20, 4);
    let fingerprint = |dir| PairStore::open(dir).unwrap().fingerprint();
    assert_eq!(fingerprint(dir.path()), fingerprint(whole.path()));
}

#[test]
fn writers_share_a_store_and_gaps_are_filled() {
    let dir = tempfile::tempdir().unwrap();
    for range in [10..20, 0..10] {
        let mut writer = PairWriter::open(dir.path(), &meta(), range.clone()).unwrap().rows_per_shard(3);
        assert_eq!(writer.next_index(), range.start);
        push(&mut writer, 10);
        writer.finish().unwrap();
    }
    fs::remove_file(dir.path().join("pairs-000000000003.safetensors")).unwrap();
    let mut writer = PairWriter::open(dir.path(), &meta(), 0..25).unwrap();
    assert_eq!((writer.next_index(), writer.remaining()), (3, 8));
    assert_eq!(writer.missing(5), [3, 4, 5, 20, 21]);
    push(&mut writer, 8);
    writer.finish().unwrap();
    let store = PairStore::open(dir.path()).unwrap();
    assert_eq!(store.batch(&(0..25).collect::<Vec<_>>()).unwrap().index, (0..25).collect::<Vec<_>>());
}

/// Mutants: letters counted for bytes; an empty caption taken for none; captions of another row.
#[test]
fn captions_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let meta = PairMeta { captions: true, ..meta() };
    let captions = [Some("a red square"), None, Some("Füße, 東京"), Some(""), Some("a red square")];
    let mut writer = PairWriter::open(dir.path(), &meta, 0..5).unwrap().rows_per_shard(3);
    for (index, caption) in captions.into_iter().enumerate() {
        let (x0, x1) = pair(index as u64);
        writer.push(PairRecord { index: index as u64, x0: &x0, x1: &x1, class: -1, caption }).unwrap();
    }
    writer.finish().unwrap();
    let store = PairStore::open(dir.path()).unwrap();
    let batch = store.batch(&[2, 4, 1, 3]).unwrap();
    assert_eq!(batch.captions, [captions[2], captions[4], None, Some("")].map(|text| text.map(str::to_string)));
    // A key that is there on one side alone is a difference too.
    let other = PairWriter::open(dir.path(), &PairMeta { captions: false, ..meta }, 0..9).unwrap_err();
    assert!(other.to_string().contains("captions = true, these with as usual"), "{other}");

    let dir = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::open(dir.path(), &common::meta(), 0..1).unwrap();
    let (x0, x1) = pair(0);
    let said = writer.push(PairRecord { index: 0, x0: &x0, x1: &x1, class: 0, caption: Some("x") }).unwrap_err();
    assert!(said.to_string().contains("caption"), "{said}");
}

#[test]
fn wrong_pairs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::open(dir.path(), &meta(), 0..9).unwrap();
    let (x0, x1) = pair(0);
    let record = PairRecord { index: 0, x0: &x0, x1: &x1, class: 0, caption: None };
    assert!(writer.push(PairRecord { index: 1, ..record }).is_err());
    assert!(writer.push(PairRecord { x0: &x0[..3], ..record }).is_err());
    let nan = [0.0, f32::NAN, 0.0, 0.0];
    let error = writer.push(PairRecord { x1: &nan, ..record }).unwrap_err();
    assert!(matches!(error, DataError::NotFinite { .. }) && error.to_string().contains("x1 of sample 0"), "{error}");
    writer.push(record).unwrap(); // a refused pair leaves no trace
    writer.finish().unwrap();
    assert_eq!(PairStore::open(dir.path()).unwrap().batch(&[0]).unwrap().x1[1], x1[1]);

    let other = PairMeta { steps: 50, ..meta() };
    let error = PairWriter::open(dir.path(), &other, 0..9).unwrap_err().to_string();
    assert!(error.contains("steps = 20") && error.contains("50"), "{error}");
    assert!(PairStore::open(Path::new("/nowhere")).is_err());
    let empty = tempfile::tempdir().unwrap();
    assert!(PairStore::open(empty.path()).unwrap_err().to_string().contains("rectiflow pairs"));
}

#[test]
fn every_single_byte_matters() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), 2, 2);
    let path = dir.path().join("pairs-000000000000.safetensors");
    let whole = fs::read(&path).unwrap();
    let replace = |bytes: &[u8]| {
        fs::remove_file(&path).unwrap(); // some file systems wait for the disk when a file is overwritten
        fs::write(&path, bytes).unwrap();
    };
    for at in 0..whole.len() {
        // 0x20 turns capitals into small letters and digits of a checksum into other digits' look-alikes; 0x29 a blank into a tab.
        for flip in [1, 0x20, 0x29, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            replace(&bytes);
            let error = PairStore::open(dir.path()).expect_err("a flipped byte went unnoticed");
            assert!(error.to_string().contains("pairs-000000000000"), "{error}");
        }
    }
    for length in 0..whole.len() {
        replace(&whole[..length]);
        assert!(PairStore::open(dir.path()).is_err(), "truncation to {length} went unnoticed");
    }
    replace(&[&whole[..], b"x"].concat());
    assert!(PairStore::open(dir.path()).is_err(), "an appended byte went unnoticed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_damage_is_always_found(edits in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), 8, 8);
        let path = dir.path().join("pairs-000000000000.safetensors");
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        edits.iter().for_each(|(at, flip)| bytes[at.index(whole.len())] ^= flip);
        fs::write(&path, &bytes).unwrap();
        prop_assert!(bytes == whole || PairStore::open(dir.path()).is_err());
    }
}

/// A small file system of its own, where this machine lets a test have one.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().ok()?;
        let mut mount = std::process::Command::new("mount");
        let mount =
            mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path()).stderr(std::process::Stdio::null());
        mount.status().ok()?.success().then_some(Self(dir))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_leaves_what_was_written() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    let dir = disk.0.path();
    let mut writer = PairWriter::open(dir, &meta(), 0..100_000).unwrap().rows_per_shard(100);
    let mut error = None;
    for index in 0..100_000 {
        let (x0, x1) = pair(index);
        error = writer.push(PairRecord { index, x0: &x0, x1: &x1, class: (index % 10) as i64, caption: None }).err();
        if error.is_some() {
            break;
        }
    }
    let error = error.expect("64 KiB cannot hold 4.8 MB");
    assert!(matches!(error, DataError::DiskFull { .. }), "{error}");
    drop(writer);
    let store = PairStore::open(dir).unwrap();
    assert!(store.len() >= 100 && store.len().is_multiple_of(100));
    assert_eq!(store.batch(&[99]).unwrap().x0, pair(99).0);
    assert!(fs::read_dir(dir).unwrap().all(|item| !item.unwrap().file_name().to_string_lossy().ends_with(".part")));
    assert_eq!(PairWriter::open(dir, &meta(), 0..100_000).unwrap().next_index(), store.len() as u64);
}

#[test]
fn an_unwritable_place_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = PairWriter::open(&dir.path().join("file/store"), &meta(), 0..9).unwrap_err();
    assert!(matches!(error, DataError::Io { action: "create", .. }), "{error}");
}
