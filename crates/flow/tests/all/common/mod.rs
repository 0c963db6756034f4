//! Helpers shared by the tests of this crate: double-precision tensors and read-back.
#![allow(dead_code)] // every test file uses its own part

use base::{Device, Tensor, TensorData};
use burn::tensor::DType;

/// Points `[b d]` in double precision, so that tolerances can be those of the mathematics.
pub fn points(rows: &[Vec<f64>]) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (&Device::flex(), DType::F64))
}

/// A column of points on a line.
pub fn line(values: &[f64]) -> Tensor<2> {
    points(&values.iter().map(|v| vec![*v]).collect::<Vec<_>>())
}

/// The numbers of a tensor.
pub fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    flow::rows::host(x).expect("the CPU can be read")
}

/// Largest absolute difference.
pub fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Mean of numbers.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
