//! Standard error of the Fréchet distance by bootstrap over the samples (Efron 1979): the reference stays as it is.
//!
//! With `C C^T` the reference's covariance, the samples' rows are taken to `y = C^T (x - m)` once; a resample then costs one
//! small covariance and its eigenvalues, because those of `C^T S C` are what the distance asks for. Where rows are fewer than
//! dimensions their own square is smaller still ([`Few`]).
//!
//! Near distance zero, where the distance is a square of small deviations, resampling adds to deviations that are there already: the
//! error is then up to 1.7 times too large, and more where every class has its fixed number of samples. It is never too small.

use super::few::Few;
use super::frechet::{check_finite, noise_floor, root};
use super::moments::Gaussian;
use crate::MetricsError;
use crate::matrix::{Matrix, add_gram, products};
use base::{Key, RandomStream};
use faer::{Mat, Side};
use rand::RngExt;

/// How many resamples, and of which seed.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Resamples, at least 2; the error itself is uncertain by `1 / sqrt(2 resamples)`. `None`: 30, fewer for more than 500
    /// features, and 12 at least.
    pub resamples: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
}

/// Standard error of the Fréchet distance of the rows of `fake` to `real`; report twice as much.
///
/// ```
/// use metrics::{Gaussian, Matrix, statistics::bootstrap::{Bootstrap, frechet_error}};
/// let real = Gaussian { count: 100, mean: vec![0.0], covariance: vec![1.0] };
/// let rows = Matrix::new((0..100).map(|i| (i as f32).sin()).collect(), 100, 1)?;
/// assert!(frechet_error(&real, &rows, &Bootstrap::default())? > 0.0);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
///
/// # Errors
/// Fewer than two rows, rows of another dimension, numbers that are not finite, fewer than two resamples.
pub fn frechet_error(real: &Gaussian, fake: &Matrix, config: &Bootstrap) -> Result<f64, MetricsError> {
    let what = "the bootstrap";
    let (n, d) = (fake.rows(), real.dim());
    if fake.columns() != d {
        let message = format!("dimensions {d} and {} differ; use one extractor for both sets", fake.columns());
        return Err(MetricsError::Shape { what, message });
    }
    if n < 2 {
        return Err(MetricsError::TooFew { what, needed: 2, got: n });
    }
    check_finite(real)?;
    fake.check_finite(what)?;
    let count = config.resamples.unwrap_or_else(|| ((1 << 23) / (d * d).max(1)).clamp(12, 30));
    if count < 2 {
        return Err(MetricsError::Range { name: "resamples", value: count.to_string(), range: "at least 2" });
    }
    let x = fake.block(0, n, &real.mean);
    let roots = Roots::of(real, &x)?;
    let norms: Vec<f64> = x.chunks_exact(d).map(|row| row.iter().map(|v| v * v).sum()).collect();
    let trace: f64 = (0..d).map(|i| real.covariance[i * d + i]).sum();
    let key = Key::of(config.seed, RandomStream::Bootstrap);
    let mut values = Vec::with_capacity(count);
    for resample in 0..count as u64 {
        let mut rng = key.at(resample);
        let mut times = vec![0.0f64; n];
        (0..n).for_each(|_| times[rng.random_range(0..n)] += 1.0);
        // `x` is already relative to the reference's mean.
        let shift: f64 = mean(&x, d, &times).iter().map(|m| m * m).sum();
        let square: f64 = norms.iter().zip(&times).map(|(norm, t)| norm * t).sum();
        let own = (square - n as f64 * shift) / (n as f64 - 1.0);
        values.push(shift + trace + own - 2.0 * roots.trace(&times)?);
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    Ok((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count as f64 - 1.0)).sqrt())
}

/// The mean of rows of `width` numbers, row `i` counted `times[i]` times.
fn mean(rows: &[f64], width: usize, times: &[f64]) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    for (row, t) in rows.chunks_exact(width.max(1)).zip(times) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += t * v / times.len() as f64);
    }
    mean
}

/// What the traces of all resamples' roots are made of.
enum Roots {
    /// Rows `y = x C` `[n rank]`.
    Many {
        y: Vec<f64>,
        rank: usize,
    },
    Few(Few),
}

impl Roots {
    fn of(real: &Gaussian, x: &[f64]) -> Result<Self, MetricsError> {
        let d = real.dim();
        if x.len() / d < d {
            return Ok(Self::Few(Few::of(real, x)));
        }
        let c = root(real)?;
        let rank = c.ncols();
        // Row-major `C^T`, so that `products` gives `y = x C`.
        let turned: Vec<f64> = (0..rank).flat_map(|j| (0..d).map(move |i| (i, j))).map(|(i, j)| c[(i, j)]).collect();
        Ok(Self::Many { y: if rank == 0 { Vec::new() } else { products(x, &turned, d) }, rank })
    }

    fn trace(&self, times: &[f64]) -> Result<f64, MetricsError> {
        match self {
            Self::Many { y, rank } => root_trace(y, &mean(y, *rank, times), times, *rank),
            Self::Few(few) => few.root_trace(times),
        }
    }
}

