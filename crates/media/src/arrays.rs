//! Sample sets for other programs: one npy array, or one safetensors file with labels and metadata.

use crate::{Images, MediaError, atomic};
use npyz::WriterBuilder;
use safetensors::tensor::{Dtype, TensorView};
use std::{collections::HashMap, path::Path};

/// Writes the images as a float32 array `[n c h w]` in [-1, 1].
///
/// # Errors
/// As [`atomic::write`].
pub fn save_npy(path: &Path, images: &Images) -> Result<(), MediaError> {
    let [c, h, w] = images.shape();
    let shape = [images.len() as u64, c as u64, h as u64, w as u64];
    let mut bytes = Vec::new();
    let written = (|| {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(images.values().iter().copied())?;
        writer.finish()
    })();
    written.map_err(MediaError::io("write", path))?;
    atomic::write(path, &bytes)
}

/// Writes `images` (float32 `[n c h w]`) and, where given, `labels` (int64 `[n]`) with `metadata` in the header.
///
/// # Errors
/// [`MediaError::Shape`] where there are not as many labels as images; else as [`atomic::write`].
pub fn save_safetensors(
    path: &Path,
    images: &Images,
    labels: Option<&[i64]>,
    metadata: HashMap<String, String>,
) -> Result<(), MediaError> {
    let [c, h, w] = images.shape();
    let format = |error: safetensors::SafeTensorError| MediaError::Format {
        kind: "safetensors",
        path: path.into(),
        reason: error.to_string(),
    };
    let pixels: Vec<u8> = images.values().iter().flat_map(|v| v.to_le_bytes()).collect();
    let label_bytes: Vec<u8> = labels.unwrap_or_default().iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut tensors =
        vec![("images", TensorView::new(Dtype::F32, vec![images.len(), c, h, w], &pixels).map_err(format)?)];
    if let Some(labels) = labels {
        if labels.len() != images.len() {
            return Err(MediaError::Shape { count: labels.len(), images: images.len(), shape: [1, 1, 1] });
        }
        tensors.push(("labels", TensorView::new(Dtype::I64, vec![labels.len()], &label_bytes).map_err(format)?));
    }
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(format)?;
    atomic::write(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images::new((0..24).map(|i| i as f32 / 12.0 - 1.0).collect(), 2, [3, 2, 2]).unwrap()
    }

    #[test]
    fn npy_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        save_npy(&path, &images()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), [2, 3, 2, 2]);
        assert_eq!(file.into_vec::<f32>().unwrap(), images().values());
    }

    #[test]
    fn safetensors_comes_back_with_labels_and_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save_safetensors(&path, &images(), Some(&[4, -1]), HashMap::from([("seed".into(), "7".into())])).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["seed"], "7");
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("images").unwrap().shape(), [2, 3, 2, 2]);
        assert_eq!(file.tensor("labels").unwrap().data()[..8], 4i64.to_le_bytes());
        assert!(save_safetensors(&path, &images(), Some(&[1]), HashMap::new()).is_err());
    }
}
