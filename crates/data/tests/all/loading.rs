//! The loader: exact resumption, full batches over the seam of epochs, flips, errors that name their file, speed.

use crate::common;
use common::*;
use data::pairs::{PairLoader, PairStore};
use data::{Batch, DataConfig, DataError, Dataset, Loader, LoaderConfig, Sample, Values, gather, open};
use proptest::prelude::*;
use std::fs;
use std::sync::Arc;

fn small(len: usize) -> Arc<dyn Dataset> {
    let sample = |i: usize| Sample {
        values: Values::Pixels(vec![i as u8, 0, 255, 10]),
        shape: [1, 1, 4].into(),
        label: i.is_multiple_of(2).then_some((i % 3) as u32),
        caption: Some(format!("sample {i}")),
    };
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    Arc::new(data::InMemory::new("small", [1, 1, 4], classes, (0..len).map(sample).collect()).unwrap())
}

fn take(config: &LoaderConfig, start: u64, batches: usize) -> Vec<Batch> {
    Loader::new(small(10), config, start).unwrap().take(batches).collect::<Result<_, _>>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_start_continues_the_same_stream(seed: u64, batch in 1usize..=10, skip in 0usize..6) {
        let config = LoaderConfig { batch, seed, flip: true, ..LoaderConfig::default() };
        let whole = take(&config, 0, skip + 3);
        prop_assert_eq!(&take(&config, (skip * batch) as u64, 3)[..], &whole[skip..]);
        for (number, batch) in whole.iter().enumerate() {
            prop_assert_eq!(batch.indices[0], (number * config.batch) as u64);
            prop_assert_eq!((batch.len(), batch.shape), (config.batch, [1, 1, 4].into())); // full, also over the seam
        }
    }

    #[test]
    fn what_a_sample_is_does_not_depend_on_the_batch(seed: u64, a in 1usize..=10, b in 1usize..=10) {
        let stream = |batch| {
            let config = LoaderConfig { batch, seed, flip: true, ..LoaderConfig::default() };
            let batches = take(&config, 0, 30usize.div_ceil(batch));
            let pixels: Vec<f32> = batches.iter().flat_map(|b| b.rows.clone()).take(120).collect();
            (pixels, batches.iter().flat_map(|b| b.source.clone()).take(30).collect::<Vec<_>>())
        };
        prop_assert_eq!(stream(a), stream(b));
    }
}

