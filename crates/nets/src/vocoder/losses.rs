//! What a vocoder is trained by without a critic: spectra at several resolutions (Yamamoto, Song and Kim, 2020, arXiv:1910.11480, eq. 4 to 6)
//! and the mel picture (HiFi-GAN, arXiv:2010.05646, eq. 5).
//!
//! Of magnitudes `S` of the recording and `G` of what was made: spectral convergence `|S - G| / |S|` (Frobenius norms over a sample's frames and
//! bins) and the mean of `|ln S - ln G|`, averaged over resolutions. Both begin at a floor, or silence would weigh without bound.

use super::{MelTransform, SpectrumTransform};
use crate::NetsError;
use base::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Resolutions and weights of [`HeardLoss`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeardWeights {
    /// Windows of the spectra, each with a hop of a quarter.
    pub windows: Vec<usize>,
    /// Weight of spectral convergence and of log magnitudes together.
    pub spectra: f64,
    /// Weight of the mean absolute difference of mel pictures.
    pub mel: f64,
    /// Magnitudes below it count as it.
    pub floor: f64,
}

impl Default for HeardWeights {
    fn default() -> Self {
        Self { windows: vec![256, 512, 1024], spectra: 1.0, mel: 1.0, floor: 1e-2 }
    }
}

impl HeardWeights {
    /// Ranges, for waveforms of `samples`.
    ///
    /// # Errors
    /// Names the key, its value and its range.
    pub fn check(&self, samples: usize) -> Result<(), NetsError> {
        let Self { windows, spectra, mel, floor } = self;
        let wrong = |said: String| Err(NetsError::config(said));
        if windows.is_empty() || windows.iter().any(|window| *window < 8 || window % 4 != 0 || *window > samples) {
            return wrong(format!(
                "loss.windows = {windows:?}; give multiples of 4 from 8 to the {samples} samples of a sound"
            ));
        }
        for (key, value) in [("spectra", *spectra), ("mel", *mel)] {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(format!("loss.{key} = {value}; give a number from 0"));
            }
        }
        if *spectra == 0.0 && *mel == 0.0 {
            return wrong("loss.spectra and loss.mel are both 0, which leaves nothing to learn; raise one".into());
        }
        match *floor > 0.0 && floor.is_finite() {
            true => Ok(()),
            false => wrong(format!("loss.floor = {floor}; give a number above 0")),
        }
    }
}

/// The loss between waveforms that a listener would call alike.
#[derive(Clone, Debug)]
pub struct HeardLoss {
    spectra: Vec<SpectrumTransform>,
    mel: MelTransform,
    weights: HeardWeights,
}

/// Spectral convergence and mean absolute difference of logarithms of magnitudes `[b frames bins]`, each `[b]`.
pub fn distance(made: Tensor<3>, real: Tensor<3>, floor: f64) -> [Tensor<1>; 2] {
    let [b, frames, bins] = real.dims();
    let norm = |x: Tensor<3>| x.powi_scalar(2).reshape([b, frames * bins]).sum_dim(1).reshape([b]);
    let least = floor * ((frames * bins) as f64).sqrt();
    // The root has no slope at zero.
    let apart = (norm(real.clone() - made.clone()) + 1e-12).sqrt();
    let convergence = apart / norm(real.clone()).sqrt().clamp_min(least);
    let log = |x: Tensor<3>| x.clamp_min(floor).log();
    let logarithms = (log(real) - log(made)).abs().reshape([b, frames * bins]).mean_dim(1).reshape([b]);
    [convergence, logarithms]
}

impl HeardLoss {
    /// With `mel` for the picture.
    ///
    /// # Errors
    /// Windows that cannot be.
    pub fn new(weights: &HeardWeights, mel: MelTransform, device: &Device) -> Result<Self, NetsError> {
        let spectrum = |window: &usize| SpectrumTransform::new(*window, window / 4, device);
        let spectra = weights.windows.iter().map(spectrum).collect::<Result<_, _>>()?;
        Ok(Self { spectra, mel, weights: weights.clone() })
    }

    /// Log-mel pictures `[b frames bands]` of waveforms `[b samples]`.
    pub fn picture(&self, waves: Tensor<2>) -> Tensor<3> {
        self.mel.forward(waves)
    }

