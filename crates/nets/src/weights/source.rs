//! Where stored tensors come from.

use crate::NetsError;
use base::TensorData;
use half::{bf16, f16};
use kernels::Blocks;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// A set of named tensors that can be read as f32.
pub trait TensorSource {
    /// Every name, in any order.
    fn names(&self) -> Vec<String>;
    /// Shape of a tensor, if there is one of this name.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Row-major values of a tensor.
    ///
    /// # Errors
    /// If there is none of this name or its element type cannot become f32.
    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError>;
    /// The tensor as it is stored where the source keeps the file's memory and type, else [`read`](Self::read) in its shape.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        let shape = self.shape(name).ok_or_else(|| absent(name))?;
        let values = self.read(name)?;
        if values.len() == shape.iter().product::<usize>() {
            return Ok(TensorData::new(values, shape));
        }
        let problem = format!("holds {} numbers for shape {shape:?}; the file is damaged", values.len());
        Err(NetsError::Tensor { name: name.to_owned(), problem })
    }
    /// Some rows of what [`data`](Self::data) gives; in place where the source keeps the file's memory.
    ///
    /// # Errors
    /// Those of [`data`](Self::data), and rows that are not there.
    fn rows(&self, name: &str, rows: Range<usize>) -> Result<TensorData, NetsError> {
        rows_of(name, &self.data(name)?, rows)
    }
    /// The tensor as the blocks it is stored in, where it is a matrix that is and the source keeps them.
    fn blocks(&self, _name: &str) -> Option<Blocks> {
        None
    }
}

/// Some rows of a tensor, copied.
pub(super) fn rows_of(name: &str, data: &TensorData, rows: Range<usize>) -> Result<TensorData, NetsError> {
    let mut shape = data.shape().to_vec();
    let all = shape.first().copied().unwrap_or(0);
    check_rows(name, all, &rows)?;
    let (dtype, bytes) = (data.dtype(), data.as_bytes());
    let row = bytes.len().checked_div(all).unwrap_or(0);
    let part = bytes[rows.start * row..rows.end * row].to_vec();
    shape[0] = rows.len();
    Ok(TensorData::from_bytes_vec(part, shape, dtype))
}

/// Refuses rows that are not among `all`.
pub(super) fn check_rows(name: &str, all: usize, rows: &Range<usize>) -> Result<(), NetsError> {
    if rows.start <= rows.end && rows.end <= all {
        return Ok(());
    }
    let problem = format!("has {all} rows and not {rows:?}; the file is of another model");
    Err(NetsError::Tensor { name: name.to_owned(), problem })
}

impl<S: TensorSource + ?Sized> TensorSource for &S {
    fn names(&self) -> Vec<String> {
        (**self).names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        (**self).shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        (**self).read(name)
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        (**self).data(name)
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<TensorData, NetsError> {
        (**self).rows(name, rows)
    }

    fn blocks(&self, name: &str) -> Option<Blocks> {
        (**self).blocks(name)
    }
}

pub(super) fn absent(name: &str) -> NetsError {
    NetsError::Tensor { name: name.to_owned(), problem: "not in the store; check the file is the right one".into() }
}

macro_rules! map_source {
    ($map:ident) => {
        impl TensorSource for $map<String, (Vec<usize>, Vec<f32>)> {
            fn names(&self) -> Vec<String> {
                self.keys().cloned().collect()
            }

            fn shape(&self, name: &str) -> Option<Vec<usize>> {
                self.get(name).map(|(shape, _)| shape.clone())
            }

            fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
                self.get(name).map(|(_, values)| values.clone()).ok_or_else(|| absent(name))
            }
        }
    };
}

map_source!(BTreeMap);
map_source!(HashMap);

/// Floating-point tensors of a safetensors file: F64, F32, F16 and BF16 become f32.
impl TensorSource for SafeTensors<'_> {
    fn names(&self) -> Vec<String> {
        SafeTensors::names(self).into_iter().map(str::to_owned).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let view = self.tensor(name).map_err(|_| absent(name))?;
        widen(name, view.dtype(), view.data())
    }
}

/// The values of a tensor's bytes as f32.
pub(super) fn widen(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, NetsError> {
    Ok(match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        other => {
            return Err(NetsError::Tensor {
                name: name.to_owned(),
                problem: format!("has element type {other:?}; weights must be F64, F32, F16 or BF16"),
            });
        }
    })
}

/// The tensors of another source whose names start with a prefix, without it: one network of a checkpoint with several.
pub struct Prefixed<'a, S: ?Sized> {
    source: &'a S,
    prefix: String,
}

impl<'a, S: TensorSource + ?Sized> Prefixed<'a, S> {
    /// `prefix` includes its final dot, as in `"ema."`.
    pub fn new(source: &'a S, prefix: impl Into<String>) -> Self {
        Self { source, prefix: prefix.into() }
    }
}

impl<S: TensorSource + ?Sized> TensorSource for Prefixed<'_, S> {
    fn names(&self) -> Vec<String> {
        let all = self.source.names();
        all.iter().filter_map(|name| name.strip_prefix(&self.prefix).map(str::to_owned)).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.source.shape(&format!("{}{name}", self.prefix))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        self.source.read(&format!("{}{name}", self.prefix))
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        self.source.data(&format!("{}{name}", self.prefix))
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<TensorData, NetsError> {
        self.source.rows(&format!("{}{name}", self.prefix), rows)
    }

    fn blocks(&self, name: &str) -> Option<Blocks> {
        self.source.blocks(&format!("{}{name}", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_floats_exactly() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ];
        let read = |bits: u16| widen("x", Dtype::F16, &bits.to_le_bytes()).unwrap()[0];
        for (bits, want) in cases {
            assert_eq!(read(bits).to_bits(), f32::to_bits(want), "{bits:#x}");
        }
        assert!(read(0x7e00).is_nan());
    }
}
