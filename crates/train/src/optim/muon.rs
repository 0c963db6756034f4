//! Muon: momentum, and of it the nearest orthogonal matrix.
//!
//! A gradient's matrix is dominated by few directions; the orthogonal matrix `U Vᵀ` of its singular value decomposition moves all of
//! them alike. Five steps of a polynomial bring the singular values near 1 (Jordan et al. 2024, kellerjordan.github.io/posts/muon).
//! The step is scaled by `0.2 √max(rows, columns)`, so that its root mean square is AdamW's and one learning rate serves both (Liu et
//! al. 2025, arXiv:2502.16982, eq. 4).

use crate::params::Info;
use burn::tensor::Tensor;

/// Muon is Scalable for LLM Training.
pub const MUON: base::Paper = base::Paper::arxiv(
    "liu2025muon",
    "Liu, Jingyuan and Su, Jianlin and Yao, Xingcheng and others",
    "Muon is Scalable for LLM Training",
    (2025, "2502.16982"),
    "arXiv",
);

/// Narrower matrices are AdamW's: they have too few directions to level, and the layers at a network's ends are such.
pub const SMALLEST_SIDE: usize = 16;

/// Coefficients of `p(σ) = a σ + b σ³ + c σ⁵`, steepest at zero of those that keep (0, 1.2] in it.
const POLYNOMIAL: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Steps of it.
const STEPS: usize = 5;

/// The root mean square of AdamW's steps, in learning rates.
const ROOT_MEAN_SQUARE: f64 = 0.2;

/// Rows and columns of a hidden matrix; `None` for everything else.
pub(super) fn matrix(info: &Info) -> Option<[usize; 2]> {
    let rows = *info.shape.first()?;
    let columns = info.shape[1..].iter().product();
    (info.is_map && rows.min(columns) >= SMALLEST_SIDE).then_some([rows, columns])
}

/// What to subtract at a learning rate of 1, and the momentum `m` after this step.
pub(super) fn update(
    m: Tensor<1>,
    gradient: Tensor<1>,
    momentum: f64,
    [rows, columns]: [usize; 2],
) -> (Tensor<1>, Tensor<1>) {
    let m = m * momentum + gradient.clone() * (1.0 - momentum);
    let ahead = m.clone() * momentum + gradient * (1.0 - momentum); // Nesterov's
    let scale = ROOT_MEAN_SQUARE * (rows.max(columns) as f64).sqrt();
    let step = orthogonal(ahead.reshape([rows, columns])) * scale;
    (step.reshape([rows * columns]), m)
}

/// Shorter momenta than this are noise: they fade, in place of being blown up to a whole step. As published.
const SHORTEST: f64 = 1e-7;

