//! How near restored pictures are to their originals, and how well they fit what was known.

use crate::{Context, Error, assets};
use base::{Tensor, TensorData};
use methods::steer::Sensor;
use metrics::{Lpips, LpipsConfig, LpipsNet, psnr, ssim};
use serde::Serialize;

/// Means over the pictures of one method.
#[derive(Clone, Debug, Serialize)]
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
    /// Root mean square of what the pictures measure minus what was measured; of what was rounded, how far they lie outside its box.
    pub residual: f64,
    /// Evaluations of the network per picture.
    pub nfe: usize,
    /// How many of them were differentiated.
    pub differentiated: usize,
    /// Seconds for all pictures.
    pub seconds: f64,
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
