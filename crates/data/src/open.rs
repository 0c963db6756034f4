//! From a [`DataConfig`] to a data set: find it, choose its part, classes and samples, bring the images to one form.

use crate::decode::Form;
use crate::fingerprint::Fingerprint;
use crate::memory::InMemory;
use crate::read::{Entry, Source, idx};
use crate::{DataConfig, DataError, Dataset, EMBEDDED, Result, Sample, Split};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

const TRAIN_IMAGES: &[u8] = include_bytes!("../assets/train-images-idx3-ubyte.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../assets/train-labels-idx1-ubyte.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../assets/t10k-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../assets/t10k-labels-idx1-ubyte.gz");

/// Opens the data set that `config` describes.
///
/// ```
/// use data::{DataConfig, Dataset, Split, open};
/// let test = open(&DataConfig { split: Split::Test, ..DataConfig::default() })?;
/// assert_eq!((test.len(), test.shape(), test.classes()), (2000, [1, 28, 28], 10));
/// assert_eq!(test.class_names()[9], "Ankle boot");
/// # Ok::<(), data::DataError>(())
/// ```
///
/// # Errors
/// A setting out of range, a file that is missing, unreadable or not what it should be, a class that does not exist.
pub fn open(config: &DataConfig) -> Result<Arc<dyn Dataset>> {
    config.check()?;
    let (name, source) = source(config)?;
    let name = if config.split == Split::Test { format!("{name} (test)") } else { name };
    let source = choose(source, config, &name)?;
    finish(&name, source, config)
}

fn source(config: &DataConfig) -> Result<(String, Source)> {
    let name = config.name.as_deref().unwrap_or(EMBEDDED);
    if config.path.is_none() && name == EMBEDDED {
        return Ok((name.to_string(), embedded(config.split)?));
    }
    if let Some(path) = &config.path {
        let source = if path.is_dir() { idx::open_dir(path, config.split)? } else { idx::open_file(path)? };
        return Ok((path.display().to_string(), source));
    }
    Err(DataError::NotFetched { name: name.to_string(), dir: "the cache".into() })
}

fn embedded(split: Split) -> Result<Source> {
    let (images, labels) = match split {
        Split::Train => (TRAIN_IMAGES, TRAIN_LABELS),
        Split::Test => (TEST_IMAGES, TEST_LABELS),
    };
    let path = Path::new("embedded Fashion-MNIST");
    let mut source = idx::read((path, images.to_vec()), Some((path, labels.to_vec())))?;
    source.class_names = FASHION.map(String::from).to_vec();
    Ok(source)
}

pub(crate) const FASHION: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

fn choose(source: Source, _config: &DataConfig, _name: &str) -> Result<Source> {
    Ok(source)
}

fn finish(name: &str, source: Source, config: &DataConfig) -> Result<Arc<dyn Dataset>> {
    let Some(first) = source.entries.first() else {
        return Err(DataError::config("path", format!("{name} has no samples"), "choose another set, part or class"));
    };
    let raw = first.pixels.decode()?;
    let form = Form { channels: config.channels.unwrap_or(raw.channels), size: config.size, fit: config.fit };
    let shape = [form.channels, form.size.unwrap_or(raw.height), form.size.unwrap_or(raw.width)];
    let bytes = source.entries.len().saturating_mul(shape.iter().product());
    let lazy = Lazy::new(name, shape, form, source);
    if bytes > config.memory_mib.saturating_mul(1 << 20) {
        return Ok(Arc::new(lazy));
    }
    let samples = (0..lazy.len()).into_par_iter().map(|index| lazy.get(index)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(InMemory::new(name, shape, lazy.class_names, samples)?))
}

/// A data set whose images are decoded when they are asked for.
struct Lazy {
    name: String,
    shape: [usize; 3],
    form: Form,
    class_names: Vec<String>,
    entries: Vec<Entry>,
    fingerprint: String,
}

impl Lazy {
    fn new(name: &str, shape: [usize; 3], form: Form, source: Source) -> Self {
        let mut hash = Fingerprint::new(shape, &source.class_names);
        for entry in &source.entries {
            hash.add(entry.label, entry.caption.as_deref(), &entry.pixels.identity());
        }
        let Source { class_names, entries, .. } = source;
        Self { name: name.to_string(), shape, form, class_names, entries, fingerprint: hash.finish() }
    }
}

impl Dataset for Lazy {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let entry = &self.entries[index];
        let path = entry.pixels.path();
        let raw = self.form.apply(entry.pixels.decode()?, &path)?;
        if [raw.channels, raw.height, raw.width] != self.shape {
            let what = format!(
                "{} x {} pixels, the first image has {} x {}",
                raw.width, raw.height, self.shape[2], self.shape[1]
            );
            return Err(DataError::malformed(&path, what, "set `data.size` to bring all images to one size"));
        }
        Ok(Sample {
            pixels: raw.pixels,
            height: raw.height,
            width: raw.width,
            channels: raw.channels,
            label: entry.label,
            caption: entry.caption.clone(),
        })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.entries[index].label
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn in_memory(&self) -> bool {
        false
    }
}
