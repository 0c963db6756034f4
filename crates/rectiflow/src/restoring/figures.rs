//! How near restored pictures and recordings are to their originals, and how well they fit what was known.

use super::Window;
use crate::{Context, Error, assets};
use base::{Tensor, TensorData};
use methods::steer::Sensor;
use metrics::{
    Lpips, LpipsConfig, LpipsNet, psnr,
    sound::{log_mel_l1, log_spectral_distance, si_sdr},
    ssim,
};
use serde::Serialize;

/// Means over the pictures or recordings of one method.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// The method; `degraded` for what came in.
    pub method: String,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Peak signal-to-noise ratio in dB, mean over pictures.
    pub psnr: Option<f64>,
    /// Standard error of that mean.
    pub psnr_error: Option<f64>,
    /// The same over the values that were not known, for holes.
    pub psnr_hole: Option<f64>,
    /// Structural similarity.
    pub ssim: Option<f64>,
    /// Learned perceptual distance, smaller is nearer.
    pub lpips: Option<f64>,
    /// Of recordings: how near what stands in the gaps is to the originals there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Heard>,
    /// Root mean square of what the pictures measure minus what was measured; of what was rounded, how far they lie outside its box.
    pub residual: f64,
    /// Evaluations of the network per picture.
    pub nfe: usize,
    /// How many of them were differentiated.
    pub differentiated: usize,
    /// Seconds for all pictures.
    pub seconds: f64,
}

/// Means over gaps.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Heard {
    /// Scale-invariant signal-to-distortion ratio of the gap's samples in dB; of what is silent at either side no ratio is told. A phase that
    /// was invented makes it low however alike two sounds are.
    pub si_sdr: Option<f64>,
    /// Log-spectral distance in dB over the frames in the gap, magnitudes under the model's floor counted as it; smaller is nearer.
    pub spectral_distance: f64,
    /// Standard error of that mean.
    pub spectral_error: f64,
    /// Mean difference of log-mel cells in the gap, natural logarithms.
    pub mel_l1: f64,
}

/// Compares excerpts with their originals, each `(made, original)`.
///
/// # Errors
/// Sounds that are not finite.
pub(crate) fn heard(window: &Window, pairs: &[(&Vec<f32>, &Vec<f32>)]) -> Result<Heard, Error> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mut ratios, mut distances, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (made, original) in pairs {
        let [a, b] = [made, original].map(|sound| &sound[window.gap()]);
        if [a, b].iter().all(|side| side.iter().any(|v| v.abs() > 1e-6)) {
            ratios.push(si_sdr(a, b)?);
        }
        let [(a, bins), (b, _)] = [made, original].map(|sound| window.spectrum(sound));
        distances.push(log_spectral_distance(&a, &b, bins, window.floor())?);
        let [a, b] = [made, original].map(|sound| window.inside(sound));
        cells.push(log_mel_l1(&a?, &b?)?);
    }
    let middle = mean(&distances);
    let spread: f64 = distances.iter().map(|v| (v - middle).powi(2)).sum();
    let count = distances.len() as f64;
    Ok(Heard {
        si_sdr: (!ratios.is_empty()).then(|| mean(&ratios)),
        spectral_distance: middle,
        spectral_error: (spread / (count - 1.0).max(1.0) / count.max(1.0)).sqrt(),
        mel_l1: mean(&cells),
    })
}

/// Who compares.
pub struct Judge {
    shape: [usize; 3],
    lpips: Option<Lpips>,
    hole: Option<Vec<bool>>,
}

impl Judge {
    /// For pictures `[c h w]`; `hole` are the values that were unknown, where that is what was done. Says so where the perceptual
    /// distance cannot be told.
    pub fn new(shape: [usize; 3], hole: Option<Vec<bool>>, context: &mut Context) -> Self {
        let small = shape[1].min(shape[2]) < LpipsNet::Alexnet.least();
        let net = if small { LpipsNet::Vgg16 } else { LpipsNet::Alexnet };
        let config = LpipsConfig { net, ..LpipsConfig::default() };
        let lpips = assets::lpips(&config, &context.device.device).and_then(|lpips| {
            lpips.check(shape)?;
            Ok(lpips)
        });
        let lpips = lpips.map_err(|error| context.note(format!("no LPIPS: {error}"))).ok();
        Self { shape, lpips, hole }
    }

    /// Name of the perceptual distance.
    pub fn distance(&self) -> Option<String> {
        self.lpips.as_ref().map(Lpips::name)
    }

