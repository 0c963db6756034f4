//! Fréchet distance between two Gaussians, `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`
//! (Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500, eq. 6).
//!
//! The trace of the square root is computed from symmetric matrices only. With `S1 = U L U^T` and `C = U L^(1/2)`, the
//! eigenvalues of `C^T S2 C` are those of `S1 S2`, real and non-negative, so no complex square root appears and no
//! `eps I` has to be added to a singular covariance. Eigenvalues below `d * 2^-52` times the largest are rounding noise
//! whose square roots would not be small; they count as zero, so a set with fewer rows than dimensions is exact too.

use super::few::Few;
use super::moments::Gaussian;
use crate::MetricsError;
use crate::matrix::Matrix;
use faer::{Mat, MatRef, Side};

/// GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium.
pub const PAPER: base::Paper = base::Paper::arxiv(
    "heusel2017gans",
    "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp",
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    (2017, "1706.08500"),
    "NeurIPS 2017",
);

/// Squared Fréchet distance between two Gaussians, at least zero, and exactly zero when they are equal.
///
/// ```
/// use metrics::{Gaussian, frechet_distance};
/// let a = Gaussian { count: 10, mean: vec![0.0], covariance: vec![1.0] };
/// let b = Gaussian { count: 10, mean: vec![3.0], covariance: vec![4.0] };
/// assert!((frechet_distance(&a, &b)? - (9.0 + 1.0)).abs() < 1e-12);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64, MetricsError> {
    let what = "Fréchet distance";
    let d = a.dim();
    if b.dim() != d || a.covariance.len() != d * d || b.covariance.len() != d * d {
        let message = format!("dimensions {d} and {} differ; use one extractor for both sets", b.dim());
        return Err(MetricsError::Shape { what, message });
    }
    check_finite(a)?;
    check_finite(b)?;
    if a.mean == b.mean && a.covariance == b.covariance {
        return Ok(0.0);
    }
    let squared: f64 = a.mean.iter().zip(&b.mean).map(|(x, y)| (x - y).powi(2)).sum();
    let trace = |g: &Gaussian| (0..d).map(|i| g.covariance[i * d + i]).sum::<f64>();
    // The set with fewer rows has the lower rank, which makes the second eigenvalue problem smaller.
    let (low, high) = if a.count <= b.count { (a, b) } else { (b, a) };
    Ok((squared + trace(a) + trace(b) - 2.0 * trace_of_root(low, high)?).max(0.0))
}

/// Refuses a mean or a covariance that is no number.
pub(super) fn check_finite(g: &Gaussian) -> Result<(), MetricsError> {
    let (what, d) = ("Fréchet distance", g.dim());
    match g.mean.iter().chain(&g.covariance).enumerate().find(|(_, v)| !v.is_finite()) {
        None => Ok(()),
        Some((at, &value)) => {
            let (row, column) = if at < d { (0, at) } else { (at / d.max(1), at % d.max(1)) };
            Err(MetricsError::NotFinite { what, row, column, value })
        }
    }
}

/// Fréchet distance of the rows of `fake` (at least two) to `real`: [`frechet_distance`], sooner where rows are fewer than dimensions.
pub fn frechet_distance_to(real: &Gaussian, fake: &Matrix) -> Result<f64, MetricsError> {
    let (n, d) = (fake.rows(), real.dim());
    if n >= d || n < 2 || fake.columns() != d || real.covariance.len() != d * d {
        return frechet_distance(real, &Gaussian::of(fake)?);
    }
    check_finite(real)?;
    fake.check_finite("Fréchet distance")?;
    let x = fake.block(0, n, &real.mean);
    let mut mean = vec![0.0; d];
    x.chunks_exact(d).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / n as f64));
    let shift: f64 = mean.iter().map(|m| m * m).sum();
    let square: f64 = x.iter().map(|v| v * v).sum();
    let own = (square - n as f64 * shift) / (n as f64 - 1.0);
    let trace: f64 = (0..d).map(|i| real.covariance[i * d + i]).sum();
    Ok((shift + trace + own - 2.0 * Few::of(real, &x).root_trace(&vec![1.0; n])?).max(0.0))
}

/// Fréchet distance between the rows of two matrices (at least two rows each).
pub fn frechet_distance_of(a: &Matrix, b: &Matrix) -> Result<f64, MetricsError> {
    frechet_distance(&Gaussian::of(a)?, &Gaussian::of(b)?)
}

