//! How near a separated sound is to its reference: in the waveform, in the spectrum, and among many.
//!
//! [`si_sdr`] and [`sdr`] are those of Le Roux et al. (2019, arXiv:1811.02508). They compare waveforms, so they mean nothing
//! for a sound whose phase was invented (Griffin-Lim, a vocoder), however good it is: use [`log_spectral_distance`],
//! [`log_mel_l1`] or a Fréchet distance there. The Fréchet audio distance (Kilgour et al., 2019, arXiv:1812.08466) is
//! [`crate::frechet_distance_of`] in the features of an [`Extractor`] over mel pictures `[n 1 frames bands]`, and is named
//! after it; [`MelMoments`] is one that needs no weights.

use crate::{Extractor, Matrix, MetricsError};

/// Scale-invariant signal-to-distortion ratio in decibels: `10 log10 |a s|^2 / |x - a s|^2`, `a = <x, s> / |s|^2`.
/// Infinite for a multiple of the reference, minus infinity for something orthogonal to it.
///
/// # Errors
/// Other lengths, numbers that are not finite, a silent reference (whose ratio is undefined) or a silent estimate.
pub fn si_sdr(estimate: &[f32], reference: &[f32]) -> Result<f64, MetricsError> {
    check("SI-SDR", estimate, reference)?;
    let (xs, ss, xx) = (dot(estimate, reference), dot(reference, reference), dot(estimate, estimate));
    if xx == 0.0 {
        return Err(silent("SI-SDR", "the estimate"));
    }
    let scale = xs / ss;
    let apart: f64 = pairs(estimate, reference).map(|(x, s)| (x - scale * s).powi(2)).sum();
    // Rounding leaves some 1e-16 of the energy where nothing is left.
    Ok(decibels(scale * scale * ss, if apart <= 1e-15 * xx { 0.0 } else { apart }))
}

/// By how much [`si_sdr`] rises from the mixture to the estimate.
///
/// # Errors
/// As [`si_sdr`].
pub fn si_sdr_improvement(estimate: &[f32], mixture: &[f32], reference: &[f32]) -> Result<f64, MetricsError> {
    Ok(si_sdr(estimate, reference)? - si_sdr(mixture, reference)?)
}

/// Signal-to-distortion ratio in decibels, level included: `10 log10 |s|^2 / |x - s|^2`.
///
/// # Errors
/// As [`si_sdr`], but for a silent estimate, which is at 0.
pub fn sdr(estimate: &[f32], reference: &[f32]) -> Result<f64, MetricsError> {
    check("SDR", estimate, reference)?;
    let apart = pairs(estimate, reference).map(|(x, s)| (x - s).powi(2)).sum();
    Ok(decibels(dot(reference, reference), apart))
}

/// Energy of `x` over that of `reference`, in decibels: how much quieter an answer to an absent query is than its mixture.
///
/// # Errors
/// Numbers that are not finite; a silent reference.
pub fn level_difference(x: &[f32], reference: &[f32]) -> Result<f64, MetricsError> {
    finite("level", x)?;
    finite("level", reference)?;
    let below = dot(reference, reference);
    if below == 0.0 {
        return Err(silent("level", "the reference"));
    }
    Ok(decibels(dot(x, x), below))
}

/// Log-spectral distance in decibels: the root mean square over `bins` frequencies of `20 log10 X / S`, averaged over
/// frames (Gray and Markel, 1976). Magnitudes `[frames bins]` below `floor` count as `floor`.
///
/// # Errors
/// Other shapes, numbers that are not finite, a floor that is not above zero.
pub fn log_spectral_distance(x: &[f32], s: &[f32], bins: usize, floor: f64) -> Result<f64, MetricsError> {
    let what = "log-spectral distance";
    same(what, x, s)?;
    if !(floor > 0.0 && floor.is_finite()) {
        return Err(MetricsError::Range { name: "floor", value: floor.to_string(), range: "finite and above 0" });
    }
    if bins == 0 || !x.len().is_multiple_of(bins) {
        return Err(MetricsError::Shape { what, message: format!("{} magnitudes are no frames of {bins}", x.len()) });
    }
    let log = |v: f64| 20.0 * v.max(floor).log10();
    let frame = |(x, s): (&[f32], &[f32])| {
        (pairs(x, s).map(|(x, s)| (log(x) - log(s)).powi(2)).sum::<f64>() / bins as f64).sqrt()
    };
    let frames = x.len() / bins;
    Ok(x.chunks_exact(bins).zip(s.chunks_exact(bins)).map(frame).sum::<f64>() / frames as f64)
}

/// Mean magnitude of the difference of two log-mel pictures, in natural logarithms.
///
/// # Errors
/// Other shapes; numbers that are not finite.
pub fn log_mel_l1(x: &[f32], s: &[f32]) -> Result<f64, MetricsError> {
    same("log-mel L1", x, s)?;
    Ok(pairs(x, s).map(|(x, s)| (x - s).abs()).sum::<f64>() / x.len() as f64)
}

