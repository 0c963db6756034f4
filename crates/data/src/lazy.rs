//! Data sets too large for memory: images are decoded when they are asked for.

use crate::decode::Form;
use crate::fingerprint::Fingerprint;
use crate::read::{Entry, Source};
use crate::{Dataset, LeftOut, Result, Sample};
use base::Shape;

/// A data set whose images are decoded when they are asked for.
pub(crate) struct Lazy {
    name: String,
    shape: [usize; 3],
    form: Form,
    class_names: Vec<String>,
    entries: Vec<Entry>,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

impl Lazy {
    /// The samples of `source`, brought to `form`, which gives them `shape` `[c h w]`.
    pub(crate) fn new(name: &str, shape: [usize; 3], form: Form, source: Source) -> Self {
        let mut hash = Fingerprint::new(shape, &source.class_names);
        for entry in &source.entries {
            hash.add(entry.label, entry.caption.as_deref(), &entry.pixels.identity());
        }
        let Source { class_names, entries, found, .. } = source;
        let (name, left_out) = (name.to_string(), found.into_list());
        Self { name, shape, form, class_names, entries, fingerprint: hash.finish(), left_out }
    }
}

impl Dataset for Lazy {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let entry = &self.entries[index];
        let raw = self.form.apply(entry.pixels.decode(self.form.limits)?, &entry.pixels.path())?;
        entry.sample(raw, self.shape)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.entries[index].label
    }

    fn caption(&self, index: usize) -> Option<&str> {
        self.entries[index].caption.as_deref()
    }

    fn key(&self, index: usize) -> Option<&str> {
        self.entries[index].pixels.key()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> Shape {
        self.shape.into()
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

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}