/// `tr (S_a S_b)^(1/2)`.
fn trace_of_root(a: &Gaussian, b: &Gaussian) -> Result<f64, MetricsError> {
    let d = a.dim();
    let c = root(a)?;
    if c.ncols() == 0 {
        return Ok(0.0);
    }
    let s_b = MatRef::from_row_major_slice(&b.covariance, d, d);
    let m = c.transpose() * (s_b * &c);
    let values = m.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
    let floor = noise_floor(&values, d);
    Ok(values.iter().filter(|&&v| v > floor).map(|v| v.sqrt()).sum())
}

/// `C` `[d r]` with `C C^T` the covariance, `r` its rank.
pub(super) fn root(g: &Gaussian) -> Result<Mat<f64>, MetricsError> {
    let d = g.dim();
    let eigen = MatRef::from_row_major_slice(&g.covariance, d, d).self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let floor = noise_floor(&values, d);
    // Eigenvalues ascend, so the kept ones are a tail.
    let first = values.iter().position(|&v| v > floor).unwrap_or(d);
    let u = eigen.U();
    Ok(Mat::from_fn(d, d - first, |i, j| u[(i, first + j)] * values[first + j].sqrt()))
}

fn failed(_: faer::linalg::solvers::EvdError) -> MetricsError {
    MetricsError::NoConvergence { what: "Fréchet distance" }
}

