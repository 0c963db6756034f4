//! How a KL autoencoder learns (Rombach et al., 2022, arXiv 2112.10752, app. G, eq. 25 without its adversary): mean absolute error
//! of the picture, LPIPS where it is asked for, and a little divergence of the latents from the standard normal law.

use super::{KlConfig, Loses};
use base::{Device, Key, Purpose, Tensor};
use flow::Premetric;
use nets::{Autoencoder, autoencoder::Latent};
use train::{Batch, TrainError};

/// The loss of [`KlConfig`] over pictures.
pub struct AutoencoderTask {
    /// Sizes and weights of the losses.
    pub config: KlConfig,
    /// LPIPS, where `config.perceptual` is above 0.
    pub perceptual: Option<Box<dyn Premetric<2>>>,
    /// Seed of the latents' noise.
    pub seed: u64,
}

/// Divergence of each latent from the standard normal law, summed over its numbers: `[b]`, in nats.
pub fn divergence(latent: &Latent) -> Tensor<1> {
    let Latent { mean, logvar } = latent.clone();
    let each = mean.powi_scalar(2) + logvar.clone().exp() - logvar - 1.0;
    let [b, c, h, w] = each.dims();
    (each.reshape([b, c * h * w]).sum_dim(1) * 0.5).reshape([b])
}

impl Loses<Autoencoder> for AutoencoderTask {
    type Config = KlConfig;

    fn config(&self) -> &KlConfig {
        &self.config
    }

    fn lost(&self, net: &Autoencoder, batch: &Batch, device: &Device, draws: bool) -> Result<Tensor<1>, TrainError> {
        let [c, h, w] = batch.shape.image().map_err(|error| TrainError::Objective(error.to_string()))?;
        let (b, n) = (batch.len(), batch.shape.numel());
        let rows = batch.rows(&batch.x1, device);
        let latent = net.encode(rows.clone().reshape([b, c, h, w]));
        let z = match draws {
            true => {
                let shape = latent.mean.dims();
                let noise = Key::new(self.seed, Purpose::Latent).normal_tensor(
                    &batch.indices,
                    [0, shape[1] * shape[2] * shape[3]],
                    device,
                );
                latent.mean.clone() + (latent.logvar.clone() * 0.5).exp() * noise.reshape(shape)
            }
            false => latent.mean.clone(),
        };
        let back = net.decode(z).reshape([b, n]);
        let mut loss = (rows.clone() - back.clone()).abs().mean_dim(1).reshape([b]);
        if let Some(lpips) = &self.perceptual {
            loss = loss + lpips.distance(rows, back) * self.config.perceptual;
        }
        Ok(loss + divergence(&latent) * (self.config.kl / n as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Learned, *};
    use base::Shape;
    use train::{Live, Task};

    fn task() -> AutoencoderTask {
        let config = KlConfig { channels: vec![8, 8], groups: 4, kl: 0.3, ..KlConfig::default() };
        AutoencoderTask { config, perceptual: None, seed: 5 }
    }

    /// The divergence of N(m, s²) from N(0, 1) in closed form. Mutants: the sign of the logarithm, the half.
    #[test]
    fn the_divergence_is_that_of_the_normal_law() {
        let (m, s): (f64, f64) = (0.7, 1.6);
        let device = Device::flex();
        let full = |v: f64| Tensor::<4>::full([2, 1, 2, 2], v, &device);
        let got = divergence(&Latent { mean: full(m), logvar: full(2.0 * s.ln()) });
        let wanted = 4.0 * 0.5 * (m * m + s * s - 1.0 - (s * s).ln());
        for value in got.into_data().iter::<f64>() {
            assert!((value - wanted).abs() < 1e-5, "{value} {wanted}");
        }
    }

    /// Noise hangs on the sample's counter: a batch and its halves have the same losses. Mutant: one noise for the whole batch.
    #[test]
    fn a_samples_loss_does_not_depend_on_its_batch() {
        let device = Device::flex();
        let shape = Shape::from([1, 4, 4]);
        let net = task().config.network(shape, Some(3), &device).unwrap();
        let x1: Vec<f32> = (0..64).map(|i| (i as f32 * 0.37).sin()).collect();
        let batch = |from: u64, to: u64| {
            Batch::new(x1[from as usize * 16..to as usize * 16].to_vec(), shape, (from..to).collect())
        };
        let losses = |from, to| -> Vec<f64> {
            let loss = Learned(task()).loss(&Live::plain(&net), &batch(from, to), &device).unwrap();
            loss.into_data().iter::<f64>().collect()
        };
        let (all, halves) = (losses(0, 4), [losses(0, 2), losses(2, 4)].concat());
        assert!(all.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-5), "{all:?} {halves:?}");
        // Two counters, two noises: the same picture twice does not lose the same.
        let twice = Batch { x1: [&x1[..16], &x1[..16]].concat(), ..batch(0, 2) };
        let loss = Learned(task()).loss(&Live::plain(&net), &twice, &device).unwrap();
        let loss: Vec<f64> = loss.into_data().iter::<f64>().collect();
        assert_ne!(loss[0], loss[1]);
    }
}
