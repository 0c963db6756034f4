//! Damaged, foreign and mismatched checkpoints, NaN in the data, and a full disk: each a clear error, none a panic,
//! and nothing good is lost.

use crate::testing;

use base::{Device, Key, Purpose, TensorData};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use testing::{TinyNet, TinySource, TinyTask};
use train::checkpoint::{Blob, Checkpoint, CheckpointConfig, CheckpointError, Folder, Meta, Which, load_weights};
use train::params::Info;
use train::{Outcome, Setup, Source, TrainConfig, TrainError};

fn config() -> TrainConfig {
    TrainConfig {
        images: 80,
        batch: 8,
        validate_every: 0,
        checkpoint: CheckpointConfig { every: 40, keep_last: 0 },
        ..TrainConfig::default()
    }
}

fn run(folder: &Path, source: &mut dyn Source, width: usize, seed: u64) -> Result<Outcome<TinyNet>, TrainError> {
    let config = config();
    let task = TinyTask { seed: 3 };
    let folder = Folder::create(folder)?;
    let setup = Setup {
        config: &config,
        task: &task,
        source,
        validation: None,
        seed,
        recipe: "name = \"tiny, with crc32c\\\":\\\" in a string\"".to_string(),
        extra: BTreeMap::from([("stage".to_string(), "base".to_string())]),
        checkpoints: Some(folder.clone()),
        ranks: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let network = TinyNet::new(1, width, &Device::flex().autodiff());
    match folder.latest()? {
        Some(found) => train::resume(network, found.checkpoint, setup, &mut ()),
        None => train::train(network, setup, &mut ()),
    }
}

fn trained(folder: &Path) -> PathBuf {
    run(folder, &mut TinySource::new(8), 4, 3).unwrap().checkpoint.unwrap()
}

#[test]
fn a_good_file_says_what_it_is_and_other_programs_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = trained(folder.path());
    let checkpoint = Checkpoint::open(&file).unwrap();
    let meta = checkpoint.meta();
    assert_eq!((meta.images, meta.steps, meta.seed), (80, 10, 3));
    assert_eq!(meta.extra, BTreeMap::from([("stage".to_string(), "base".to_string())]));
    assert!(meta.recipe.contains("crc32c"));
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("raw.input.weight").unwrap().shape(), [4, 5]);
    assert_eq!(tensors.len(), 4 * 5);
}

#[test]
fn every_truncation_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(trained(folder.path())).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let file = folder.path().join("cut.safetensors");
    // Nothing, inside the length, at and inside the header, at the first tensor, between tensors, the last byte.
    let mut lengths = vec![0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, header + 16, bytes.len() - 1];
    lengths.extend((0..200).map(|i| (Key::new(1, Purpose::Probe).uniform(i) * bytes.len() as f64) as usize));
    for length in lengths {
        std::fs::write(&file, &bytes[..length]).unwrap();
        match Checkpoint::open(&file) {
            Err(CheckpointError::Truncated { expected, found, .. }) => {
                assert_eq!(found, length as u64);
                assert!(expected > found && expected <= bytes.len() as u64);
            }
            other => panic!("cut to {length} bytes: {other:?}"),
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    std::fs::write(&file, longer).unwrap();
    assert!(matches!(Checkpoint::open(&file), Err(CheckpointError::Damaged { .. })));
}

#[test]
fn every_flipped_bit_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(trained(folder.path())).unwrap();
    let file = folder.path().join("flip.safetensors");
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    // Every byte of the length prefix, every 7th of the header and its padding, and random ones of the tensors.
    let random = (0..300).map(|i| (Key::new(2, Purpose::Probe).uniform(i) * good.len() as f64) as usize);
    for place in (0..8).chain((8..header).step_by(7)).chain(header - 8..header).chain(random) {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&file, &bytes).unwrap();
        assert!(Checkpoint::open(&file).is_err(), "byte {place} of {} (header {header})", good.len());
    }
    // The damage is said to be damage, with both checksums.
    let mut bytes = good.clone();
    *bytes.last_mut().unwrap() ^= 0x10;
    std::fs::write(&file, &bytes).unwrap();
    let error = Checkpoint::open(&file).unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("flip.safetensors"), "{error}");
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let says = |bytes: &[u8], reason: &str| {
        std::fs::write(&file, bytes).unwrap();
        let error = Checkpoint::open(&file).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("x.safetensors"), "{error}");
    };
    says(b"\x89PNG\r\n\x1a\n and so on and on", "not a safetensors header");
    says(&[&2u64.to_le_bytes()[..], b"{}"].concat(), "no `crc32c`");
    says(&[&4u64.to_le_bytes()[..], b"{\"a\""].concat(), "header is invalid");
    let missing = Checkpoint::open(folder.path().join("none.safetensors")).unwrap_err().to_string();
    assert!(missing.contains("none.safetensors") && missing.contains("check the path"), "{missing}");
}

#[test]
fn latest_skips_what_it_cannot_read_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let newest = trained(folder.path());
    std::fs::write(&newest, b"").unwrap();
    let found = Folder::at(folder.path()).latest().unwrap().unwrap();
    assert_eq!(found.checkpoint.meta().images, 40);
    assert_eq!(found.skipped.len(), 1);
    assert!(found.skipped[0].to_string().contains("truncated"));
    // Continuing repairs the damaged file with the same bytes as ever.
    let whole = tempfile::tempdir().unwrap();
    let reference = std::fs::read(trained(whole.path())).unwrap();
    assert_eq!(std::fs::read(trained(folder.path())).unwrap(), reference);
    // With nothing readable left, the newest file's error is the answer.
    for (_, file) in Folder::at(folder.path()).list().unwrap() {
        std::fs::write(file, b"short").unwrap();
    }
    assert!(matches!(Folder::at(folder.path()).latest(), Err(CheckpointError::Truncated { .. })));
}

