//! Who judges samples: features of real images to compare with, and, where there is a classifier, the right class.

use crate::{
    Error,
    assets::fetched,
    device::Chosen,
    report::{Distance, Figures},
    sampling::Drawn,
};
use base::{Key, NULL_CLASS, RandomStream};
use data::{DataConfig, Dataset, Loader, LoaderConfig, Split, fetch};
use metrics::{
    Bootstrap, ClipFigures, EvalConfig, Evaluator, Extractor, Frames, KidConfig, MetricsError, Neighbourhood, Pixels,
    Reference,
    classifier::Classifier,
    clip::sensitivity::clip_sensitivity,
    defects::DEFECTS,
    features::{EfficientNetLite0, FramesOf, Grain, InceptionV3, Vgg16},
    frechet_distance_to, frechet_error,
    sensitivity::{Pool, sensitivity},
};
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use metrics::{clip::sensitivity::ClipSensitivity, sensitivity::Sensitivity};

/// Real images behind each row of a sensitivity table.
pub const SPOILED: usize = 1000;

/// Reference statistics, the network that gives features, and the one that tells classes (often the same).
pub struct Judge {
    /// Given features; those of the classifier without.
    features: Option<Box<dyn Extractor>>,
    classifier: Option<Classifier>,
    reference: Reference,
    /// Classes of the reference images.
    classes: Vec<i64>,
    /// Where a sample's nearest reference image is; looked at once somebody asks.
    known: OnceCell<Neighbourhood>,
    /// Others whose Fréchet distance stands beside.
    also: Vec<(Box<dyn Extractor>, Reference)>,
    /// Frames of what it judges, where those are clips.
    frames: Option<Frames>,
}

/// Which networks to judge with; each is chosen by the data where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct JudgeConfig {
    /// `pixels`, `pixels@16`, `grain`, `vgg16`, `efficientnet-lite0` or `inception`, the last three with `:FILE` unless `rectiflow data get`
    /// has fetched their weights; `frames:` and one of them for clips, whose frames it sees.
    pub features: Option<String>,
    /// A classifier's file.
    pub classifier: Option<PathBuf>,
    /// Further features, named as in `features`, whose Fréchet distance stands beside; `none` for none. Without, the pixels of
    /// shrunk images and their grain, which no network was trained to see.
    pub also: Vec<String>,
}

