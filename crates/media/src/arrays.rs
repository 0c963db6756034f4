//! Sample sets for other programs: one npy array, or one safetensors file with labels and metadata.

use crate::{MediaError, atomic};
use npyz::WriterBuilder;
use safetensors::tensor::{Dtype, TensorView};
use std::{collections::HashMap, path::Path};

/// Writes `values` as a float32 array of these axes, `[n ...]`.
///
/// # Errors
/// As [`atomic::write`].
pub fn save_npy(path: &Path, axes: &[usize], values: &[f32]) -> Result<(), MediaError> {
    fits("npy", path, axes, values)?;
    let shape: Vec<u64> = axes.iter().map(|&length| length as u64).collect();
    let mut bytes = Vec::new();
    let written = (|| {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    })();
    written.map_err(MediaError::io("write", path))?;
    atomic::write(path, &bytes)
}

/// Whether the numbers fill the axes, of which the first counts samples.
fn fits(kind: &'static str, path: &Path, axes: &[usize], values: &[f32]) -> Result<(), MediaError> {
    if !axes.is_empty() && axes.iter().product::<usize>() == values.len() {
        return Ok(());
    }
    let reason = format!("{} numbers do not fill an array {axes:?}", values.len());
    Err(MediaError::Format { kind, path: path.into(), reason })
}

/// Writes `values` as the tensor `images` (float32, of these axes, `[n ...]`) and, where given, `labels` (int64 `[n]`), with
/// `metadata` in the header.
///
/// # Errors
/// [`MediaError::Format`] where there are not as many labels as samples; else as [`atomic::write`].
pub fn save_safetensors(
    path: &Path,
    axes: &[usize],
    values: &[f32],
    labels: Option<&[i64]>,
    metadata: HashMap<String, String>,
) -> Result<(), MediaError> {
    fits("safetensors", path, axes, values)?;
    let format = |error: safetensors::SafeTensorError| MediaError::Format {
        kind: "safetensors",
        path: path.into(),
        reason: error.to_string(),
    };
    let pixels: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let label_bytes: Vec<u8> = labels.unwrap_or_default().iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut tensors = vec![("images", TensorView::new(Dtype::F32, axes.to_vec(), &pixels).map_err(format)?)];
    if let Some(labels) = labels {
        if labels.len() != axes[0] {
            let reason = format!("{} labels for {} samples", labels.len(), axes[0]);
            return Err(MediaError::Format { kind: "safetensors", path: path.into(), reason });
        }
        tensors.push(("labels", TensorView::new(Dtype::I64, vec![labels.len()], &label_bytes).map_err(format)?));
    }
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(format)?;
    atomic::write(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: [usize; 4] = [2, 3, 2, 2];

    fn values() -> Vec<f32> {
        (0..24).map(|i| i as f32 / 12.0 - 1.0).collect()
    }

    #[test]
    fn npy_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        save_npy(&path, &AXES, &values()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), [2, 3, 2, 2]);
        assert_eq!(file.into_vec::<f32>().unwrap(), values());
        assert!(save_npy(&path, &[5, 5], &values()).is_err());
    }

    #[test]
    fn safetensors_comes_back_with_labels_and_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save_safetensors(&path, &AXES, &values(), Some(&[4, -1]), HashMap::from([("seed".into(), "7".into())]))
            .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["seed"], "7");
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("images").unwrap().shape(), [2, 3, 2, 2]);
        assert_eq!(file.tensor("labels").unwrap().data()[..8], 4i64.to_le_bytes());
        assert!(save_safetensors(&path, &AXES, &values(), Some(&[1]), HashMap::new()).is_err());
    }
}
