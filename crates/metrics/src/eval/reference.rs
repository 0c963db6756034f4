//! Reference statistics of a data set under an extractor, kept in a file named after both.

use super::rows::Rows;
use crate::{Extractor, Gaussian, Matrix, MetricsError};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Moments of all images of a data set and features of some of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    extractor: String,
    dataset: String,
    keep: usize,
    features: Matrix,
    gaussian: Gaussian,
}

/// Images `[n c h w]` in [-1, 1] with their shape.
pub type Images = (Vec<f32>, [usize; 4]);

impl Reference {
    /// Measures the images of `batches`, keeping the features of `keep` of them. `dataset` is the data set's
    /// fingerprint: it names the data, its split and whatever was done to the images.
    pub fn build(
        extractor: &dyn Extractor,
        dataset: &str,
        keep: usize,
        batches: impl Iterator<Item = Result<Images, MetricsError>>,
    ) -> Result<Self, MetricsError> {
        let mut rows = Rows::new(extractor.dim(), keep);
        for batch in batches {
            let (images, shape) = batch?;
            rows.add(&extractor.features(&images, shape)?)?;
        }
        let gaussian = rows.gaussian()?;
        let extractor = extractor.fingerprint();
        Ok(Self { extractor, dataset: dataset.into(), keep, features: rows.kept().clone(), gaussian })
    }

    /// Like [`build`](Self::build), but reads the statistics from a file in `directory` if an earlier call with the same
    /// data set, extractor and `keep` left one, and leaves one otherwise. A damaged file is measured anew.
    pub fn cached<I: Iterator<Item = Result<Images, MetricsError>>>(
        directory: &Path,
        extractor: &dyn Extractor,
        dataset: &str,
        keep: usize,
        batches: impl FnOnce() -> I,
    ) -> Result<Self, MetricsError> {
        let path = Self::path(directory, extractor, dataset, keep);
        if let Ok(found) = Self::read(&path)
            && (found.extractor == extractor.fingerprint() && found.dataset == dataset && found.keep == keep)
        {
            return Ok(found);
        }
        let made = Self::build(extractor, dataset, keep, batches())?;
        std::fs::create_dir_all(directory).map_err(|e| MetricsError::io(directory, e))?;
        made.write(&path)?;
        Ok(made)
    }

    /// Where [`cached`](Self::cached) keeps its file.
    pub fn path(directory: &Path, extractor: &dyn Extractor, dataset: &str, keep: usize) -> PathBuf {
        let safe = |text: &str| -> String {
            text.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
        };
        let hash = crate::extractor::digest(format!("{dataset}\n{}\n{keep}", extractor.fingerprint()).bytes());
        directory.join(format!("{}-{}-{hash:016x}.safetensors", safe(dataset), safe(extractor.name())))
    }

    /// Fingerprint of the extractor.
    pub fn extractor(&self) -> &str {
        &self.extractor
    }

    /// Features of the kept images.
    pub fn features(&self) -> &Matrix {
        &self.features
    }

    /// `keep` of the kept images' features, spread evenly, and which they are.
    pub fn even(&self, keep: usize) -> (Matrix, Vec<usize>) {
        let places = super::rows::places(self.features.rows(), keep);
        (self.features.select(&places), places)
    }

    /// Mean and covariance of all images' features.
    pub fn gaussian(&self) -> &Gaussian {
        &self.gaussian
    }

    fn write(&self, path: &Path) -> Result<(), MetricsError> {
        let d = self.gaussian.dim();
        let features: Vec<u8> = self.features.data().iter().flat_map(|v| v.to_le_bytes()).collect();
        let doubles = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let (mean, covariance) = (doubles(&self.gaussian.mean), doubles(&self.gaussian.covariance));
        let refuse = |e: safetensors::SafeTensorError| MetricsError::Tensor {
            network: "reference statistics".into(),
            name: "all".into(),
            message: e.to_string(),
        };
        let views = [
            ("features", Dtype::F32, vec![self.features.rows(), d], &features),
            ("mean", Dtype::F64, vec![d], &mean),
            ("covariance", Dtype::F64, vec![d, d], &covariance),
        ];
        let views = views
            .into_iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse)?;
        let metadata: HashMap<String, String> = HashMap::from([
            ("extractor".into(), self.extractor.clone()),
            ("dataset".into(), self.dataset.clone()),
            ("keep".into(), self.keep.to_string()),
            ("count".into(), self.gaussian.count.to_string()),
        ]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(refuse)?;
        crate::weights::write_whole(path, &bytes)
    }

