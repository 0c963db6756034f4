//! Do mirrored images come from the same distribution? A two-sample test, so that nobody mirrors shoes by habit.
//!
//! A learner sees one half of the images and finds a function that is odd under mirroring, `f(mirror x) = -f(x)`, and positive
//! on them: kernel least squares with `k(x, y) - k(x, mirror y)`, `k` Gaussian on pixels. On the other half its signs are fair
//! coins if the images are independent and their distribution is mirror-symmetric, whatever the learner did, so the number
//! of positive ones has an exact binomial law (a classifier two-sample test, Lopez-Paz and Oquab 2017, arXiv 1610.06545).

use crate::MetricsError;
use crate::extractor::check_images;
use crate::features::resize;
use crate::matrix::products;
use base::{Key, RandomStream};
use faer::{Mat, Side, prelude::Solve};
use rand::RngExt;

/// Below this probability under symmetry, mirroring is said to change the distribution.
pub const ALARM: f64 = 1e-3;
/// Fewer images say nothing.
pub const FEWEST: usize = 32;
/// Longest side on which images are compared; larger ones are shrunk.
pub const SIDE: usize = 32;
/// Ridge of the least squares, in units of the kernel's diagonal.
const RIDGE: f64 = 0.1;

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mirror {
    /// Images whose direction was guessed; as many others taught the learner.
    pub images: usize,
    /// Share of them that were told from their mirror images: 0.5 where mirroring changes nothing, 1 where every image faces
    /// one way. Mixing in mirrored images moves the distribution by at least this minus 0.5 in total variation.
    pub told: f64,
    /// Probability of guessing so well on a mirror-symmetric distribution.
    pub p: f64,
}

impl Mirror {
    /// Whether mirroring measurably changes the distribution.
    pub fn changes(&self) -> bool {
        self.p < ALARM
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (told, images) = (100.0 * self.told, self.images);
        write!(f, "{told:.1} % of {images} images are told from their mirror images (chance 50 %, ")?;
        if self.p < 1e-12 { write!(f, "p < 1e-12)") } else { write!(f, "p = {:.2})", Small(self.p)) }
    }
}

/// A probability with two digits that matter.
struct Small(f64);

impl std::fmt::Display for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0.01 { write!(f, "{:.0e}", self.0) } else { write!(f, "{:.2}", self.0) }
    }
}

/// Images `[n c h w]` mirrored left to right.
pub fn mirrored(images: &[f32], width: usize) -> Vec<f32> {
    images.chunks(width.max(1)).flat_map(|row| row.iter().rev().copied()).collect()
}

/// Images `[n c h w]` with their sides brought to [`SIDE`] at most, and their new shape: what [`mirror_test`] compares.
pub fn shrunk(images: &[f32], [n, c, h, w]: [usize; 4]) -> (Vec<f32>, [usize; 4]) {
    let (height, width) = (h.min(SIDE), w.min(SIDE));
    (resize(images, [n * c, h, w], height, width), [n, c, height, width])
}

/// Tests whether mirrored images are distributed as the images `[n c h w]` are; a random half (by `seed`) teaches, the other
/// is tested. Costs `n^2` distances and a linear system of `n / 2`: seconds for 2000.
///
/// ```
/// use metrics::symmetry::mirror_test;
/// // A bright pixel, always on the left.
/// let images: Vec<f32> = (0..64).flat_map(|i| [1.0, (i as f32).sin() * 0.1, -1.0]).collect();
/// let found = mirror_test(&images, [64, 1, 1, 3], 0)?;
/// assert!(found.told == 1.0 && found.changes());
/// # Ok::<(), metrics::MetricsError>(())
/// ```
///
/// # Errors
/// Fewer than [`FEWEST`] images; numbers that are not finite.
pub fn mirror_test(images: &[f32], shape: [usize; 4], seed: u64) -> Result<Mirror, MetricsError> {
    let what = "the mirror test";
    check_images(what, images, shape)?;
    if shape[0] < FEWEST {
        return Err(MetricsError::TooFew { what, needed: FEWEST, got: shape[0] });
    }
    let (small, [n, c, h, w]) = shrunk(images, shape);
    let size = c * h * w;
    let mut order: Vec<usize> = (0..n).collect();
    let mut rng = Key::of(seed, RandomStream::Mirrored).at(0);
    for i in 0..n - 1 {
        let j = rng.random_range(i..n);
        order.swap(i, j);
    }
    let rows = |which: &[usize]| -> Vec<f64> {
        which.iter().flat_map(|&i| &small[i * size..(i + 1) * size]).map(|&v| f64::from(v)).collect()
    };
    let (taught, asked) = order.split_at(n / 2);
    let (x, y) = (rows(taught), rows(asked));
    let turned: Vec<f64> = x.chunks(w).flat_map(|row| row.iter().rev().copied()).collect();
    let width = bandwidth(&squares(&x, &x, size), taught.len());
    let odd = |a: &[f64]| -> Vec<f64> {
        let (near, far) = (squares(a, &x, size), squares(a, &turned, size));
        near.iter().zip(&far).map(|(near, far)| (-near / width).exp() - (-far / width).exp()).collect()
    };
    let m = taught.len();
    let own = odd(&x);
    let diagonal = (0..m).map(|i| own[i * m + i]).sum::<f64>() / m as f64;
    let ridge = RIDGE * diagonal.max(1e-12);
    let system = Mat::from_fn(m, m, |i, j| {
        let even = 0.5 * (own[i * m + j] + own[j * m + i]);
        if i == j { even + ridge } else { even }
    });
    let solved = system.llt(Side::Lower).map_err(|_| MetricsError::NoConvergence { what })?;
    let weights = solved.solve(Mat::from_fn(m, 1, |_, _| 1.0));
    let (mut right, mut wrong) = (0usize, 0usize);
    for (row, image) in odd(&y).chunks_exact(m).zip(y.chunks_exact(size)) {
        // An image that equals its mirror image faces nowhere; what is left of `f` there is rounding.
        let faces = image.chunks(w).any(|row| row.iter().ne(row.iter().rev()));
        let f: f64 = row.iter().enumerate().map(|(j, k)| k * weights[(j, 0)]).sum();
        right += usize::from(faces && f > 0.0);
        wrong += usize::from(faces && f <= 0.0);
    }
    let images = asked.len();
    let told = (right as f64 + 0.5 * (images - right - wrong) as f64) / images as f64;
    Ok(Mirror { images, told, p: at_least(right, right + wrong) })
}

