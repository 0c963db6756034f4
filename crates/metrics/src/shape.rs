//! How near two shapes are, and how near two sets of shapes. Everything is measured on points of the surfaces, as in TripoSG
//! (arXiv:2502.06608, sec. 4) and, for sets, Yang et al. 2019, "PointFlow", arXiv:1906.12320.

use crate::MetricsError;
use rayon::prelude::*;

/// Points of a surface, `[n 3]`.
pub type Points = [[f64; 3]];

/// For each of `from`: the nearest of `to` and its squared distance.
fn nearest(from: &Points, to: &Points) -> Vec<(f64, usize)> {
    let of = |p: &[f64; 3]| {
        let mut best = (f64::INFINITY, 0);
        for (i, q) in to.iter().enumerate() {
            let gap = (p[0] - q[0]).powi(2) + (p[1] - q[1]).powi(2) + (p[2] - q[2]).powi(2);
            if gap < best.0 {
                best = (gap, i);
            }
        }
        best
    };
    from.par_iter().map(of).collect()
}

fn checked(what: &'static str, clouds: &[&Points]) -> Result<(), MetricsError> {
    for cloud in clouds {
        if cloud.is_empty() {
            return Err(MetricsError::TooFew { what, needed: 1, got: 0 });
        }
        for (row, point) in cloud.iter().enumerate() {
            if let Some(column) = point.iter().position(|v| !v.is_finite()) {
                return Err(MetricsError::NotFinite { what, row, column, value: point[column] });
            }
        }
    }
    Ok(())
}

/// How near two surfaces are.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Nearness {
    /// Chamfer distance: the mean distance to the nearest point of the other surface, the mean of both directions.
    pub chamfer_l1: f64,
    /// The same with squared distances, the sum of both directions.
    pub chamfer_l2: f64,
    /// Harmonic mean of the shares of points within the smaller radius of the other surface.
    pub f_near: f64,
    /// The same at the larger radius.
    pub f_far: f64,
    /// Mean of |cos| of the angle between the normals of nearest points, the mean of both directions; 1 is the same.
    pub normal_consistency: f64,
}

/// Radii of the F-scores, for shapes in the cube [-1, 1]³.
pub const RADII: [f64; 2] = [0.02, 0.05];

/// Compares two surfaces by points drawn from them, each with its normal.
///
/// # Errors
/// A surface without points, a coordinate that is no number, or not as many normals as points.
pub fn nearness(a: &Points, a_normals: &Points, b: &Points, b_normals: &Points) -> Result<Nearness, MetricsError> {
    checked("Chamfer distance", &[a, b])?;
    if a.len() != a_normals.len() || b.len() != b_normals.len() {
        let message =
            format!("{} and {} points with {} and {} normals", a.len(), b.len(), a_normals.len(), b_normals.len());
        return Err(MetricsError::Shape { what: "normal consistency", message });
    }
    let mean = |values: &[(f64, usize)], f: &dyn Fn(usize, f64, usize) -> f64| {
        values.iter().enumerate().map(|(i, &(gap, at))| f(i, gap, at)).sum::<f64>() / values.len() as f64
    };
    let (there, back) = (nearest(a, b), nearest(b, a));
    let both = |f: &dyn Fn(usize, f64, usize) -> f64| (mean(&there, f), mean(&back, f));
    let (l1, squared) = (both(&|_, gap, _| gap.sqrt()), both(&|_, gap, _| gap));
    let score = |radius: f64| {
        let (precision, recall) = both(&|_, gap, _| f64::from(u8::from(gap <= radius * radius)));
        if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
    };
    let cosine = |u: &[f64; 3], v: &[f64; 3]| (u[0] * v[0] + u[1] * v[1] + u[2] * v[2]).abs();
    let along = mean(&there, &|i, _, at| cosine(&a_normals[i], &b_normals[at]));
    let against = mean(&back, &|i, _, at| cosine(&b_normals[i], &a_normals[at]));
    Ok(Nearness {
        chamfer_l1: (l1.0 + l1.1) / 2.0,
        chamfer_l2: squared.0 + squared.1,
        f_near: score(RADII[0]),
        f_far: score(RADII[1]),
        normal_consistency: (along + against) / 2.0,
    })
}

