//! Who judges samples: features of real images to compare with, and, where there is a classifier, the right class.

use crate::{Error, device::Chosen, report::Figures, sampling::Drawn};
use data::{Dataset, Loader, LoaderConfig};
use media::Images;
use metrics::{
    Extractor, KidConfig, Matrix, Pixels, class_accuracy,
    classifier::Classifier,
    frechet_distance, kid, precision_recall,
    statistics::{manifold::NEIGHBOURS, moments::Gaussian},
};
use std::{path::Path, sync::Arc};

/// Features and class scores come from the same network where it is a classifier.
enum Eye {
    Classifier(Box<Classifier>),
    Features(Box<dyn Extractor>),
}

/// Reference statistics and the network that sees.
pub struct Judge {
    eye: Eye,
    gaussian: Gaussian,
    /// Reference rows for the figures whose cost grows with the square of their number.
    reference: Matrix,
}

/// Reference rows for KID, precision and recall.
const ROWS: usize = 2000;

impl Judge {
    /// Looks at the first `count` images of `dataset` (the training part, by custom). Features come from the
    /// `classifier` file, else from the shipped classifier where it knows these images, else they are the pixels.
    ///
    /// # Errors
    /// A classifier that cannot be read or does not accept these images; data that cannot be read.
    pub fn new(
        dataset: &Arc<dyn Dataset>,
        count: usize,
        classifier: Option<&Path>,
        device: &Chosen,
    ) -> Result<Self, Error> {
        let eye = match classifier {
            Some(file) => Eye::Classifier(Box::new(Classifier::load(file, &device.device)?)),
            None => Self::shipped(dataset, device)?,
        };
        let count = count.min(dataset.len());
        let mut features: Option<Matrix> = None;
        for batch in Loader::new(dataset.clone(), &LoaderConfig::once(256), 0)? {
            let batch = batch?;
            let rows = eye.features(&batch.images, batch.shape)?;
            match &mut features {
                None => features = Some(rows),
                Some(all) => all.extend(&rows)?,
            }
            if features.as_ref().is_some_and(|all| all.rows() >= count) {
                break;
            }
        }
        let empty = || Error::Failure(format!("{} has no images to compare with", dataset.name()));
        let features = features.ok_or_else(empty)?;
        let first = |n: usize| features.select(&(0..n.min(features.rows())).collect::<Vec<_>>());
        Ok(Self { eye, gaussian: Gaussian::of(&first(count))?, reference: first(ROWS.min(count)) })
    }

    fn shipped(dataset: &Arc<dyn Dataset>, device: &Chosen) -> Result<Eye, Error> {
        let shipped = Classifier::fashion_mnist(&device.device)?;
        let layout = shipped.layout();
        if layout.input == dataset.shape() && layout.classes == dataset.class_names() {
            return Ok(Eye::Classifier(Box::new(shipped)));
        }
        Ok(Eye::Features(Box::new(Pixels::new(dataset.shape().iter().product()))))
    }

    /// What figures are reported under.
    pub fn label(&self) -> String {
        match &self.eye {
            Eye::Classifier(judge) => judge.label(),
            Eye::Features(judge) => judge.label(),
        }
    }

    /// Whether it can tell classes.
    pub fn tells_classes(&self) -> bool {
        matches!(self.eye, Eye::Classifier(_))
    }

    /// Everything this judge can say about samples.
    ///
    /// # Errors
    /// Samples that are not finite or of another shape.
    pub fn figures(&self, drawn: &Drawn) -> Result<Figures, Error> {
        let (features, logits) = self.eye.look(&drawn.images)?;
        let rows = features.rows().min(self.reference.rows());
        let kid_config = KidConfig { subset_size: KidConfig::default().subset_size.min(rows), ..KidConfig::default() };
        let manifold = match rows > NEIGHBOURS {
            true => Some(precision_recall(&self.reference, &features, NEIGHBOURS)?),
            false => None,
        };
        Ok(Figures {
            frechet: Some(frechet_distance(&Gaussian::of(&features)?, &self.gaussian)?),
            kid: Some(kid(&features, &self.reference, &kid_config)?.mean),
            precision: manifold.as_ref().map(|m| m.precision),
            recall: manifold.as_ref().map(|m| m.recall),
            class_accuracy: self.accuracy(logits.as_ref(), &drawn.classes)?,
            seconds: drawn.seconds,
            samples: drawn.images.len(),
        })
    }

    /// Share of conditional samples with the class they were asked for; `None` without classes.
    ///
    /// # Errors
    /// Samples that are not finite or of another shape.
    pub fn class_accuracy(&self, drawn: &Drawn) -> Result<Option<f64>, Error> {
        let (_, logits) = self.eye.look(&drawn.images)?;
        self.accuracy(logits.as_ref(), &drawn.classes)
    }

    fn accuracy(&self, logits: Option<&Matrix>, classes: &[i64]) -> Result<Option<f64>, Error> {
        match logits {
            Some(logits) if classes.iter().all(|class| *class >= 0) => {
                Ok(Some(class_accuracy(logits, classes)?.overall))
            }
            _ => Ok(None),
        }
    }
}

impl Eye {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, Error> {
        Ok(match self {
            Self::Classifier(judge) => judge.features(images, shape)?,
            Self::Features(judge) => judge.features(images, shape)?,
        })
    }

    fn look(&self, images: &Images) -> Result<(Matrix, Option<Matrix>), Error> {
        let [c, h, w] = images.shape();
        // What a screen would show: values beyond the range are clamped before anybody looks.
        let shown: Vec<f32> = images.values().iter().map(|v| v.clamp(-1.0, 1.0)).collect();
        let shape = [images.len(), c, h, w];
        Ok(match self {
            Self::Classifier(judge) => {
                let (features, logits) = judge.run(&shown, shape)?;
                (features, Some(logits))
            }
            Self::Features(judge) => (judge.features(&shown, shape)?, None),
        })
    }
}
