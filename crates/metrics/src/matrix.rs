//! A host matrix of features or flattened samples: one row per sample, `f32`.

use crate::MetricsError;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// `[n d]` numbers in row-major order: row `i` is sample `i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// A matrix over `data`, whose length must be `rows * columns`.
    pub fn new(data: Vec<f32>, rows: usize, columns: usize) -> Result<Self, MetricsError> {
        if rows.checked_mul(columns) != Some(data.len()) {
            let message = format!("{} numbers cannot be {rows} rows of {columns}", data.len());
            return Err(MetricsError::Shape { what: "matrix", message });
        }
        Ok(Self { data, rows, columns })
    }

    /// A matrix without rows, to be extended.
    pub fn empty(columns: usize) -> Self {
        Self { data: Vec::new(), rows: 0, columns }
    }

    /// Number of samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Dimension of each sample.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Sample `i`, `[d]`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// All numbers, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Appends the rows of `other`, which must have as many columns.
    pub fn extend(&mut self, other: &Self) -> Result<(), MetricsError> {
        if other.columns != self.columns {
            let message = format!("rows of {} cannot follow rows of {}", other.columns, self.columns);
            return Err(MetricsError::Shape { what: "matrix", message });
        }
        self.data.extend_from_slice(&other.data);
        self.rows += other.rows;
        Ok(())
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut data = Vec::with_capacity(indices.len() * self.columns);
        for &i in indices {
            data.extend_from_slice(self.row(i));
        }
        Self { data, rows: indices.len(), columns: self.columns }
    }

    /// Overwrites row `i`.
    pub(crate) fn replace(&mut self, i: usize, row: &[f32]) {
        self.data[i * self.columns..(i + 1) * self.columns].copy_from_slice(row);
    }

    /// Refuses NaN and infinity, naming the first.
    pub fn check_finite(&self, what: &'static str) -> Result<(), MetricsError> {
        match self.data.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(at) => Err(MetricsError::NotFinite {
                what,
                row: at / self.columns,
                column: at % self.columns,
                value: f64::from(self.data[at]),
            }),
        }
    }

    /// Refuses two matrices of different dimension, fewer than `needed` rows, or numbers that are not finite.
    pub(crate) fn check_pair(a: &Self, b: &Self, needed: usize, what: &'static str) -> Result<(), MetricsError> {
        if a.columns != b.columns {
            let message = format!("dimensions {} and {} differ; use one extractor for both sets", a.columns, b.columns);
            return Err(MetricsError::Shape { what, message });
        }
        let got = a.rows.min(b.rows);
        if got < needed {
            return Err(MetricsError::TooFew { what, needed, got });
        }
        a.check_finite(what)?;
        b.check_finite(what)
    }

    /// Column means, in `f64`.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.columns];
        for i in 0..self.rows {
            for (m, &v) in mean.iter_mut().zip(self.row(i)) {
                *m += f64::from(v);
            }
        }
        mean.iter_mut().for_each(|m| *m /= self.rows.max(1) as f64);
        mean
    }

    /// Rows `start..end` in `f64`, each minus `shift`.
    pub(crate) fn block(&self, start: usize, end: usize, shift: &[f64]) -> Vec<f64> {
        let mut block = Vec::with_capacity((end - start) * self.columns);
        for i in start..end {
            block.extend(self.row(i).iter().zip(shift).map(|(&v, s)| f64::from(v) - s));
        }
        block
    }
}

/// `a b^T` of two row-major blocks with `columns` columns, row-major, in `f64` on all threads of the pool.
pub(crate) fn products(a: &[f64], b: &[f64], columns: usize) -> Vec<f64> {
    let (n, m) = (a.len() / columns, b.len() / columns);
    let mut out = vec![0.0; n * m];
    let (a, b) = (MatRef::from_row_major_slice(a, n, columns), MatRef::from_row_major_slice(b, m, columns));
    faer::linalg::matmul::matmul(
        MatMut::from_row_major_slice_mut(&mut out, n, m),
        Accum::Replace,
        a,
        b.transpose(),
        1.0,
        Par::rayon(0),
    );
    out
}

/// Adds `x^T x` of a row-major block with `columns` columns to the symmetric `sum`.
pub(crate) fn add_gram(sum: &mut Mat<f64>, x: &[f64], columns: usize) {
    use faer::linalg::matmul::triangular::{BlockStructure, matmul};
    let x = MatRef::from_row_major_slice(x, x.len() / columns, columns);
    let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
    matmul(sum.as_mut(), lower, Accum::Add, x.transpose(), whole, x, whole, 1.0, Par::rayon(0));
}
