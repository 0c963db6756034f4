//! Matrix products on slices: the `gemm` crate behind bounds that are checked.

use gemm::{Parallelism, gemm};

/// A matrix in a slice: element `(r, c)` at `r * row + c * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major with rows of `width`.
    pub fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row: width, column: 1 }
    }

    /// The same, transposed.
    pub fn columns(data: &'a [f32], height: usize) -> Self {
        Self { data, row: 1, column: height }
    }
}

/// `out = factor a b`, or `out += factor a b` if `add`, with `out` row-major `[m, n]` and sums over `k`.
#[allow(clippy::too_many_arguments)] // the operation has that many operands
pub(crate) fn product(
    (m, n, k): (usize, usize, usize),
    factor: f32,
    a: Matrix,
    b: Matrix,
    out: &mut [f32],
    add: bool,
    parallel: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !add {
            out[..m * n].fill(0.0);
        }
        return;
    }
    assert!(out.len() >= m * n);
    assert!(a.data.len() > (m - 1) * a.row + (k - 1) * a.column);
    assert!(b.data.len() > (k - 1) * b.row + (n - 1) * b.column);
    let threads = if parallel { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: the greatest index of each operand is in bounds by the assertions; `out` is exclusive.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            if add { 1.0 } else { 0.0 },
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}
