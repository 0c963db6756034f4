//! Dropout (Srivastava et al., 2014) from counter-based masks.
//!
//! The mask of sample `i` in layer `l` is a pure function of the pass's key, the layer's number and the sample's
//! counter: it does not depend on batch mates, thread count or what was drawn before, so a resumed run repeats it.

use crate::init::Init;
use base::{Pass, Tensor, TensorData};
use rand::Rng;

/// Dropout with its own number.
#[derive(Clone, Debug)]
pub struct Dropout {
    probability: f64,
    layer: u64,
}

impl Dropout {
    /// Drops with `probability` in [0, 1).
    pub fn new(init: &Init, probability: f64) -> Self {
        Self { probability, layer: init.id() }
    }

    /// `x` `[b ..]` with elements zeroed at random and the rest scaled to keep the mean; `x` itself outside training.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: &Pass) -> Tensor<D> {
        match pass {
            Pass::Train { dropout, samples, .. } if self.probability > 0.0 => {
                let shape = x.dims();
                let per_sample: usize = shape[1..].iter().product();
                let mut mask = vec![0.0f32; samples.len() * per_sample];
                // 16 random bits per element: probabilities are exact to 2^-16.
                let threshold = (self.probability * 65536.0).round() as u32;
                let keep = (65536.0 / (65536.0 - f64::from(threshold))) as f32;
                let key = dropout.fold(self.layer);
                for (row, &sample) in mask.chunks_mut(per_sample.max(1)).zip(samples) {
                    let mut rng = key.at(sample);
                    for four in row.chunks_mut(4) {
                        let bits = rng.next_u64();
                        for (lane, value) in four.iter_mut().enumerate() {
                            if (bits >> (16 * lane)) as u32 & 0xffff >= threshold {
                                *value = keep;
                            }
                        }
                    }
                }
                let device = x.device();
                x * Tensor::from_data(TensorData::new(mask, shape), &device)
            }
            _ => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, Key, Purpose};

    fn pass(samples: &[u64]) -> Pass {
        Pass::train(Key::new(1, Purpose::Dropout), samples.to_vec())
    }

    fn run(layer: &Dropout, samples: &[u64], len: usize) -> Vec<f32> {
        let x = Tensor::<2>::ones([samples.len(), len], &Device::flex());
        layer.forward(x, &pass(samples)).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_mask_depends_on_sample_and_layer_alone() {
        let init = Init::new(0, &Device::flex());
        let layer = Dropout::new(&init.child("a"), 0.5);
        let pair = run(&layer, &[4, 9], 64);
        assert_eq!(pair[64..], run(&layer, &[9], 64)[..]);
        assert_ne!(pair[..64], pair[64..]);
        assert_ne!(pair, run(&Dropout::new(&init.child("b"), 0.5), &[4, 9], 64));
    }

    #[test]
    fn the_mean_is_kept_and_the_rate_is_right() {
        let layer = Dropout::new(&Init::new(0, &Device::flex()), 0.3);
        let values = run(&layer, &[0], 100_000);
        let dropped = values.iter().filter(|&&v| v == 0.0).count() as f64 / 1e5;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        // Five standard errors: 5 sqrt(0.3 * 0.7 / 1e5) = 0.0072, over 0.7 for the mean.
        assert!((dropped - 0.3).abs() < 0.0072, "dropped {dropped}");
        assert!((mean - 1.0).abs() < 0.0104, "mean {mean}");
    }

    #[test]
    fn nothing_happens_at_zero_or_outside_training() {
        let init = Init::new(0, &Device::flex());
        assert_eq!(run(&Dropout::new(&init, 0.0), &[0], 8), [1.0; 8]);
        let x = Tensor::<2>::ones([1, 8], &Device::flex());
        let y: Vec<f32> = Dropout::new(&init, 0.5).forward(x, &Pass::Infer).into_data().try_to_vec().unwrap();
        assert_eq!(y, [1.0; 8]);
    }
}