/// Volume of the intersection over that of the union, from signed distances (negative inside) at the same points; 1 where neither
/// has an inside.
///
/// # Errors
/// Not as many values of one as of the other.
pub fn volume_iou(a: &[f64], b: &[f64]) -> Result<f64, MetricsError> {
    if a.len() != b.len() {
        let message = format!("{} values of one shape and {} of the other", a.len(), b.len());
        return Err(MetricsError::Shape { what: "volume IoU", message });
    }
    let count =
        |f: &dyn Fn(bool, bool) -> bool| a.iter().zip(b).filter(|(a, b)| f(**a < 0.0, **b < 0.0)).count() as f64;
    let union = count(&|a, b| a || b);
    Ok(if union > 0.0 { count(&|a, b| a && b) / union } else { 1.0 })
}

/// The Chamfer-L2 distance of two surfaces: mean squared distances to the nearest point of the other, the sum of both directions.
///
/// # Errors
/// A surface without points, or a coordinate that is no number.
pub fn chamfer_l2(a: &Points, b: &Points) -> Result<f64, MetricsError> {
    checked("Chamfer distance", &[a, b])?;
    Ok(squared(a, b))
}

fn squared(a: &Points, b: &Points) -> f64 {
    let mean = |from: &Points, to: &Points| nearest(from, to).iter().map(|n| n.0).sum::<f64>() / from.len() as f64;
    mean(a, b) + mean(b, a)
}

/// How near a set of samples is to a set of references.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct SetNearness {
    /// Minimum matching distance: the mean over references of the Chamfer-L2 distance to the nearest sample.
    pub mmd: f64,
    /// Coverage: the share of references that are the nearest one of some sample.
    pub coverage: f64,
    /// Share of all shapes whose nearest other shape is of their own set: 0.5 where the sets cannot be told apart, 1 where they lie apart.
    pub one_nearest: f64,
}

