//! Similarity of an image to its reference: PSNR, and SSIM with an 11-tap Gaussian window
//! (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13).

use crate::MetricsError;

/// Peak signal-to-noise ratio in dB: `10 log10(range^2 / mean squared error)`; infinite for equal images.
/// `range` is the largest minus the smallest possible value: 2 for images in [-1, 1].
///
/// ```
/// let psnr = metrics::psnr(&[0.0, 0.2], &[0.0, 0.0], 2.0)?;
/// assert!((psnr - 10.0 * (4.0f64 / 0.02).log10()).abs() < 1e-5);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn psnr(image: &[f32], reference: &[f32], range: f64) -> Result<f64, MetricsError> {
    check(image, reference, range)?;
    let squared: f64 = image.iter().zip(reference).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    Ok(10.0 * (range * range * image.len() as f64 / squared).log10())
}

/// Structural similarity of two `[c h w]` images, averaged over channels and the window positions inside the image
/// (at least 11 x 11 pixels). 1 for equal images; `range` as in [`psnr`].
pub fn ssim(image: &[f32], reference: &[f32], shape: [usize; 3], range: f64) -> Result<f64, MetricsError> {
    check(image, reference, range)?;
    let [c, h, w] = shape;
    let message = if image.len() != c * h * w {
        format!("{} numbers are not {c} x {h} x {w}", image.len())
    } else if h < WINDOW || w < WINDOW {
        format!("{h} x {w} pixels are fewer than the {WINDOW} x {WINDOW} of the window")
    } else {
        return Ok((0..c)
            .map(|i| ssim_plane(&image[i * h * w..(i + 1) * h * w], &reference[i * h * w..(i + 1) * h * w], w, range))
            .sum::<f64>()
            / c as f64);
    };
    Err(MetricsError::Shape { what: "SSIM", message })
}

fn check(image: &[f32], reference: &[f32], range: f64) -> Result<(), MetricsError> {
    if image.len() != reference.len() || image.is_empty() {
        let message = format!("{} and {} pixels cannot be compared", image.len(), reference.len());
        return Err(MetricsError::Shape { what: "image similarity", message });
    }
    if !(range.is_finite() && range > 0.0) {
        return Err(MetricsError::Range { name: "range", value: range.to_string(), range: "finite and above 0" });
    }
    Ok(())
}

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

fn ssim_plane(x: &[f32], y: &[f32], width: usize, range: f64) -> f64 {
    let plane = |f: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f64> = x.iter().zip(y).map(|(a, b)| f(f64::from(*a), f64::from(*b))).collect();
        blur(&values, width)
    };
    let (mx, my) = (plane(&|a, _| a), plane(&|_, b| b));
    let (xx, yy, xy) = (plane(&|a, _| a * a), plane(&|_, b| b * b), plane(&|a, b| a * b));
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let at = |i: usize| {
        let (vx, vy, cov) = (xx[i] - mx[i] * mx[i], yy[i] - my[i] * my[i], xy[i] - mx[i] * my[i]);
        let luminance = (2.0 * mx[i] * my[i] + c1) / (mx[i] * mx[i] + my[i] * my[i] + c1);
        luminance * (2.0 * cov + c2) / (vx + vy + c2)
    };
    (0..mx.len()).map(at).sum::<f64>() / mx.len() as f64
}

/// Gaussian-weighted mean at every position where the window fits; separable, columns then rows.
fn blur(plane: &[f64], width: usize) -> Vec<f64> {
    let weights: Vec<f64> =
        (0..WINDOW).map(|i| (-(i as f64 - (WINDOW / 2) as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let height = plane.len() / width;
    let mut tall = vec![0.0; (height + 1 - WINDOW) * width];
    for (i, value) in tall.iter_mut().enumerate() {
        *value = (0..WINDOW).map(|k| weights[k] / total * plane[i + k * width]).sum();
    }
    let row = |r: &[f64]| {
        (0..width + 1 - WINDOW).map(|j| (0..WINDOW).map(|k| weights[k] / total * r[j + k]).sum()).collect::<Vec<f64>>()
    };
    tall.chunks_exact(width).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};

    fn noise(seed: u64, len: usize) -> Vec<f32> {
        Key::new(seed, Purpose::Probe).normals(0, len).map(|v| v * 0.3).collect()
    }

    #[test]
    fn equal_images_score_one_and_infinity() {
        let x = noise(1, 2 * 16 * 12);
        assert!((ssim(&x, &x, [2, 16, 12], 2.0).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(psnr(&x, &x, 2.0).unwrap(), f64::INFINITY);
    }

    /// Constant images have no variance, so only the luminance term is left.
    #[test]
    fn constant_images_have_the_luminance_term_alone() {
        let (a, b) = (vec![0.5f32; 144], vec![0.25f32; 144]);
        let c1 = 0.02f64 * 0.02;
        let expected = (2.0 * 0.5 * 0.25 + c1) / (0.25 + 0.0625 + c1);
        assert!((ssim(&a, &b, [1, 12, 12], 2.0).unwrap() - expected).abs() < 1e-9);
    }

    /// One window exactly covers an 11 x 11 image: the definition without separability.
    #[test]
    fn one_window_gives_the_definition() {
        let (x, y) = (noise(1, 121), noise(2, 121));
        let weight = |i: usize| {
            let (dy, dx) = ((i / 11) as f64 - 5.0, (i % 11) as f64 - 5.0);
            (-(dy * dy + dx * dx) / 4.5).exp()
        };
        let total: f64 = (0..121).map(weight).sum();
        let mean = |f: &dyn Fn(usize) -> f64| (0..121).map(|i| weight(i) / total * f(i)).sum::<f64>();
        let (a, b) = (|i: usize| f64::from(x[i]), |i: usize| f64::from(y[i]));
        let (mx, my) = (mean(&a), mean(&b));
        let vx = mean(&|i| (a(i) - mx).powi(2));
        let vy = mean(&|i| (b(i) - my).powi(2));
        let cov = mean(&|i| (a(i) - mx) * (b(i) - my));
        let (c1, c2) = (0.0004, 0.0036);
        let expected = (2.0 * mx * my + c1) * (2.0 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
        assert!((ssim(&x, &y, [1, 11, 11], 2.0).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn small_and_unequal_images_are_refused() {
        assert!(ssim(&[0.0; 100], &[0.0; 100], [1, 10, 10], 2.0).is_err());
        assert!(ssim(&[0.0; 121], &[0.0; 121], [2, 11, 11], 2.0).is_err());
        assert!(psnr(&[0.0], &[0.0, 1.0], 2.0).is_err());
        assert!(psnr(&[], &[], 2.0).is_err());
    }
}
