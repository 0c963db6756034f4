//! Data sets too large for memory: images are decoded when they are asked for.

use crate::decode::Form;
use crate::fingerprint::Fingerprint;
use crate::read::{Entry, Source};
use crate::{DataError, Dataset, Result, Sample};

/// A data set whose images are decoded when they are asked for.
pub(crate) struct Lazy {
    name: String,
    shape: [usize; 3],
    form: Form,
    pub(crate) class_names: Vec<String>,
    pub(crate) entries: Vec<Entry>,
    fingerprint: String,
}

impl Lazy {
    /// The samples of `source`, brought to `form`, which gives them `shape` `[c h w]`.
    pub(crate) fn new(name: &str, shape: [usize; 3], form: Form, source: Source) -> Self {
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
            let [_, height, width] = self.shape;
            let what = format!("{} x {} pixels, the first image has {width} x {height}", raw.width, raw.height);
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

    fn key(&self, index: usize) -> Option<&str> {
        self.entries[index].pixels.key()
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
