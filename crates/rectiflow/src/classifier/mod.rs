//! A classifier's training: a small network that names classes, on labelled images in memory, by the engine that trains everything here.
//!
//! What it is afterwards, `metrics::classifier` says: a judge, and an extractor of features.

mod augment;
mod config;
mod lesson;
mod spoil;
mod task;

pub use config::{ClassifierConfig, Labelled};

use crate::{Context, Error, context::Event};
use lesson::Epochs;
use metrics::{Matrix, class_accuracy, classifier::Classifier};
use std::ops::ControlFlow;
use task::{ACCURACY, Naming, Pupil};
use train::Setup;

/// What came out.
#[derive(Clone, Debug)]
pub struct Trained {
    /// With the last weights.
    pub classifier: Classifier,
    /// Share of test images that it names rightly, where there are some.
    pub accuracy: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Trains a classifier on `data`, trying it on `test` after each epoch.
///
/// # Errors
/// Settings out of range; images that are not labelled, or not alike; a loss that is no number; [`Error::Interrupted`].
pub fn train(
    config: &ClassifierConfig,
    data: &Labelled,
    test: Option<&Labelled>,
    context: &mut Context,
) -> Result<Trained, Error> {
    config.check()?;
    data.check()?;
    let layout = &config.layout(data);
    layout.check().map_err(|error| Error::Usage(error.to_string()))?;
    if let Some(test) = test {
        test.check()?;
        if test.input != data.input || test.classes != data.classes {
            let message = "test images differ from the training images in shape or classes";
            return Err(Error::Failure(format!("labelled images: {message}")));
        }
    }
    let (count, device) = (data.labels.len(), context.device.device.clone());
    let epoch = config.epoch(count) as u64;
    let (train_config, task) = (config.train(count), Naming { config, layout, test, epoch });
    let mut source = Epochs::new(config, data);
    let pupil = Pupil::new(layout, config.tell > 0.0, config.seed, &device);
    let setup =
        Setup { seed: config.seed, stop: context.stop.clone(), ..Setup::new(&train_config, &task, &mut source) };
    context.tell(Event::Stage { name: "classifier" });
    let (mut loss, mut seconds) = (f64::NAN, 0.0);
    let mut observer = |event: &::train::Event<'_>| {
        context.tell(Event::Train(event));
        match event {
            ::train::Event::Log(log) => loss = log.loss,
            ::train::Event::Figures { images, values } => {
                let right = values.iter().find(|(name, _)| name == ACCURACY).map_or(f64::NAN, |(_, right)| *right);
                context.note(told(images / epoch, loss, right));
            }
            ::train::Event::Finished { seconds: all, .. } => seconds = *all,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    };
    let outcome = ::train::train(pupil, setup, &mut observer)?;
    context.go_on()?;
    let classifier = task.classifier(&outcome.state.network);
    let accuracy = test.map(|test| accuracy(&classifier, test)).transpose()?;
    if let Some(right) = accuracy {
        context.note(told(config.epochs as u64, loss, right));
    }
    Ok(Trained { classifier, accuracy, seconds })
}

/// A line about an epoch that is over.
fn told(epoch: u64, loss: f64, right: f64) -> String {
    format!("epoch {epoch}: loss {loss:.3}, test accuracy {:.2} %", right * 100.0)
}

/// Overall accuracy of a classifier on labelled images, in [0, 1].
///
/// # Errors
/// Images that are not labelled, or of another size than it sees.
pub fn accuracy(classifier: &Classifier, data: &Labelled) -> Result<f64, Error> {
    data.check()?;
    let [c, h, w] = data.input;
    let mut logits = Matrix::empty(data.classes.len());
    for chunk in data.pixels.chunks(1024 * c * h * w) {
        let images: Vec<f32> = chunk.iter().map(|&byte| data::normalize(byte)).collect();
        logits.extend(&classifier.logits(&images, [images.len() / (c * h * w), c, h, w])?)?;
    }
    let labels: Vec<i64> = data.labels.iter().map(|&label| i64::from(label)).collect();
    Ok(class_accuracy(&logits, &labels)?.overall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};
    use metrics::Extractor;
    use rand::RngExt;
    use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Mutants: a gradient that does not arrive (`network.valid()` in the loss); labels of other images.
    #[test]
    fn stripes_are_learned_saved_and_loaded_to_the_same_scores() {
        let (data, test) = (stripes(640, 1), stripes(200, 2));
        let mut lines = Vec::new();
        let trained = {
            let listen = |event: Event<'_>| {
                if let Event::Note(line) = event {
                    lines.push(line.to_string());
                }
            };
            let mut context = Context::new(Context::silent().device, Default::default(), listen);
            train(&config(), &data, Some(&test), &mut context).unwrap()
        };
        // Chance is 0.5; a network that ignores its input or a broken gradient stays there.
        assert!(trained.accuracy.unwrap() > 0.95, "{trained:?}");
        assert_eq!(trained.accuracy.unwrap(), accuracy(&trained.classifier, &test).unwrap());
        // Every epoch tells of itself, the last one too.
        assert!(
            lines.len() == 6 && (0..6).all(|i| lines[i].starts_with(&format!("epoch {}: loss 0.", i + 1))),
            "{lines:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let classifier = trained.classifier;
        classifier.save(&path).unwrap();
        let loaded = Classifier::load(&path, &Context::silent().device.device).unwrap();
        let images: Vec<f32> = test.pixels.iter().map(|&byte| data::normalize(byte)).collect();
        let shape = [200, 1, 8, 8];
        assert_eq!(loaded.logits(&images, shape).unwrap(), classifier.logits(&images, shape).unwrap());
        assert_eq!(loaded.label(), "stripes, 6-d");
    }

    /// Mutants: weights, order or spoiling of no seed; a second task of no weight; a wish to stop that is not heard.
    #[test]
    fn training_is_repeatable_depends_on_its_settings_and_stops_when_told() {
        let data = stripes(64, 1);
        let run = |config: ClassifierConfig| {
            let trained = train(&config, &data, None, &mut Context::silent()).unwrap();
            assert_eq!(trained.accuracy, None);
            trained.classifier.logits(&[0.5; 64], [1, 1, 8, 8]).unwrap()
        };
        let once = ClassifierConfig { epochs: 2, ..config() };
        assert_eq!(run(once.clone()), run(once.clone()));
        let others = [
            ClassifierConfig { seed: 1, ..once.clone() },
            ClassifierConfig { epochs: 3, ..once.clone() },
            ClassifierConfig { tell: 0.0, ..once.clone() },
            ClassifierConfig { tell: 0.4, ..once.clone() },
        ];
        for other in others {
            assert_ne!(run(once.clone()), run(other.clone()), "{other:?}");
        }
        let stop: std::sync::Arc<AtomicBool> = Default::default();
        let (heard, mut logs) = (stop.clone(), 0);
        let listen = |event: Event<'_>| {
            if let Event::Train(::train::Event::Log(_)) = event {
                logs += 1;
                heard.store(true, Ordering::Relaxed);
            }
        };
        let mut context = Context::new(Context::silent().device, stop, listen);
        let many = ClassifierConfig { epochs: 500, ..config() };
        assert!(matches!(train(&many, &data, None, &mut context), Err(Error::Interrupted)));
        drop(context);
        assert_eq!(logs, 1);
    }

    #[test]
    fn bad_settings_and_labels_are_refused() {
        let mut data = stripes(8, 1);
        for (bad, name) in [
            (ClassifierConfig { epochs: 0, ..config() }, "epochs"),
            (ClassifierConfig { batch: 0, ..config() }, "batch"),
            (ClassifierConfig { widths: [8, 9, 8], ..config() }, "widths"),
            (ClassifierConfig { learning_rate: f64::NAN, ..config() }, "learning_rate"),
            (ClassifierConfig { label_smoothing: 1.0, ..config() }, "label_smoothing"),
            (ClassifierConfig { tell: -1.0, ..config() }, "tell"),
        ] {
            let error = train(&bad, &data, None, &mut Context::silent()).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(name), "{error}");
        }
        data.labels[3] = 2;
        let error = train(&config(), &data, None, &mut Context::silent()).unwrap_err();
        assert!(error.to_string().contains("image 3"), "{error}");
    }
}
