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

/// Shape and numbers of an array of 32- or 64-bit floats.
///
/// # Errors
/// [`MediaError::Io`] where it cannot be read, [`MediaError::Format`] where it is no such array or has not the bytes it promises.
pub fn read_array(path: &Path) -> Result<(Vec<usize>, Vec<f64>), MediaError> {
    let fail = |reason: String| MediaError::Format { kind: "npy", path: path.into(), reason };
    let bytes = std::fs::read(path).map_err(MediaError::io("read", path))?;
    let mut rest = &bytes[..];
    let header = npyz::NpyHeader::from_reader(&mut rest).map_err(|error| fail(error.to_string()))?;
    if header.order() != npyz::Order::C {
        return Err(fail("it is stored column by column; save it in C order".into()));
    }
    let shape = header.shape().iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<usize>>>();
    let count = shape.as_ref().and_then(|shape| shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)));
    let (Some(shape), Some(count)) = (shape, count) else { return Err(fail("its shape is too large".into())) };
    let kind = header.dtype().descr();
    let values: Vec<f64> = match kind.trim_matches('\'') {
        "<f4" => rest.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        "<f8" => rest.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        other => return Err(fail(format!("its numbers are {other}; save them as float32 or float64"))),
    };
    if values.len() != count {
        return Err(fail(format!("it holds {} numbers, its header promises {count}", values.len())));
    }
    Ok((shape, values))
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

/// Axes, numbers and labels of a file that [`save_safetensors`] wrote.
///
/// # Errors
/// [`MediaError::Format`] for a file without a float32 tensor `images`, or with labels that are not one for each sample; a file
/// that cannot be read.
#[allow(clippy::type_complexity)]
pub fn read_safetensors(path: &Path) -> Result<(Vec<usize>, Vec<f32>, Option<Vec<i64>>), MediaError> {
    let bytes = std::fs::read(path).map_err(MediaError::io("read", path))?;
    let bad = |reason: String| MediaError::Format { kind: "safetensors", path: path.into(), reason };
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
    let images = file.tensor("images").map_err(|_| bad("it has no tensor called `images`".into()))?;
    if images.dtype() != Dtype::F32 {
        return Err(bad(format!("its `images` are {:?}; save them as float32", images.dtype())));
    }
    let axes = images.shape().to_vec();
    let values = images.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let labels = match file.tensor("labels") {
        Err(_) => None,
        Ok(labels) if labels.dtype() == Dtype::I64 && labels.shape() == axes.get(..1).unwrap_or_default() => {
            Some(labels.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
        }
        Ok(labels) => {
            let (dtype, shape) = (labels.dtype(), labels.shape());
            return Err(bad(format!("its `labels` are {dtype:?} {shape:?}, and one int64 a sample is wanted")));
        }
    };
    Ok((axes, values, labels))
}

/// The shape and the numbers of an npy file of floats.
///
/// # Errors
/// [`MediaError::Format`] for a file that is no npy array of floats in C order; a file that cannot be read.
pub fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>), MediaError> {
    let bytes = std::fs::read(path).map_err(MediaError::io("read", path))?;
    let bad = |reason: String| MediaError::Format { kind: "npy", path: path.into(), reason };
    let file = npyz::NpyFile::new(&bytes[..]).map_err(|error| bad(error.to_string()))?;
    let shape: Vec<usize> = file.shape().iter().map(|n| *n as usize).collect();
    if file.order() != npyz::Order::C {
        return Err(bad("its numbers stand in Fortran's order; save numpy.ascontiguousarray of it".into()));
    }
    // What the header promises must be there before room is made for it.
    let promised = shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
    if promised.is_none_or(|count| count > bytes.len()) {
        return Err(bad(format!("{shape:?} numbers do not fit its {} bytes; it is cut short", bytes.len())));
    }
    let values = file.into_vec::<f32>().map_err(|error| bad(format!("{error}; save it as float32")))?;
    Ok((shape, values))
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
        assert_eq!(read_npy(&path).unwrap(), (AXES.to_vec(), values()));
        std::fs::write(folder.path().join("cut.npy"), &bytes[..bytes.len() - 5]).unwrap();
        assert!(read_npy(&folder.path().join("cut.npy")).unwrap_err().to_string().contains("cut.npy"));
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), [2, 3, 2, 2]);
        assert_eq!(file.into_vec::<f32>().unwrap(), values());
        assert!(save_npy(&path, &[5, 5], &values()).is_err());
    }

    #[test]
    fn arrays_of_any_shape_come_back_and_short_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        save_npy(&path, &[3, 1, 2], &[0.5, 1.0, -2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(read_array(&path).unwrap(), (vec![3, 1, 2], vec![0.5, 1.0, -2.0, 3.0, 4.0, 5.0]));
        let bytes = std::fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(read_array(&path).unwrap_err().to_string().contains("x.npy"));
        }
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
