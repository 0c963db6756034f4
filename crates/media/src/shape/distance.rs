//! Signed distance to a mesh: exact length, sign by winding number, so that open meshes have an inside too. Negative inside.

use super::bvh::Tree;
use super::vector::{Point, scale, sub};
use super::{Mesh, vector};
use rayon::prelude::*;

/// The signed distance of one mesh, ready to be asked.
#[derive(Clone, Debug)]
pub struct SignedDistance {
    tree: Tree,
}

/// How much of the surface must wind around a point for it to be inside.
const INSIDE: f64 = 0.5;

impl SignedDistance {
    /// Of `mesh`; `None` without faces.
    pub fn new(mesh: &Mesh) -> Option<Self> {
        Some(Self { tree: Tree::new(mesh)? })
    }

    /// At `p`: negative inside.
    pub fn at(&self, p: Point) -> f64 {
        let distance = self.length(p);
        if self.is_inside(p) { -distance } else { distance }
    }

    /// The distance without its sign.
    pub fn length(&self, p: Point) -> f64 {
        self.tree.nearest(p).squared.sqrt()
    }

    /// Whether the surface winds around `p`.
    pub fn is_inside(&self, p: Point) -> bool {
        self.tree.winding(p) > INSIDE
    }

    /// At each of `points`, on all threads.
    pub fn of(&self, points: &[Point]) -> Vec<f64> {
        points.par_iter().map(|&p| self.at(p)).collect()
    }

    /// Away from the surface at `p`: the gradient of the distance, except on the surface itself.
    pub fn gradient(&self, p: Point) -> Point {
        let away = vector::unit(sub(p, self.tree.nearest(p).point));
        if self.is_inside(p) { scale(away, -1.0) } else { away }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{mesh::cuboid, sample};
    use super::*;

    /// The closed form of a box around the origin (Quilez).
    fn box_distance(p: Point, half: Point) -> f64 {
        let q = [0, 1, 2].map(|k| p[k].abs() - half[k]);
        vector::norm(q.map(|v| v.max(0.0))) + q[0].max(q[1]).max(q[2]).min(0.0)
    }

    #[test]
    fn a_box_has_its_closed_form_and_a_hole_keeps_the_inside() {
        let half = [0.5, 0.3, 0.7];
        let mesh = cuboid(half.map(|v| -v), half);
        let mut open = mesh.clone();
        open.faces.pop();
        let (whole, holed) = (SignedDistance::new(&mesh).unwrap(), SignedDistance::new(&open).unwrap());
        for i in 0..500 {
            let p = [0, 1, 2].map(|lane| sample::uniform(5, 0, i, lane) * 2.0 - 1.0);
            let exact = box_distance(p, half);
            assert!((whole.at(p) - exact).abs() < 1e-12, "{p:?}");
            // Further from the missing half of the top than from the rest the sign stays.
            if p[0] < 0.0 && exact.abs() > 0.05 {
                assert_eq!(holed.is_inside(p), exact < 0.0, "{p:?}");
            }
        }
        assert!(vector::norm(sub(whole.gradient([0.4, 0.0, 0.0]), [1.0, 0.0, 0.0])) < 1e-12);
        assert!(vector::norm(sub(whole.gradient([0.6, 0.0, 0.0]), [1.0, 0.0, 0.0])) < 1e-12);
    }
}
