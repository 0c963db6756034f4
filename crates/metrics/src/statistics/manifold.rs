//! Precision and recall with nearest-neighbour balls (Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1-2), and
//! density and coverage (Naeem et al. 2020, arXiv 2002.09797, eq. 3-4).
//!
//! A set's manifold is the union of balls, one per row, reaching that row's `k`-th nearest other row. Precision asks
//! which fakes lie in the reals' manifold, recall which reals lie in the fakes'.

use crate::MetricsError;
use crate::matrix::{Matrix, products};

/// Improved Precision and Recall Metric for Assessing Generative Models.
pub const PAPER: base::Paper = base::Paper::arxiv(
    "kynkaanniemi2019improved",
    "Kynk{\\\"a}{\\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo",
    "Improved Precision and Recall Metric for Assessing Generative Models",
    (2019, "1904.06991"),
    "NeurIPS 2019",
);

/// The four figures, each at least 0; all but density at most 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifold {
    /// Fraction of fakes inside some real's ball.
    pub precision: f64,
    /// Fraction of reals inside some fake's ball.
    pub recall: f64,
    /// Mean number of real balls that hold a fake, over `k`.
    pub density: f64,
    /// Fraction of reals whose ball holds a fake.
    pub coverage: f64,
}

/// Neighbours in the usual setting of precision and recall.
pub const NEIGHBOURS: usize = 3;

/// Precision, recall, density and coverage of `fake` against `real` with `k` neighbours (usually [`NEIGHBOURS`]).
/// Costs `(n + m)^2 d` in blocks; each set needs more than `k` rows.
///
/// ```
/// use metrics::{Matrix, precision_recall};
/// let real = Matrix::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], 5, 1)?;
/// let fake = Matrix::new(vec![0.1, 0.2, 0.3, 0.4, 9.0], 5, 1)?;
/// let figures = precision_recall(&real, &fake, 3)?;
/// assert_eq!(figures.precision, 0.8);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn precision_recall(real: &Matrix, fake: &Matrix, k: usize) -> Result<Manifold, MetricsError> {
    if k == 0 {
        return Err(MetricsError::Range { name: "neighbours", value: "0".into(), range: "at least 1" });
    }
    Matrix::check_pair(real, fake, k + 1, "precision and recall")?;
    // Distances do not change with a common shift; without it `|x|^2 + |y|^2 - 2 x.y` would cancel digits.
    let shift = real.mean();
    let (real_radii, fake_radii) = (radii(real, k, &shift), radii(fake, k, &shift));
    let (n, m) = (real.rows(), fake.rows());
    let mut balls = vec![0usize; m];
    let mut recalled = vec![false; n];
    let mut covered = vec![false; n];
    distances(real, fake, &shift, |i, start, row| {
        for (offset, &d) in row.iter().enumerate() {
            let j = start + offset;
            if d <= real_radii[i] {
                balls[j] += 1;
                covered[i] = true;
            }
            recalled[i] |= d <= fake_radii[j];
        }
    });
    let share = |hits: usize, of: usize| hits as f64 / of as f64;
    Ok(Manifold {
        precision: share(balls.iter().filter(|&&b| b > 0).count(), m),
        recall: share(recalled.iter().filter(|&&r| r).count(), n),
        density: share(balls.iter().sum(), k * m),
        coverage: share(covered.iter().filter(|&&c| c).count(), n),
    })
}

