//! A small image classifier, trained by this project: judge of class accuracy and extractor of features.
//!
//! No flow is ever trained with it or against it; it sees real images only. How it learns, `rectiflow::classifier` says.

mod network;

pub use network::SmallCnn;

use crate::extractor::{Extractor, check_images, digest};
use crate::weights::{HostTensor, Precision, Weights};
use crate::{Matrix, MetricsError};
use base::{Device, Tensor, TensorData};
use burn::module::Module;
use nets::{Init, weights};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the network looks like: all that is needed to rebuild it from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Short name under which figures are reported.
    pub name: String,
    /// Channels, height and width of the images it accepts.
    pub input: [usize; 3],
    /// Channels at full, half and quarter resolution; multiples of 8.
    pub widths: [usize; 3],
    /// Cells per side over whose positions the last block is averaged before the hidden layer: 1 for the whole image, more to keep where
    /// things are.
    #[serde(default = "one")]
    pub pool: usize,
    /// Dimension of the penultimate layer.
    pub features: usize,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
}

/// Cells per side of files from before there was a choice.
fn one() -> usize {
    1
}

impl Layout {
    /// Refuses values outside their ranges.
    pub fn check(&self) -> Result<(), MetricsError> {
        let range = |name, value: String, range| Err(MetricsError::Range { name, value, range });
        if self.input.contains(&0) || self.input[1..].iter().any(|&s| !(4..=4096).contains(&s)) {
            return range(
                "classifier.input",
                format!("{:?}", self.input),
                "channels, height and width; 4 to 4096 pixels",
            );
        }
        if self.input[0] > 64 || self.widths.iter().any(|&w| w == 0 || w % 8 != 0 || w > 4096) {
            return range("classifier.widths", format!("{:?}", self.widths), "multiples of 8 up to 4096");
        }
        if !(1..=8).contains(&self.pool) {
            return range("classifier.pool", self.pool.to_string(), "1 to 8");
        }
        if self.features == 0 || self.features > 65_536 {
            return range("classifier.features", self.features.to_string(), "1 to 65536");
        }
        if self.classes.len() < 2 || self.classes.len() > 65_536 {
            return range("classifier.classes", self.classes.len().to_string(), "at least 2 classes");
        }
        Ok(())
    }
}

/// A trained classifier.
///
/// ```
/// use metrics::{Extractor, classifier::Classifier};
/// let judge = Classifier::fashion_mnist(&base::Device::flex())?;
/// assert_eq!(judge.label(), "fashion-cnn-2, 128-d");
/// let logits = judge.logits(&vec![-1.0; 2 * 28 * 28], [2, 1, 28, 28])?;
/// assert_eq!((logits.rows(), logits.columns()), (2, 10));
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Classifier {
    layout: Layout,
    network: SmallCnn,
    device: Device,
    digest: u64,
}

/// Key of the layout in the file's metadata.
const LAYOUT: &str = "classifier";

/// Images per forward pass.
const BATCH: usize = 256;

impl Classifier {
    /// That of `network`, made for `layout` and living on `device`. Its weights ask for no gradient from here on.
    pub fn new(layout: Layout, network: SmallCnn, device: Device) -> Self {
        let digest = digest(network.numbers().into_iter().flat_map(f32::to_le_bytes));
        Self { layout, network: network.no_grad(), device, digest }
    }

    /// The classifier that ships with the project; `assets/README.md` has its command and accuracy.
    pub fn fashion_mnist(device: &Device) -> Result<Self, MetricsError> {
        let bytes = include_bytes!("../../assets/fashion-cnn.safetensors");
        Self::from_bytes(bytes, Path::new("the embedded fashion-cnn.safetensors"), device)
    }

    /// Reads a classifier that [`save`](Self::save) wrote.
    pub fn load(path: &Path, device: &Device) -> Result<Self, MetricsError> {
        let bytes = std::fs::read(path).map_err(|e| MetricsError::io(path, e))?;
        Self::from_bytes(&bytes, path, device)
    }

    fn from_bytes(bytes: &[u8], path: &Path, device: &Device) -> Result<Self, MetricsError> {
        let weights = Weights::from_bytes(bytes, path)?;
        let corrupt = |message| MetricsError::Corrupt { path: path.to_path_buf(), offset: 0, message };
        let text = weights.metadata.get(LAYOUT).ok_or_else(|| {
            corrupt(format!("no `{LAYOUT}` in the metadata; train one with `rectiflow classifier train`"))
        })?;
        let layout: Layout =
            serde_json::from_str(text).map_err(|e| corrupt(format!("`{LAYOUT}` in the metadata: {e}")))?;
        layout.check()?;
        let declared = SmallCnn::new(&layout, &Init::declared(device));
        let network = weights::load(declared, &weights, weights::Strict::Exact)
            .map_err(|source| MetricsError::Weights { path: path.to_path_buf(), source })?;
        Ok(Self::new(layout, network, device.clone()))
    }

    /// Writes weights and layout as one safetensors file.
    pub fn save(&self, path: &Path) -> Result<(), MetricsError> {
        let mut weights = Weights::default();
        for (name, shape, data) in weights::named_tensors(&self.network) {
            weights.tensors.insert(name, HostTensor { shape, data });
        }
        let text = serde_json::to_string(&self.layout).expect("a layout holds strings and integers only");
        weights.metadata.insert(LAYOUT.into(), text);
        weights.write(path, Precision::F32)
    }

