//! Evaluation of a stream of samples against reference statistics, all figures at once.

mod reference;
mod rows;

pub use reference::Reference;

use crate::classifier::Classifier;
use crate::statistics::manifold::NEIGHBOURS;
use crate::{
    Accuracy, Bootstrap, Extractor, Kid, KidConfig, Manifold, Matrix, MetricsError, SlicedConfig, class_accuracy,
    class_precision, frechet_distance, frechet_distance_to, frechet_error, kid, precision_recall, sliced_wasserstein,
};
use rows::Rows;
use serde::{Deserialize, Serialize};

/// Settings of the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Kernel distance.
    pub kid: KidConfig,
    /// Neighbours of precision and recall, at least 1.
    pub neighbours: usize,
    /// Sliced Wasserstein distance of the features.
    pub sliced: SlicedConfig,
    /// Errors of the Fréchet distance.
    pub bootstrap: Bootstrap,
    /// Rows kept of each set for the figures that compare rows (all but the Fréchet distance), drawn evenly; at least 2.
    pub keep: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            kid: KidConfig::default(),
            neighbours: NEIGHBOURS,
            sliced: SlicedConfig::default(),
            bootstrap: Bootstrap::default(),
            keep: 10_000,
        }
    }
}

impl EvalConfig {
    /// Refuses values outside their ranges.
    pub fn check(&self) -> Result<(), MetricsError> {
        self.kid.check()?;
        self.sliced.check()?;
        if self.neighbours == 0 {
            return Err(MetricsError::Range { name: "eval.neighbours", value: "0".into(), range: "at least 1" });
        }
        if self.keep < 2 {
            return Err(MetricsError::Range { name: "eval.keep", value: self.keep.to_string(), range: "at least 2" });
        }
        Ok(())
    }
}

/// The figures of one set of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Name and dimension of the features they were measured in, such as `fashion-cnn, 128-d`.
    pub extractor: String,
    /// Number of samples.
    pub samples: usize,
    /// Number of reference images.
    pub reference: usize,
    /// Fréchet distance.
    pub frechet: f64,
    /// Two standard errors of it, by bootstrap over the samples.
    pub frechet_error: f64,
    /// Kernel distance.
    pub kid: Kid,
    /// Precision, recall, density and coverage.
    pub manifold: Manifold,
    /// Sliced Wasserstein distance.
    pub sliced: f64,
    /// Class accuracy, where samples were made for classes and a judge was given.
    pub accuracy: Option<Accuracy>,
}

impl Figures {
    /// Name and value of each figure as reports show them; "FID" only for InceptionV3.
    pub fn rows(&self) -> Vec<(String, f64)> {
        let distance = if self.extractor.starts_with("inception-v3,") { "FID" } else { "FD" };
        let named = |name: &str| format!("{name} ({})", self.extractor);
        let mut rows = vec![
            (named(distance), self.frechet),
            (format!("two standard errors of {distance}"), self.frechet_error),
            (named("KID"), self.kid.mean),
            (named("precision"), self.manifold.precision),
            (named("recall"), self.manifold.recall),
            (named("density"), self.manifold.density),
            (named("coverage"), self.manifold.coverage),
            (named("sliced Wasserstein"), self.sliced),
        ];
        rows.extend(self.accuracy.as_ref().map(|a| ("class accuracy".to_string(), a.overall)));
        rows
    }
}

/// Gathers samples batch by batch.
///
/// ```
/// use metrics::{EvalConfig, Evaluator, KidConfig, Pixels, Reference};
/// let pixels = Pixels::new(4);
/// let images: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
/// let config = EvalConfig { kid: KidConfig { subsets: 3, ..KidConfig::default() }, ..EvalConfig::default() };
/// let batch = (images.clone(), [20, 1, 2, 2]);
/// let reference = Reference::build(&pixels, "waves", config.keep, std::iter::once(Ok(batch)))?;
/// let mut evaluator = Evaluator::new(&pixels, config);
/// evaluator.add(&images[..40], [10, 1, 2, 2], None)?;
/// evaluator.add(&images[40..], [10, 1, 2, 2], None)?;
/// let figures = evaluator.finish(&reference)?;
/// assert!(figures.frechet < 1e-6 && figures.manifold.precision == 1.0);
/// assert_eq!(figures.rows()[0].0, "FD (pixels, 4-d)");
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub struct Evaluator<'a> {
    extractor: &'a dyn Extractor,
    judge: Option<&'a Classifier>,
    config: EvalConfig,
    rows: Rows,
    logits: Matrix,
    /// Classes of the samples that were judged.
    classes: Vec<i64>,
    /// Classes of all samples, where all came with theirs.
    asked: Vec<i64>,
}

impl<'a> Evaluator<'a> {
    /// Nothing gathered yet.
    pub fn new(extractor: &'a dyn Extractor, config: EvalConfig) -> Self {
        let rows = Rows::new(extractor.dim(), config.keep);
        Self { extractor, judge: None, config, rows, logits: Matrix::empty(0), classes: Vec::new(), asked: Vec::new() }
    }