/// Precision of each class by itself: the share of a class's samples inside the manifold of that class's real images, so a
/// bag drawn for a shoe does not pass for being a good bag. `None` for a class with `k` rows or fewer on a side.
///
/// ```
/// use metrics::{Matrix, statistics::manifold::class_precision};
/// let real = Matrix::new(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0], 6, 1)?;
/// let fake = Matrix::new(vec![0.5, 10.5, 10.5, 11.5], 4, 1)?;
/// let (real_classes, asked) = ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1]);
/// assert_eq!(class_precision(&real, &real_classes, &fake, &asked, 1)?, [Some(0.5), Some(1.0)]);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
///
/// # Errors
/// As many classes as rows are needed on both sides; `k` at least 1.
pub fn class_precision(
    real: &Matrix,
    real_classes: &[i64],
    fake: &Matrix,
    fake_classes: &[i64],
    k: usize,
) -> Result<Vec<Option<f64>>, MetricsError> {
    if real.rows() != real_classes.len() || fake.rows() != fake_classes.len() {
        let (r, rc, f, fc) = (real.rows(), real_classes.len(), fake.rows(), fake_classes.len());
        let message = format!("{rc} classes for {r} real rows, {fc} for {f} samples");
        return Err(MetricsError::Shape { what: "class-wise precision", message });
    }
    let of = |x: &Matrix, classes: &[i64], class: i64| {
        x.select(&(0..classes.len()).filter(|&i| classes[i] == class).collect::<Vec<_>>())
    };
    let last = real_classes.iter().chain(fake_classes).copied().max().unwrap_or(-1);
    let one = |class: i64| {
        let (real, fake) = (of(real, real_classes, class), of(fake, fake_classes, class));
        if real.rows() <= k || fake.rows() <= k {
            return Ok(None);
        }
        Ok(Some(precision_recall(&real, &fake, k)?.precision))
    };
    (0..=last).map(one).collect()
}

/// Squared distance of each row to its `k`-th nearest other row.
pub(super) fn radii(x: &Matrix, k: usize, shift: &[f64]) -> Vec<f64> {
    let mut nearest = vec![vec![f64::INFINITY; k]; x.rows()];
    distances(x, x, shift, |i, start, row| {
        let best = &mut nearest[i];
        for (offset, &d) in row.iter().enumerate() {
            if start + offset != i && d < best[k - 1] {
                let at = best.partition_point(|&b| b <= d);
                best.pop();
                best.insert(at, d);
            }
        }
    });
    nearest.iter().map(|best| best[k - 1]).collect()
}

/// Rows handled at once: 1024^2 distances are 8 MiB.
const BLOCK: usize = 1024;

