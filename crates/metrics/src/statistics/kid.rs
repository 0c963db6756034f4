//! Kernel distance: unbiased squared maximum mean discrepancy with the kernel `(x.y/d + 1)^3`
//! (Bińkowski et al. 2018, arXiv 1801.01401, section 4).
//!
//! Unlike the Fréchet distance it has no bias in the number of samples, so it may be slightly negative.

use crate::MetricsError;
use crate::matrix::{Matrix, products};
use base::{Key, Purpose};
use rand::RngExt;

/// Demystifying MMD GANs.
pub const PAPER: base::Paper = base::Paper::arxiv(
    "binkowski2018demystifying",
    "Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur",
    "Demystifying MMD GANs",
    (2018, "1801.01401"),
    "ICLR 2018",
);

/// How many subsets are averaged, and how large they are.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KidConfig {
    /// Number of subsets drawn, at least 1.
    pub subsets: usize,
    /// Rows of each set in a subset, at least 2; capped at the size of the smaller set.
    pub subset_size: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for KidConfig {
    fn default() -> Self {
        Self { subsets: 100, subset_size: 1000, seed: 0 }
    }
}

impl KidConfig {
    /// Refuses values outside their ranges.
    pub fn check(&self) -> Result<(), MetricsError> {
        if self.subsets == 0 {
            return Err(MetricsError::Range { name: "kid.subsets", value: "0".into(), range: "at least 1" });
        }
        if self.subset_size < 2 {
            let value = self.subset_size.to_string();
            return Err(MetricsError::Range { name: "kid.subset_size", value, range: "at least 2" });
        }
        Ok(())
    }
}

/// A kernel distance with the spread over its subsets.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Kid {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets (zero for one subset).
    pub std: f64,
}

/// Kernel distance averaged over random subsets; subset `i` depends on the seed and `i` alone.
///
/// ```
/// use metrics::{KidConfig, Matrix, kid};
/// let a = Matrix::new(vec![0.0, 1.0, 2.0], 3, 1)?;
/// let b = Matrix::new(vec![5.0, 6.0, 7.0], 3, 1)?;
/// assert!(kid(&a, &b, &KidConfig::default())?.mean > 1.0);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn kid(a: &Matrix, b: &Matrix, config: &KidConfig) -> Result<Kid, MetricsError> {
    config.check()?;
    Matrix::check_pair(a, b, 2, "kernel distance")?;
    let size = config.subset_size.min(a.rows()).min(b.rows());
    let key = Key::new(config.seed, Purpose::Probe);
    let values: Vec<f64> = (0..config.subsets as u64)
        .map(|i| {
            let x = a.select(&choose(a.rows(), size, key.fold(0), i));
            let y = b.select(&choose(b.rows(), size, key.fold(1), i));
            squared_mmd(&x, &y)
        })
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len().max(2) - 1) as f64;
    Ok(Kid { mean, std: variance.sqrt() })
}

/// Unbiased squared discrepancy of two whole sets (at least two rows each); costs `(n + m)^2 d`.
pub fn kid_exact(a: &Matrix, b: &Matrix) -> Result<f64, MetricsError> {
    Matrix::check_pair(a, b, 2, "kernel distance")?;
    Ok(squared_mmd(a, b))
}

/// `size` different indices below `n`: the head of a Fisher-Yates shuffle.
fn choose(n: usize, size: usize, key: Key, index: u64) -> Vec<usize> {
    let mut rng = key.at(index);
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..size {
        let j = rng.random_range(i..n);
        order.swap(i, j);
    }
    order.truncate(size);
    order
}

fn squared_mmd(a: &Matrix, b: &Matrix) -> f64 {
    let (n, m) = (a.rows() as f64, b.rows() as f64);
    let within = |x: &Matrix| kernel_sum(x, x, true) / (x.rows() as f64 * (x.rows() as f64 - 1.0));
    within(a) + within(b) - 2.0 * kernel_sum(a, b, false) / (n * m)
}

/// Rows handled at once: 1024^2 products are 8 MiB.
const BLOCK: usize = 1024;

