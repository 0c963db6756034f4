//! A triangle mesh and what can be said of it in closed form: area, enclosed volume, centroid.

use super::vector::{Affine, Point, add, cross, dot, norm, scale, sub};
use std::collections::HashMap;

/// Points and the triangles between them, seen counter-clockwise from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// `[n 3]`.
    pub points: Vec<Point>,
    /// Numbers of points, `[m 3]`.
    pub faces: Vec<[u32; 3]>,
}

impl Mesh {
    /// The corners of face `i`.
    pub fn corners(&self, i: usize) -> [Point; 3] {
        self.faces[i].map(|at| self.points[at as usize])
    }

    /// Twice the area of face `i` along its normal.
    pub fn cross(&self, i: usize) -> Point {
        let [a, b, c] = self.corners(i);
        cross(sub(b, a), sub(c, a))
    }

    /// Smallest and largest coordinates; `None` without points.
    pub fn bounds(&self) -> Option<[Point; 2]> {
        let first = *self.points.first()?;
        Some(self.points.iter().fold([first; 2], |[low, high], p| {
            [
                [low[0].min(p[0]), low[1].min(p[1]), low[2].min(p[2])],
                [high[0].max(p[0]), high[1].max(p[1]), high[2].max(p[2])],
            ]
        }))
    }

    /// The sum of all faces' areas.
    pub fn area(&self) -> f64 {
        (0..self.faces.len()).map(|i| norm(self.cross(i)) / 2.0).sum()
    }

    /// The enclosed volume by the divergence theorem: positive where faces are seen counter-clockwise from outside. Without meaning
    /// for an open mesh.
    pub fn volume(&self) -> f64 {
        (0..self.faces.len()).map(|i| signed(self.corners(i))).sum()
    }

    /// The centre of mass of the enclosed volume.
    pub fn centroid(&self) -> Point {
        let weighted = (0..self.faces.len()).map(|i| {
            let corners = self.corners(i);
            scale(add(add(corners[0], corners[1]), corners[2]), signed(corners) / 4.0)
        });
        scale(weighted.fold([0.0; 3], add), 1.0 / self.volume())
    }

    /// Points less edges plus faces, counting only points in use: 2 for a sphere, 0 for a torus.
    pub fn euler(&self) -> i64 {
        let mut used = vec![false; self.points.len()];
        self.faces.iter().flatten().for_each(|&at| used[at as usize] = true);
        let points = used.iter().filter(|&&used| used).count();
        points as i64 - self.edges().len() as i64 + self.faces.len() as i64
    }

    /// Every edge (smaller point first) with how often faces walk it upwards and downwards.
    pub fn edges(&self) -> HashMap<(u32, u32), [u32; 2]> {
        let mut edges = HashMap::with_capacity(self.faces.len() * 3 / 2);
        for &[a, b, c] in &self.faces {
            for (from, to) in [(a, b), (b, c), (c, a)] {
                let walks: &mut [u32; 2] = edges.entry((from.min(to), from.max(to))).or_default();
                walks[usize::from(from > to)] += 1;
            }
        }
        edges
    }

    /// The mesh moved by `map`; one that mirrors also turns the faces, so that outside stays outside.
    pub fn moved(&self, map: &Affine) -> Self {
        let points = self.points.iter().map(|&p| map.apply(p)).collect();
        let turn = map.determinant() < 0.0;
        let faces = self.faces.iter().map(|&[a, b, c]| if turn { [a, c, b] } else { [a, b, c] }).collect();
        Self { points, faces }
    }

    /// Adds the triangles of `other`.
    pub fn append(&mut self, other: &Self) {
        let base = self.points.len() as u32;
        self.points.extend_from_slice(&other.points);
        self.faces.extend(other.faces.iter().map(|face| face.map(|at| at + base)));
    }

    /// Mean of the normals of the faces around each point, weighted by area.
    pub fn point_normals(&self) -> Vec<Point> {
        let mut normals = vec![[0.0; 3]; self.points.len()];
        for i in 0..self.faces.len() {
            for at in self.faces[i] {
                normals[at as usize] = add(normals[at as usize], self.cross(i));
            }
        }
        normals.into_iter().map(super::vector::unit).collect()
    }
}

/// Volume of the tetrahedron between the origin and a triangle.
fn signed([a, b, c]: [Point; 3]) -> f64 {
    dot(a, cross(b, c)) / 6.0
}

/// The axis-aligned box between two corners, for tests and examples.
pub fn cuboid(low: Point, high: Point) -> Mesh {
    let points = (0..8).map(|i| std::array::from_fn(|axis| if (i >> axis) & 1 == 0 { low[axis] } else { high[axis] }));
    let quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
    let faces = quads.iter().flat_map(|&[a, b, c, d]| [[a, b, c], [a, c, d]]).collect();
    Mesh { points: points.collect(), faces }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_has_its_area_volume_centroid_and_euler_number() {
        let mesh = cuboid([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]);
        assert!((mesh.area() - 22.0).abs() < 1e-12);
        assert!((mesh.volume() - 6.0).abs() < 1e-12);
        assert!(norm(sub(mesh.centroid(), [1.5, 3.0, 4.5])) < 1e-12);
        assert_eq!(mesh.euler(), 2);
        assert!(mesh.edges().values().all(|&walks| walks == [1, 1]));
    }

    #[test]
    fn a_mirror_keeps_the_outside_outside() {
        let mirror = Affine { rows: [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], shift: [0.0; 3] };
        let mesh = cuboid([1.0; 3], [2.0; 3]).moved(&mirror);
        assert!((mesh.volume() - 1.0).abs() < 1e-12);
    }
}