#[test]
fn every_epoch_sees_every_sample_once_with_its_own_label() {
    let batches = take(&LoaderConfig { batch: 4, seed: 3, ..LoaderConfig::default() }, 0, 5);
    let rows: Vec<u64> = batches.iter().flat_map(|b| b.source.clone()).collect();
    for epoch in rows.chunks(10) {
        let mut sorted = epoch.to_vec();
        sorted.sort();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert_ne!(rows[..10], rows[10..]);
    for batch in &batches {
        for (i, &row) in batch.source.iter().enumerate() {
            assert_eq!(batch.rows[4 * i], row as f32 / 127.5 - 1.0);
            assert_eq!(batch.labels[i], if row.is_multiple_of(2) { (row % 3) as i64 } else { -1 });
            assert_eq!(batch.captions[i], Some(format!("sample {row}")));
        }
    }
}

#[test]
fn flips_mirror_half_of_the_samples() {
    let config = LoaderConfig { batch: 10, flip: true, ..LoaderConfig::default() };
    let mut flipped = 0;
    for batch in take(&config, 0, 100) {
        for (i, &row) in batch.source.iter().enumerate() {
            let straight = [row as f32 / 127.5 - 1.0, -1.0, 1.0, 10.0 / 127.5 - 1.0];
            let mirrored = [straight[3], straight[2], straight[1], straight[0]];
            let seen = &batch.rows[4 * i..][..4];
            assert!(seen == straight || seen == mirrored, "{seen:?}");
            flipped += usize::from(seen == mirrored);
        }
    }
    // 1000 fair coins: 500 with a standard deviation of 16; 5 deviations.
    assert!((420..580).contains(&flipped), "{flipped}");
}

#[test]
fn one_pass_ends_with_the_rest() {
    let batches = take(&LoaderConfig::once(4), 0, 99);
    assert_eq!(batches.iter().map(|b| b.len()).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(batches[2].source, [8, 9]);
    assert_eq!(gather(&*small(10), &[8, 9]).unwrap().rows, batches[2].rows);
}

#[test]
fn a_batch_larger_than_the_set_is_refused_unless_allowed() {
    let config = LoaderConfig { batch: 11, ..LoaderConfig::default() };
    let error = Loader::new(small(10), &config, 0).err().unwrap();
    assert!(matches!(error, DataError::BatchTooLarge { batch: 11, len: 10, .. }), "{error}");
    assert!(error.to_string().contains("lower the batch"));
    let batch = take(&LoaderConfig { allow_repeats: true, ..config }, 0, 1).remove(0);
    assert_eq!(batch.len(), 11);
    assert!(Loader::new(small(10), &LoaderConfig { batch: 0, ..LoaderConfig::default() }, 0).is_err());
}

#[test]
fn a_file_that_goes_bad_while_training_is_named() {
    let dir = tempfile::tempdir().unwrap();
    (0..6).for_each(|i| fs::write(dir.path().join(format!("{i}.png")), png(2, 2, i)).unwrap());
    let set = open(&DataConfig { memory_mib: 0, holdout: 0.0, ..DataConfig::at(dir.path()) }).unwrap();
    let whole = fs::read(dir.path().join("4.png")).unwrap();
    fs::write(dir.path().join("4.png"), &whole[..whole.len() / 2]).unwrap();
    let mut loader = Loader::new(set, &LoaderConfig { batch: 3, ..LoaderConfig::once(3) }, 0).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().source, [0, 1, 2]);
    let error = loader.next().unwrap().unwrap_err();
    assert!(matches!(&error, DataError::Malformed { path, .. } if path.ends_with("4.png")), "{error}");
    assert!(loader.next().is_none());
}

#[test]
fn lazy_and_in_memory_sets_stream_the_same() {
    let dir = tempfile::tempdir().unwrap();
    (0..9).for_each(|i| fs::write(dir.path().join(format!("{i}.png")), png(6, 5, i)).unwrap());
    let stream = |memory_mib| {
        let set = open(&DataConfig { memory_mib, size: Some(4), ..DataConfig::at(dir.path()) }).unwrap();
        let loader = Loader::new(set, &LoaderConfig { batch: 5, flip: true, ..LoaderConfig::default() }, 3).unwrap();
        loader.take(4).collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(stream(0), stream(1024));
}

#[test]
fn loading_from_memory_keeps_far_ahead_of_any_training() {
    let set = open(&DataConfig::default()).unwrap();
    let config = LoaderConfig { batch: 100, flip: true, ..LoaderConfig::default() };
    let start = std::time::Instant::now();
    let count: usize = Loader::new(set, &config, 0).unwrap().take(300).map(|batch| batch.unwrap().len()).sum();
    let rate = count as f64 / start.elapsed().as_secs_f64();
    eprintln!("{rate:.0} images of 28 x 28 a second");
    assert!(rate > 10_000.0, "{rate:.0} images/s"); // 50 000 on an idle core; a busy test machine gets a margin
}

#[test]
fn pairs_stream_in_the_same_order_and_resume() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::open(dir.path(), &meta(), 0..10).unwrap().rows_per_shard(3);
    push(&mut writer, 10);
    writer.finish().unwrap();
    let store = Arc::new(PairStore::open(dir.path()).unwrap());
    let config = LoaderConfig { batch: 4, seed: 9, ..LoaderConfig::default() };
    let images = take(&config, 0, 6);
    let pairs: Vec<_> = PairLoader::new(store.clone(), &config, 0).unwrap().take(6).map(Result::unwrap).collect();
    for (images, pairs) in images.iter().zip(&pairs) {
        assert_eq!((&images.source, &images.indices), (&pairs.index, &pairs.indices));
        for (i, &index) in pairs.index.iter().enumerate() {
            let (x0, x1) = pair(index);
            assert_eq!(pairs.x0[4 * i..][..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), x0.map(f32::to_bits));
            assert_eq!(pairs.x1[4 * i..][..4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), x1.map(f32::to_bits));
            assert_eq!(pairs.labels[i], (index % 10) as i64);
        }
    }
    let resumed: Vec<_> = PairLoader::new(store.clone(), &config, 8).unwrap().take(4).map(Result::unwrap).collect();
    assert_eq!(resumed, pairs[2..]);
    assert!(PairLoader::new(store.clone(), &LoaderConfig { batch: 11, ..config.clone() }, 0).is_err());

    // Mirrored pairs: both ends or neither, about half of them, the same ones on resuming.
    let flipped = LoaderConfig { flip: true, ..config };
    let mirrored: Vec<_> = PairLoader::new(store, &flipped, 0).unwrap().take(6).map(Result::unwrap).collect();
    let (mut same, mut turned) = (0, 0);
    for (plain, mirrored) in pairs.iter().zip(&mirrored) {
        let [_, _, width] = plain.shape.image().unwrap();
        let size = plain.shape.numel();
        let turn = |values: &[f32]| values.chunks(width).flat_map(|row| row.iter().rev().copied()).collect::<Vec<_>>();
        let ends = |batch: &data::pairs::PairBatch, i: usize| {
            [&batch.x0, &batch.x1].map(|x| x[i * size..(i + 1) * size].to_vec())
        };
        for i in 0..plain.indices.len() {
            let (before, after) = (ends(plain, i), ends(mirrored, i));
            match before == after {
                true => same += 1,
                false => turned += usize::from(before.map(|x| turn(&x)) == after),
            }
        }
    }
    // What is no image has no left and right.
    let points = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::open(points.path(), &PairMeta { shape: [4].into(), ..meta() }, 0..8).unwrap();
    push(&mut writer, 8);
    writer.finish().unwrap();
    let said = PairLoader::new(Arc::new(PairStore::open(points.path()).unwrap()), &flipped, 0).err().unwrap();
    assert!(said.to_string().contains("[4] are not images"), "{said}");
    assert!(same > 0 && turned > 0 && same + turned == pairs.iter().map(|b| b.indices.len()).sum::<usize>());
}

/// Latents, spectrograms and sets of points travel as they are, whatever their shape. Mutant: numbers rounded to bytes, or mirrored.
#[test]
fn numbers_of_any_shape_are_loaded_as_they_are() {
    let row = |i: usize| vec![i as f32 + 0.25, -3.5, 1e-3, 7.0, 8.0, -9.0];
    let sample =
        |i: usize| Sample { values: Values::Numbers(row(i)), shape: [3, 2].into(), label: None, caption: None };
    let set = data::InMemory::new("numbers", [3, 2], Vec::new(), (0..5).map(sample).collect()).unwrap();
    let config = LoaderConfig { batch: 5, flip: true, shuffle: false, ..LoaderConfig::default() };
    let batch = Loader::new(Arc::new(set.clone()), &config, 0).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.len(), batch.shape), (5, [3, 2].into()));
    assert_eq!(batch.rows, (0..5).flat_map(row).collect::<Vec<_>>());
    let other = Sample { values: Values::Numbers(vec![0.0; 6]), ..sample(0) };
    let changed = data::InMemory::new("numbers", [3, 2], Vec::new(), vec![other, sample(1)]).unwrap();
    let pair = data::InMemory::new("numbers", [3, 2], Vec::new(), vec![sample(0), sample(1)]).unwrap();
    assert_ne!(changed.fingerprint(), pair.fingerprint());
    let mixed = vec![sample(0), Sample { values: Values::Pixels(vec![0; 6]), ..sample(1) }];
    let error = data::InMemory::new("mixed", [3, 2], Vec::new(), mixed).unwrap_err().to_string();
    assert!(error.contains("sample 1 of mixed"), "{error}");
}
