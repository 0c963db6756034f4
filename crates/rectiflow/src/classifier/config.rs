//! What a classifier is trained with: its settings and its labelled images.

use crate::Error;
use metrics::classifier::Layout;
use serde::{Deserialize, Serialize};
use train::{OptimConfig, TrainConfig, ema::EmaConfig};

/// Network and training of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Short name under which figures are reported.
    pub name: String,
    /// Channels at full, half and quarter resolution; multiples of 8.
    pub widths: [usize; 3],
    /// Cells per side over which the last block is averaged.
    pub pool: usize,
    /// Dimension of the features.
    pub features: usize,
    /// Passes over the data, at least 1.
    pub epochs: usize,
    /// Images per step, at least 1.
    pub batch: usize,
    /// Peak learning rate, above 0.
    pub learning_rate: f64,
    /// Decoupled weight decay of matrices, 0 or more.
    pub weight_decay: f64,
    /// Share of each label spread over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// Mirror half of the images: what a classifier was taught not to see, its features cannot tell of samples.
    pub flip: bool,
    /// Largest shift in pixels; of it the same is true.
    pub shift: usize,
    /// Weight of a second task beside the classes: half of the images are spoiled (mirrored, shifted, blurred, noisy, another
    /// background), and the features must tell how. 0 leaves it out.
    pub tell: f64,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            name: "fashion-cnn-2".into(),
            widths: [16, 48, 96],
            pool: 2,
            features: 128,
            epochs: 5,
            batch: 128,
            learning_rate: 4e-3,
            weight_decay: 0.05,
            label_smoothing: 0.05,
            flip: false,
            shift: 0,
            tell: 0.2,
            seed: 0,
        }
    }
}

impl ClassifierConfig {
    /// Refuses values outside their ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] with the name, the value and the range.
    pub fn check(&self) -> Result<(), Error> {
        let range = |name, value: &dyn std::fmt::Display, range| {
            Err(Error::Usage(format!("classifier.{name} = {value} is outside its range: {range}")))
        };
        if self.epochs == 0 {
            return range("epochs", &self.epochs, "at least 1");
        }
        if self.batch == 0 {
            return range("batch", &self.batch, "at least 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return range("learning_rate", &self.learning_rate, "above 0");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return range("weight_decay", &self.weight_decay, "0 or more");
        }
        if !(self.tell.is_finite() && self.tell >= 0.0) {
            return range("tell", &self.tell, "0 or more");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return range("label_smoothing", &self.label_smoothing, "0 to below 1");
        }
        Ok(())
    }

    /// The network for images like those of `data`.
    pub(super) fn layout(&self, data: &Labelled) -> Layout {
        let Self { name, widths, pool, features, .. } = self.clone();
        Layout { name, input: data.input, widths, pool, features, classes: data.classes.clone() }
    }

    /// Images of an epoch of `count`: whole batches.
    pub(super) fn epoch(&self, count: usize) -> usize {
        let batch = self.batch.min(count).max(1);
        count / batch * batch
    }

    /// How the engine trains it on `count` images: a line up over the first twentieth, half a cosine down to nothing, no clipping; the last
    /// weights are the ones to use.
    pub(super) fn train(&self, count: usize) -> TrainConfig {
        let images = (self.epoch(count) * self.epochs) as u64;
        let optim = OptimConfig {
            lr: self.learning_rate,
            weight_decay: self.weight_decay,
            clip: 0.0,
            warmup: images / 20,
            ..OptimConfig::default()
        };
        let ema = EmaConfig { decays: Vec::new(), ..EmaConfig::default() };
        let (validate_every, sample_every) = (0, 0);
        let batch = self.batch.min(count).max(1);
        TrainConfig {
            images,
            batch,
            log_every: ((self.epoch(count) / batch) as u64).clamp(1, 10), // once an epoch at least, which tells of its loss
            validate_every,
            sample_every,
            optim,
            ema,
            ..TrainConfig::default()
        }
    }
}

/// Images with their classes.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// Bytes `[n c h w]`.
    pub pixels: Vec<u8>,
    /// Class of each image, `[n]`.
    pub labels: Vec<u32>,
    /// Channels, height and width.
    pub input: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl Labelled {
    /// Refuses empty sets, lengths that do not agree and unknown classes.
    ///
    /// # Errors
    /// [`Error::Failure`] with what does not fit.
    pub fn check(&self) -> Result<(), Error> {
        let size = self.size();
        let refuse = |message| Err(Error::Failure(format!("labelled images: {message}")));
        if self.labels.is_empty() || self.pixels.len() != self.labels.len() * size {
            let (bytes, n, input) = (self.pixels.len(), self.labels.len(), self.input);
            return refuse(format!("{bytes} bytes are not {n} images of {input:?} [c h w]"));
        }
        if let Some(i) = self.labels.iter().position(|&l| l as usize >= self.classes.len()) {
            return refuse(format!("image {i} is of class {}, of {} classes", self.labels[i], self.classes.len()));
        }
        Ok(())
    }

    /// Numbers of an image.
    pub(super) fn size(&self) -> usize {
        self.input.iter().product()
    }
}