/// Eigenvalues at or below this are rounding errors of a positive semi-definite matrix.
pub(super) fn noise_floor(values: &[f64], d: usize) -> f64 {
    d as f64 * f64::EPSILON * values.iter().fold(0.0, |m: f64, &v| m.max(v.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};
    use proptest::prelude::*;

    fn normals(seed: u64, n: usize, d: usize) -> Matrix {
        Matrix::new(Key::new(seed, Purpose::Probe).normals(0, n * d).collect(), n, d).unwrap()
    }

    fn diagonal(mean: &[f64], variance: &[f64]) -> Gaussian {
        let d = mean.len();
        let mut covariance = vec![0.0; d * d];
        (0..d).for_each(|i| covariance[i * d + i] = variance[i]);
        Gaussian { count: 100, mean: mean.to_vec(), covariance }
    }

    /// `Q diag(v) Q^T` with `Q` the reflection `I - 2 w w^T / |w|^2`.
    fn rotated(g: &Gaussian, w: &[f64]) -> Gaussian {
        let d = g.dim();
        let norm: f64 = w.iter().map(|x| x * x).sum();
        let q = Mat::from_fn(d, d, |i, j| f64::from(u8::from(i == j)) - 2.0 * w[i] * w[j] / norm);
        let s = &q * MatRef::from_row_major_slice(&g.covariance, d, d) * &q;
        let mean = (0..d).map(|i| (0..d).map(|j| q[(i, j)] * g.mean[j]).sum()).collect();
        let covariance = (0..d * d).map(|k| (s[(k / d, k % d)] + s[(k % d, k / d)]) / 2.0).collect();
        Gaussian { count: g.count, mean, covariance }
    }

    proptest! {
        /// Commuting covariances have the closed form `sum (m1-m2)^2 + (s1-s2)^2`, also in a rotated basis, which
        /// catches a root taken entry by entry, a missing factor two and a dropped mean term.
        #[test]
        fn commuting_covariances_have_their_closed_form(
            rows in prop::collection::vec((-3.0f64..3.0, -3.0f64..3.0, 0.0f64..3.0, 0.0f64..3.0, 0.1f64..1.0), 1..8)
        ) {
            let column = |f: fn(&(f64, f64, f64, f64, f64)) -> f64| rows.iter().map(f).collect::<Vec<_>>();
            let a = diagonal(&column(|r| r.0), &column(|r| r.2 * r.2));
            let b = diagonal(&column(|r| r.1), &column(|r| r.3 * r.3));
            let expected: f64 = rows.iter().map(|r| (r.0 - r.1).powi(2) + (r.2 - r.3).powi(2)).sum();
            let w = column(|r| r.4);
            let got = frechet_distance(&rotated(&a, &w), &rotated(&b, &w)).unwrap();
            // An eigenvalue rounded by d * 2^-52 of the largest (81) enters through its root: about 1e-6.
            prop_assert!((got - expected).abs() < 1e-5, "{} {}", got, expected);
        }

        #[test]
        fn the_distance_is_symmetric_and_not_negative(seed in 0u64..1000, n in 2usize..30, m in 2usize..30) {
            let (a, b) = (normals(seed, n, 6), normals(seed + 5000, m, 6));
            let (ab, ba) = (frechet_distance_of(&a, &b).unwrap(), frechet_distance_of(&b, &a).unwrap());
            prop_assert!(ab >= 0.0 && (ab - ba).abs() < 1e-6 * (1.0 + ab));
        }
    }

    /// Covariances that do not commute: for 2x2, `tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))`. Mutant: `tr` of the
    /// product of the separate roots, which differs here by 3 %.
    #[test]
    fn covariances_that_do_not_commute_match_the_two_by_two_formula() {
        let (a, b) = ([2.0, 0.9, 0.9, 1.0], [1.0, -0.7, -0.7, 3.0]);
        let gaussian = |c: [f64; 4]| Gaussian { count: 9, mean: vec![0.0; 2], covariance: c.to_vec() };
        let trace_ab: f64 = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
        let det = |c: [f64; 4]| c[0] * c[3] - c[1] * c[2];
        let root = (trace_ab + 2.0 * (det(a) * det(b)).sqrt()).sqrt();
        let expected = a[0] + a[3] + b[0] + b[3] - 2.0 * root;
        let got = frechet_distance(&gaussian(a), &gaussian(b)).unwrap();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }

    #[test]
    fn a_set_is_at_distance_exactly_zero_from_itself_and_c_squared_from_its_shift() {
        // 20 rows in 50 dimensions: the covariance is singular, where implementations add eps.
        let x = normals(1, 20, 50);
        assert_eq!(frechet_distance_of(&x, &x.clone()).unwrap(), 0.0);
        let shifted = Matrix::new(x.data().iter().map(|v| v + 0.5).collect(), 20, 50).unwrap();
        let got = frechet_distance_of(&x, &shifted).unwrap();
        // 50 * 0.25; adding 0.5 rounds each f32 by 6e-8, and the rank cut keeps the trace term at about 1e-6.
        assert!((got - 12.5).abs() < 1e-4, "{got}");
    }

    /// The short way of few rows against the long one. Mutants: rows not centred; the divisor `n`; a row's weight left out of its column.
    #[test]
    fn few_rows_in_many_dimensions_are_measured_the_short_way() {
        let real = Gaussian::of(&normals(1, 200, 40)).unwrap();
        for (rows, shift) in [(2, 0.0), (17, 0.0), (39, 2.0)] {
            let data = normals(2, rows, 40).data().iter().map(|v| 1.5 * v + shift).collect();
            let fake = Matrix::new(data, rows, 40).unwrap();
            let long = frechet_distance(&real, &Gaussian::of(&fake).unwrap()).unwrap();
            let short = frechet_distance_to(&real, &fake).unwrap();
            assert!((short - long).abs() < 1e-6 * long, "{rows}: {short} {long}"); // roots of eigenvalues cut at 2^-52
        }
        assert!(frechet_distance_to(&real, &normals(2, 1, 40)).is_err());
        assert!(frechet_distance_to(&real, &normals(2, 9, 41)).is_err());
        let mut broken = real.clone();
        broken.mean[3] = f64::NAN; // and the largest of that and zero would be zero
        assert!(frechet_distance_to(&broken, &normals(2, 9, 40)).is_err());
    }

    #[test]
    fn samples_of_two_gaussians_approach_the_distance_of_the_gaussians() {
        let a = normals(1, 40_000, 4);
        let b: Vec<f32> = normals(2, 40_000, 4).data().iter().map(|v| 2.0 * v + 1.0).collect();
        let got = frechet_distance_of(&a, &Matrix::new(b, 40_000, 4).unwrap()).unwrap();
        // 4 * (1 + 1) = 8; the standard error of each mean is 0.01 and enters as 2 * 1 * 0.01 * sqrt(4) = 0.04.
        assert!((got - 8.0).abs() < 0.2, "{got}");
    }

    #[test]
    fn different_dimensions_and_nan_are_refused() {
        let mut a = diagonal(&[0.0, 0.0], &[1.0, 1.0]);
        assert!(frechet_distance(&a, &diagonal(&[0.0], &[1.0])).is_err());
        a.covariance[3] = f64::NAN;
        assert!(frechet_distance(&a, &a.clone()).is_err());
    }
}
