//! Reads weights out of the Python formats they are published in, without Python and without running anything in them:
//! plain pickles of numpy arrays ([`numpy_pickle`]) and PyTorch's legacy `.pth` files ([`torch_legacy`]).
//!
//! Write the result with [`Weights::write`](crate::weights::Weights::write) and load it from there afterwards.

mod numpy;
mod torch;

pub use numpy::numpy_pickle;
pub use torch::torch_legacy;

use crate::MetricsError;
use crate::weights::{Precision, Weights};
use std::path::Path;

/// Reads a weight file of any format known here, told apart by its first bytes: safetensors, PyTorch's legacy format or
/// a pickle of numpy arrays.
pub fn read_any(path: &Path) -> Result<Weights, MetricsError> {
    let bytes = std::fs::read(path).map_err(|e| MetricsError::io(path, e))?;
    let (numpy_error, torch_error) = if bytes.starts_with(&[0x80]) {
        match (torch_legacy(&bytes, path), numpy_pickle(&bytes, path)) {
            (Ok(weights), _) | (_, Ok(weights)) => return Ok(weights),
            (Err(torch), Err(numpy)) => (numpy, torch),
        }
    } else if bytes.starts_with(b"PK") {
        return Err(MetricsError::Corrupt {
            path: path.to_path_buf(),
            offset: 0,
            message: "PyTorch's zip format; save it as safetensors, or with \
                      torch.save(..., _use_new_zipfile_serialization=False)"
                .into(),
        });
    } else {
        return Weights::from_bytes(&bytes, path);
    };
    // A torch file opens with a fixed number, so its reader failing past the start is the better message.
    let past_start = matches!(torch_error, MetricsError::Corrupt { offset, .. } if offset > torch::HEADER);
    Err(if past_start { torch_error } else { numpy_error })
}

/// Converts the weight file `from` (see [`read_any`]) to safetensors at `to`; returns the number of tensors.
pub fn convert(from: &Path, to: &Path, precision: Precision) -> Result<usize, MetricsError> {
    let weights = read_any(from)?;
    weights.write(to, precision)?;
    Ok(weights.tensors.len())
}