#[test]
fn another_network_is_named_tensor_by_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(trained(folder.path())).unwrap();
    let error = load_weights(TinyNet::new(1, 6, &Device::flex()), &checkpoint, Which::Best).unwrap_err().to_string();
    assert!(error.contains("`input.weight` is [4, 5], this network needs [6, 5]"), "{error}");
    assert!(error.contains("name = \"tiny"), "the recipe is quoted: {error}");
    let error = run(folder.path(), &mut TinySource::new(8), 6, 3).unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");
}

#[test]
fn a_tensor_too_many_or_too_few_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), &mut TinySource::new(8), 4, 3).unwrap();
    let meta = Checkpoint::open(outcome.checkpoint.unwrap()).unwrap().meta().clone();
    let store = |blobs: &[Blob]| {
        let folder = Folder::at(folder.path());
        Checkpoint::open(folder.save(&Meta { images: 999, ..meta.clone() }, blobs, 0).unwrap()).unwrap()
    };
    let load = |c: Checkpoint| load_weights(TinyNet::new(1, 4, &Device::flex()), &c, Which::Best);
    let mut blobs = outcome.state.blobs();
    assert!(load(store(&blobs)).is_ok());
    let extra = Info::new("ema.0.999.ghost.weight", [1]);
    blobs.push(Blob { info: extra, data: TensorData::new(vec![0.0f32], [1]) });
    let error = load(store(&blobs)).unwrap_err().to_string();
    assert!(error.contains("unknown `ghost.weight`"), "{error}");
    blobs.retain(|b| !b.info.name.ends_with("ghost.weight") && b.info.name != "ema.0.999.output.bias");
    let error = load(store(&blobs)).unwrap_err().to_string();
    assert!(error.contains("lacks `output.bias`"), "{error}");
}

#[test]
fn another_seed_path_or_data_set_is_refused_on_resume() {
    struct Other(TinySource);
    impl Source for Other {
        fn seek(&mut self, images: u64) -> Result<(), TrainError> {
            self.0.seek(images)
        }
        fn next(&mut self) -> Result<train::Batch, TrainError> {
            self.0.next()
        }
        fn fingerprint(&self) -> String {
            "other data".to_string()
        }
    }
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path());
    let error = run(folder.path(), &mut TinySource::new(8), 4, 4).unwrap_err().to_string();
    assert!(error.contains("seed 3") && error.contains("4 is asked for"), "{error}");
    let error = run(folder.path(), &mut Other(TinySource::new(8)), 4, 3).unwrap_err().to_string();
    assert!(error.contains("data tiny") && error.contains("other data is asked for"), "{error}");
}

#[test]
fn nan_in_the_data_stops_the_run_and_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = TinySource { poison: 61, ..TinySource::new(8) };
    let error = run(folder.path(), &mut source, 4, 3).unwrap_err();
    let TrainError::NotFinite(seen) = &error else { panic!("{error}") };
    // 61 lies in the eighth batch of eight: 56 images were good.
    assert_eq!((seen.step, seen.images), (8, 56));
    assert!(seen.loss.is_nan() && seen.parameter.is_some());
    let folder = Folder::at(folder.path());
    assert_eq!(seen.checkpoint, Some(folder.file(40)));
    let said = error.to_string();
    for part in ["step 8", "loss NaN", "input.weight", "sample 61", "row", "000000000040.safetensors"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    assert_eq!(folder.list().unwrap().len(), 1);
    Checkpoint::open(folder.file(40)).unwrap();
}

#[test]
fn a_failing_write_is_an_error_at_any_byte() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let n = bytes.len().min(self.0);
            self.0 -= n;
            Ok(n)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let info = Info::new("raw.x", [100]);
    let blobs = [Blob { info, data: TensorData::new(vec![1.0f32; 100], [100]) }];
    let size = train::checkpoint::encode(&Meta::default(), &blobs, &mut Full(usize::MAX)).unwrap() as usize;
    for room in (0..size).step_by(13) {
        let error = train::checkpoint::encode(&Meta::default(), &blobs, &mut Full(room)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

/// A disk that is really full: a small tmpfs, where this machine lets us mount one.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_older_checkpoint_and_no_rubbish() {
    let folder = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mount.is_ok_and(|s| s.success()) {
        eprintln!("skipped: mounting a tmpfs is not permitted here");
        return;
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0).status();
        }
    }
    let _unmount = Unmount(folder.path());
    let good = trained(folder.path());
    let meta = Checkpoint::open(&good).unwrap().meta().clone();
    let info = Info::new("raw.big", [1 << 16]);
    let blobs = [Blob { info, data: TensorData::new(vec![0.5f32; 1 << 16], [1 << 16]) }];
    let files = Folder::at(folder.path());
    let error = files.save(&Meta { images: 999, ..meta }, &blobs, 1).unwrap_err().to_string();
    assert!(error.contains("free some space"), "{error}");
    assert_eq!(files.latest().unwrap().unwrap().checkpoint.path(), good);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "the two checkpoints and no temporary file: {left:?}");
}