/// Near `U Vᵀ` of `x = U S Vᵀ`; zero for zero.
///
/// The polynomials act on singular values alone, so they are multiplied in the smaller of the two squares, `x xᵀ`, and meet `x` once.
fn orthogonal(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    if rows > columns {
        return orthogonal(x.transpose()).transpose();
    }
    let norm = x.clone().square().sum().sqrt().clamp_min(SHORTEST);
    let x = x / norm.unsqueeze();
    let [a, b, c] = POLYNOMIAL;
    let one = Tensor::<2>::eye(rows, &x.device());
    let mut square = x.clone().matmul(x.clone().transpose());
    let mut product = one.clone();
    for _ in 0..STEPS {
        let factor = one.clone() * a + square.clone() * b + square.clone().matmul(square.clone()) * c;
        product = factor.clone().matmul(product);
        square = factor.clone().matmul(square).matmul(factor);
    }
    product.matmul(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, Key, Purpose};

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    fn normal(rows: usize, columns: usize, seed: u64) -> Tensor<2> {
        let indices: Vec<u64> = (0..rows as u64).collect();
        Key::new(seed, Purpose::Probe).normal_tensor(&indices, [rows, columns], &Device::flex())
    }

    /// A matrix `U S Vᵀ` with known singular values comes back as `U Vᵀ` with values between 0.68 and 1.14, which is what five steps of
    /// this polynomial leave, whichever side is longer. Mutants: a coefficient's sign; the norm left out; rows for columns; four steps.
    #[test]
    fn singular_values_are_levelled_and_directions_kept() {
        // Two rotated axes of which one is 100 times the other, in 16 x 24 zeros but for these.
        let (sin, cos) = 0.6f32.sin_cos();
        let (u, v) = ([[cos, sin], [-sin, cos]], [[sin, cos], [cos, -sin]]);
        let mut flat = [0f32; 16 * 24];
        for (axis, value) in [(0, 5.0f32), (1, 0.05)] {
            for i in 0..2 {
                for j in 0..2 {
                    flat[i * 24 + j] += value * u[axis][i] * v[axis][j];
                }
            }
        }
        let x = Tensor::<1>::from_floats(flat, &Device::flex()).reshape([16, 24]);
        for (x, turned) in [(x.clone(), false), (x.transpose(), true)] {
            let y = orthogonal(x);
            let y = if turned { y.transpose() } else { y };
            let y = values(y);
            let along = |a: usize, b: usize| -> f32 {
                (0..2).flat_map(|i| (0..2).map(move |j| (i, j))).map(|(i, j)| u[a][i] * y[i * 24 + j] * v[b][j]).sum()
            };
            assert!(
                [along(0, 0), along(1, 1)].iter().all(|s| (0.68..1.14).contains(s)),
                "{} {}",
                along(0, 0),
                along(1, 1)
            );
            assert!(along(0, 1).abs() < 1e-4 && along(1, 0).abs() < 1e-4, "{} {}", along(0, 1), along(1, 0));
            assert!(y.iter().enumerate().all(|(at, y)| at / 24 < 2 && at % 24 < 2 || y.abs() < 1e-6));
        }
        assert!(values(orthogonal(Tensor::zeros([16, 24], &Device::flex()))).iter().all(|y| *y == 0.0));
        // What is next to nothing stays so.
        let faint = values(orthogonal(normal(16, 24, 1) * 1e-24));
        assert!(faint.iter().all(|y| y.abs() < 1e-6), "{faint:?}");
    }

    /// As many plain steps on the matrix itself, in its longer form, agree: the slow way to the same polynomial.
    #[test]
    fn products_in_the_smaller_square_are_the_steps_written_out() {
        for (rows, columns) in [(16, 40), (33, 17), (24, 24)] {
            let x = normal(rows, columns, 3);
            let mut y = x.clone() / x.clone().square().sum().sqrt().unsqueeze();
            for _ in 0..STEPS {
                let square = y.clone().matmul(y.clone().transpose());
                let [a, b, c] = POLYNOMIAL;
                y = y.clone() * a + square.clone().matmul(y.clone()) * b + square.clone().matmul(square).matmul(y) * c;
            }
            let apart: f32 = (orthogonal(x) - y).abs().max().into_scalar();
            assert!(apart < 2e-4, "{rows} x {columns}: {apart}"); // 3.4^5 roundings of 6e-8
        }
    }

    /// The root mean square of a step is a fifth of the learning rate, whatever the gradient's size. Mutants: the smaller side under the
    /// root; `ROOT_MEAN_SQUARE` left out.
    #[test]
    fn steps_are_as_long_as_adamws() {
        for (rows, columns, size) in [(16, 64, 1e-3), (64, 16, 1e3), (32, 32, 1.0)] {
            let gradient = normal(rows, columns, 5).reshape([rows * columns]) * size;
            let (step, _) = update(gradient.zeros_like(), gradient, 0.95, [rows, columns]);
            let (step, side) = (values(step), rows.min(columns) as f64);
            let square: f64 = step.iter().map(|s| f64::from(*s).powi(2)).sum();
            // `side` singular values near 1, times 0.04 of the larger side, over all numbers.
            let expected = 0.2 * (side * rows.max(columns) as f64 / (rows * columns) as f64).sqrt();
            let found = (square / (rows * columns) as f64).sqrt();
            assert!((found / expected - 1.0).abs() < 0.15, "{rows} x {columns}: {found} {expected}");
        }
    }

    /// Mutants: tables and vectors taken for matrices; a convolution's window left out; the narrow layer taken.
    #[test]
    fn hidden_matrices_are_the_wide_maps() {
        let info = |shape: &[usize], is_map: bool| Info { name: "x".into(), shape: shape.to_vec(), is_map };
        assert_eq!(matrix(&info(&[32, 4, 3, 3], true)), Some([32, 36]));
        assert_eq!(matrix(&info(&[64, 128], true)), Some([64, 128]));
        assert_eq!(matrix(&info(&[4, 32, 3, 3], true)), None);
        assert_eq!(matrix(&info(&[64, 128], false)), None);
        assert_eq!(matrix(&info(&[64], true)), None);
    }
}
