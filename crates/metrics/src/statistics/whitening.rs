//! Whitening that keeps every direction's name: `W = E D^(-1/2) E^T` of a covariance `E D E^T` (zero-phase component analysis), as
//! TriFlow (arXiv:2501.00651) brings latents to the width of the noise. Unlike `D^(-1/2) E^T` it does not hang on the signs of
//! eigenvectors.

use super::moments::Gaussian;
use crate::MetricsError;
use faer::{Mat, MatRef, Side};

/// The symmetric maps there and back, `[d d]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Whitening {
    /// From deviations from the mean to identity covariance.
    pub forward: Vec<f64>,
    /// Back from there: `E D^(1/2) E^T`.
    pub back: Vec<f64>,
    /// The largest variance over the smallest, before the ridge; `None` where the smallest is none beside the rounding of the others: a
    /// direction that never varies has no condition.
    pub condition: Option<f64>,
}

/// What eigenvalues are off by, as a share of the largest: sums of numbers that were f32.
const ROUNDING: f64 = 1e-12;

impl Whitening {
    /// Of `gaussian`, whose variances are raised by `ridge` times their mean, so that directions which hardly vary are not blown up.
    ///
    /// # Errors
    /// A covariance whose eigenvalues are not found.
    pub fn of(gaussian: &Gaussian, ridge: f64) -> Result<Self, MetricsError> {
        let d = gaussian.dim();
        let failed = |_| MetricsError::NoConvergence { what: "whitening" };
        let eigen = MatRef::from_row_major_slice(&gaussian.covariance, d, d);
        let eigen = eigen.self_adjoint_eigen(Side::Lower).map_err(failed)?;
        let values: Vec<f64> = eigen.S().column_vector().iter().map(|value| value.max(0.0)).collect();
        let mean = values.iter().sum::<f64>() / d.max(1) as f64;
        let raised = |i: usize| {
            let value = values[i] + ridge * mean;
            if value > 0.0 { value } else { 1.0 } // nothing varies at all
        };
        let u = eigen.U();
        let map = |power: f64| {
            let scaled = Mat::from_fn(d, d, |i, j| u[(i, j)] * raised(j).powf(power));
            let whole = &scaled * u.transpose();
            (0..d * d).map(|at| whole[(at / d, at % d)]).collect()
        };
        let (smallest, largest) = (values.first().copied().unwrap_or(1.0), values.last().copied().unwrap_or(1.0));
        let condition = (smallest > ROUNDING * largest).then(|| largest / smallest);
        Ok(Self { forward: map(-0.5), back: map(0.5), condition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    fn times(map: &[f64], row: &[f64]) -> Vec<f64> {
        map.chunks(row.len()).map(|line| line.iter().zip(row).map(|(a, b)| a * b).sum()).collect()
    }

    /// Mutants: `D^(-1/2) E^T`, which is not symmetric; the powers exchanged.
    #[test]
    fn whitened_rows_have_identity_covariance_and_come_back() {
        // Three directions of width 10, 1 and 0.1, mixed.
        let row = |i: usize| {
            let [a, b, c] = [1.0, 2.0, 3.0].map(|k| (i as f64 * k * 0.7391).sin());
            [10.0 * a + b, 10.0 * a - b + 0.1 * c, 5.0 * a + 0.1 * c + 4.0].map(|v| v as f32)
        };
        let rows: Vec<f32> = (0..4000).flat_map(row).collect();
        let gaussian = Gaussian::of(&Matrix::new(rows.clone(), 4000, 3).unwrap()).unwrap();
        let found = Whitening::of(&gaussian, 0.0).unwrap();
        assert!(found.condition.is_some_and(|condition| condition > 1e3 && condition < 1e9), "{:?}", found.condition);
        let mut white = Vec::new();
        for row in rows.chunks(3) {
            let off: Vec<f64> = row.iter().zip(&gaussian.mean).map(|(v, m)| f64::from(*v) - m).collect();
            let z = times(&found.forward, &off);
            let back = times(&found.back, &z);
            assert!(off.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-5));
            white.extend(z.into_iter().map(|v| v as f32));
        }
        let again = Gaussian::of(&Matrix::new(white, 4000, 3).unwrap()).unwrap();
        for i in 0..9 {
            let wanted = f64::from(u8::from(i % 4 == 0));
            assert!((again.covariance[i] - wanted).abs() < 1e-2, "{:?}", again.covariance);
            let (row, column) = (i / 3, i % 3);
            assert!((found.forward[i] - found.forward[3 * column + row]).abs() < 1e-9);
        }
    }

    /// Nothing has a condition that never varies. Mutant: the smallest variance raised to the smallest number, 1e308 for a condition.
    #[test]
    fn a_direction_that_does_not_vary_is_not_blown_up() {
        let gaussian = Gaussian { count: 9, mean: vec![0.0; 2], covariance: vec![4.0, 0.0, 0.0, 0.0] };
        let found = Whitening::of(&gaussian, 1e-4).unwrap();
        assert!(found.forward[3] < 1.0 / f64::sqrt(1.9e-4) && (found.forward[0] - 0.5).abs() < 1e-3, "{found:?}");
        assert_eq!(found.condition, None);
        let nothing = Gaussian { count: 9, mean: vec![0.0; 1], covariance: vec![0.0] };
        let nothing = Whitening::of(&nothing, 1e-4).unwrap();
        assert_eq!((nothing.forward, nothing.condition), (vec![1.0], None));
    }
}
