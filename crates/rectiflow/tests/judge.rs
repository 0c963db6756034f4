//! The shipped classifier judges every figure of the demo: it must know the embedded test images, which it never saw.

use base::Device;
use data::{DataConfig, Split};
use metrics::{class_accuracy, classifier::Classifier};

#[test]
fn the_shipped_classifier_knows_images_it_never_saw() {
    let dataset = data::open(&DataConfig::default().with_split(Split::Test)).expect("the embedded set");
    let judge = Classifier::fashion_mnist(&Device::flex()).expect("the shipped weights");
    let rows: Vec<usize> = (0..dataset.len()).collect();
    let batch = data::gather(&*dataset, &rows).expect("embedded images");
    let logits = judge.logits(&batch.images, batch.shape).expect("scores");
    let accuracy = class_accuracy(&logits, &batch.labels).expect("labels").overall;
    // 90.5 % on all 10 000 test images (crates/metrics/assets/README.md); these 2 000 are part of them, so three standard
    // errors are 2 %. Weights of another network, or images not in [-1, 1], fall far below.
    assert!((0.885..0.93).contains(&accuracy), "accuracy {accuracy}");
}