/// Calls `visit(i, j0, d)` with the squared distances of row `i` of `a` to rows `j0..j0 + d.len()` of `b`.
pub(super) fn distances(a: &Matrix, b: &Matrix, shift: &[f64], mut visit: impl FnMut(usize, usize, &[f64])) {
    let d = a.columns();
    let norms = |block: &[f64]| block.chunks_exact(d).map(|r| r.iter().map(|v| v * v).sum()).collect::<Vec<f64>>();
    for i in (0..a.rows()).step_by(BLOCK) {
        let x = a.block(i, (i + BLOCK).min(a.rows()), shift);
        let x_norms = norms(&x);
        for j in (0..b.rows()).step_by(BLOCK) {
            let y = b.block(j, (j + BLOCK).min(b.rows()), shift);
            let y_norms = norms(&y);
            let mut products = products(&x, &y, d);
            for (row, values) in products.chunks_exact_mut(y_norms.len()).enumerate() {
                for (value, y_norm) in values.iter_mut().zip(&y_norms) {
                    *value = (x_norms[row] + y_norm - 2.0 * *value).max(0.0);
                }
                visit(i + row, j, values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};
    use proptest::prelude::*;

    fn normals(seed: u64, n: usize, d: usize, shift: f32) -> Matrix {
        let data = Key::new(seed, Purpose::Probe).normals(0, n * d).map(|v| v + shift).collect();
        Matrix::new(data, n, d).unwrap()
    }

    fn distance(x: &[f32], y: &[f32]) -> f64 {
        x.iter().zip(y).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    }

    /// The definitions, sorting every row's distances.
    fn naive(real: &Matrix, fake: &Matrix, k: usize) -> Manifold {
        let radii = |x: &Matrix| -> Vec<f64> {
            (0..x.rows())
                .map(|i| {
                    let mut all: Vec<f64> =
                        (0..x.rows()).filter(|&j| j != i).map(|j| distance(x.row(i), x.row(j))).collect();
                    all.sort_by(f64::total_cmp);
                    all[k - 1]
                })
                .collect()
        };
        let (r, f) = (radii(real), radii(fake));
        let in_real = |j: usize, i: usize| distance(real.row(i), fake.row(j)) <= r[i];
        let in_fake = |i: usize, j: usize| distance(real.row(i), fake.row(j)) <= f[j];
        let (n, m) = (real.rows(), fake.rows());
        let share = |hits: usize, of: usize| hits as f64 / of as f64;
        Manifold {
            precision: share((0..m).filter(|&j| (0..n).any(|i| in_real(j, i))).count(), m),
            recall: share((0..n).filter(|&i| (0..m).any(|j| in_fake(i, j))).count(), n),
            density: share((0..m).map(|j| (0..n).filter(|&i| in_real(j, i)).count()).sum(), k * m),
            coverage: share((0..n).filter(|&i| (0..m).any(|j| in_real(j, i))).count(), n),
        }
    }

    proptest! {
        /// Catches swapped sets, a point counted as its own neighbour and `k` off by one.
        #[test]
        fn blocks_give_the_definitions(seed in 0u64..1000, n in 5usize..40, m in 5usize..40, k in 1usize..4) {
            let (real, fake) = (normals(seed, n, 3, 0.0), normals(seed + 9999, m, 3, 0.7));
            prop_assert_eq!(precision_recall(&real, &fake, k).unwrap(), naive(&real, &fake, k));
        }
    }

    #[test]
    fn equal_sets_score_one_distant_sets_zero_and_a_collapsed_set_has_no_recall() {
        let real = normals(1, 1500, 2, 0.0);
        let same = precision_recall(&real, &real.clone(), 3).unwrap();
        assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
        let far = precision_recall(&real, &normals(2, 200, 2, 100.0), 3).unwrap();
        assert_eq!((far.precision, far.recall, far.density), (0.0, 0.0, 0.0));
        let collapsed: Vec<f32> = normals(3, 200, 2, 0.0).data().iter().map(|v| v * 0.01).collect();
        let collapsed = precision_recall(&real, &Matrix::new(collapsed, 200, 2).unwrap(), 3).unwrap();
        assert!(collapsed.precision > 0.99 && collapsed.recall < 0.02, "{collapsed:?}");
    }

    /// Two classes whose samples are exchanged have the precision of the whole and none of their own. Mutant: classes ignored.
    #[test]
    fn a_sample_of_the_wrong_class_is_not_precise() {
        let (left, right) = (normals(1, 60, 2, 0.0), normals(2, 60, 2, 100.0));
        let mut real = left.clone();
        real.extend(&right).unwrap();
        let classes: Vec<i64> = (0..120).map(|i| i / 60).collect();
        let swapped: Vec<i64> = classes.iter().map(|c| 1 - c).collect();
        let own = class_precision(&real, &classes, &real, &classes, 3).unwrap();
        assert_eq!(own, [Some(1.0), Some(1.0)]);
        assert_eq!(class_precision(&real, &classes, &real, &swapped, 3).unwrap(), [Some(0.0), Some(0.0)]);
        assert_eq!(class_precision(&left, &classes[..60], &right, &classes[60..], 3).unwrap(), [None, None]);
        assert!(class_precision(&left, &classes, &right, &classes[60..], 3).is_err());
    }

    #[test]
    fn zero_neighbours_and_too_few_rows_are_refused() {
        let x = normals(1, 3, 2, 0.0);
        assert!(precision_recall(&x, &x, 0).is_err());
        assert!(precision_recall(&x, &x, 3).is_err());
    }
}
