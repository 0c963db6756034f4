//! Who judges samples: features of real images to compare with, and, where there is a classifier, the right class.

use crate::{Error, device::Chosen, report::Figures, sampling::Drawn};
use base::Device;
use data::{
    Dataset, Loader, LoaderConfig,
    fetch::{self, registry},
};
use metrics::{
    EvalConfig, Evaluator, Extractor, KidConfig, Lpips, LpipsConfig, MetricsError, Pixels, Reference,
    classifier::Classifier,
    features::{EfficientNetLite0, InceptionV3, Vgg16},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Reference statistics, the network that gives features, and the one that tells classes (often the same).
pub struct Judge {
    /// Given features; those of the classifier without.
    features: Option<Box<dyn Extractor>>,
    classifier: Option<Classifier>,
    reference: Reference,
}

/// Which networks to judge with; each is chosen by the data where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct JudgeConfig {
    /// `pixels`, `vgg16`, `efficientnet-lite0` or `inception`, the last three with `:FILE` unless `rectiflow data get`
    /// has fetched their weights.
    pub features: Option<String>,
    /// A classifier's file.
    pub classifier: Option<PathBuf>,
}

/// Reference rows for the figures whose cost grows with the square of their number.
const ROWS: usize = 2000;

impl Judge {
    /// Looks at the first `count` images of `dataset` (the training part, by custom). Statistics are kept in the cache
    /// folder, so the next evaluation on the same data starts at once.
    ///
    /// # Errors
    /// Weights that cannot be read or do not accept these images; data that cannot be read.
    pub fn new(dataset: &Arc<dyn Dataset>, count: usize, config: &JudgeConfig, device: &Chosen) -> Result<Self, Error> {
        let classifier = match &config.classifier {
            Some(file) => Some(Classifier::load(file, &device.device)?),
            None => shipped(dataset, device)?,
        };
        let features = match (&config.features, &classifier) {
            (Some(name), _) => Some(extractor(name, dataset, device)?),
            (None, Some(_)) => None,
            (None, None) => Some(extractor("pixels", dataset, device)?),
        };
        let chosen: &dyn Extractor = match (&features, &classifier) {
            (Some(features), _) => features.as_ref(),
            (None, Some(classifier)) => classifier,
            (None, None) => return Err(Error::Failure("there are no features to judge with".into())),
        };
        let reference = reference(chosen, dataset, count.min(dataset.len()))?;
        Ok(Self { features, classifier, reference })
    }

    fn extractor(&self) -> &dyn Extractor {
        match (&self.features, &self.classifier) {
            (Some(features), _) => features.as_ref(),
            (None, Some(classifier)) => classifier,
            (None, None) => unreachable!("`new` makes one of the two"),
        }
    }

    /// What figures are reported under.
    pub fn label(&self) -> String {
        self.extractor().label()
    }

    /// Whether it can tell classes.
    pub fn tells_classes(&self) -> bool {
        self.classifier.is_some()
    }

    /// Everything this judge can say about samples.
    ///
    /// # Errors
    /// Samples that are not finite or of another shape.
    pub fn figures(&self, drawn: &Drawn) -> Result<Figures, Error> {
        let rows = drawn.len().min(self.reference.features().rows());
        let kid = KidConfig { subset_size: KidConfig::default().subset_size.min(rows), ..KidConfig::default() };
        let mut evaluator = Evaluator::new(self.extractor(), EvalConfig { kid, keep: ROWS, ..EvalConfig::default() });
        let conditional = drawn.classes.iter().all(|class| *class >= 0);
        if let Some(classifier) = self.classifier.as_ref().filter(|_| conditional) {
            evaluator = evaluator.judged_by(classifier);
        }
        let (images, shape) = shown(drawn)?;
        evaluator.add(&images, shape, conditional.then_some(&drawn.classes))?;
        let figures = evaluator.finish(&self.reference)?;
        Ok(Figures {
            frechet: Some(figures.frechet),
            kid: Some(figures.kid.mean),
            precision: Some(figures.manifold.precision),
            recall: Some(figures.manifold.recall),
            sliced_wasserstein: Some(figures.sliced),
            class_accuracy: figures.accuracy.map(|accuracy| accuracy.overall),
            seconds: drawn.seconds,
            samples: drawn.len(),
        })
    }