    /// PSNR, its standard error, PSNR of the hole, SSIM and LPIPS of pictures in [-1, 1] against their originals.
    ///
    /// # Errors
    /// Pictures that are not finite.
    pub fn compare(&self, pictures: &[f32], originals: &[f32]) -> Result<Compared, Error> {
        let [c, h, w] = self.shape;
        let size = c * h * w;
        let count = pictures.len() / size;
        let each = || pictures.chunks(size).zip(originals.chunks(size));
        // An exact picture has no finite ratio; a hundred decibels are beyond what eight bits can tell.
        let ratio = |a: &[f32], b: &[f32]| psnr(a, b, 2.0).map(|value| value.min(100.0));
        let ratios: Vec<f64> = each().map(|(a, b)| ratio(a, b)).collect::<Result<_, _>>()?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let middle = mean(&ratios);
        let spread = ratios.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / (count as f64 - 1.0).max(1.0);
        let hole = match &self.hole {
            None => None,
            Some(hole) => {
                let inside = |x: &[f32]| x.iter().zip(hole).filter(|(_, h)| **h).map(|(v, _)| *v).collect::<Vec<_>>();
                let all: Vec<f64> = each().map(|(a, b)| ratio(&inside(a), &inside(b))).collect::<Result<_, _>>()?;
                Some(mean(&all))
            }
        };
        let similar: Result<Vec<f64>, _> = each().map(|(a, b)| ssim(a, b, self.shape, 2.0)).collect();
        let far =
            self.lpips.as_ref().map(|lpips| lpips.distances(pictures, originals, [count, c, h, w])).transpose()?;
        Ok(Compared {
            psnr: middle,
            psnr_error: (spread / count as f64).sqrt(),
            psnr_hole: hole,
            ssim: similar.ok().map(|values| mean(&values)),
            lpips: far.map(|values| mean(&values)),
        })
    }
}

/// What [`Judge::compare`] says.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Mean over pictures.
    pub psnr: f64,
    /// Of that mean.
    pub psnr_error: f64,
    /// Over unknown values.
    pub psnr_hole: Option<f64>,
    /// Where pictures are large enough for its window.
    pub ssim: Option<f64>,
    /// Where its weights are here.
    pub lpips: Option<f64>,
}

/// Root mean square of the misfit to all measured values of all pictures.
///
/// # Errors
/// A device that cannot be read.
pub fn residual(sensor: &Sensor, pictures: &[f32], measured: &[f32]) -> Result<f64, Error> {
    let (n, m) = sensor.sizes();
    let (count, device) = (pictures.len() / n, base::Device::flex());
    let rows = |values: &[f32], each| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [count, each]), &device);
    let cost = sensor.cost(rows(measured, m), 0.0)?.value(rows(pictures, n));
    let squares: f64 = crate::sampling::host(cost)?.into_iter().map(|half| 2.0 * f64::from(half)).sum();
    // Of a mask what is not known is zero on both sides; the mean is over what is known.
    let known = match sensor.operator() {
        Some(operator) if n == m && operator.is_flat() => {
            let ones = operator.forward(Tensor::<2>::ones([1, n], &device));
            crate::sampling::host(ones)?.iter().filter(|v| **v != 0.0).count()
        }
        _ => m,
    };
    Ok((squares / (known * count).max(1) as f64).sqrt())
}

/// The figures as text.
pub fn table(rows: &[Figures]) -> String {
    let number = |v: Option<f64>, digits: usize| v.map_or("–".into(), |v| format!("{v:.digits$}"));
    if rows.iter().any(|row| row.heard.is_some()) {
        return of_sound(rows);
    }
    let mut text =
        String::from("method       PSNR dB  ± s.e.    hole     SSIM    LPIPS  residual   NFE  backward  seconds\n");
    for row in rows {
        let residual = format!("{:.1e}", row.residual);
        text += &format!(
            "{:<11} {:>8} {:>7} {:>7} {:>8} {:>8} {residual:>9} {:>5} {:>9} {:>8.1}\n",
            row.method,
            number(row.psnr, 2),
            number(row.psnr_error, 2),
            number(row.psnr_hole, 2),
            number(row.ssim, 4),
            number(row.lpips, 4),
            row.nfe,
            row.differentiated,
            row.seconds
        );
    }
    text
}

/// Those of recordings.
fn of_sound(rows: &[Figures]) -> String {
    let mut text =
        String::from("method       SI-SDR dB   LSD dB  ± s.e.   mel L1  residual   NFE  backward  seconds\n");
    for Figures { method, heard, residual, nfe, differentiated, seconds, .. } in rows {
        let number = |of: &dyn Fn(&Heard) -> Option<f64>| {
            heard.as_ref().and_then(of).map_or("–".into(), |v| format!("{v:.2}"))
        };
        let (ratio, cells) = (number(&|h| h.si_sdr), number(&|h| Some(h.mel_l1)));
        let (far, error) = (number(&|h| Some(h.spectral_distance)), number(&|h| Some(h.spectral_error)));
        text += &format!(
            "{method:<11} {ratio:>10} {far:>8} {error:>7} {cells:>8} {residual:>9.1e} {nfe:>5} {differentiated:>9} {seconds:>8.1}\n"
        );
    }
    text
}