    /// Reads a file that [`cached`](Self::cached) left.
    pub fn read(path: &Path) -> Result<Self, MetricsError> {
        let bytes = std::fs::read(path).map_err(|e| MetricsError::io(path, e))?;
        Self::from_bytes(&bytes).map_err(|message| MetricsError::Corrupt {
            path: path.to_path_buf(),
            offset: 0,
            message: format!("{message}; delete the file to measure the reference anew"),
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let text = |key: &str| {
            header.metadata().as_ref().and_then(|m| m.get(key).cloned()).ok_or_else(|| format!("no `{key}`"))
        };
        let number = |key: &str| text(key)?.parse::<usize>().map_err(|e| format!("`{key}`: {e}"));
        let tensor = |name: &str, dtype: Dtype| {
            let view = file.tensor(name).map_err(|e| e.to_string())?;
            if view.dtype() != dtype {
                return Err(format!("`{name}` is {:?}, {dtype:?} expected", view.dtype()));
            }
            Ok((view.shape().to_vec(), view.data().to_vec()))
        };
        let doubles = |bytes: Vec<u8>| -> Vec<f64> {
            let word = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("chunks of eight bytes"));
            bytes.chunks_exact(8).map(word).collect()
        };
        let (shape, features) = tensor("features", Dtype::F32)?;
        let (_, mean) = tensor("mean", Dtype::F64)?;
        let (_, covariance) = tensor("covariance", Dtype::F64)?;
        let (mean, covariance) = (doubles(mean), doubles(covariance));
        let [rows, columns] = shape[..] else { return Err("features that are no matrix".into()) };
        if mean.len() != columns || columns.checked_mul(columns) != Some(covariance.len()) {
            return Err("moments that do not fit the features".into());
        }
        let word = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("chunks of four bytes"));
        let features = Matrix::new(features.chunks_exact(4).map(word).collect(), rows, columns);
        Ok(Self {
            extractor: text("extractor")?,
            dataset: text("dataset")?,
            keep: number("keep")?,
            features: features.map_err(|e| e.to_string())?,
            gaussian: Gaussian { count: number("count")?, mean, covariance },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pixels;
    use std::cell::Cell;

    fn batches() -> impl Iterator<Item = Result<Images, MetricsError>> {
        (0..3).map(|i| Ok(((0..20).map(|j| ((i * 20 + j) as f32).sin()).collect(), [5, 1, 2, 2])))
    }

    #[test]
    fn a_second_call_reads_the_file_and_changed_inputs_or_damage_measure_anew() {
        let directory = tempfile::tempdir().unwrap();
        let pixels = Pixels::new(4);
        let built = Cell::new(0);
        let get = |dataset: &str, keep| {
            let count = || {
                built.set(built.get() + 1);
                batches()
            };
            Reference::cached(directory.path(), &pixels, dataset, keep, count).unwrap()
        };
        let first = get("data/train", 10);
        assert_eq!((first.features().rows(), first.gaussian().count), (10, 15));
        assert_eq!(get("data/train", 10), first);
        assert_eq!(built.get(), 1);
        get("data/test", 10);
        get("data/train", 12);
        assert_eq!(built.get(), 3);
        let path = Reference::path(directory.path(), &pixels, "data/train", 10);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Reference::read(&path).unwrap_err().to_string().contains("delete the file"));
        assert_eq!(get("data/train", 10), first);
        assert_eq!(built.get(), 4);
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.safetensors");
        Reference::build(&Pixels::new(4), "d", 10, batches()).unwrap().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            assert!(Reference::from_bytes(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let _ = Reference::from_bytes(&bytes);
        }
    }
}
