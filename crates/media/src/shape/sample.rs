//! Points on, near and around a surface, and the farthest among many. Every number is a function of seed, stream, index and lane,
//! so that point `i` is the same however many are drawn.

use super::Mesh;
use super::vector::{Point, add, scale, sub, unit};
use rayon::prelude::*;
use std::f64::consts::TAU;

/// A uniform number in [0, 1) by counter: SplitMix64 over the four numbers (Steele, Lea, Flood 2014).
pub fn uniform(seed: u64, stream: u64, index: u64, lane: u64) -> f64 {
    let mut state = 0u64;
    for word in [seed, stream, index, lane] {
        state = mix(state.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ word);
    }
    (mix(state) >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A standard normal number by counter (Box and Muller 1958); uses the lanes `2 lane` and `2 lane + 1`.
pub(super) fn normal(seed: u64, stream: u64, index: u64, lane: u64) -> f64 {
    let (u, v) = (uniform(seed, stream, index, 2 * lane), uniform(seed, stream, index, 2 * lane + 1));
    (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
}

const SURFACE: u64 = 1;
const NEAR: u64 = 2;
const VOLUME: u64 = 3;

/// Points and the directions of the surface there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cloud {
    /// `[n 3]`.
    pub points: Vec<Point>,
    /// `[n 3]`, of length 1.
    pub normals: Vec<Point>,
}

/// `count` points of the surface, equally likely everywhere, with the normals of their faces. None for a mesh without area.
pub fn surface(mesh: &Mesh, count: usize, seed: u64) -> Cloud {
    let mut sums = Vec::with_capacity(mesh.faces.len());
    let mut total = 0.0;
    for i in 0..mesh.faces.len() {
        total += super::vector::norm(mesh.cross(i));
        sums.push(total);
    }
    if total.is_nan() || total <= 0.0 {
        return Cloud::default();
    }
    let draw = |i: u64| {
        let at = uniform(seed, SURFACE, i, 0) * total;
        let face = sums.partition_point(|&sum| sum <= at).min(sums.len() - 1);
        let [a, b, c] = mesh.corners(face);
        // The square root makes the point uniform over the triangle.
        let (r, s) = (uniform(seed, SURFACE, i, 1).sqrt(), uniform(seed, SURFACE, i, 2));
        let point = add(scale(a, 1.0 - r), add(scale(b, r * (1.0 - s)), scale(c, r * s)));
        (point, unit(mesh.cross(face)))
    };
    let (points, normals) = (0..count as u64).into_par_iter().map(draw).unzip();
    Cloud { points, normals }
}

/// `count` points around the surface, each coordinate off by a normal number times `spread`.
pub fn near(mesh: &Mesh, count: usize, spread: f64, seed: u64) -> Vec<Point> {
    let on = surface(mesh, count, seed ^ (NEAR << 32));
    let moved = on.points.iter().enumerate().map(|(i, &p)| {
        let step = [0, 1, 2].map(|lane| spread * normal(seed, NEAR, i as u64, lane));
        add(p, step)
    });
    moved.collect()
}

/// `count` points of the cube [-half, half]³.
pub fn volume(count: usize, half: f64, seed: u64) -> Vec<Point> {
    (0..count as u64).map(|i| [0, 1, 2].map(|lane| (2.0 * uniform(seed, VOLUME, i, lane) - 1.0) * half)).collect()
}

/// Numbers of `count` of `points`, beginning at `start`, each the farthest from all before it; the first of equals. All where
/// there are fewer. (Eldar, Lindenbaum, Porat, Zeevi 1997.)
pub fn farthest(points: &[Point], count: usize, start: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut gaps = vec![f64::INFINITY; points.len()];
    let mut at = start;
    while chosen.len() < count.min(points.len()) {
        chosen.push(at);
        let from = points[at];
        let mut best = (f64::NEG_INFINITY, 0);
        for (i, gap) in gaps.iter_mut().enumerate() {
            let off = sub(points[i], from);
            *gap = gap.min(super::vector::dot(off, off));
            if *gap > best.0 {
                best = (*gap, i);
            }
        }
        at = best.1;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::super::vector::{dot, norm};
    use super::*;

    #[test]
    fn a_box_is_covered_by_area_with_its_normals() {
        let mesh = cuboid([0.0; 3], [1.0, 2.0, 3.0]); // faces of area 2, 3 and 6, each twice: 22
        let count = 40_000;
        let cloud = surface(&mesh, count, 7);
        let mut sides = [0usize; 3];
        for (p, n) in cloud.points.iter().zip(&cloud.normals) {
            let axis = (0..3).find(|&k| n[k].abs() > 0.5).unwrap();
            let wall = if n[axis] > 0.0 { [1.0, 2.0, 3.0][axis] } else { 0.0 };
            assert!((p[axis] - wall).abs() < 1e-12 && (norm(*n) - 1.0).abs() < 1e-12);
            sides[axis] += 1;
        }
        for (axis, share) in [12.0 / 22.0, 6.0 / 22.0, 4.0 / 22.0].into_iter().enumerate() {
            let found = sides[axis] as f64 / count as f64;
            let error = (share * (1.0f64 - share) / count as f64).sqrt();
            assert!((found - share).abs() < 5.0 * error, "axis {axis}: {found} of {share}");
        }
        // Uniform within a face: the mean along the longest edge of the largest faces is its middle (five standard errors).
        let on: Vec<f64> =
            (0..count).filter(|&i| cloud.normals[i][0].abs() > 0.5).map(|i| cloud.points[i][2]).collect();
        let mean = on.iter().sum::<f64>() / on.len() as f64;
        assert!((mean - 1.5).abs() < 5.0 * (9.0 / 12.0 / on.len() as f64).sqrt(), "{mean}");
    }

    #[test]
    fn point_i_does_not_depend_on_how_many_are_drawn() {
        let mesh = cuboid([0.0; 3], [1.0; 3]);
        assert_eq!(surface(&mesh, 10, 1).points, surface(&mesh, 1000, 1).points[..10]);
        assert_eq!(near(&mesh, 10, 0.1, 1), near(&mesh, 50, 0.1, 1)[..10]);
        assert_eq!(volume(10, 1.0, 1), volume(50, 1.0, 1)[..10]);
        assert_ne!(surface(&mesh, 10, 1).points, surface(&mesh, 10, 2).points);
        assert!(surface(&Mesh::default(), 10, 1).points.is_empty());
    }

    #[test]
    fn near_points_have_the_spread_asked_for() {
        // A wall so wide that only the distance to its plane matters.
        let mesh = Mesh { points: vec![[-1e3, 0.0, -1e3], [0.0, 0.0, 2e3], [1e3, 0.0, -1e3]], faces: vec![[0, 1, 2]] };
        let heights: Vec<f64> = near(&mesh, 20_000, 0.05, 3).iter().map(|p| p[1]).collect();
        let spread = (heights.iter().map(|h| h * h).sum::<f64>() / heights.len() as f64).sqrt();
        // Five standard errors of a standard deviation: 5 / sqrt(2 n) = 2.5 %.
        assert!((spread / 0.05 - 1.0).abs() < 0.025, "{spread}");
    }

    #[test]
    fn the_farthest_points_of_a_square_are_its_corners() {
        let mut points: Vec<Point> = (0..25).map(|i| [f64::from(i % 5), f64::from(i / 5), 0.0]).collect();
        assert_eq!(farthest(&points, 4, 0), [0, 24, 4, 20]);
        points.truncate(3);
        assert_eq!(farthest(&points, 10, 1).len(), 3);
        assert!(farthest(&[], 4, 0).is_empty());
        // Each next one is no nearer to those before than any one after it: the gaps fall.
        let cloud = volume(500, 1.0, 9);
        let order = farthest(&cloud, 60, 0);
        let gap =
            |k: usize| (0..k).map(|j| sub(cloud[order[k]], cloud[order[j]])).map(|v| dot(v, v)).fold(9.0, f64::min);
        assert!((2..60).all(|k| gap(k) <= gap(k - 1) + 1e-12));
    }
}