/// Squared distances of the rows of `a` to those of `b`, `[n m]`.
fn squares(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let norms = |x: &[f64]| x.chunks_exact(size).map(|r| r.iter().map(|v| v * v).sum()).collect::<Vec<f64>>();
    let (own, other) = (norms(a), norms(b));
    let mut out = products(a, b, size);
    for (row, norm) in out.chunks_exact_mut(other.len()).zip(&own) {
        row.iter_mut().zip(&other).for_each(|(v, o)| *v = (norm + o - 2.0 * *v).max(0.0));
    }
    out
}

/// Half the median squared distance between two different rows; above zero.
fn bandwidth(squares: &[f64], n: usize) -> f64 {
    let mut apart: Vec<f64> = (0..n).flat_map(|i| squares[i * n..i * n + i].iter().copied()).collect();
    let middle = apart.len() / 2;
    let (_, median, _) = apart.select_nth_unstable_by(middle, f64::total_cmp);
    (0.5 * *median).max(1e-12)
}

/// Probability of at least `hits` heads in `n` throws of a fair coin.
fn at_least(hits: usize, n: usize) -> f64 {
    // log C(n, k) from k = 0 upwards; terms are summed from the largest k, which is the smallest, to the largest.
    let mut log = 0.0;
    let mut logs = vec![0.0];
    for k in 1..=n {
        log += ((n + 1 - k) as f64 / k as f64).ln();
        logs.push(log);
    }
    let total: f64 = (hits..=n).rev().map(|k| (logs[k] - n as f64 * std::f64::consts::LN_2).exp()).sum();
    total.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    /// `n` images of 1 x 6 x 6 of noise with a slope to the right of the given strength.
    fn slopes(seed: u64, n: usize, strength: f32) -> Vec<f32> {
        let noise = Key::new(seed, Purpose::Probe).normals(0, n * 36);
        noise.enumerate().map(|(i, v)| v + strength * ((i % 6) as f32 - 2.5)).collect()
    }

    /// Of symmetric data one in twenty sets is called asymmetric at 5 %: the rate of false alarms is what it says it is.
    /// Mutant: testing on the half that taught, which alarms on every set.
    #[test]
    fn symmetric_data_alarm_as_rarely_as_they_should() {
        let alarms = (0..300).filter(|&seed| {
            let found = mirror_test(&slopes(seed, 64, 0.0), [64, 1, 6, 6], seed).unwrap();
            found.p < 0.05
        });
        let alarms = alarms.count();
        // At most 15 expected (the law is discrete: P(p < 0.05) is 0.025 for 32 throws, 7.5 of 300); deviation 3.
        assert!((1..=20).contains(&alarms), "{alarms}");
    }

    #[test]
    fn a_slope_is_found_and_the_more_surely_the_stronger() {
        let told = [0.0, 0.15, 0.6].map(|s| mirror_test(&slopes(5, 400, s), [400, 1, 6, 6], 0).unwrap());
        assert!(!told[0].changes(), "{told:?}");
        assert!(told[1].told > 0.6 && told[1].changes(), "{told:?}");
        assert!(told[2].told > 0.95 && told[2].p < 1e-12, "{told:?}");
    }

    /// The mean image may be symmetric while no image is: a bright pixel left on dark images, right on light ones.
    /// Mutant: a linear kernel, which finds nothing.
    #[test]
    fn what_the_mean_hides_is_found() {
        let images: Vec<f32> = (0..400)
            .flat_map(|i| {
                let mut image = slopes(900 + i, 1, 0.0).iter().map(|v| 0.1 * v).collect::<Vec<_>>();
                let light = if i % 2 == 0 { 1.0 } else { -1.0 };
                image.iter_mut().for_each(|v| *v += light);
                image[if i % 2 == 0 { 6 } else { 11 }] += 1.0;
                image
            })
            .collect();
        let found = mirror_test(&images, [400, 1, 6, 6], 0).unwrap();
        assert!(found.told > 0.9, "{found:?}");
    }

    /// Images that equal their mirror images face nowhere, whatever rounding says.
    #[test]
    fn symmetric_images_say_nothing_and_few_or_bad_ones_are_refused() {
        let images: Vec<f32> = (0..64).flat_map(|i| [i as f32 * 0.01, 0.3, i as f32 * 0.01]).collect();
        let found = mirror_test(&images, [64, 1, 1, 3], 0).unwrap();
        assert_eq!((found.told, found.p), (0.5, 1.0));
        assert!(mirror_test(&images[..30], [10, 1, 1, 3], 0).unwrap_err().to_string().contains("32"));
        assert!(mirror_test(&[f32::NAN; 192], [64, 1, 1, 3], 0).is_err());
    }

    #[test]
    fn tails_of_a_fair_coin() {
        assert_eq!(at_least(0, 4), 1.0);
        assert!((at_least(3, 4) - 5.0 / 16.0).abs() < 1e-12);
        assert!((at_least(2000, 2000) - 0.0).abs() < 1e-300);
        assert_eq!(at_least(0, 0), 1.0);
    }
}
