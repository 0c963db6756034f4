//! Data sets held in memory as bytes: what small sets are decoded into once.

use crate::fingerprint::Fingerprint;
use crate::{DataError, Dataset, LeftOut, Result, Sample};

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct InMemory {
    name: String,
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<Option<u32>>,
    captions: Vec<Option<String>>,
    keys: Vec<Option<String>>,
    class_names: Vec<String>,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

impl InMemory {
    /// The samples of `samples`, all of shape `[c h w]`; labels index `class_names`.
    ///
    /// # Errors
    /// A sample of another shape, or a label without a class.
    pub fn new(name: &str, shape: [usize; 3], class_names: Vec<String>, samples: Vec<Sample>) -> Result<Self> {
        let [channels, height, width] = shape;
        let mut hash = Fingerprint::new(shape, &class_names);
        let mut pixels = Vec::with_capacity(samples.len() * channels * height * width);
        let (mut labels, mut captions) = (Vec::with_capacity(samples.len()), Vec::new());
        for (index, sample) in samples.into_iter().enumerate() {
            let found = [sample.channels, sample.height, sample.width];
            if found != shape || sample.pixels.len() != channels * height * width {
                let what = format!(
                    "sample {index} of {name} has shape {found:?} (channels, height, width), the others {shape:?}"
                );
                return Err(DataError::config("size", what, "set `data.size` and `data.channels`"));
            }
            if let Some(label) = sample.label.filter(|&label| label as usize >= class_names.len()) {
                let what =
                    format!("sample {index} of {name} has label {label}, there are {} classes", class_names.len());
                return Err(DataError::config("classes", what, "mend the labels"));
            }
            hash.add(sample.label, sample.caption.as_deref(), &sample.pixels);
            pixels.extend_from_slice(&sample.pixels);
            labels.push(sample.label);
            captions.push(sample.caption);
        }
        let (name, fingerprint) = (name.to_string(), hash.finish());
        let (keys, left_out) = Default::default();
        Ok(Self { name, shape, pixels, labels, captions, keys, class_names, fingerprint, left_out })
    }

    /// The same with the name of each sample's file, see [`Dataset::key`].
    pub(crate) fn with_keys(self, keys: Vec<Option<String>>) -> Self {
        Self { keys, ..self }
    }

    /// The same with what was found beside the samples, see [`Dataset::left_out`].
    pub(crate) fn with_left_out(self, left_out: Vec<LeftOut>) -> Self {
        Self { left_out, ..self }
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let [channels, height, width] = self.shape;
        let size = channels * height * width;
        Ok(Sample {
            pixels: self.pixels[index * size..][..size].to_vec(),
            height,
            width,
            channels,
            label: self.labels[index],
            caption: self.captions[index].clone(),
        })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels[index]
    }

    fn caption(&self, index: usize) -> Option<&str> {
        self.captions[index].as_deref()
    }

    fn key(&self, index: usize) -> Option<&str> {
        self.keys.get(index)?.as_deref()
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
        true
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}