/// Compares two sets of surfaces by their Chamfer-L2 distances.
///
/// # Errors
/// Fewer than two shapes of a set, or a shape without points or with a coordinate that is no number.
pub fn sets(samples: &[Vec<[f64; 3]>], references: &[Vec<[f64; 3]>]) -> Result<SetNearness, MetricsError> {
    let what = "minimum matching distance";
    for set in [samples, references] {
        if set.len() < 2 {
            return Err(MetricsError::TooFew { what, needed: 2, got: set.len() });
        }
        checked(what, &set.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    }
    let all: Vec<&Vec<[f64; 3]>> = samples.iter().chain(references).collect();
    let n = all.len();
    let mut gaps = vec![f64::INFINITY; n * n]; // a shape is not its own neighbour
    for i in 0..n {
        for j in 0..i {
            let gap = squared(all[i], all[j]);
            (gaps[i * n + j], gaps[j * n + i]) = (gap, gap);
        }
    }
    let split = samples.len();
    let closest = |of: usize, among: std::ops::Range<usize>| {
        among.min_by(|&a, &b| gaps[of * n + a].total_cmp(&gaps[of * n + b])).unwrap_or(of)
    };
    let mmd = (split..n).map(|r| gaps[r * n + closest(r, 0..split)]).sum::<f64>() / references.len() as f64;
    let mut covered = vec![false; references.len()];
    (0..split).for_each(|s| covered[closest(s, split..n) - split] = true);
    let own = (0..n).filter(|&i| (closest(i, 0..n) < split) == (i < split)).count();
    Ok(SetNearness {
        mmd,
        coverage: covered.iter().filter(|&&c| c).count() as f64 / references.len() as f64,
        one_nearest: own as f64 / n as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square grid of side 1 in the plane z = `height`, `n` points along each side, moved by `shift` along x.
    fn square(n: usize, height: f64, shift: f64) -> Vec<[f64; 3]> {
        let at = move |i: usize| i as f64 / (n - 1) as f64;
        (0..n * n).map(|i| [at(i % n) + shift, at(i / n), height]).collect()
    }

    #[test]
    fn parallel_squares_have_their_closed_form() {
        let (a, b) = (square(20, 0.0, 0.0), square(20, 0.03, 0.0));
        let (up, aslant) = (vec![[0.0, 0.0, 1.0]; 400], vec![[0.0, 0.6, -0.8]; 400]);
        let found = nearness(&a, &up, &b, &aslant).unwrap();
        assert!((found.chamfer_l1 - 0.03).abs() < 1e-12);
        assert!((found.chamfer_l2 - 2.0 * 0.0009).abs() < 1e-12);
        assert_eq!(chamfer_l2(&a, &b).unwrap(), found.chamfer_l2);
        assert_eq!((found.f_near, found.f_far), (0.0, 1.0)); // 0.03 lies between the radii
        assert!((found.normal_consistency - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_part_of_a_surface_has_precision_without_recall() {
        // The second is the first and as many points far away: recall of the first is 1, precision 1/2; F = 2/3.
        let a = square(10, 0.0, 0.0);
        let mut b = a.clone();
        b.extend(square(10, 5.0, 0.0));
        let normals = |n: usize| vec![[0.0, 0.0, 1.0]; n];
        let found = nearness(&a, &normals(100), &b, &normals(200)).unwrap();
        assert!((found.f_near - 2.0 / 3.0).abs() < 1e-12);
        assert!((found.chamfer_l1 - 5.0 / 4.0).abs() < 1e-12);
        assert!((found.chamfer_l2 - 12.5).abs() < 1e-12);
    }

    #[test]
    fn intersection_over_union_of_intervals() {
        // [0, 2] and [1, 4] on a grid over [0, 8): 1 of 4.
        let line: Vec<f64> = (0..8000).map(|i| f64::from(i) / 1000.0).collect();
        let inside = |low: f64, high: f64| line.iter().map(|&x| (low - x).max(x - high)).collect::<Vec<_>>();
        assert!((volume_iou(&inside(0.0, 2.0), &inside(1.0, 4.0)).unwrap() - 0.25).abs() < 1e-3);
        assert_eq!(volume_iou(&[1.0], &[1.0]).unwrap(), 1.0);
        assert!(volume_iou(&[1.0], &[]).is_err());
    }

    #[test]
    fn sets_that_lie_apart_collapse_or_agree_are_told_apart() {
        // Shapes are single points on a line; Chamfer-L2 of two is twice their squared distance.
        let line = |values: &[f64]| values.iter().map(|&x| vec![[x, 0.0, 0.0]]).collect::<Vec<_>>();
        let references = line(&[0.0, 10.0, 20.0, 30.0]);
        let apart = sets(&line(&[100.0, 101.0, 102.0, 103.0]), &references).unwrap();
        assert_eq!((apart.coverage, apart.one_nearest), (0.25, 1.0));
        assert!((apart.mmd - 2.0 * (1e4 + 8100.0 + 6400.0 + 4900.0) / 4.0).abs() < 1e-9);
        let collapsed = sets(&line(&[0.0, 0.1, 0.2, 0.3]), &references).unwrap();
        assert_eq!(collapsed.coverage, 0.25);
        let same = sets(&line(&[1.0, 11.0, 21.0, 31.0]), &references).unwrap();
        assert_eq!((same.coverage, same.one_nearest), (1.0, 0.0)); // each one's neighbour is its twin of the other set
        assert!((same.mmd - 2.0).abs() < 1e-12);
    }

    #[test]
    fn bad_clouds_are_refused() {
        let a = square(3, 0.0, 0.0);
        assert!(matches!(nearness(&[], &[], &a, &a), Err(MetricsError::TooFew { .. })));
        assert!(matches!(nearness(&[[f64::NAN; 3]], &[[0.0; 3]], &a, &a), Err(MetricsError::NotFinite { .. })));
        assert!(matches!(nearness(&a, &a[..2], &a, &a), Err(MetricsError::Shape { .. })));
        assert!(sets(std::slice::from_ref(&a), &[a.clone(), a.clone()]).is_err());
    }
}
