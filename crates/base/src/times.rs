//! Times of a batch: `[b]` numbers in [0, 1], 0 at the source (noise) and 1 at the data.
//!
//! Every time is born on the host (a time law or a schedule draws it), so it stays there in `f64`: path coefficients
//! are computed exactly and only the resulting columns travel to the device.

use burn::tensor::{Device, Tensor, TensorData};

/// The times of a batch, one per sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Times(Vec<f64>);

impl Times {
    /// One time per sample.
    pub fn new(times: Vec<f64>) -> Self {
        Self(times)
    }

    /// The same time for `batch` samples.
    pub fn all(t: f64, batch: usize) -> Self {
        Self(vec![t; batch])
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The times as numbers.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The times as a `[b]` tensor, as networks receive them.
    pub fn tensor(&self, device: &Device) -> Tensor<1> {
        let values: Vec<f32> = self.0.iter().map(|&t| t as f32).collect();
        Tensor::from_data(TensorData::new(values, [self.len()]), device)
    }

    /// `f(t)` for each sample, shaped `[b, 1, ..., 1]` so that it multiplies a batch of rank `D`.
    pub fn column<const D: usize>(&self, f: impl Fn(f64) -> f64, device: &Device) -> Tensor<D> {
        let mut shape = [1; D];
        shape[0] = self.len();
        let values: Vec<f32> = self.0.iter().map(|&t| f(t) as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// These times followed by `other`'s.
    pub fn cat(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_scales_each_sample_by_its_own_coefficient() {
        let device = Device::flex();
        let times = Times::new(vec![0.0, 0.25, 1.0]);
        let x = Tensor::<3>::ones([3, 2, 2], &device);
        let scaled = x * times.column::<3>(|t| 1.0 - t, &device);
        let values: Vec<f32> = scaled.into_data().try_to_vec().unwrap();
        assert_eq!(values, [1.0, 1.0, 1.0, 1.0, 0.75, 0.75, 0.75, 0.75, 0.0, 0.0, 0.0, 0.0]);
    }
}