    /// Share of conditional samples with the class they were asked for; `None` without classes.
    ///
    /// # Errors
    /// Samples that are not finite or of another shape.
    pub fn class_accuracy(&self, drawn: &Drawn) -> Result<Option<f64>, Error> {
        let Some(classifier) = &self.classifier else { return Ok(None) };
        if drawn.classes.iter().any(|class| *class < 0) {
            return Ok(None);
        }
        let (images, shape) = shown(drawn)?;
        let logits = classifier.logits(&images, shape)?;
        Ok(Some(metrics::class_accuracy(&logits, &drawn.classes)?.overall))
    }
}

/// What a screen would show: values beyond the range are clamped before anybody looks.
fn shown(drawn: &Drawn) -> Result<(Vec<f32>, [usize; 4]), Error> {
    let [c, h, w] = drawn.shape.image()?;
    Ok((drawn.rows.iter().map(|v| v.clamp(-1.0, 1.0)).collect(), [drawn.len(), c, h, w]))
}

/// The shipped classifier, where it knows these images.
pub(crate) fn shipped(dataset: &Arc<dyn Dataset>, device: &Chosen) -> Result<Option<Classifier>, Error> {
    let shipped = Classifier::fashion_mnist(&device.device)?;
    let layout = shipped.layout();
    let fits = layout.input == dataset.shape() && layout.classes == dataset.class_names();
    Ok(fits.then_some(shipped))
}

pub(crate) fn extractor(name: &str, dataset: &Arc<dyn Dataset>, device: &Chosen) -> Result<Box<dyn Extractor>, Error> {
    let (kind, file) = name.split_once(':').map_or((name, None), |(kind, file)| (kind, Some(PathBuf::from(file))));
    let weights = |set: &str| file.clone().map_or_else(|| fetched(set), Ok);
    Ok(match kind {
        "pixels" => Box::new(Pixels::new(dataset.shape().iter().product())),
        "vgg16" => Box::new(Vgg16::load(&weights("lpips-vgg")?, &device.device)?),
        "efficientnet-lite0" => Box::new(EfficientNetLite0::load(&weights("efficientnet-lite0")?, &device.device)?),
        "inception" => {
            let missing = || Error::Usage("--features inception needs the weights: --features inception:FILE".into());
            Box::new(InceptionV3::load(&file.clone().ok_or_else(missing)?, &device.device)?)
        }
        _ => {
            let known = "pixels, vgg16, efficientnet-lite0 and inception:FILE";
            return Err(Error::Usage(format!("--features {name} is unknown; there are {known}")));
        }
    })
}

/// The perceptual distance on the weights that `rectiflow data get` brought.
///
/// # Errors
/// Weights that are not here; settings out of range.
pub(crate) fn lpips(config: &LpipsConfig, device: &Device) -> Result<Lpips, Error> {
    let folder = fetched("lpips-vgg")?.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Lpips::open(&folder.join(config.net.file()), config, device)?)
}

/// The weights that `rectiflow data get` brought.
pub(crate) fn fetched(set: &str) -> Result<PathBuf, Error> {
    let missing =
        || Error::Failure(format!("the weights `{set}` are not here; fetch them with `rectiflow data get {set}`"));
    let cache = fetch::cache_dir()?;
    let known = registry::find(set).filter(|found| fetch::is_fetched(found, &cache)).ok_or_else(missing)?;
    let first = known.contents.first().ok_or_else(missing)?;
    Ok(registry::folder(set, &cache)?.join(first.file))
}

fn reference(extractor: &dyn Extractor, dataset: &Arc<dyn Dataset>, count: usize) -> Result<Reference, Error> {
    // `Reference` speaks of metrics' errors only; a data error is put aside and told afterwards.
    let mut failed: Option<data::DataError> = None;
    let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(250), 0)?;
    let mut left = count;
    let batches = std::iter::from_fn(|| {
        let batch = (left > 0).then(|| loader.next()).flatten()?;
        let batch = batch.map_err(|error| failed = Some(error)).ok()?;
        let rows = left.min(batch.shape[0]);
        left -= rows;
        let [_, c, h, w] = batch.shape;
        let images = batch.images[..rows * c * h * w].to_vec();
        Some(Ok::<_, MetricsError>((images, [rows, c, h, w])))
    });
    let name = format!("{} first {count}", dataset.fingerprint());
    let folder = fetch::cache_dir().map(|cache| cache.join("reference")).ok().filter(|folder| writable(folder));
    let made = match folder {
        Some(folder) => Reference::cached(&folder, extractor, &name, ROWS, || batches),
        None => Reference::build(extractor, &name, ROWS, batches),
    };
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(made?),
    }
}

/// Whether statistics can be kept there; a cache that cannot be written is no reason not to measure.
fn writable(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).is_ok() && tempfile::tempfile_in(folder).is_ok()
}