    /// The loss of each of `made` `[b samples]`, `[b]`; `picture` is that of `real`.
    pub fn forward(&self, made: Tensor<2>, real: Tensor<2>, picture: Tensor<3>) -> Tensor<1> {
        let [b, frames, bands] = picture.dims();
        let own = self.mel.forward(made.clone());
        let mut loss = (own - picture).abs().reshape([b, frames * bands]).mean_dim(1).reshape([b]) * self.weights.mel;
        if self.weights.spectra > 0.0 {
            let share = self.weights.spectra / self.spectra.len() as f64;
            for spectrum in &self.spectra {
                let magnitudes = [made.clone(), real.clone()].map(|wave| spectrum.forward(wave));
                let [made, real] = magnitudes;
                let [convergence, logarithms] = distance(made, real, self.weights.floor);
                loss = loss + (convergence + logarithms) * share;
            }
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose, TensorData};

    fn waves(values: &[f32], b: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [b, values.len() / b]), device)
    }

    fn loss(device: &Device) -> HeardLoss {
        // Four bands that each take a quarter of the bins.
        let filters: Vec<f32> = (0..4 * 33).map(|i| if (i % 33) / 9 == i / 33 { 0.25 } else { 0.0 }).collect();
        let mel = MelTransform::new(64, 16, &filters, 1e-3, device).unwrap();
        let weights = HeardWeights { windows: vec![32, 64], ..HeardWeights::default() };
        HeardLoss::new(&weights, mel, device).unwrap()
    }

    fn values(x: Tensor<1>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    /// Magnitudes by hand, in two samples of unlike loudness: `|S - G| / |S|` is 5 / 13 and 1, the logarithms' mean is known. Mutants: powers for
    /// magnitudes; the mean over the batch; the norm of what was made below; the floor left out.
    #[test]
    fn distances_are_those_written_down() {
        let device = Device::flex();
        let tensor = |values: [f32; 8]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), [2, 2, 2]), &device);
        let real = tensor([3.0, 4.0, 12.0, 0.0, 2.0, 2.0, 2.0, 2.0]);
        let made = tensor([3.0, 4.0, 7.0, 0.0, 4.0, 4.0, 4.0, 0.0]);
        let [convergence, logarithms] = distance(made, real, 0.5);
        let (convergence, logarithms) = (values(convergence), values(logarithms));
        let wanted = [5.0 / 13.0, 1.0];
        let logs = [(12f64 / 7.0).ln() / 4.0, (3.0 * 2f64.ln() + 4f64.ln()) / 4.0];
        for i in 0..2 {
            assert!((convergence[i] - wanted[i]).abs() < 1e-5, "{convergence:?}");
            assert!((logarithms[i] - logs[i]).abs() < 1e-5, "{logarithms:?} {logs:?}");
        }
        // Silence made as silence costs nothing, and a sound in its place a finite amount.
        let (nothing, some) = (Tensor::zeros([1, 2, 2], &device), Tensor::full([1, 2, 2], 0.5, &device));
        let [a, b] = distance(nothing.clone(), nothing.clone(), 0.5).map(values);
        assert!(a[0] < 1e-5 && b[0] < 1e-5);
        let [a, b] = distance(some, nothing, 0.5).map(values);
        assert!((a[0] - 1.0).abs() < 1e-5 && b[0] < 1e-5, "{a:?} {b:?}");
    }

    /// Two waveforms as a second program hears them, which sums the transform as its formula says, in Python. Mutants: another hop; the window left
    /// out; the sum over resolutions; the picture of what was made on both sides.
    #[test]
    fn the_loss_is_a_second_programs() {
        let device = Device::flex();
        let wave = |f: fn(f64) -> f64| -> Vec<f32> { (0..200).map(|i| f(f64::from(i)) as f32).collect() };
        let real = wave(|i| 0.3 * (0.11 * i).sin() + 0.2 * (0.9 * i).sin());
        let made = wave(|i| 0.25 * (0.115 * i + 0.4).sin() + 0.1 * (1.7 * i).cos());
        let [real, made] = [real, made].map(|wave| waves(&[wave.clone(), wave].concat(), 2, &device));
        let full = loss(&device);
        let picture = full.picture(real.clone());
        for (mel, spectra) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let weights = HeardWeights { mel, spectra, ..full.weights.clone() };
            let loss = HeardLoss { weights, ..full.clone() };
            let got = values(loss.forward(made.clone(), real.clone(), picture.clone()));
            let wanted = mel * 1.494_054_63 + spectra * 2.092_999_59;
            assert!(got.iter().all(|v| (v - wanted).abs() < 1e-4), "{got:?} {wanted}");
        }
        assert!(values(full.forward(real.clone(), real, picture)).iter().all(|v| *v < 1e-4));
    }

    /// The slope of the loss along a direction, against its difference quotient; of each sample alone. Mutants: what is made taken off the tape.
    #[test]
    fn gradients_reach_what_was_made() {
        let device = Device::flex().autodiff();
        // A floor above the cells where a logarithm is steep: a difference quotient would straddle their kinks.
        let mut loss = loss(&device);
        loss.weights.floor = 0.5;
        let noise = |lane: u64| -> Vec<f32> { Key::new(1, Purpose::Probe).fold(lane).normals(0, 400).collect() };
        let (real, made, direction) = (noise(0), noise(1), noise(2));
        let real = waves(&real, 2, &device);
        let picture = loss.picture(real.clone());
        let of = |made: Tensor<2>| loss.forward(made, real.clone(), picture.clone()).mean();
        let leaf = waves(&made, 2, &device).require_grad();
        let gradient = leaf.grad(&of(leaf.clone()).backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        let at = |h: f32| -> f64 {
            let moved: Vec<f32> = made.iter().zip(&direction).map(|(w, d)| w + h * d).collect();
            of(waves(&moved, 2, &device)).into_scalar::<f32>().into()
        };
        let quotient = (at(5e-4) - at(-5e-4)) / 1e-3;
        assert!((slope - quotient).abs() < 0.01, "{slope} {quotient}");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refuse = |change: fn(&mut HeardWeights), part: &str| {
            let mut weights = HeardWeights::default();
            change(&mut weights);
            let said = weights.check(4000).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        };
        HeardWeights::default().check(4000).unwrap();
        refuse(|w| w.windows = vec![], "loss.windows = []");
        refuse(|w| w.windows = vec![510], "loss.windows = [510]");
        refuse(|w| w.windows = vec![4004], "4000 samples");
        refuse(|w| w.mel = -1.0, "loss.mel = -1");
        refuse(|w| (w.mel, w.spectra) = (0.0, 0.0), "nothing to learn");
        refuse(|w| w.floor = 0.0, "loss.floor = 0");
    }
}