    /// Also measures class accuracy with `judge`, which may be the extractor itself.
    pub fn judged_by(mut self, judge: &'a Classifier) -> Self {
        self.logits = Matrix::empty(judge.layout().classes.len());
        self.judge = Some(judge);
        self
    }

    /// Number of samples so far.
    pub fn samples(&self) -> usize {
        self.rows.count()
    }

    /// Adds images `[n c h w]` in [-1, 1] and the classes they were made for, if any.
    pub fn add(&mut self, images: &[f32], shape: [usize; 4], classes: Option<&[i64]>) -> Result<(), MetricsError> {
        let judged = self.judge.zip(classes);
        if let Some(classes) = classes.filter(|c| c.len() != shape[0]) {
            let message = format!("{} classes for {} images", classes.len(), shape[0]);
            return Err(MetricsError::Shape { what: "evaluation", message });
        }
        let (features, logits) = match judged {
            Some((judge, _)) if std::ptr::addr_eq(std::ptr::from_ref(self.extractor), std::ptr::from_ref(judge)) => {
                let (features, logits) = judge.run(images, shape)?;
                (features, Some(logits))
            }
            Some((judge, _)) => (self.extractor.features(images, shape)?, Some(judge.logits(images, shape)?)),
            None => (self.extractor.features(images, shape)?, None),
        };
        self.rows.add(&features)?;
        self.asked.extend_from_slice(classes.unwrap_or_default());
        if let (Some((_, classes)), Some(logits)) = (judged, logits) {
            self.logits.extend(&logits)?;
            self.classes.extend_from_slice(classes);
        }
        Ok(())
    }

    /// The figures of all samples so far against `reference`, which must come from the same extractor.
    pub fn finish(&self, reference: &Reference) -> Result<Figures, MetricsError> {
        self.config.check()?;
        if reference.extractor() != self.extractor.fingerprint() {
            let message = format!(
                "the reference was measured with {}, the samples with {}",
                reference.extractor(),
                self.extractor.fingerprint()
            );
            return Err(MetricsError::Shape { what: "evaluation", message });
        }
        let (real, _) = reference.even(self.config.keep);
        let (real, fake) = (&real, self.rows.kept());
        // The error of all samples, from those that were kept.
        let share = fake.rows() as f64 / self.rows.count().max(1) as f64;
        let error = frechet_error(reference.gaussian(), fake, &self.config.bootstrap)? * share.sqrt();
        Ok(Figures {
            extractor: self.extractor.label(),
            samples: self.rows.count(),
            reference: reference.gaussian().count,
            frechet: match fake.rows() == self.rows.count() {
                true => frechet_distance_to(reference.gaussian(), fake)?,
                false => frechet_distance(reference.gaussian(), &self.rows.gaussian()?)?,
            },
            frechet_error: 2.0 * error,
            kid: kid(real, fake, &self.config.kid)?,
            manifold: precision_recall(real, fake, self.config.neighbours)?,
            sliced: sliced_wasserstein(real, fake, &self.config.sliced)?,
            accuracy: match self.classes.is_empty() {
                true => None,
                false => Some(class_accuracy(&self.logits, &self.classes)?),
            },
        })
    }
}