/// `tr (C^T S C)^(1/2)` with `S` the covariance of the weighted rows.
fn root_trace(y: &[f64], mean: &[f64], times: &[f64], rank: usize) -> Result<f64, MetricsError> {
    if rank == 0 {
        return Ok(0.0);
    }
    let n = times.len() as f64;
    let mut gram = Mat::zeros(rank, rank);
    let rows = y.chunks_exact(rank).zip(times).filter(|(_, t)| **t > 0.0);
    let centred: Vec<f64> =
        rows.flat_map(|(row, t)| row.iter().zip(mean).map(move |(v, m)| (v - m) * t.sqrt())).collect();
    add_gram(&mut gram, &centred, rank);
    let eigen = gram.self_adjoint_eigenvalues(Side::Lower);
    let values = eigen.map_err(|_| MetricsError::NoConvergence { what: "the bootstrap" })?;
    let floor = noise_floor(&values, rank);
    Ok(values.iter().filter(|&&v| v > floor).map(|v| (v / (n - 1.0)).sqrt()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frechet_distance;
    use base::Purpose;

    fn normals(seed: u64, n: usize, d: usize) -> Matrix {
        let data = Key::new(seed, Purpose::Probe).normals(0, n * d).map(|v| 1.2 * v + 1.0).collect();
        Matrix::new(data, n, d).unwrap()
    }

    fn standard(d: usize) -> Gaussian {
        let covariance = (0..d * d).map(|k| f64::from(u8::from(k / d == k % d))).collect();
        Gaussian { count: 1000, mean: vec![0.0; d], covariance }
    }

    /// The bootstrap's error against the scatter of 200 independent sets. Mutants: a resample of half the size (a factor 1.4),
    /// rows weighted by `t` in place of its root, the mean left out.
    #[test]
    fn the_error_is_the_scatter_of_independent_sets() {
        let real = standard(3);
        let distances: Vec<f64> =
            (0..200).map(|s| frechet_distance(&real, &Gaussian::of(&normals(s, 300, 3)).unwrap()).unwrap()).collect();
        let mean = distances.iter().sum::<f64>() / 200.0;
        let scatter = (distances.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        let config = Bootstrap { resamples: Some(400), seed: 1 };
        let errors: Vec<f64> =
            (0..8).map(|s| frechet_error(&real, &normals(1000 + s, 300, 3), &config).unwrap()).collect();
        let error = errors.iter().sum::<f64>() / 8.0;
        // The scatter of 200 is known to 5 %, the mean of eight errors to 2 %.
        assert!((error / scatter - 1.0).abs() < 0.15, "{error} {scatter}");
    }

    /// Where samples are distributed as the reference is, the error is too large, up to the root of three, and never too small.
    #[test]
    fn at_distance_zero_the_error_is_on_the_safe_side() {
        let real = standard(4);
        let rows = |seed| Matrix::new(Key::new(seed, Purpose::Probe).normals(0, 4 * 250).collect(), 250, 4).unwrap();
        let distances: Vec<f64> =
            (0..200).map(|s| frechet_distance(&real, &Gaussian::of(&rows(s)).unwrap()).unwrap()).collect();
        let mean = distances.iter().sum::<f64>() / 200.0;
        let scatter = (distances.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        let errors = (0..40).map(|s| frechet_error(&real, &rows(1000 + s), &Bootstrap::default()).unwrap());
        let error = errors.sum::<f64>() / 40.0;
        assert!((1.0..2.0).contains(&(error / scatter)), "{error} {scatter}");
    }

    /// Far away the distance is `|m|^2`, whose error over `n` rows of deviation `s` is `2 |m| s / sqrt(n)`.
    #[test]
    fn far_away_the_mean_rules() {
        let real = standard(2);
        let rows: Vec<f32> = Key::new(5, Purpose::Probe).normals(0, 2000).map(|v| v + 50.0).collect();
        let error =
            frechet_error(&real, &Matrix::new(rows, 1000, 2).unwrap(), &Bootstrap { resamples: Some(400), seed: 0 });
        let wanted = 2.0 * 50.0 * 2f64.sqrt() / 1000f64.sqrt();
        assert!((error.unwrap() / wanted - 1.0).abs() < 0.15);
    }

    /// Zeros behind every row make dimensions more than rows and change nothing else. Mutant: as for `frechet_distance_to`.
    #[test]
    fn few_rows_in_many_dimensions_have_the_same_error() {
        let rows = normals(7, 30, 5);
        let wide = (0..30).flat_map(|i| rows.row(i).iter().copied().chain([0.0; 35])).collect();
        let mut far = Gaussian { count: 1000, mean: vec![0.0; 40], covariance: vec![0.0; 1600] };
        (0..5).for_each(|i| far.covariance[i * 41] = 1.0);
        let long = frechet_error(&standard(5), &rows, &Bootstrap::default()).unwrap();
        let wide = Matrix::new(wide, 30, 40).unwrap();
        let short = frechet_error(&far, &wide, &Bootstrap::default()).unwrap();
        assert!((short / long - 1.0).abs() < 1e-6, "{short} {long}");
    }

    #[test]
    fn bad_sets_and_settings_are_refused() {
        let (real, rows) = (standard(3), normals(1, 10, 3));
        let one = Bootstrap { resamples: Some(1), seed: 0 };
        assert!(frechet_error(&real, &rows, &one).is_err());
        assert!(frechet_error(&real, &normals(1, 1, 3), &Bootstrap::default()).is_err());
        assert!(frechet_error(&real, &normals(1, 9, 2), &Bootstrap::default()).is_err());
    }
}