    /// What the network looks like.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Class scores `[n classes]` of images `[n c h w]` in [-1, 1].
    pub fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        Ok(self.run(images, shape)?.1)
    }

    /// Class scores `[b classes]` of images `[b c h w]` in [-1, 1] of its own size, differentiable where they are and its weights lie
    /// on a tape.
    pub fn score(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.forward(images).1
    }

    /// Class scores `[n classes]` of features `[n features]`: the last layer alone, for features that something changed.
    ///
    /// # Errors
    /// Features of another length.
    pub fn head(&self, features: &Matrix) -> Result<Matrix, MetricsError> {
        if features.columns() != self.layout.features {
            let (got, own) = (features.columns(), self.layout.features);
            let message = format!("features of {got} numbers; {} has {own}", self.layout.name);
            return Err(MetricsError::Shape { what: "classifier", message });
        }
        let data = TensorData::new(features.data().to_vec(), [features.rows(), features.columns()]);
        to_matrix(self.network.scores(Tensor::from_data(data, &self.device)))
    }

    /// Features and class scores in one pass.
    pub fn run(&self, images: &[f32], shape: [usize; 4]) -> Result<(Matrix, Matrix), MetricsError> {
        check_images("classifier", images, shape)?;
        if shape[1..] != self.layout.input {
            let message = format!(
                "{} accepts images of {:?} [c h w], got {:?}; train one with `rectiflow classifier train`",
                self.layout.name,
                self.layout.input,
                &shape[1..]
            );
            return Err(MetricsError::Shape { what: "classifier", message });
        }
        let [_, c, h, w] = shape;
        let (mut features, mut logits) =
            (Matrix::empty(self.layout.features), Matrix::empty(self.layout.classes.len()));
        for chunk in images.chunks(BATCH * c * h * w) {
            let n = chunk.len() / (c * h * w);
            let x = Tensor::<4>::from_data(TensorData::new(chunk.to_vec(), [n, c, h, w]), &self.device);
            let (f, l) = self.network.forward(x);
            features.extend(&to_matrix(f)?)?;
            logits.extend(&to_matrix(l)?)?;
        }
        Ok((features, logits))
    }
}

impl Extractor for Classifier {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        Ok(self.run(images, shape)?.0)
    }

    fn name(&self) -> &str {
        &self.layout.name
    }

    fn dim(&self) -> usize {
        self.layout.features
    }

    fn fingerprint(&self) -> String {
        format!("{}, weights {:016x}", self.label(), self.digest)
    }
}

/// A device matrix as host rows.
pub(crate) fn to_matrix(x: Tensor<2>) -> Result<Matrix, MetricsError> {
    let [n, d] = x.dims();
    Matrix::new(x.into_data().iter::<f32>().collect(), n, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let classes = ["v", "h", "d"].map(String::from).to_vec();
        Layout { name: "stripes".into(), input: [1, 8, 6], widths: [8, 16, 8], pool: 2, features: 6, classes }
    }

    fn made_up(seed: u64) -> Classifier {
        let device = Device::flex();
        Classifier::new(layout(), SmallCnn::new(&layout(), &Init::new(seed, &device)), device)
    }

    /// A file gives back what was written, and says what is wrong with a damaged one. Mutants: a normalisation that is not filled; a
    /// transposed layer; numbers that are not looked at.
    #[test]
    fn a_file_has_the_same_scores_and_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let (made, images) = (made_up(1), vec![0.25; 3 * 48]);
        made.save(&path).unwrap();
        let read = Classifier::load(&path, &Device::flex()).unwrap();
        assert_eq!(read.run(&images, [3, 1, 8, 6]).unwrap(), made.run(&images, [3, 1, 8, 6]).unwrap());
        assert_eq!((read.label(), read.fingerprint()), ("stripes, 6-d".to_string(), made.fingerprint()));
        assert_ne!(read.fingerprint(), made_up(2).fingerprint());
        let said = read.logits(&images, [3, 1, 6, 8]).unwrap_err().to_string();
        assert!(said.contains("classifier train"), "{said}");

        let damaged = |change: &dyn Fn(&mut Weights)| {
            let mut weights = Weights::read(&path).unwrap();
            change(&mut weights);
            let bytes = weights.to_bytes(Precision::F32).unwrap();
            Classifier::from_bytes(&bytes, &path, &Device::flex()).unwrap_err().to_string()
        };
        let tensor = |weights: &mut Weights, name: &str| weights.tensors.remove(name).unwrap();
        for (said, what) in [
            (damaged(&|w| drop(tensor(w, "norm.3.bias"))), "norm.3.bias"),
            (damaged(&|w| w.tensors.get_mut("hidden.weight").unwrap().shape.reverse()), "hidden.weight"),
            (damaged(&|w| w.tensors.get_mut("conv.4.weight").unwrap().data[7] = f32::NAN), "conv.4.weight"),
            (damaged(&|w| w.metadata.clear()), "classifier train"),
        ] {
            assert!(said.contains(what) && said.contains("c.safetensors"), "{said}");
        }
    }
}
