//! Counter-based randomness: every random number is a function of (seed, purpose, fold, sample index).
//!
//! Nothing draws from a shared generator, so the same seed gives the same sample whatever the batch size,
//! the thread count or the device, and a resumed run needs no generator state: its counters are its cursor.
//! The generator is ChaCha with 8 rounds (the `rand_chacha` crate), keyed by seed, purpose and fold, with the sample
//! index as its stream number.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// What a random number is for. Two purposes under one seed never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// Source points `x0`.
    Noise = 1,
    /// Training times.
    Time = 2,
    /// Order in which a data set is visited.
    Order = 3,
    /// Flips and crops.
    Augment = 4,
    /// Dropout masks.
    Dropout = 5,
    /// Which conditions are replaced by the null condition.
    ConditionDrop = 6,
    /// Initial weights.
    Init = 7,
    /// Draws inside a coupling.
    Coupling = 8,
    /// The latent `z` of a stochastic interpolant, and Brownian increments.
    Latent = 9,
    /// Random projections and probes of metrics and divergences.
    Probe = 10,
    /// Conditions drawn for samples.
    Class = 11,
}

/// A family of random streams: one per sample index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    purpose: Purpose,
    fold: u64,
}

impl Key {
    /// The streams of `purpose` under `seed`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose, fold: 0 }
    }

    /// A key for a numbered sub-purpose (a layer, an epoch, a round); keys with different numbers never share streams.
    pub fn fold(self, number: u64) -> Self {
        // SplitMix64's odd constant spreads consecutive numbers, so fold(1).fold(2) differs from fold(2).fold(1).
        let fold = (self.fold ^ number.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        Self { fold, ..self }
    }

    /// The generator of sample `index`.
    pub fn at(self, index: u64) -> ChaCha8Rng {
        let mut seed = [0u8; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(self.purpose as u64).to_le_bytes());
        seed[16..24].copy_from_slice(&self.fold.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(index);
        rng
    }

    /// One uniform number in [0, 1) for sample `index`.
    pub fn uniform(self, index: u64) -> f64 {
        self.at(index).random()
    }

    /// Sixty-four uniform bits for sample `index`: the start of a stream of its own.
    pub fn bits(self, index: u64) -> u64 {
        self.at(index).random()
    }

    /// `len` uniform numbers in [0, 1) for sample `index`.
    pub fn uniforms(self, index: u64, len: usize) -> impl Iterator<Item = f32> {
        let mut rng = self.at(index);
        (0..len).map(move |_| rng.random())
    }

    /// `len` standard normal numbers for sample `index`.
    pub fn normals(self, index: u64, len: usize) -> impl Iterator<Item = f32> {
        let mut rng = self.at(index);
        (0..len).map(move |_| rng.sample::<f32, _>(StandardNormal))
    }

    /// Standard normal noise of shape `[indices.len(), shape[1..]]`; row `i` depends on `indices[i]` alone.
    /// `shape[0]` is ignored and replaced by the number of indices.
    pub fn normal_tensor<const D: usize>(self, indices: &[u64], mut shape: [usize; D], device: &Device) -> Tensor<D> {
        shape[0] = indices.len();
        let len: usize = shape[1..].iter().product();
        let mut values = Vec::with_capacity(indices.len() * len);
        for &index in indices {
            values.extend(self.normals(index, len));
        }
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_depends_on_its_index_alone() {
        let device = Device::flex();
        let key = Key::new(7, Purpose::Noise);
        let pair: Vec<f32> = key.normal_tensor(&[2, 5], [0, 3], &device).into_data().try_to_vec().unwrap();
        let single: Vec<f32> = key.normal_tensor(&[5], [0, 3], &device).into_data().try_to_vec().unwrap();
        assert_eq!(pair[3..], single[..]);
        assert_ne!(pair[..3], pair[3..]);
    }

    #[test]
    fn purposes_seeds_and_folds_never_share_numbers() {
        let base = Key::new(7, Purpose::Noise);
        let others = [
            Key::new(8, Purpose::Noise),
            Key::new(7, Purpose::Time),
            base.fold(0),
            base.fold(1),
            base.fold(1).fold(2),
            base.fold(2).fold(1),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(base.uniform(0), other.uniform(0));
            for another in &others[i + 1..] {
                assert_ne!(other.uniform(0), another.uniform(0));
            }
        }
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let values: Vec<f32> = Key::new(1, Purpose::Noise).normals(0, 100_000).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        // Five standard errors: 5/sqrt(1e5) = 0.016 for the mean and 0.022 for the variance.
        assert!(mean.abs() < 0.016, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.022, "variance {variance}");
    }
}