/// Spectral holes: the share of the reference's energy that lies in cells where the estimate is more than 20 dB below it.
/// Magnitudes of both, in the same order.
///
/// # Errors
/// Other shapes; numbers that are not finite; a silent reference.
pub fn lost_energy(x: &[f32], s: &[f32]) -> Result<f64, MetricsError> {
    check("lost energy", x, s)?;
    let lost: f64 = pairs(x, s).filter(|(x, s)| *x < 0.1 * s).map(|(_, s)| s * s).sum();
    Ok(lost / dot(s, s))
}

/// The same among the cells where `others` are at least as loud as the reference, which is what a mask cannot bring back without them;
/// `None` where none of its energy lies there.
///
/// # Errors
/// As [`lost_energy`].
pub fn lost_under(x: &[f32], s: &[f32], others: &[f32]) -> Result<Option<f64>, MetricsError> {
    check("energy lost under others", x, s)?;
    same("energy lost under others", others, s)?;
    let covered = pairs(x, s).zip(others).filter(|((_, s), other)| f64::from(**other) >= *s);
    let (lost, all) = covered.fold((0.0, 0.0), |(lost, all), ((x, s), _)| {
        let energy = s * s;
        (lost + if x < 0.1 * s { energy } else { 0.0 }, all + energy)
    });
    Ok((all > 0.0).then(|| lost / all))
}

/// Features of a mel picture that need no training: of each band its mean, its spread over time and the mean size of its
/// changes from frame to frame. Rough, but the same for everybody.
#[derive(Clone, Debug)]
pub struct MelMoments {
    bands: usize,
}

impl MelMoments {
    /// Of pictures with `bands` bands.
    pub fn new(bands: usize) -> Self {
        Self { bands }
    }
}

impl Extractor for MelMoments {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        let [n, c, frames, bands] = shape;
        let cells = frames * bands;
        if c != 1 || bands != self.bands || frames < 2 || images.len() != n * cells {
            let message =
                format!("pictures [n 1 frames {}] of two frames or more are needed, got {shape:?}", self.bands);
            return Err(MetricsError::Shape { what: "mel-moments", message });
        }
        let mut rows = Vec::with_capacity(n * self.dim());
        for picture in images.chunks_exact(cells) {
            let at = |t: usize, k: usize| f64::from(picture[t * bands + k]);
            for k in 0..bands {
                let mean = (0..frames).map(|t| at(t, k)).sum::<f64>() / frames as f64;
                let spread = ((0..frames).map(|t| (at(t, k) - mean).powi(2)).sum::<f64>() / frames as f64).sqrt();
                let change = (1..frames).map(|t| (at(t, k) - at(t - 1, k)).abs()).sum::<f64>() / (frames - 1) as f64;
                rows.extend([mean, spread, change].map(|v| v as f32));
            }
        }
        Matrix::new(rows, n, self.dim())
    }

    fn name(&self) -> &str {
        "mel-moments"
    }

    fn dim(&self) -> usize {
        3 * self.bands
    }
}

fn pairs<'a>(x: &'a [f32], s: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    x.iter().zip(s).map(|(x, s)| (f64::from(*x), f64::from(*s)))
}

fn dot(x: &[f32], s: &[f32]) -> f64 {
    pairs(x, s).map(|(x, s)| x * s).sum()
}

fn decibels(above: f64, below: f64) -> f64 {
    10.0 * (above / below).log10()
}

fn silent(what: &'static str, who: &str) -> MetricsError {
    let message = format!("{who} is silent, so no ratio is defined; measure its level instead");
    MetricsError::Shape { what, message }
}

fn finite(what: &'static str, x: &[f32]) -> Result<(), MetricsError> {
    match x.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(MetricsError::NotFinite { what, row: 0, column: at, value: f64::from(x[at]) }),
    }
}

fn same(what: &'static str, x: &[f32], s: &[f32]) -> Result<(), MetricsError> {
    if x.len() != s.len() || x.is_empty() {
        let message = format!("{} and {} numbers cannot be compared", x.len(), s.len());
        return Err(MetricsError::Shape { what, message });
    }
    finite(what, x)?;
    finite(what, s)
}