/// Reference rows for the figures whose cost grows with the square of their number.
const ROWS: usize = 2000;
/// Who judges beside where nobody is named.
const BESIDE: [&str; 2] = ["pixels@16", "grain"];
/// Who judges clips where nobody is named.
const FRAMES: &str = "frames:pixels@8";

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
        let frames = Frames::of(dataset.shape());
        dataset.shape().image()?; // before anything is computed: what else there is, pictures and grey clips are judged
        let features = match (&config.features, &classifier) {
            (Some(name), _) => Some(extractor(name, dataset, device)?),
            (None, Some(_)) => None,
            (None, None) if frames.is_some() => Some(extractor(FRAMES, dataset, device)?),
            (None, None) => Some(extractor("pixels", dataset, device)?),
        };
        let chosen: &dyn Extractor = match (&features, &classifier) {
            (Some(features), _) => features.as_ref(),
            (None, Some(classifier)) => classifier,
            (None, None) => return Err(Error::Failure("there are no features to judge with".into())),
        };
        let count = count.min(dataset.len());
        let reference = reference(chosen, dataset, count)?;
        let named: Vec<&str> = match &config.also[..] {
            [] if dataset.shape().lengths()[1..].iter().any(|side| *side < 8) => BESIDE[..1].to_vec(), // too small for grain
            [] => BESIDE.to_vec(),
            names => names.iter().map(String::as_str).filter(|name| *name != "none").collect(),
        };
        let mut also = Vec::new();
        for name in named {
            let other = extractor(name, dataset, device)?;
            let reference = self::reference(&*other, dataset, count)?;
            also.push((other, reference));
        }
        let classes = (0..count).map(|i| dataset.label(i).map_or(NULL_CLASS, i64::from)).collect();
        Ok(Self { features, classifier, reference, classes, known: OnceCell::new(), also, frames })
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
        let rows = drawn.len().min(self.reference.features().rows()).min(ROWS);
        let kid = KidConfig { subset_size: KidConfig::default().subset_size.min(rows), ..KidConfig::default() };
        let mut evaluator = Evaluator::new(self.extractor(), EvalConfig { kid, keep: ROWS, ..EvalConfig::default() });
        let conditional = drawn.classes.iter().all(|class| *class >= 0);
        if let Some(classifier) = self.classifier.as_ref().filter(|_| conditional) {
            evaluator = evaluator.judged_by(classifier);
        }
        let (images, shape) = shown(drawn)?;
        evaluator.add(&images, shape, conditional.then_some(&drawn.classes))?;
        let figures = evaluator.finish(&self.reference)?;
        let known = match self.known.get() {
            Some(known) => known,
            None => {
                let known = Neighbourhood::of(self.reference.features())?;
                self.known.get_or_init(|| known)
            }
        };
        let labelled = self.classes.iter().all(|class| *class >= 0);
        let mut also = BTreeMap::new();
        for (other, reference) in &self.also {
            let features = other.features(&images, shape)?;
            let frechet = frechet_distance_to(reference.gaussian(), &features)?;
            let error = 2.0 * frechet_error(reference.gaussian(), &features, &Bootstrap::default())?;
            also.insert(other.label(), Distance { frechet, error });
        }
        Ok(Figures {
            frechet: Some(figures.frechet),
            frechet_error: Some(figures.frechet_error),
            kid: Some(figures.kid.mean),
            kid_error: Some(figures.kid.std),
            precision: Some(figures.manifold.precision),
            recall: Some(figures.manifold.recall),
            density: Some(figures.manifold.density),
            coverage: Some(figures.manifold.coverage),
            class_precision: match labelled {
                true => evaluator.class_precision(&self.reference, &self.classes)?,
                false => Vec::new(),
            },
            nearest: Some(known.nearest(evaluator.kept())?),
            sliced_wasserstein: Some(figures.sliced),
            class_accuracy: figures.accuracy.map(|accuracy| accuracy.overall),
            also,
            clips: match self.frames {
                Some(frames) => Some(ClipFigures::of(&images, frames)?),
                None => None,
            },
            seconds: drawn.seconds,
            samples: drawn.len(),
        })
    }

    /// What `count` real images that the reference does not hold get: the floor under every figure. `None` where the data have no test
    /// part.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn floor(&self, data: &DataConfig, count: usize) -> Result<Option<Figures>, Error> {
        let Some(held) = HeldOut::of(data, count)? else { return Ok(None) };
        let [_, c, h, w] = held.shape;
        let (rows, shape) = (held.images, [c, h, w]);
        Ok(Some(self.figures(&Drawn::given(rows, shape, held.classes))?))
    }

    /// Which defects of real images this judge sees, each judge by itself: its own features first, then those beside.
    ///
    /// # Errors
    /// Images that cannot be read; data without a test part.
    pub fn sensitivity(&self, data: &DataConfig, count: usize) -> Result<Vec<Sensitivity>, Error> {
        // Doubling a class of ten takes a tenth more of it than there is.
        let held = HeldOut::of(data, 2 * count)?.ok_or_else(|| {
            Error::Usage("the data have no test part, so nothing real is left to spoil; set data.holdout".into())
        })?;
        let pool = Pool { images: &held.images, shape: held.shape, classes: &held.classes };
        let count = count.min(held.shape[0] / 2);
        let mut all = Vec::new();
        let own = (self.extractor(), &self.reference, self.classifier.as_ref());
        for (extractor, reference, reads) in
            std::iter::once(own).chain(self.also.iter().map(|(other, reference)| (other.as_ref(), reference, None)))
        {
            all.push(sensitivity(extractor, reads, reference.gaussian(), pool, count, DEFECTS)?);
        }
        Ok(all)
    }

    /// What the figures of clips see of the defects that only clips have, where clips are judged and by features of frames.
    ///
    /// # Errors
    /// Clips that cannot be read; data without a test part.
    pub fn clip_sensitivity(&self, data: &DataConfig, count: usize) -> Result<Option<ClipSensitivity>, Error> {
        let Some(frames) = self.frames.filter(|_| self.extractor().sees_frames()) else { return Ok(None) };
        let Some(held) = HeldOut::of(data, count)? else { return Ok(None) };
        Ok(Some(clip_sensitivity(self.extractor(), self.reference.gaussian(), &held.images, frames)?))
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

/// Images of the test part, spread over it in an order of their own, with their classes.
struct HeldOut {
    images: Vec<f32>,
    shape: [usize; 4],
    classes: Vec<i64>,
}

impl HeldOut {
    fn of(data: &DataConfig, count: usize) -> Result<Option<Self>, Error> {
        let set = data::open(&data.with_split(Split::Test))?;
        // A set sorted by class must not give its first classes alone.
        let key = Key::of(0, RandomStream::JudgedOrder);
        let mut rows: Vec<usize> = (0..set.len()).collect();
        rows.sort_by_cached_key(|&row| key.bits(row as u64));
        rows.truncate(count);
        if rows.len() < FEWEST {
            return Ok(None);
        }
        let batch = data::gather(&*set, &rows)?;
        let [c, h, w] = batch.shape.image()?;
        Ok(Some(Self { shape: [batch.len(), c, h, w], images: batch.rows, classes: batch.labels }))
    }
}

/// Fewer held-out images are no floor.
const FEWEST: usize = 16;

/// What an image file would hold: the nearest of 256 levels, as the real images have. So a sample gets the same figures from memory and from
/// a file.
fn shown(drawn: &Drawn) -> Result<(Vec<f32>, [usize; 4]), Error> {
    let [c, h, w] = drawn.shape.image()?;
    // What is no number stays none, and is refused.
    let level = |v: &f32| if v.is_nan() { *v } else { data::normalize(data::denormalize(*v)) };
    Ok((drawn.rows.iter().map(level).collect(), [drawn.len(), c, h, w]))
}

/// The shipped classifier, where it knows these images.
pub(crate) fn shipped(dataset: &Arc<dyn Dataset>, device: &Chosen) -> Result<Option<Classifier>, Error> {
    let shipped = Classifier::fashion_mnist(&device.device)?;
    let layout = shipped.layout();
    let fits = dataset.shape() == layout.input.into() && layout.classes == dataset.class_names();
    Ok(fits.then_some(shipped))
}

pub(crate) fn extractor(name: &str, dataset: &Arc<dyn Dataset>, device: &Chosen) -> Result<Box<dyn Extractor>, Error> {
    let Some(of_frames) = name.strip_prefix("frames:") else { return of_pictures(name, dataset.shape(), device) };
    match Frames::of(dataset.shape()) {
        Some(Frames { planes, size: [h, w], .. }) => {
            Ok(Box::new(FramesOf::new(of_pictures(of_frames, [planes, h, w].into(), device)?, planes)))
        }
        None => Err(Error::Usage(format!(
            "--features {name}: these are features of clips [f h w] of five frames or more, and the samples are {}",
            dataset.shape()
        ))),
    }
}

/// Features of pictures of `shape`.
fn of_pictures(name: &str, shape: base::Shape, device: &Chosen) -> Result<Box<dyn Extractor>, Error> {
    let (kind, file) = name.split_once(':').map_or((name, None), |(kind, file)| (kind, Some(PathBuf::from(file))));
    let weights = |set: &str| file.clone().map_or_else(|| fetched(set), Ok);
    Ok(match kind {
        "pixels" => Box::new(Pixels::new(shape.numel())),
        "pixels@16" => Box::new(Pixels::shrunk(shape.lengths()[0], 16)),
        "pixels@8" => Box::new(Pixels::shrunk(shape.lengths()[0], 8)),
        "grain" => Box::new(Grain),
        "vgg16" => Box::new(Vgg16::load(&weights("lpips-vgg")?, &device.device)?),
        "efficientnet-lite0" => Box::new(EfficientNetLite0::load(&weights("efficientnet-lite0")?, &device.device)?),
        "inception" => {
            let missing = || Error::Usage("--features inception needs the weights: --features inception:FILE".into());
            Box::new(InceptionV3::load(&file.clone().ok_or_else(missing)?, &device.device)?)
        }
        _ => {
            let known = "pixels, pixels@8, pixels@16, grain, vgg16, efficientnet-lite0 and inception:FILE; for clips frames: and one of them";
            return Err(Error::Usage(format!("--features {name} is unknown; there are {known}")));
        }
    })
}

fn reference(extractor: &dyn Extractor, dataset: &Arc<dyn Dataset>, count: usize) -> Result<Reference, Error> {
    // `Reference` speaks of metrics' errors only; a data error is put aside and told afterwards.
    let mut failed: Option<data::DataError> = None;
    let mut loader = Loader::new(dataset.clone(), &LoaderConfig::once(250), 0)?;
    let mut left = count;
    let [c, h, w] = dataset.shape().image()?;
    let batches = std::iter::from_fn(|| {
        let batch = (left > 0).then(|| loader.next()).flatten()?;
        let batch = batch.map_err(|error| failed = Some(error)).ok()?;
        let rows = left.min(batch.len());
        left -= rows;
        let images = batch.rows[..rows * c * h * w].to_vec();
        Some(Ok::<_, MetricsError>((images, [rows, c, h, w])))
    });
    let name = format!("{} first {count}", dataset.fingerprint());
    let folder = fetch::cache_dir().map(|cache| cache.join("reference")).ok().filter(|folder| writable(folder));
    let made = match folder {
        Some(folder) => Reference::cached(&folder, extractor, &name, count, || batches),
        None => Reference::build(extractor, &name, count, batches),
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
