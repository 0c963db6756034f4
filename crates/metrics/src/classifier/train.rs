//! Training of the classifier: the cross entropy with smoothed labels, one warm-up and cosine decay over all epochs.

use super::augment::{augment, to_unit};
use super::spoil::{KINDS, spoil};
use super::{Classifier, ClassifierConfig, Labelled, Layout, SmallCnn, optimizer::AdamW};
use crate::{Matrix, MetricsError, class_accuracy};
use base::{Device, Key, Purpose, RandomStream, Tensor, TensorData};
use rand::RngExt;
use std::ops::ControlFlow;
use std::time::Instant;

/// How far training has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Images seen so far.
    pub seen: usize,
    /// Images to see in total.
    pub total: usize,
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Loss, averaged over about the last hundred steps.
    pub loss: f64,
    /// Accuracy on the test set, at the end of each epoch if there is one.
    pub accuracy: Option<f64>,
    /// Seconds since the start.
    pub seconds: f64,
}

/// Trains a classifier on `data`; `progress` hears of every tenth step and every epoch's end, and may stop early by
/// breaking, which returns the classifier as it is.
///
/// `device` is an ordinary device; gradients are taken on its differentiating twin.
pub fn train(
    config: &ClassifierConfig,
    data: &Labelled,
    test: Option<&Labelled>,
    device: &Device,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Classifier, MetricsError> {
    config.check()?;
    data.check()?;
    let layout = Layout {
        name: config.name.clone(),
        input: data.input,
        widths: config.widths,
        pool: config.pool,
        features: config.features,
        classes: data.classes.clone(),
    };
    layout.check()?;
    if let Some(test) = test {
        test.check()?;
        if test.input != data.input || test.classes != data.classes {
            let message = "test images differ from the training images in shape or classes".into();
            return Err(MetricsError::Shape { what: "labelled images", message });
        }
    }
    let start = Instant::now();
    let n = data.labels.len();
    let batch = config.batch.min(n);
    let (per_epoch, total) = (n / batch, n / batch * config.epochs);
    let mut network = SmallCnn::init(&layout, config.seed, device);
    if config.tell > 0.0 {
        network = network.with_second_head(KINDS, Key::of(config.seed, RandomStream::SecondHead), device);
    }
    let mut optimizer = AdamW::new(&layout, &network, config);
    let mut average = f64::NAN;
    'epochs: for epoch in 0..config.epochs {
        let order = shuffled(n, Key::new(config.seed, Purpose::Order), epoch as u64);
        let key = Key::new(config.seed, Purpose::Augment).fold(epoch as u64);
        for step in 0..per_epoch {
            let (x, targets) = batch_of(config, data, &order[step * batch..(step + 1) * batch], key, device);
            let done = epoch * per_epoch + step;
            let (next, loss) = optimizer.step(&network, x, targets, rate(config, done, total));
            network = next;
            if !loss.is_finite() {
                let value = loss;
                return Err(MetricsError::NotFinite { what: "classifier loss", row: done, column: 0, value });
            }
            average = if average.is_nan() { loss } else { average + (loss - average) * 0.02 };
            let last = step + 1 == per_epoch;
            let accuracy = match test.filter(|_| last) {
                Some(test) => Some(accuracy(
                    &Classifier::new(layout.clone(), network.clone().without_second_head(), device.clone()),
                    test,
                )?),
                None => None,
            };
            let seconds = start.elapsed().as_secs_f64();
            let seen = (done + 1) * batch;
            let report = Progress { seen, total: total * batch, epoch: epoch + 1, loss: average, accuracy, seconds };
            if (last || done % 10 == 0) && progress(&report).is_break() {
                break 'epochs;
            }
        }
    }
    Ok(Classifier::new(layout, network.without_second_head(), device.clone()))
}

/// Overall accuracy of a classifier on labelled images, in [0, 1].
pub fn accuracy(classifier: &Classifier, data: &Labelled) -> Result<f64, MetricsError> {
    data.check()?;
    let [c, h, w] = data.input;
    let mut logits = Matrix::empty(data.classes.len());
    for chunk in data.pixels.chunks(1024 * c * h * w) {
        let images: Vec<f32> = chunk.iter().map(|&b| to_unit(b)).collect();
        logits.extend(&classifier.logits(&images, [images.len() / (c * h * w), c, h, w])?)?;
    }
    let labels: Vec<i64> = data.labels.iter().map(|&l| i64::from(l)).collect();
    Ok(class_accuracy(&logits, &labels)?.overall)
}

/// Learning rate at step `done` of `total`: linear over the first 5 %, then a cosine to zero.
fn rate(config: &ClassifierConfig, done: usize, total: usize) -> f64 {
    let (done, total) = (done as f64 + 0.5, total as f64);
    let warm_up = 0.05 * total;
    let scale = if done < warm_up {
        done / warm_up
    } else {
        0.5 * (1.0 + (std::f64::consts::PI * (done - warm_up) / (total - warm_up)).cos())
    };
    config.learning_rate * scale
}

