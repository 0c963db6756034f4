//! What a classifier is shown: augmented images, their classes and how they were spoiled, epoch after epoch in new orders.

use super::augment::augment;
use super::spoil::{KINDS, spoil};
use super::{ClassifierConfig, Labelled};
use base::{Device, Key, Purpose, Tensor, TensorData};
use rand::RngExt;
use train::{Samples, Source, TrainError};

/// A batch on the host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lesson {
    /// `[b c h w]` in [-1, 1].
    pub images: Vec<f32>,
    /// Channels, height and width.
    pub input: [usize; 3],
    /// Class of each, `[b]`.
    pub labels: Vec<u32>,
    /// Which of the [`KINDS`] each is, `[b]`.
    pub spoiled: Vec<usize>,
}

impl Lesson {
    /// The images on `device`.
    pub fn images(&self, device: &Device) -> Tensor<4> {
        let [c, h, w] = self.input;
        Tensor::from_data(TensorData::new(self.images.clone(), [self.count(), c, h, w]), device)
    }
}

impl Samples for Lesson {
    fn count(&self) -> usize {
        self.labels.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        None // they were bytes
    }
}

/// Labelled images in memory: in each epoch every one once, but those that fill no batch.
pub(super) struct Epochs<'a> {
    config: &'a ClassifierConfig,
    data: &'a Labelled,
    batch: usize,
    /// Images of an epoch.
    epoch: usize,
    next: u64,
    /// The epoch whose order is known, and that.
    order: (u64, Vec<usize>),
}

impl<'a> Epochs<'a> {
    /// Of `data`, which were checked.
    pub fn new(config: &'a ClassifierConfig, data: &'a Labelled) -> Self {
        let count = data.labels.len();
        let (epoch, order) = (config.epoch(count), (0, shuffled(count, config.seed, 0)));
        Self { config, data, batch: config.batch.min(count), epoch, next: 0, order }
    }
}

impl Source<Lesson> for Epochs<'_> {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Lesson, TrainError> {
        let (epoch, from) = (self.next / self.epoch as u64, (self.next % self.epoch as u64) as usize);
        if self.order.0 != epoch {
            self.order = (epoch, shuffled(self.data.labels.len(), self.config.seed, epoch));
        }
        self.next += self.batch as u64;
        let Self { config, data, .. } = self;
        let key = Key::new(config.seed, Purpose::Augment).fold(epoch);
        let (size, chosen) = (data.size(), &self.order.1[from..from + self.batch]);
        let mut images = vec![0.0; self.batch * size];
        let mut spoiled = Vec::with_capacity(self.batch);
        for (out, &i) in images.chunks_exact_mut(size).zip(chosen) {
            let pixels = &data.pixels[i * size..(i + 1) * size];
            augment(pixels, data.input, config.flip, config.shift, key, i as u64, out);
            spoiled.push(if config.tell > 0.0 { spoil(out, data.input, key.fold(1), i as u64) } else { 0 });
        }
        let labels = chosen.iter().map(|&i| data.labels[i]).collect();
        Ok(Lesson { images, input: data.input, labels, spoiled })
    }

    fn fingerprint(&self) -> String {
        let bytes = self.data.pixels.iter().copied().chain(self.data.labels.iter().flat_map(|l| l.to_le_bytes()));
        let sum =
            bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        format!("labelled images {} {sum:016x}", self.data.labels.len())
    }
}

/// All numbers below `count` in the order of `epoch` (Fisher-Yates).
fn shuffled(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = Key::new(seed, Purpose::Order).at(epoch);
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// For each sample what its classes `[b]` of `classes` should be told with, `[b classes]`: `smoothing` of it spread over all.
pub(super) fn targets(
    labels: impl ExactSizeIterator<Item = usize>,
    classes: usize,
    smoothing: f64,
    device: &Device,
) -> Tensor<2> {
    let count = labels.len();
    let mut targets = vec![(smoothing / classes as f64) as f32; count * classes];
    for (row, label) in labels.enumerate() {
        targets[row * classes + label] += 1.0 - smoothing as f32;
    }
    Tensor::from_data(TensorData::new(targets, [count, classes]), device)
}

/// The kinds of `lesson` as targets `[b kinds]`.
pub(super) fn kinds(lesson: &Lesson, device: &Device) -> Tensor<2> {
    targets(lesson.spoiled.iter().copied(), KINDS, 0.0, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten images in batches of three: nine an epoch, none twice, each with its own class, and another order in the next. Mutants: one order
    /// for all epochs; labels in the order of the data; the rest of an epoch carried into the next.
    #[test]
    fn an_epoch_shows_every_image_once_with_its_class() {
        let data = Labelled {
            pixels: (0..10).flat_map(|i| [i * 20; 4]).collect(),
            labels: (0..10).collect(),
            input: [1, 2, 2],
            classes: (0..10).map(|i| i.to_string()).collect(),
        };
        let config = ClassifierConfig { batch: 3, tell: 0.0, seed: 5, ..ClassifierConfig::default() };
        let mut source = Epochs::new(&config, &data);
        let mut epoch = || -> Vec<u32> {
            let lessons = [source.next().unwrap(), source.next().unwrap(), source.next().unwrap()];
            for lesson in &lessons {
                for (image, label) in lesson.images.chunks(4).zip(&lesson.labels) {
                    assert_eq!(image, [data::normalize(*label as u8 * 20); 4]);
                }
            }
            lessons.into_iter().flat_map(|lesson| lesson.labels).collect()
        };
        let (first, second) = (epoch(), epoch());
        for seen in [&first, &second] {
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 9);
        }
        assert_ne!(first, second);
        // The tenth batch of the run is the first of the fourth epoch, whoever asks for it.
        source.seek(9).unwrap();
        assert_eq!(source.next().unwrap().labels, second[..3]);
    }
}
