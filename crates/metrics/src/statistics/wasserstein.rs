//! Sliced Wasserstein distance: the mean over random directions of the one-dimensional distance, which sorting solves
//! (Rabin et al. 2012; Bonneel et al. 2015, eq. 8).

use crate::MetricsError;
use crate::matrix::Matrix;
use base::{Key, RandomStream};
use rayon::prelude::*;

/// Order, number and seed of the projections.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlicedConfig {
    /// Number of directions, at least 1.
    pub projections: usize,
    /// Order `p` of the distance, at least 1.
    pub order: f64,
    /// Seed of the directions.
    pub seed: u64,
}

impl Default for SlicedConfig {
    fn default() -> Self {
        Self { projections: 256, order: 2.0, seed: 0 }
    }
}

impl SlicedConfig {
    /// Refuses values outside their ranges.
    pub fn check(&self) -> Result<(), MetricsError> {
        if self.projections == 0 {
            return Err(MetricsError::Range { name: "sliced.projections", value: "0".into(), range: "at least 1" });
        }
        check_order(self.order)
    }
}

fn check_order(order: f64) -> Result<(), MetricsError> {
    if order.is_finite() && order >= 1.0 {
        return Ok(());
    }
    Err(MetricsError::Range { name: "order", value: order.to_string(), range: "finite and at least 1" })
}

/// Sliced distance `(mean over unit directions of W_p^p)^(1/p)`; direction `i` depends on the seed and `i` alone.
/// The sets may differ in size.
///
/// ```
/// use metrics::{Matrix, SlicedConfig, sliced_wasserstein};
/// let a = Matrix::new(vec![0.0, 1.0, 2.0], 3, 1)?;
/// let b = Matrix::new(vec![7.0, 6.0, 5.0], 3, 1)?;
/// assert_eq!(sliced_wasserstein(&a, &b, &SlicedConfig::default())?, 5.0);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn sliced_wasserstein(a: &Matrix, b: &Matrix, config: &SlicedConfig) -> Result<f64, MetricsError> {
    config.check()?;
    Matrix::check_pair(a, b, 1, "sliced Wasserstein distance")?;
    let key = Key::of(config.seed, RandomStream::Slices);
    let costs: Vec<f64> = (0..config.projections as u64)
        .into_par_iter()
        .map(|i| {
            let direction = unit(key, i, a.columns());
            cost_sorted(&project(a, &direction), &project(b, &direction), config.order)
        })
        .collect();
    Ok((costs.iter().sum::<f64>() / costs.len() as f64).powf(1.0 / config.order))
}

/// One-dimensional distance `W_p` of two samples that need not be sorted or of equal size.
pub fn wasserstein_1d(a: &[f64], b: &[f64], order: f64) -> Result<f64, MetricsError> {
    check_order(order)?;
    if a.is_empty() || b.is_empty() {
        return Err(MetricsError::TooFew { what: "Wasserstein distance", needed: 1, got: 0 });
    }
    let sorted = |x: &[f64]| {
        let mut x = x.to_vec();
        x.sort_by(f64::total_cmp);
        x
    };
    Ok(cost_sorted(&sorted(a), &sorted(b), order).powf(1.0 / order))
}

/// A direction uniform on the sphere.
fn unit(key: Key, index: u64, dim: usize) -> Vec<f64> {
    let direction: Vec<f64> = key.normals(index, dim).map(f64::from).collect();
    let norm = direction.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    direction.iter().map(|v| v / norm).collect()
}