/// All indices below `n`, shuffled (Fisher-Yates).
fn shuffled(n: usize, key: Key, epoch: u64) -> Vec<usize> {
    let mut rng = key.at(epoch);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// Augmented images `[b c h w]`, smoothed targets `[b classes]`, and how the images were spoiled, `[b kinds]`.
fn batch_of(
    config: &ClassifierConfig,
    data: &Labelled,
    indices: &[usize],
    key: Key,
    device: &Device,
) -> (Tensor<4>, [Tensor<2>; 2]) {
    let [c, h, w] = data.input;
    let (size, b, classes) = (c * h * w, indices.len(), data.classes.len());
    let mut images = vec![0.0; b * size];
    let mut spoiled = vec![0.0; b * KINDS];
    let mut targets = vec![(config.label_smoothing / classes as f64) as f32; b * classes];
    for (row, &i) in indices.iter().enumerate() {
        let (pixels, out) = (&data.pixels[i * size..(i + 1) * size], &mut images[row * size..(row + 1) * size]);
        augment(pixels, data.input, config.flip, config.shift, key, i as u64, out);
        let kind = if config.tell > 0.0 { spoil(out, data.input, key.fold(1), i as u64) } else { 0 };
        spoiled[row * KINDS + kind] = 1.0;
        targets[row * classes + data.labels[i] as usize] += 1.0 - config.label_smoothing as f32;
    }
    let autodiff = device.clone().autodiff();
    let images = Tensor::from_data(TensorData::new(images, [b, c, h, w]), &autodiff);
    let targets = Tensor::from_data(TensorData::new(targets, [b, classes]), &autodiff);
    (images, [targets, Tensor::from_data(TensorData::new(spoiled, [b, KINDS]), &autodiff)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extractor;

    /// Vertical against horizontal stripes with random phase and brightness: 8 x 8 bytes.
    fn stripes(n: usize, seed: u64) -> Labelled {
        let mut data = Labelled { input: [1, 8, 8], classes: vec!["v".into(), "h".into()], ..Labelled::default() };
        for i in 0..n {
            let mut rng = Key::new(seed, Purpose::Probe).at(i as u64);
            let (label, phase) = (i % 2, rng.random_range(0..4usize));
            data.labels.push(label as u32);
            for p in 0..64 {
                let along = if label == 0 { p % 8 } else { p / 8 };
                let bright = if (along + phase) / 2 % 2 == 0 { 160 } else { 60 };
                data.pixels.push(bright + rng.random_range(0..60u8));
            }
        }
        data
    }

    fn config() -> ClassifierConfig {
        ClassifierConfig {
            name: "stripes".into(),
            widths: [8, 8, 8],
            features: 6,
            epochs: 6,
            batch: 32,
            learning_rate: 1e-2,
            ..ClassifierConfig::default()
        }
    }

    #[test]
    fn stripes_are_learned_saved_and_loaded_to_the_same_scores() {
        let (data, test) = (stripes(640, 1), stripes(200, 2));
        let device = Device::flex();
        let mut last = None;
        let mut watch = |p: &Progress| {
            last = p.accuracy.or(last);
            ControlFlow::Continue(())
        };
        let classifier = train(&config(), &data, Some(&test), &device, &mut watch).unwrap();
        // Chance is 0.5; a network that ignores its input or a broken gradient stays there.
        assert!(last.unwrap() > 0.95, "{last:?}");
        let path = tempfile::tempdir().unwrap().keep().join("c.safetensors");
        classifier.save(&path).unwrap();
        let loaded = Classifier::load(&path, &device).unwrap();
        let images: Vec<f32> = test.pixels.iter().map(|&b| to_unit(b)).collect();
        let shape = [200, 1, 8, 8];
        assert_eq!(loaded.logits(&images, shape).unwrap(), classifier.logits(&images, shape).unwrap());
        assert_eq!(loaded.label(), "stripes, 6-d");
        assert!(loaded.logits(&images, [50, 4, 8, 8]).unwrap_err().to_string().contains("classifier train"));
    }

    #[test]
    fn training_is_repeatable_and_stops_when_told() {
        let (data, device) = (stripes(64, 1), Device::flex());
        let run = |stop: usize| {
            let mut watch =
                |p: &Progress| if p.seen >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let classifier = train(&config(), &data, None, &device, &mut watch).unwrap();
            classifier.logits(&[0.5; 64], [1, 1, 8, 8]).unwrap()
        };
        assert_eq!(run(128), run(128));
        assert_ne!(run(128), run(384));
    }

    #[test]
    fn bad_settings_and_labels_are_refused() {
        let device = Device::flex();
        let mut quiet = |_: &Progress| ControlFlow::Continue(());
        let mut data = stripes(8, 1);
        for bad in [
            ClassifierConfig { epochs: 0, ..config() },
            ClassifierConfig { batch: 0, ..config() },
            ClassifierConfig { widths: [8, 9, 8], ..config() },
            ClassifierConfig { learning_rate: f64::NAN, ..config() },
            ClassifierConfig { label_smoothing: 1.0, ..config() },
            ClassifierConfig { tell: -1.0, ..config() },
        ] {
            assert!(train(&bad, &data, None, &device, &mut quiet).is_err());
        }
        data.labels[3] = 2;
        assert!(train(&config(), &data, None, &device, &mut quiet).unwrap_err().to_string().contains("image 3"));
    }
}