impl Evaluator<'_> {
    /// Features of the kept samples.
    pub fn kept(&self) -> &Matrix {
        self.rows.kept()
    }

    /// Precision of each class by itself; `classes` are those of the reference's kept images. Empty where samples came without
    /// classes.
    ///
    /// # Errors
    /// As many classes as kept reference images are needed.
    pub fn class_precision(&self, reference: &Reference, classes: &[i64]) -> Result<Vec<Option<f64>>, MetricsError> {
        if self.asked.len() != self.rows.count() || self.asked.is_empty() {
            return Ok(Vec::new());
        }
        if classes.len() != reference.features().rows() {
            let message = format!("{} classes for {} reference images", classes.len(), reference.features().rows());
            return Err(MetricsError::Shape { what: "class-wise precision", message });
        }
        let (real, places) = reference.even(self.config.keep);
        let real_classes: Vec<i64> = places.iter().map(|&i| classes[i]).collect();
        let kept = rows::places(self.rows.count(), self.config.keep);
        let asked: Vec<i64> = kept.iter().map(|&i| self.asked[i]).collect();
        class_precision(&real, &real_classes, self.rows.kept(), &asked, self.config.neighbours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pixels;
    use base::{Key, Purpose};

    fn images(seed: u64, n: usize, shift: f32) -> Vec<f32> {
        Key::new(seed, Purpose::Probe).normals(0, n * 6).map(|v| v + shift).collect()
    }

    fn config() -> EvalConfig {
        EvalConfig { kid: KidConfig { subsets: 5, subset_size: 50, seed: 0 }, ..EvalConfig::default() }
    }

    fn reference(extractor: &dyn Extractor) -> Reference {
        let batch = (images(1, 300, 0.0), [300, 1, 2, 3]);
        Reference::build(extractor, "test", 1000, std::iter::once(Ok(batch))).unwrap()
    }

    /// Mutants: reference and samples swapped (precision for recall), a batch added twice, accuracy of other rows.
    #[test]
    fn a_stream_gives_the_figures_of_the_whole() {
        let pixels = Pixels::new(6);
        let fake = images(2, 200, 0.4);
        let mut evaluator = Evaluator::new(&pixels, config());
        for chunk in fake.chunks(70 * 6) {
            evaluator.add(chunk, [chunk.len() / 6, 1, 2, 3], None).unwrap();
        }
        let reference = reference(&pixels);
        let got = evaluator.finish(&reference).unwrap();
        let (real, fake) = (reference.features(), Matrix::new(fake, 200, 6).unwrap());
        let frechet = crate::frechet_distance_of(real, &fake).unwrap();
        assert!((got.frechet - frechet).abs() < 1e-6 * frechet);
        // 200 samples of 6 numbers, 0.4 apart: the error of |m|^2 is 2 |m| / sqrt(200) = 0.14, doubled, and a little more.
        assert!((0.2..0.5).contains(&got.frechet_error), "{}", got.frechet_error);
        assert_eq!(got.kid, kid(real, &fake, &config().kid).unwrap());
        assert_eq!(got.manifold, precision_recall(real, &fake, 3).unwrap());
        assert_eq!((got.samples, got.reference, got.accuracy), (200, 300, None));
    }

    #[test]
    fn the_judge_counts_classes_whether_or_not_it_is_the_extractor() {
        let device = base::Device::flex();
        let layout = crate::classifier::Layout {
            name: "t".into(),
            input: [1, 28, 28],
            widths: [8; 3],
            pool: 2,
            features: 128,
            classes: (0..10).map(|i| i.to_string()).collect(),
        };
        let network = crate::classifier::SmallCnn::new(&layout, &nets::Init::new(0, &device));
        let judge = Classifier::new(layout, network, device);
        let real: Vec<f32> = Key::new(1, Purpose::Probe).normals(0, 40 * 784).map(|v| v.clamp(-1.0, 1.0)).collect();
        let shape = [40, 1, 28, 28];
        let classes: Vec<i64> = (0..40).map(|i| i % 10).collect();
        let accuracy = |extractor: &dyn Extractor| {
            let reference = Reference::build(extractor, "t", 100, std::iter::once(Ok((real.clone(), shape)))).unwrap();
            let mut evaluator = Evaluator::new(extractor, self::config()).judged_by(&judge);
            evaluator.add(&real, shape, Some(&classes)).unwrap();
            assert!(evaluator.add(&real, shape, Some(&classes[1..])).is_err());
            evaluator.finish(&reference).unwrap().accuracy.unwrap()
        };
        let expected = class_accuracy(&judge.logits(&real, shape).unwrap(), &classes).unwrap();
        assert_eq!(accuracy(&judge), expected);
        assert_eq!(accuracy(&Pixels::new(784)), expected);
    }

    /// Reference rows and samples are thinned out, and each keeps its own class. Mutants: the first classes for the kept rows;
    /// samples' classes taken for the reference's.
    #[test]
    fn class_wise_precision_follows_the_rows_that_are_kept() {
        let pixels = Pixels::new(6);
        let place = |class: i64| 100.0 * class as f32;
        let classes: Vec<i64> = (0..300).map(|i| i / 60).collect();
        let all: Vec<f32> = images(1, 300, 0.0)
            .chunks(6)
            .zip(&classes)
            .flat_map(|(row, c)| row.iter().map(|v| v + place(*c)).collect::<Vec<_>>())
            .collect();
        let shape = [300, 1, 2, 3];
        let reference = Reference::build(&pixels, "test", 300, std::iter::once(Ok((all.clone(), shape)))).unwrap();
        let precision = |asked: &[i64]| {
            let mut evaluator = Evaluator::new(&pixels, EvalConfig { keep: 120, ..config() });
            evaluator.add(&all, shape, Some(asked)).unwrap();
            evaluator.class_precision(&reference, &classes).unwrap()
        };
        let own = precision(&classes);
        assert!(own.len() == 5 && own.iter().all(|p| p.unwrap() > 0.5), "{own:?}");
        let wrong = precision(&classes.iter().map(|c| (c + 1) % 5).collect::<Vec<_>>());
        assert!(wrong.iter().all(|p| *p == Some(0.0)), "{wrong:?}");
        let mut evaluator = Evaluator::new(&pixels, config());
        evaluator.add(&all, shape, None).unwrap();
        assert!(evaluator.class_precision(&reference, &classes).unwrap().is_empty());
        evaluator = Evaluator::new(&pixels, config());
        evaluator.add(&all, shape, Some(&classes)).unwrap();
        assert!(evaluator.class_precision(&reference, &classes[1..]).is_err());
    }

    #[test]
    fn a_reference_of_another_extractor_is_refused() {
        let (pixels, others) = (Pixels::new(6), Pixels::new(3));
        let reference = reference(&pixels);
        let mut evaluator = Evaluator::new(&others, config());
        evaluator.add(&[0.0, 1.0, 2.0, 1.0, 0.0, 3.0], [2, 1, 1, 3], None).unwrap();
        assert!(evaluator.finish(&reference).unwrap_err().to_string().contains("pixels, 6-d"));
    }
}