/// Sum of the kernel over all pairs, without equal indices if `skip_diagonal`.
fn kernel_sum(a: &Matrix, b: &Matrix, skip_diagonal: bool) -> f64 {
    let d = a.columns();
    let zero = vec![0.0; d];
    let mut sum = 0.0;
    for i in (0..a.rows()).step_by(BLOCK) {
        let x = a.block(i, (i + BLOCK).min(a.rows()), &zero);
        for j in (0..b.rows()).step_by(BLOCK) {
            let y = b.block(j, (j + BLOCK).min(b.rows()), &zero);
            for (row, values) in products(&x, &y, d).chunks_exact(y.len() / d).enumerate() {
                let kernel = |value: f64| (value / d as f64 + 1.0).powi(3);
                sum += values.iter().map(|&v| kernel(v)).sum::<f64>();
                let own = (i + row).checked_sub(j).filter(|_| skip_diagonal).and_then(|column| values.get(column));
                sum -= own.map_or(0.0, |&v| kernel(v));
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normals(seed: u64, n: usize, d: usize, shift: f32) -> Matrix {
        let data = Key::new(seed, Purpose::Probe).normals(0, n * d).map(|v| v + shift).collect();
        Matrix::new(data, n, d).unwrap()
    }

    /// The definition, with three double loops.
    fn naive(a: &Matrix, b: &Matrix) -> f64 {
        let d = a.columns() as f64;
        let k = |x: &[f32], y: &[f32]| {
            let dot: f64 = x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
            (dot / d + 1.0).powi(3)
        };
        let (n, m) = (a.rows(), b.rows());
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for i in 0..n {
            for j in 0..n {
                aa += if i == j { 0.0 } else { k(a.row(i), a.row(j)) };
            }
            for j in 0..m {
                ab += k(a.row(i), b.row(j));
            }
        }
        for i in 0..m {
            for j in 0..m {
                bb += if i == j { 0.0 } else { k(b.row(i), b.row(j)) };
            }
        }
        aa / (n * (n - 1)) as f64 + bb / (m * (m - 1)) as f64 - 2.0 * ab / (n * m) as f64
    }

    proptest! {
        /// Catches the biased estimator (diagonal kept), a missing `1/d` and a wrong power.
        #[test]
        fn blocks_give_the_definition(seed in 0u64..1000, n in 2usize..20, m in 2usize..20, d in 1usize..9) {
            let (a, b) = (normals(seed, n, d, 0.0), normals(seed + 9999, m, d, 0.3));
            let (got, expected) = (kid_exact(&a, &b).unwrap(), naive(&a, &b));
            prop_assert!((got - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{} {}", got, expected);
        }
    }

    #[test]
    fn more_rows_than_a_block_give_the_definition() {
        let (a, b) = (normals(1, 1100, 2, 0.0), normals(2, 1030, 2, 0.2));
        assert!((kid_exact(&a, &b).unwrap() - naive(&a, &b)).abs() < 1e-9);
    }

    #[test]
    fn one_subset_of_everything_is_the_exact_value() {
        let (a, b) = (normals(1, 60, 5, 0.0), normals(2, 60, 5, 0.5));
        let config = KidConfig { subsets: 1, subset_size: 1000, seed: 4 };
        let got = kid(&a, &b, &config).unwrap();
        assert!((got.mean - kid_exact(&a, &b).unwrap()).abs() < 1e-9);
        assert_eq!(got.std, 0.0);
    }

    /// Without bias the mean over independent sets of one law is zero within its error; the biased estimator's
    /// would be about `E k(x,x) / n` = 0.4 here.
    #[test]
    fn two_samples_of_one_law_are_at_distance_zero_on_average() {
        let (a, b) = (normals(1, 2000, 4, 0.0), normals(2, 2000, 4, 0.0));
        let config = KidConfig { subsets: 50, subset_size: 40, seed: 1 };
        let got = kid(&a, &b, &config).unwrap();
        assert!(got.mean.abs() < 4.0 * got.std / 50f64.sqrt(), "{got:?}");
        assert_eq!(got, kid(&a, &b, &config).unwrap());
        assert_ne!(got, kid(&a, &b, &KidConfig { seed: 2, ..config }).unwrap());
    }

    #[test]
    fn bad_settings_and_sets_are_refused() {
        let a = normals(1, 4, 2, 0.0);
        assert!(kid(&a, &a, &KidConfig { subsets: 0, ..KidConfig::default() }).is_err());
        assert!(kid(&a, &a, &KidConfig { subset_size: 1, ..KidConfig::default() }).is_err());
        assert!(kid(&a, &normals(1, 4, 3, 0.0), &KidConfig::default()).is_err());
        assert!(kid(&a, &normals(1, 1, 2, 0.0), &KidConfig::default()).is_err());
    }
}