/// The rows' coordinates along `direction`, sorted.
fn project(x: &Matrix, direction: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> =
        (0..x.rows()).map(|i| x.row(i).iter().zip(direction).map(|(&v, u)| f64::from(v) * u).sum()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// `W_p^p` of two sorted samples: the integral of `|F^-1 - G^-1|^p` over the common refinement of the two grids
/// `i/n` and `j/m`, walked with integers so that no rounding decides a step.
fn cost_sorted(a: &[f64], b: &[f64], order: f64) -> f64 {
    let power = |d: f64| if order == 2.0 { d * d } else { d.abs().powf(order) };
    let (n, m) = (a.len() as u128, b.len() as u128);
    let (mut i, mut j, mut done, mut sum) = (0u128, 0u128, 0u128, 0.0);
    while i < n && j < m {
        // Quantiles are in units of 1/(n m).
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - done) as f64 * power(a[i as usize] - b[j as usize]);
        i += u128::from(next == (i + 1) * m);
        j += u128::from(next == (j + 1) * n);
        done = next;
    }
    sum / (n as f64 * m as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;
    use proptest::prelude::*;

    fn normals(seed: u64, n: usize, d: usize) -> Matrix {
        Matrix::new(Key::new(seed, Purpose::Probe).normals(0, n * d).collect(), n, d).unwrap()
    }

    proptest! {
        /// Repeating every point `m` (or `n`) times makes the sizes equal, where the sorted pairing is optimal.
        #[test]
        fn unequal_sizes_equal_their_repeated_sets(
            a in prop::collection::vec(-5.0f64..5.0, 1..12), b in prop::collection::vec(-5.0f64..5.0, 1..12),
            order in 1.0f64..4.0,
        ) {
            let repeat = |x: &[f64], times: usize| {
                let mut x: Vec<f64> = x.iter().flat_map(|&v| std::iter::repeat_n(v, times)).collect();
                x.sort_by(f64::total_cmp);
                x
            };
            let (x, y) = (repeat(&a, b.len()), repeat(&b, a.len()));
            let mean = x.iter().zip(&y).map(|(p, q)| (p - q).abs().powf(order)).sum::<f64>() / x.len() as f64;
            let got = wasserstein_1d(&a, &b, order).unwrap();
            prop_assert!((got - mean.powf(1.0 / order)).abs() < 1e-9 * (1.0 + got));
        }

        /// No pairing of four points is cheaper than the sorted one (brute force over permutations).
        #[test]
        fn the_sorted_pairing_is_optimal(
            a in prop::array::uniform4(-5.0f64..5.0), b in prop::array::uniform4(-5.0f64..5.0), order in 1.0f64..4.0,
        ) {
            let mut best = f64::INFINITY;
            for code in 0..256usize {
                let p = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
                if (0..4).all(|v| p.contains(&v)) {
                    best = best.min((0..4).map(|i| (a[i] - b[p[i]]).abs().powf(order)).sum::<f64>() / 4.0);
                }
            }
            prop_assert!((wasserstein_1d(&a, &b, order).unwrap() - best.powf(1.0 / order)).abs() < 1e-9);
        }
    }

    /// A shift by `c` costs `E (c.u)^2 = |c|^2 / d` for unit `u`. Mutants: directions without normalisation (d times
    /// more), a forgotten root, projections that are not independent of the data order.
    #[test]
    fn a_shift_costs_its_length_over_the_root_of_the_dimension() {
        let (n, d) = (500, 8);
        let a = normals(1, n, d);
        let shifted = Matrix::new(a.data().iter().map(|v| v + 2.0).collect(), n, d).unwrap();
        let reversed = shifted.select(&(0..n).rev().collect::<Vec<_>>());
        let config = SlicedConfig { projections: 4000, ..SlicedConfig::default() };
        let got = sliced_wasserstein(&a, &reversed, &config).unwrap();
        // |c|^2/d = 4; (c.u)^2/4 has variance about 2 (a chi-square), so 4000 directions give 2 % on the square, 1 % on
        // the root; five of those.
        assert!((got - 2.0).abs() < 0.1, "{got}");
        assert!(sliced_wasserstein(&a, &a, &config).unwrap() == 0.0);
    }

    #[test]
    fn isotropic_gaussians_are_apart_by_the_difference_of_their_deviations() {
        let a = normals(1, 20_000, 3);
        let b = Matrix::new(normals(2, 15_000, 3).data().iter().map(|v| v * 3.0).collect(), 15_000, 3).unwrap();
        let got = sliced_wasserstein(&a, &b, &SlicedConfig::default()).unwrap();
        // Every projection is N(0, s^2), and W2 of N(0,1) and N(0,9) is 2; sampling error of a deviation is 3/sqrt(3e4).
        assert!((got - 2.0).abs() < 0.08, "{got}");
    }

    #[test]
    fn bad_orders_are_refused() {
        let a = normals(1, 3, 2);
        for order in [0.5, f64::NAN, f64::INFINITY] {
            assert!(sliced_wasserstein(&a, &a, &SlicedConfig { order, ..SlicedConfig::default() }).is_err());
        }
        assert!(wasserstein_1d(&[], &[1.0], 1.0).is_err());
    }
}
