//! Checkpoints and pair stores of earlier layouts open, and say what they said (`fixtures/old-layout`).

use base::Shape;
use data::pairs::{PairRecord, PairStore, PairWriter};
use rectiflow::{
    Context, Model,
    recipe::SampleConfig,
    sampling::{Classes, draw},
};
use std::{fs, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/old-layout").join(name)
}

/// The numbers of an npy file: its last `count` floats.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let bytes = fs::read(fixture(name)).unwrap();
    bytes[bytes.len() - 4 * count..].as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// Opens a checkpoint, draws `count` samples as the program of that time did, and compares.
fn says_what_it_said(name: &str, shape: impl Into<Shape>, count: u64) {
    let (shape, mut context) = (shape.into(), Context::silent());
    let model = Model::open(&fixture(&format!("{name}.safetensors")), Default::default(), &context.device).unwrap();
    assert_eq!(model.subject.shape, shape);
    let config = SampleConfig { steps: 4, ..model.recipe.sample.clone() };
    let drawn = draw(&model, &config, &Classes::all(&model).unwrap(), 3, 0..count, &mut context).unwrap();
    let then = numbers(&format!("{name}.npy"), count as usize * shape.numel());
    assert_eq!(drawn.rows.len(), then.len());
    // Other processors round otherwise; two exchanged samples or axes differ by far more.
    let gap = drawn.rows.iter().zip(&then).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(gap < 2e-3, "{name}: {gap}");
}

#[test]
fn images_open() {
    says_what_it_said("image", [1, 28, 28], 2);
}

#[test]
fn points_were_images_of_one_pixel_and_open_as_points() {
    says_what_it_said("points", [2], 4);
}

#[test]
fn a_pair_store_opens_and_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let name = "pairs-000000000000.safetensors";
    fs::copy(fixture(name), folder.path().join(name)).unwrap();
    let old = PairStore::open(folder.path()).unwrap();
    assert_eq!((old.len(), old.meta().shape), (64, Shape::from([2])));
    let mut writer = PairWriter::open(folder.path(), old.meta(), 0..66).unwrap();
    assert_eq!(writer.missing(9), [64, 65]);
    for index in [64, 65] {
        writer.push(PairRecord { index, x0: &[0.5, -0.5], x1: &[1.0, -1.0], class: -1, caption: None }).unwrap();
    }
    writer.finish().unwrap();
    let both = PairStore::open(folder.path()).unwrap();
    assert_eq!(both.batch(&[0, 65]).unwrap().x0[2..], [0.5, -0.5]);
    assert_eq!(both.batch(&[0]).unwrap().x1, old.batch(&[0]).unwrap().x1);
}