fn check(what: &'static str, x: &[f32], s: &[f32]) -> Result<(), MetricsError> {
    same(what, x, s)?;
    if s.iter().all(|v| *v == 0.0) { Err(silent(what, "the reference")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frechet_distance_of;
    use base::{Key, Purpose};

    fn noise(seed: u64, n: usize) -> Vec<f32> {
        Key::new(seed, Purpose::Probe).normals(0, n).collect()
    }

    fn sum(a: &[f32], k: f32, b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + k * b).collect()
    }

    /// `s` and a disturbance orthogonal to it with a tenth of its norm: 20 dB at any level of the estimate, while SDR sees
    /// the level. Mutants: projection left out, 20 for 10, reference and estimate exchanged.
    #[test]
    fn an_orthogonal_disturbance_has_its_closed_form() {
        let (s, e) = (noise(1, 4000), noise(2, 4000));
        let e = sum(&e, -(dot(&e, &s) / dot(&s, &s)) as f32, &s);
        let k = (0.01 * dot(&s, &s) / dot(&e, &e)).sqrt() as f32;
        let x = sum(&s, k, &e);
        for gain in [1.0f32, 0.3, -2.0] {
            let scaled: Vec<f32> = x.iter().map(|v| gain * v).collect();
            assert!((si_sdr(&scaled, &s).unwrap() - 20.0).abs() < 1e-4);
        }
        assert!((sdr(&x, &s).unwrap() - 20.0).abs() < 1e-4);
        let half: Vec<f32> = x.iter().map(|v| 0.5 * v).collect();
        // |s - x/2|^2 = |s|^2 (0.25 + 0.25 * 0.01)
        assert!((sdr(&half, &s).unwrap() + 10.0 * 0.2525f64.log10()).abs() < 1e-4);
        // The mixture with a disturbance as loud as the target is at 0 dB.
        let mixture = sum(&s, 10.0 * k, &e);
        assert!((si_sdr_improvement(&x, &mixture, &s).unwrap() - 20.0).abs() < 1e-4);
        assert_eq!(si_sdr(&s, &s).unwrap(), f64::INFINITY);
        assert!((level_difference(&half, &x).unwrap() + 6.0206).abs() < 1e-3);
    }

    #[test]
    fn spectra_have_their_closed_forms() {
        let s = vec![1.0f32; 12];
        // Frame 0: ten times as loud everywhere (20 dB); frame 1: in half of its bins (sqrt(200) dB); frame 2: below the floor.
        let mut x = s.clone();
        x[..4].fill(10.0);
        x[4..6].fill(10.0);
        x[8..].fill(1e-9);
        let expected = (20.0 + 200f64.sqrt() + 40.0) / 3.0;
        assert!((log_spectral_distance(&x, &s, 4, 1e-2).unwrap() - expected).abs() < 1e-5);
        assert!((log_mel_l1(&x, &s).unwrap() - (6.0 * 9.0 + 4.0) / 12.0).abs() < 1e-6);
        assert!((lost_energy(&x, &s).unwrap() - 4.0 / 12.0).abs() < 1e-12);
        // Five of the twelve cells are covered, two of the four lost ones among them. Mutants: shares of all energy (2/12), cells that
        // are not covered counted (4/12).
        let mut others = vec![0.5f32; 12];
        others[5..10].fill(1.0);
        assert!((lost_under(&x, &s, &others).unwrap().unwrap() - 2.0 / 5.0).abs() < 1e-12);
        assert_eq!(lost_under(&x, &s, &[0.0; 12]).unwrap(), None);
        assert_eq!(log_spectral_distance(&s, &s, 4, 1e-5).unwrap(), 0.0);
    }

    #[test]
    fn features_of_a_picture_are_its_moments_and_their_distance_a_shift() {
        // Two bands, four frames: band 0 alternates 0 and 2, band 1 is constant 5.
        let picture = [0.0, 5.0, 2.0, 5.0, 0.0, 5.0, 2.0, 5.0f32];
        let extractor = MelMoments::new(2);
        let features = extractor.features(&picture, [1, 1, 4, 2]).unwrap();
        assert_eq!(features.data(), [1.0, 1.0, 2.0, 5.0, 0.0, 0.0]);
        // Pictures louder by one everywhere: the mean of each band moves by one, nothing else.
        let many = noise(3, 64 * 8 * 3);
        let louder: Vec<f32> = many.iter().map(|v| v + 1.0).collect();
        let of = |x: &[f32]| MelMoments::new(3).features(x, [64, 1, 8, 3]).unwrap();
        let distance = frechet_distance_of(&of(&many), &of(&louder)).unwrap();
        assert!((distance - 3.0).abs() < 1e-4, "{distance}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let s = noise(1, 10);
        assert!(si_sdr(&s, &s[..9]).is_err() && si_sdr(&[], &[]).is_err());
        assert!(si_sdr(&s, &[0.0; 10]).unwrap_err().to_string().contains("silent"));
        assert!(si_sdr(&[0.0; 10], &s).is_err());
        assert!(sdr(&[0.0; 10], &s).unwrap().abs() < 1e-12);
        assert!(si_sdr(&[f32::NAN; 10], &s).unwrap_err().to_string().contains("NaN"));
        assert!(log_spectral_distance(&s, &s, 3, 1e-5).is_err() && log_spectral_distance(&s, &s, 5, 0.0).is_err());
        assert!(MelMoments::new(3).features(&s, [1, 1, 5, 2]).is_err());
    }
}
