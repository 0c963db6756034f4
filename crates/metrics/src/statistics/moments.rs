//! Mean and covariance of a stream of rows, accumulated batch by batch in `f64`.
//!
//! Sums are taken about the first batch's mean, so that a large common offset does not cancel digits in
//! `E[x x^T] - E[x] E[x]^T`.

use crate::MetricsError;
use crate::matrix::{Matrix, add_gram};
use faer::Mat;

/// Mean and unbiased covariance of `count` rows of dimension `d`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// Number of rows.
    pub count: usize,
    /// Mean, `[d]`.
    pub mean: Vec<f64>,
    /// Covariance with divisor `count - 1`, `[d d]`, row-major and symmetric.
    pub covariance: Vec<f64>,
}

impl Gaussian {
    /// Mean and covariance of the rows of `x` (at least two).
    pub fn of(x: &Matrix) -> Result<Self, MetricsError> {
        let mut moments = Moments::new(x.columns());
        moments.add(x)?;
        moments.gaussian()
    }

    /// Dimension.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }
}

/// A running mean and covariance.
///
/// ```
/// use metrics::{Matrix, Moments};
/// let mut moments = Moments::new(1);
/// for batch in [vec![1.0, 3.0], vec![5.0, 7.0]] {
///     moments.add(&Matrix::new(batch, 2, 1)?)?;
/// }
/// let gaussian = moments.gaussian()?;
/// assert_eq!(gaussian.mean, [4.0]);
/// assert!((gaussian.covariance[0] - 20.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    count: usize,
    shift: Option<Vec<f64>>,
    sum: Vec<f64>,
    gram: Mat<f64>,
}

/// Rows converted to `f64` at a time: 1024 rows of 2048 are 16 MiB.
const BLOCK: usize = 1024;

impl Moments {
    /// Nothing accumulated yet, rows of dimension `dim`.
    pub fn new(dim: usize) -> Self {
        Self { count: 0, shift: None, sum: vec![0.0; dim], gram: Mat::zeros(dim, dim) }
    }

    /// Number of rows so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Accumulates the rows of `x`; refuses another dimension and numbers that are not finite.
    pub fn add(&mut self, x: &Matrix) -> Result<(), MetricsError> {
        let what = "mean and covariance";
        if x.columns() != self.sum.len() {
            let message = format!("rows of {} cannot join rows of {}", x.columns(), self.sum.len());
            return Err(MetricsError::Shape { what, message });
        }
        if x.rows() == 0 || x.columns() == 0 {
            return Ok(());
        }
        x.check_finite(what)?;
        let shift = self.shift.get_or_insert_with(|| x.mean());
        for start in (0..x.rows()).step_by(BLOCK) {
            let block = x.block(start, (start + BLOCK).min(x.rows()), shift);
            for row in block.chunks_exact(x.columns()) {
                self.sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
            add_gram(&mut self.gram, &block, x.columns());
        }
        self.count += x.rows();
        Ok(())
    }

    /// The mean and covariance so far; needs two rows.
    pub fn gaussian(&self) -> Result<Gaussian, MetricsError> {
        let Some(shift) = self.shift.as_ref().filter(|_| self.count >= 2) else {
            return Err(MetricsError::TooFew { what: "a covariance", needed: 2, got: self.count });
        };
        let (d, n) = (shift.len(), self.count as f64);
        let mut covariance = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                let value = (self.gram[(i, j)] - self.sum[i] * self.sum[j] / n) / (n - 1.0);
                covariance[i * d + j] = value;
                covariance[j * d + i] = value;
            }
        }
        let mean = shift.iter().zip(&self.sum).map(|(c, s)| c + s / n).collect();
        Ok(Gaussian { count: self.count, mean, covariance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};

    /// Offset 1000 makes an unshifted `f32` or naive accumulation lose every digit of a unit variance (the mutant).
    #[test]
    fn batches_give_the_two_pass_covariance_despite_a_large_offset() {
        let (n, d) = (1500, 3);
        let data: Vec<f32> = Key::new(3, Purpose::Probe).normals(0, n * d).map(|v| v + 1000.0).collect();
        let x = Matrix::new(data, n, d).unwrap();
        let mut moments = Moments::new(d);
        for part in [0..7, 7..1100, 1100..n] {
            moments.add(&x.select(&part.collect::<Vec<_>>())).unwrap();
        }
        let gaussian = moments.gaussian().unwrap();
        let mean = x.mean();
        for a in 0..d {
            assert!((gaussian.mean[a] - mean[a]).abs() < 1e-9);
            for b in 0..d {
                let two_pass: f64 = (0..n)
                    .map(|i| (f64::from(x.row(i)[a]) - mean[a]) * (f64::from(x.row(i)[b]) - mean[b]))
                    .sum::<f64>()
                    / (n as f64 - 1.0);
                assert!((gaussian.covariance[a * d + b] - two_pass).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn one_row_and_nan_are_refused() {
        let mut moments = Moments::new(2);
        moments.add(&Matrix::new(vec![1.0, 2.0], 1, 2).unwrap()).unwrap();
        assert!(matches!(moments.gaussian(), Err(MetricsError::TooFew { .. })));
        let bad = moments.add(&Matrix::new(vec![1.0, f32::NAN], 1, 2).unwrap());
        assert!(bad.unwrap_err().to_string().contains("row 0, column 1"));
    }
}
