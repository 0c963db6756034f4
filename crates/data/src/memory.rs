//! Data sets held in memory: what small sets are decoded into once, and latents.

use crate::fingerprint::Fingerprint;
use crate::{DataError, Dataset, LeftOut, Result, Sample, Values};
use base::Shape;

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct InMemory {
    name: String,
    shape: Shape,
    values: Values,
    labels: Vec<Option<u32>>,
    captions: Vec<Option<String>>,
    keys: Vec<Option<String>>,
    class_names: Vec<String>,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

impl InMemory {
    /// The samples of `samples`, all of `shape` and kept in one type; labels index `class_names`.
    ///
    /// # Errors
    /// A sample of another shape or type, or a label without a class.
    pub fn new(name: &str, shape: impl Into<Shape>, class_names: Vec<String>, samples: Vec<Sample>) -> Result<Self> {
        let shape = shape.into();
        let mut hash = Fingerprint::new(shape, &class_names);
        let size = samples.len() * shape.numel();
        let mut values = match samples.first().map(|sample| &sample.values) {
            Some(Values::Numbers(_)) => Values::Numbers(Vec::with_capacity(size)),
            _ => Values::Pixels(Vec::with_capacity(size)),
        };
        let (mut labels, mut captions) = (Vec::with_capacity(samples.len()), Vec::new());
        for (index, sample) in samples.into_iter().enumerate() {
            let found = sample.shape;
            if found != shape || sample.values.len() != shape.numel() {
                let what = format!("sample {index} of {name} has shape {found}, the others {shape}");
                return Err(DataError::config("size", what, "set `data.size` and `data.channels`"));
            }
            if let Some(label) = sample.label.filter(|&label| label as usize >= class_names.len()) {
                let what =
                    format!("sample {index} of {name} has label {label}, there are {} classes", class_names.len());
                return Err(DataError::config("classes", what, "mend the labels"));
            }
            match (&mut values, &sample.values) {
                (Values::Pixels(all), Values::Pixels(own)) => {
                    hash.add(sample.label, sample.caption.as_deref(), own);
                    all.extend_from_slice(own);
                }
                (Values::Numbers(all), Values::Numbers(own)) => {
                    let bytes: Vec<u8> = own.iter().flat_map(|value| value.to_le_bytes()).collect();
                    hash.add(sample.label, sample.caption.as_deref(), &bytes);
                    all.extend_from_slice(own);
                }
                _ => {
                    let what = format!("sample {index} of {name} is not kept in the type of the others");
                    return Err(DataError::config("path", what, "keep pictures and numbers in sets of their own"));
                }
            }
            labels.push(sample.label);
            captions.push(sample.caption);
        }
        let (name, fingerprint) = (name.to_string(), hash.finish());
        let (keys, left_out) = Default::default();
        Ok(Self { name, shape, values, labels, captions, keys, class_names, fingerprint, left_out })
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
        let size = self.shape.numel();
        let place = index * size..(index + 1) * size;
        Ok(Sample {
            values: match &self.values {
                Values::Pixels(all) => Values::Pixels(all[place].to_vec()),
                Values::Numbers(all) => Values::Numbers(all[place].to_vec()),
            },
            shape: self.shape,
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

    fn shape(&self) -> Shape {
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
