//! Named host tensors of a network, read from and written to safetensors, and handed out strictly: a missing, extra or
//! mis-shaped tensor is an error that names it.

use crate::MetricsError;
use base::{Device, Tensor, TensorData};
use half::f16;
use nets::{NetsError, weights::TensorSource};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// One tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Size of each axis.
    pub shape: Vec<usize>,
    /// The numbers, as many as the product of the shape.
    pub data: Vec<f32>,
}

/// Tensors by name, with the file's text metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The tensors.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Text by key, as safetensors keeps it in `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// Number format of a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision, rounded to nearest even.
    F16,
}

impl Weights {
    /// Reads a safetensors file; F32, F16, BF16 and F64 become `f32`, integer tensors are skipped
    /// (PyTorch's `num_batches_tracked`).
    pub fn read(path: &Path) -> Result<Self, MetricsError> {
        let bytes = std::fs::read(path).map_err(|e| MetricsError::io(path, e))?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads safetensors bytes; `path` is only for messages.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, MetricsError> {
        let corrupt = |message: String| MetricsError::Corrupt { path: path.to_path_buf(), offset: 0, message };
        let bad = |e| corrupt(format!("not a safetensors file ({e}); convert or download it again"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        let file = SafeTensors::deserialize(bytes).map_err(bad)?;
        let mut weights = Self::default();
        for (key, value) in header.metadata().iter().flatten() {
            weights.metadata.insert(key.clone(), value.clone());
        }
        for (name, view) in file.iter() {
            if matches!(view.dtype(), Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL) {
                continue;
            }
            let data = TensorSource::read(&file, name).map_err(|error| corrupt(error.to_string()))?;
            weights.tensors.insert(name.to_string(), HostTensor { shape: view.shape().to_vec(), data });
        }
        Ok(weights)
    }

    /// Writes a safetensors file whole: to a temporary name beside it, synced, then renamed.
    pub fn write(&self, path: &Path, precision: Precision) -> Result<(), MetricsError> {
        write_whole(path, &self.to_bytes(precision)?)
    }

    /// The bytes that [`write`](Self::write) writes.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>, MetricsError> {
        let encoded: Vec<(&String, &HostTensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let bytes = match precision {
                    Precision::F32 => tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    Precision::F16 => tensor.data.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
                };
                (name, tensor, bytes)
            })
            .collect();
        let dtype = if precision == Precision::F32 { Dtype::F32 } else { Dtype::F16 };
        let refuse = |name: &str, message: String| MetricsError::Tensor {
            network: "safetensors".into(),
            name: name.into(),
            message,
        };
        let mut views = Vec::with_capacity(encoded.len());
        for (name, tensor, bytes) in &encoded {
            let view = TensorView::new(dtype, tensor.shape.clone(), bytes).map_err(|e| refuse(name, e.to_string()))?;
            views.push((name.as_str(), view));
        }
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        safetensors::serialize(views, Some(metadata)).map_err(|e| refuse("all", e.to_string()))
    }

    /// Removes `name` and checks its shape.
    pub fn take(&mut self, network: &str, name: &str, shape: &[usize]) -> Result<HostTensor, MetricsError> {
        let refuse = |message: String| MetricsError::Tensor { network: network.into(), name: name.into(), message };
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(refuse("missing from the file; is this another network's checkpoint?".into()));
        };
        if tensor.shape != shape {
            return Err(refuse(format!("has shape {:?} in the file, the network needs {shape:?}", tensor.shape)));
        }
        if tensor.data.iter().any(|v| !v.is_finite()) {
            return Err(refuse("holds NaN or infinity; download or convert the file again".into()));
        }
        Ok(tensor)
    }

    /// Removes `name`, checks its shape and places it on `device`.
    pub fn tensor<const D: usize>(
        &mut self,
        network: &str,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, MetricsError> {
        let tensor = self.take(network, name, &shape)?;
        Ok(Tensor::from_data(TensorData::new(tensor.data, shape), device))
    }

    /// Refuses tensors that nobody took.
    pub fn finish(self, network: &str) -> Result<(), MetricsError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(MetricsError::Tensor {
                network: network.into(),
                name: name.clone(),
                message: format!("not part of the network ({} such); is this another checkpoint?", self.tensors.len()),
            }),
        }
    }
}

/// What networks of `nets` are filled from.
impl TensorSource for Weights {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let refuse = |problem: &str| NetsError::Tensor { name: name.to_owned(), problem: problem.to_owned() };
        let tensor = self.tensors.get(name).ok_or_else(|| refuse("missing from the file"))?;
        match tensor.data.iter().all(|v| v.is_finite()) {
            true => Ok(tensor.data.clone()),
            false => Err(refuse("holds NaN or infinity; make or download the file again")),
        }
    }
}

/// Writes a file whole: to a temporary name beside it, synced, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), MetricsError> {
    let temporary = path.with_extension(format!("partial-{}", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        MetricsError::io(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Weights {
        let mut weights = Weights::default();
        weights.metadata.insert("kind".into(), "test".into());
        for (name, shape) in [("a.weight", vec![2, 3]), ("b", vec![4]), ("scalar", vec![])] {
            let data = (0..shape.iter().product::<usize>()).map(|i| i as f32 * 0.25 - 0.5).collect();
            weights.tensors.insert(name.into(), HostTensor { shape, data });
        }
        weights
    }

    #[test]
    fn a_written_file_reads_back_and_leaves_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.safetensors");
        for precision in [Precision::F32, Precision::F16] {
            // Quarters are exact in half precision.
            sample().write(&path, precision).unwrap();
            assert_eq!(Weights::read(&path).unwrap(), sample());
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(sample().write(&directory.path().join("no/such/w"), Precision::F32).is_err());
    }

    #[test]
    fn tensors_are_taken_strictly_by_name() {
        let mut weights = sample();
        assert!(weights.take("net", "c", &[1]).unwrap_err().to_string().contains("`c`"));
        assert!(weights.take("net", "b", &[5]).unwrap_err().to_string().contains("[4]"));
        let mut weights = sample();
        weights.take("net", "b", &[4]).unwrap();
        weights.take("net", "a.weight", &[2, 3]).unwrap();
        assert!(weights.finish("net").unwrap_err().to_string().contains("scalar"));
    }

    proptest! {
        /// Truncated and flipped files give an error or other numbers, never a panic.
        #[test]
        fn damaged_files_never_panic(cut in 0usize..400, at in 0usize..400, mask in 1u8..) {
            let mut bytes = sample().to_bytes(Precision::F32).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= mask;
            let _ = Weights::from_bytes(&bytes, Path::new("x"));
            let cut = cut % bytes.len();
            prop_assert!(Weights::from_bytes(&bytes[..cut], Path::new("x")).is_err());
        }
    }
}
