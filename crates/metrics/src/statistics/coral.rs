//! Correlation alignment (CORAL; Sun, Feng and Saenko 2016, arXiv 1511.05547, algorithm 1): features of one domain given the
//! mean and covariance of another, the plain rival of every learned adaptation.

use super::moments::Gaussian;
use crate::MetricsError;
use crate::matrix::Matrix;
use faer::{Mat, MatRef, Side};

/// `x` `[n d]` of the domain of `from`, whitened by its covariance and coloured by that of `to`:
/// `(x - m_from) (S_from + r I)^(-1/2) (S_to + r I)^(1/2) + m_to` with a ridge `r` above zero, 1 in the paper.
///
/// # Errors
/// Domains of different dimension, fewer than two rows, a ridge that is not positive.
pub fn coral(from: &Matrix, to: &Matrix, x: &Matrix, ridge: f64) -> Result<Matrix, MetricsError> {
    let d = from.columns();
    if to.columns() != d || x.columns() != d {
        let message = format!("features of {d}, {} and {} numbers; use one extractor", to.columns(), x.columns());
        return Err(MetricsError::Shape { what: "CORAL", message });
    }
    if !(ridge.is_finite() && ridge > 0.0) {
        return Err(MetricsError::Range { name: "CORAL ridge", value: ridge.to_string(), range: "above 0" });
    }
    x.check_finite("CORAL")?;
    let (from, to) = (Gaussian::of(from)?, Gaussian::of(to)?);
    let map = power(&from, ridge, -0.5)? * power(&to, ridge, 0.5)?;
    let centred = Mat::from_fn(x.rows(), d, |i, j| f64::from(x.row(i)[j]) - from.mean[j]);
    let moved = centred * map;
    let data = (0..x.rows()).flat_map(|i| (0..d).map(move |j| (i, j)));
    Matrix::new(data.map(|(i, j)| (moved[(i, j)] + to.mean[j]) as f32).collect(), x.rows(), d)
}

/// `(S + r I)^p` of a symmetric positive semi-definite matrix.
fn power(gaussian: &Gaussian, ridge: f64, exponent: f64) -> Result<Mat<f64>, MetricsError> {
    let d = gaussian.dim();
    let covariance = MatRef::from_row_major_slice(&gaussian.covariance, d, d);
    let eigen =
        covariance.self_adjoint_eigen(Side::Lower).map_err(|_| MetricsError::NoConvergence { what: "CORAL" })?;
    let values: Vec<f64> = eigen.S().column_vector().iter().map(|v| (v.max(0.0) + ridge).powf(exponent)).collect();
    let u = eigen.U();
    let scaled = Mat::from_fn(d, d, |i, j| u[(i, j)] * values[j]);
    Ok(scaled * u.transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};

    /// `n` normal rows through a fixed linear map and shift.
    fn rows(seed: u64, n: usize, map: [f32; 4], shift: f32) -> Matrix {
        let z: Vec<f32> = Key::new(seed, Purpose::Probe).normals(0, 2 * n).collect();
        let row = |z: &[f32]| [map[0] * z[0] + map[1] * z[1] + shift, map[2] * z[0] + map[3] * z[1] - shift];
        Matrix::new(z.chunks(2).flat_map(row).collect(), n, 2).unwrap()
    }

    /// Mutants: the two powers exchanged; the mean of the source forgotten.
    #[test]
    fn aligned_features_have_the_other_domains_moments() {
        let (a, b) = (rows(1, 400, [1.0, 0.5, 0.0, 2.0], 3.0), rows(2, 300, [0.3, 0.0, -0.2, 0.7], -1.0));
        let moved = Gaussian::of(&coral(&a, &b, &a, 1e-9).unwrap()).unwrap();
        let wanted = Gaussian::of(&b).unwrap();
        for (got, expected) in
            moved.mean.iter().chain(&moved.covariance).zip(wanted.mean.iter().chain(&wanted.covariance))
        {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
        // A domain aligned with itself stays.
        let same = coral(&a, &a, &a, 1.0).unwrap();
        assert!(same.data().iter().zip(a.data()).all(|(x, y)| (x - y).abs() < 1e-4));
        assert!(coral(&a, &b, &a, 0.0).is_err() && coral(&a, &Matrix::empty(3), &a, 1.0).is_err());
    }
}
